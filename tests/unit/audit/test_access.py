"""What an event of a read says."""

from __future__ import annotations

import pytest

from pitboss.audit.contracts import Access
from pitboss.audit.rules.access import describe_access
from pitboss.kernel.classes import SORTS, Sort, find_data_class


def facts(*sorts: Sort, ids: tuple[str, ...] = ("1", "2"), query: dict[str, str] | None = None) -> dict[str, object]:
    access = Access("read", sorts, ids, frozenset({"b", "a"}), query or {})
    return {change.path.removeprefix("access."): change.after for change in describe_access(access)}


def test_a_list_below_restricted_is_told_by_count_and_digest() -> None:
    told = facts("account", "money")
    assert told["sensitivity"] == "confidential"
    assert (told["rows"], told["fields"]) == (2, ["a", "b"])
    assert "ids" not in told
    assert "query_digest" not in told
    assert told["ids_digest"] != facts("account", ids=("2", "1"))["ids_digest"]


@pytest.mark.parametrize("sort", ["protection", "identity", "opaque", "staff", "credential"])
def test_from_restricted_upward_every_id_is_named(sort: Sort) -> None:
    assert facts("tenant", sort)["ids"] == ["1", "2"]


def test_a_single_record_is_named_whatever_its_class() -> None:
    assert facts("catalogue", ids=("1",))["ids"] == ["1"]


def test_a_question_is_told_by_its_digest_whatever_the_order_of_its_words() -> None:
    told = facts("account", query={"a": "1", "b": "2"})
    assert told["query_digest"] == facts("account", query={"b": "2", "a": "1"})["query_digest"]
    assert told["query_digest"] != facts("account", query={"a": "1", "b": "3"})["query_digest"]


def test_the_worst_sort_decides() -> None:
    assert find_data_class([]) == "public"
    assert find_data_class(["evidence", "tenant"]) == "internal"
    assert find_data_class(list(SORTS)) == "secret"
