"""What of a change may stand in the log."""

from __future__ import annotations

import re

import pytest

from pitboss.audit.contracts import EVENT_TYPES, MASK, PERSONAL_FIELDS, Category, Change, EventType
from pitboss.audit.rules import mask_change

PLAIN = EventType(Category.SYSTEM, "thing", "Something happened", frozenset({"secret_sauce"}))


@pytest.mark.parametrize("field", sorted(PERSONAL_FIELDS))
@pytest.mark.parametrize("path", ["{}", "identity.{}", "{}.2", "a.{}.b"])
def test_a_personal_field_is_masked_at_any_depth(field: str, path: str) -> None:
    masked = mask_change(Change(path.format(field), "canary-1", "canary-2"), PLAIN)
    assert masked == Change(path.format(field), MASK, MASK)


def test_a_path_that_the_type_classifies_is_masked_for_that_type_alone() -> None:
    change = Change("secret_sauce", "ketchup", "mayonnaise")
    assert mask_change(change, PLAIN) == Change("secret_sauce", MASK, MASK)
    assert mask_change(change, EventType(Category.SYSTEM, "thing", "…")) == change


def test_nothing_stays_nothing_so_that_set_and_unset_can_be_told() -> None:
    assert mask_change(Change("phone", None, "+35621"), PLAIN) == Change("phone", None, MASK)
    assert mask_change(Change("phone", "+35621", None), PLAIN) == Change("phone", MASK, None)


def test_other_values_stand_in_clear() -> None:
    change = Change("emails_per_day", 3, 5)
    assert mask_change(change, PLAIN) == change


def test_every_type_is_named_in_the_past_and_described() -> None:
    for key, found in EVENT_TYPES.items():
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", key), key
        assert key.endswith(("ed", "set", "out", "in")), key
        assert found.summary, key
        assert found.target_type, key
