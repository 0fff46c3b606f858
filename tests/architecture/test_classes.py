"""Every column of both planes says what it holds, and what follows from that is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, Table, Text

from pitboss.audit.contracts import PERSONAL_FIELDS
from pitboss.hosting.contracts import CALLS, CROSSING, Call, CallKind, Touch
from pitboss.kernel.classes import (
    OWN_SCHEDULES,
    PERSONAL_KINDS,
    SORTS,
    UNTOLD_KINDS,
    DataKind,
    Sort,
    may_cross,
    spread_columns,
)
from pitboss.migrations.schema import Plane, load_metadata
from pitboss.platform.classes import class_of, find_class_faults
from pitboss.platform.db import table_info
from pitboss.platform.fields import FIELDS

PLANES: tuple[Plane, ...] = ("cell", "control")


def names_of(kinds: frozenset[DataKind]) -> Iterator[str]:
    """Yield the names of the columns of some kinds, on both planes."""
    for plane in PLANES:
        for table in load_metadata(plane).tables.values():
            yield from (column.name for column in table.columns if class_of(table, column.name).kind in kinds)


@pytest.mark.parametrize("plane", PLANES)
def test_every_column_is_classified(plane: Plane) -> None:
    metadata = load_metadata(plane)
    assert len(metadata.tables) >= 5
    assert list(find_class_faults(metadata, control=plane == "control")) == []


def test_no_log_field_bears_the_name_of_what_is_not_told() -> None:
    names = set(names_of(UNTOLD_KINDS))
    assert {"email", "player_id", "real_minor", "actor_name", "token_hash"} <= names
    assert names & set(FIELDS) == set()


def test_every_personal_column_is_masked_in_audit_events() -> None:
    names = set(names_of(PERSONAL_KINDS)) - HASHED_KEYS
    assert {"email", "birth_date", "password_hash"} <= names
    assert names - PERSONAL_FIELDS == set()


NOT_SEALED = {("player_identity", "email_index"): "a keyed digest by which an account is found; it opens nothing"}
"""Columns that say who a player is and are not sealed under the player's key, each with its reason."""


def test_who_a_player_is_stands_sealed() -> None:
    """What is sealed is bytes; that it opens under the player's key alone is tested on rows, column by column."""
    personal = {
        (table.name, column.name): column.type
        for table, column in columns_of("cell")
        if class_of(table, column.name).kind == "personal"
    }
    assert len(personal) > len(NOT_SEALED) > 0
    assert NOT_SEALED.keys() <= personal.keys()
    clear = {place for place, kind in personal.items() if not isinstance(kind, LargeBinary)}
    assert clear == set(), "seal it as `accounts` does, or list it with its reason"


HASHED_KEYS = {"key"}
"""The throttle's key: a digest, in a table of which no event tells."""


def test_every_sort_is_used() -> None:
    used = {class_of(table, column.name).meaning for plane in PLANES for table, column in columns_of(plane)}
    assert used == {found.meaning for found in SORTS.values()}


def columns_of(plane: Plane) -> Iterator[tuple[Table, Column[Any]]]:
    for table in load_metadata(plane).tables.values():
        yield from ((table, column) for column in table.columns)


GOOD: dict[str, Any] = {
    "grants": {},
    "retention": "technical",
    "audit": "none",
    "columns": {"tenant": "tenant_id", "identity": "email"},
}
PLANTED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"columns": {}}, "email: not classified"),
    ({"columns": {"identity": "email"}}, "tenant_id: not classified"),
    ({"columns": {"tenant": "tenant_id", "identity": "email e_mail"}}, "e_mail: classified, but no such column"),
    ({"columns": {"tenant": "tenant_id", "identity": "email", "opaque": "email"}}, "of 2 sorts"),
    ({"columns": {"tenant": "tenant_id", "harmless": "email"}}, "of 1 sorts, harmless"),
    ({"columns": {"technical": "tenant_id", "identity": "email"}}, "the tenant's key"),
    ({"retention": None}, "no schedule"),
    ({"retention": "for_ever"}, "no schedule"),
    ({"audit": None}, "audited"),
)


