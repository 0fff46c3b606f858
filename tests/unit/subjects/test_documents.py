"""What a page and a table for a spreadsheet do with values that want to be more than text."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from pitboss.kernel.classes import SORTS
from pitboss.subjects.contracts import ColumnShape, Held, Subject, TableShape
from pitboss.subjects.errors import TableNotBound
from pitboss.subjects.rules import bind_table, compose_access, compose_portable, find_unbound, tell_events
from pitboss.subjects.rules.words import KIND_WORDS, LANGUAGES

AT = datetime(2026, 11, 21, tzinfo=UTC)
SUBJECT = Subject(7, UUID(int=7), (3,))


def shape(name: str, **sorts: str) -> TableShape:
    columns = [ColumnShape(column, sort, False, False, False) for column, sort in sorts.items()]  # pyright: ignore[reportArgumentType]
    return TableShape(name, tuple(columns))


@pytest.mark.parametrize("text", ["=1+1", "+34", "-x", "@sum", "\tx"])
def test_no_cell_is_a_formula(text: str) -> None:
    held = Held("player", {"status_reason": "opaque", "n": "technical"}, {}, [{"status_reason": text, "n": -5}])
    files = compose_access(SUBJECT, [held], tenant="aurora", language="en", made_at=AT)
    (row,) = csv.DictReader(io.StringIO(files["csv/player.csv"].decode(), newline=""))
    assert row["status_reason"] == f"'{text}"
    assert row["n"] == "-5"
    assert json.loads(files["data.json"])["tables"][0]["rows"][0]["status_reason"] == text


def test_no_value_is_markup() -> None:
    held = Held("player", {"status_reason": "opaque"}, {}, [{"status_reason": "<script>alert(1)</script>"}])
    page = compose_access(SUBJECT, [held], tenant="<b>", language="en", made_at=AT)["index.html"].decode()
    assert "<script" not in page
    assert "<b>" not in page


@pytest.mark.parametrize("language", [*LANGUAGES, "xx"])
def test_the_page_speaks_the_players_language(language: str) -> None:
    held = Held("player", {"brand": "account"}, {}, [{"brand": "x"}])
    page = compose_access(SUBJECT, [held], tenant="aurora", language=language, made_at=AT)["index.html"].decode()
    place = LANGUAGES.index(language) if language in LANGUAGES else 0
    assert KIND_WORDS["account"][place] in page


def test_every_kind_has_a_word() -> None:
    assert KIND_WORDS.keys() == {column.kind for column in SORTS.values()}


def test_what_is_not_portable_stays() -> None:
    held = Held("player", {"status_reason": "opaque"}, {}, [{"status_reason": "fraud_suspected", "brand": "aurora"}])
    files = compose_portable(SUBJECT, [held], tenant="aurora", language="en", made_at=AT)
    assert b"fraud" not in files["portable.json"]
    assert json.loads(files["portable.json"])["player"][0]["brand"] == "aurora"


def test_a_table_of_somebody_that_names_nobody_is_a_fault() -> None:
    stray = shape("stray", tenant_id="tenant", email="identity")
    with pytest.raises(TableNotBound):
        bind_table(stray)
    assert "stray" in find_unbound([stray])
    assert bind_table(shape("plain", tenant_id="tenant", n="technical")) is None


def test_an_exception_without_a_table_is_a_fault() -> None:
    assert "webhook" in find_unbound([shape("plain", n="technical")])


def test_who_of_the_staff_did_something_is_not_told_and_what_the_subject_did_is() -> None:
    table = shape("audit_event", actor_kind="staff", actor_name="staff", target_id="opaque")
    own = {"actor_kind": "player", "actor_name": str(SUBJECT.public_id), "target_id": "a"}
    staff = {"actor_kind": "operator", "actor_name": "ada", "target_id": "b"}
    other = {"actor_kind": "player", "actor_name": str(UUID(int=8)), "target_id": "c"}
    told = tell_events(table, [own, staff, other], SUBJECT).rows
    assert told == [own, {"target_id": "b"}, {"target_id": "c"}]
