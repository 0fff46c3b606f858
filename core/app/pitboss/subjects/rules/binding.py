"""Whose a row is: how each table names the player, what is told of its columns and what is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from pitboss.kernel.classes import Sort
from pitboss.subjects.contracts import ColumnShape, Held, Row, Subject, TableShape
from pitboss.subjects.errors import TableNotBound


class Binding(StrEnum):
    """What a table knows a player by."""

    PLAYER = "player_id"
    WALLET = "wallet_id"
    SUBJECT = "subject_id"
    CASE = "case_id"
    EVENT = "event"


OF_A_SUBJECT: Final = frozenset(
    {"subject_key", "account", "play", "money", "protection", "identity", "credential", "opaque"}
)
"""Sorts of column that may hold something of one player."""
EVENTS: Final = "audit_event"
NOT_BOUND: Final[Mapping[str, str]] = {
    "attempt_throttle": "counts attempts under a keyed digest of what was typed, and forgets them within hours",
    "audit_entry": "the bytes that prove the events of audit_event, which are told",
    "brand_theme": "a tenant's own files",
    "capture": "that a row changed, by the names of its columns; the changes are told by audit_event",
    "index_key": "keys of a tenant, of no player",
    "journal_sealed": "how far the rows of journal, which are told, have gone into a sealed log",
    "key_epoch": "keys of a tenant, of no player",
    "legal_hold": "what a court or an authority has asked for; to tell a subject of it may be forbidden",
    "outbox_job": "work on its way, which ends within minutes and is swept within a day",
    "quality_finding": "what was wrong with records of journal and round, which are told, by the provider's names",
    "retention_run": "what was proposed for destruction by its age, table by table",
    "round_segment": "the bytes that prove the rounds and payments of round and journal, which are told",
    "webhook": "messages of vendors as they came, under the vendor's own names",
    "webhook_object": "what the order of a vendor's messages is judged by, under the vendor's own names",
}
"""Tables with a column of such a sort and without a player; each with the reason why it is not in an export."""
WITHHELD: Final[Mapping[str, str]] = {
    "credential": "it would let somebody in: digests of passwords and tokens, wrapped keys",
    "staff": "it is about somebody else: who of the staff did it",
}
"""Sorts whose content is not told to a subject, with the reason that the export gives."""
DIGESTS: Final[Mapping[tuple[str, str], str]] = {
    ("player_identity", "email_index"): "a digest by which the address beside it is found; it says nothing else",
}
"""Columns of identity in bytes that are no sealed field; every other is opened by the room that sealed it."""
_ORDER: Final = (Binding.PLAYER, Binding.WALLET, Binding.SUBJECT, Binding.CASE)


def bind_table(table: TableShape) -> Binding | None:
    """Return what `table` knows a player by; None for a table that holds nothing of one, or is excepted by name."""
    if table.name == EVENTS:
        return Binding.EVENT
    if table.name in NOT_BOUND or not any(column.sort in OF_A_SUBJECT for column in table.columns):
        return None
    names = {column.name for column in table.columns}
    for binding in _ORDER:
        if binding.value in names:
            return binding
    raise TableNotBound(f"{table.name} names no player and is not excepted")


def list_bound(tables: Iterable[TableShape]) -> list[tuple[TableShape, Binding]]:
    """Return the tables that hold something of subjects; raise `TableNotBound`."""
    found = [(table, bind_table(table)) for table in tables]
    return [(table, binding) for table, binding in found if binding is not None]


def find_unbound(tables: Iterable[TableShape]) -> list[str]:
    """Return the tables of which nothing says how a subject's rows are found, and exceptions without a table."""
    known = {table.name: table for table in tables}
    unbound = [name for name in NOT_BOUND if name not in known]
    for table in known.values():
        try:
            bind_table(table)
        except TableNotBound:
            unbound.append(table.name)
    return sorted(unbound)


def tell_rows(table: TableShape, rows: Sequence[Row], opened: Mapping[str, Any]) -> Held:
    """Return what is told of a table's rows; `opened` are its sealed fields, out of the room that keeps them.

    Raises `TableNotBound` for a sealed field that nobody opened: an export is whole, or there is none.
    """
    withheld = {column.name: WITHHELD[column.sort] for column in table.columns if column.sort in WITHHELD}
    withheld |= {name: why for (owner, name), why in DIGESTS.items() if owner == table.name}
    for column in list_sealed(table):
        if rows and column not in opened:
            raise TableNotBound(f"{table.name}.{column} is sealed and nobody opens it")
    told = [_tell(table.columns, row, withheld, opened) for row in rows]
    return Held(table.name, _sorts(table), withheld, told)


def list_sealed(table: TableShape) -> list[str]:
    """Return the columns of a table that hold sealed fields."""
    return [
        column.name
        for column in table.columns
        if column.sort == "identity" and column.is_bytes and (table.name, column.name) not in DIGESTS
    ]


def tell_events(table: TableShape, rows: Sequence[Row], subject: Subject) -> Held:
    """Return what is told of audit events: of the subject's own acts everything, of others' not who they were."""
    staff = {column.name: WITHHELD["staff"] for column in table.columns if column.sort == "staff"}
    told: list[Row] = []
    for row in rows:
        own = row["actor_kind"] == "player" and row["actor_name"] == str(subject.public_id)
        told.append(_tell(table.columns, row, {} if own else staff, {}))
    return Held(
        table.name, _sorts(table), {name: f"{why}, unless the subject did" for name, why in staff.items()}, told
    )


def event_names(subject: Subject, bound: Iterable[tuple[TableShape, Sequence[Row]]]) -> tuple[set[str], set[str]]:
    """Return the ids that audit events name as their target, whole, and those that begin the target's name."""
    whole = {str(subject.public_id)}
    for table, rows in bound:
        keys = [column.name for column in table.columns if column.is_key and column.is_uuid and _names(column)]
        whole |= {str(row[name]) for row in rows for name in keys}
    return whole, {str(subject.player_id), *map(str, subject.wallet_ids)}


def _names(column: ColumnShape) -> bool:
    return column.sort == "subject_key"


def _sorts(table: TableShape) -> dict[str, Sort]:
    return {column.name: column.sort for column in table.columns if column.sort != "tenant"}


def _tell(columns: Iterable[ColumnShape], row: Row, withheld: Mapping[str, str], opened: Mapping[str, Any]) -> Row:
    return {
        column.name: opened.get(column.name, row[column.name])
        for column in columns
        if column.sort != "tenant" and column.name not in withheld
    }