@pytest.mark.parametrize(("change", "words"), PLANTED, ids=[words for _, words in PLANTED])
def test_a_planted_gap_is_found(change: dict[str, Any], words: str) -> None:
    def plant(**given: Any) -> list[str]:
        metadata = MetaData()
        columns = Column("tenant_id", BigInteger, primary_key=True), Column("email", Text)
        Table("letter", metadata, *columns, info=table_info(**given))
        return list(find_class_faults(metadata, control=False))

    assert plant(**GOOD) == []
    assert any(words in fault for fault in plant(**GOOD | change))


@pytest.mark.parametrize("sort", sorted(SORTS))
def test_the_control_plane_refuses_what_belongs_to_a_cell(sort: str) -> None:
    metadata = MetaData()
    info = table_info(**{**GOOD, "columns": {"tenant": "slug", sort: "note"}}, tenant=False, why_no_tenant="planted")
    if sort == "tenant":
        info["columns"] = {"slug": ["tenant"], "note": ["tenant"]}
    Table("letter", metadata, Column("slug", Text, primary_key=True), Column("note", Text), info=info)
    faults = list(find_class_faults(metadata, control=True))
    allowed = {"tenant", "register", "evidence", "configuration", "staff"}
    assert (faults == []) == (sort in allowed), faults


def test_a_table_that_declares_nothing_is_found() -> None:
    metadata = MetaData()
    Table("letter", metadata, Column("email", Text, primary_key=True))
    assert len(list(find_class_faults(metadata, control=False))) == 3


def test_schedules_are_the_packs_or_our_own() -> None:
    used = {table.info["retention"] for plane in PLANES for table in load_metadata(plane).tables.values()}
    assert used >= set(OWN_SCHEDULES)


def carried_by(values: Iterable[type[msgspec.Struct]]) -> dict[type[msgspec.Struct], set[str]]:
    """Return every struct that travels in some values, with the fields that are no structs themselves."""
    found: dict[type[msgspec.Struct], set[str]] = {}
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if value in found:
            continue
        found[value] = set()
        for name, hint in get_type_hints(value).items():
            inner = [each for each in unfold(hint) if isinstance(each, type) and issubclass(each, msgspec.Struct)]
            waiting += inner
            if not inner and name in value.__struct_fields__:
                found[value].add(name)
    return found


def unfold(hint: Any) -> Iterator[Any]:
    yield hint
    for part in get_args(hint):
        yield from unfold(part)


def find_crossing_faults(
    calls: Iterable[type[msgspec.Struct]], crossing: Mapping[type[msgspec.Struct], Mapping[Sort, str]]
) -> Iterator[str]:
    """Yield every field that passes between control and a cell without a class, or with one that may not."""
    for value, fields in carried_by(calls).items():
        declared = spread_columns(crossing.get(value, {}))
        yield from (f"{value.__name__}.{name}: not classified" for name in fields - declared.keys())
        yield from (f"{value.__name__}.{name}: no such field" for name in declared.keys() - fields)
        for name, sorts in declared.items():
            if not all(may_cross(SORTS[sort]) for sort in sorts) or len(sorts) != 1:
                yield f"{value.__name__}.{name}: {sorts} may not pass"


def test_what_passes_between_the_planes_is_classified_and_may_pass() -> None:
    assert set(CALLS) == set(CallKind)
    values = {value for values in CALLS.values() for value in values} | {Call}
    assert list(find_crossing_faults(values, CROSSING)) == []
    assert set(carried_by(values)) == set(CROSSING)


def test_a_planted_player_in_a_call_is_found() -> None:
    class Answer(msgspec.Struct):
        player_id: str
        seen: tuple[Touch, ...] = ()

    touches: dict[type[msgspec.Struct], Mapping[Sort, str]] = {Touch: CROSSING[Touch]}
    assert list(find_crossing_faults([Answer], touches)) == ["Answer.player_id: not classified"]
    (fault,) = find_crossing_faults([Answer], {**touches, Answer: {"subject_key": "player_id"}})
    assert "may not pass" in fault
