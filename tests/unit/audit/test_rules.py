"""What of a change may stand in the log, and what the log may be asked for."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from pitboss.audit.contracts import (
    EVENT_TYPES,
    MASK,
    PERSONAL_FIELDS,
    Category,
    Change,
    EventFilter,
    EventMatch,
    EventType,
)
from pitboss.audit.errors import FilterInvalid
from pitboss.audit.rules import check_filter, mask_change

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
        assert key.endswith(("ed", "set", "out", "in", "frozen", "began", "left", "made", "back")), key
        assert found.summary, key
        assert found.target_type, key


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_filter_becomes_columns() -> None:
    assert check_filter(EventFilter()) == EventMatch((), None, None)
    wanted = EventFilter("limit.set", "limit:7:stake:day", "operator:ada", NOON, NOON.replace(hour=13))
    columns = (
        ("type", "limit.set"),
        ("target_type", "limit"),
        ("target_id", "7:stake:day"),
        ("actor_kind", "operator"),
        ("actor_name", "ada"),
    )
    assert check_filter(wanted) == EventMatch(columns, NOON, NOON.replace(hour=13))
    assert check_filter(EventFilter(target="player", actor="service")).columns == (
        ("target_type", "player"),
        ("actor_kind", "service"),
    )


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (EventFilter(type="player.teleported"), "type"),
        (EventFilter(type="player"), "type"),
        (EventFilter(target="spaceship"), "target"),
        (EventFilter(target=":7"), "target"),
        (EventFilter(target="player:"), "target"),
        (EventFilter(actor="ada"), "actor"),
        (EventFilter(actor="operator:"), "actor"),
        (EventFilter(since=NOON.replace(tzinfo=None)), "since"),
        (EventFilter(until=NOON.replace(tzinfo=None)), "until"),
        (EventFilter(since=NOON, until=NOON), "since"),
    ],
)
def test_what_can_match_nothing_is_refused_and_not_answered_with_nothing(wanted: EventFilter, field: str) -> None:
    with pytest.raises(FilterInvalid) as refused:
        check_filter(wanted)
    assert refused.value.detail.startswith(f"{field}: ")
