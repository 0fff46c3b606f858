"""Statements put together from several rooms' parts, so that a batch makes one journey and not one for each room.

A part is SQL of one room over parameters that it counts from $1; nothing here reads it. Composed statements are
kept by the texts of their parts, so that the driver prepares each combination once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

_PARAMETER = re.compile(r"\$(\d+)")


class ReadPart(NamedTuple):
    """A query of one row and one column, a JSON array or null, with its values."""

    sql: str
    args: Sequence[Any]


class WritePart(NamedTuple):
    """A statement that changes rows, with its values.

    `check` is a boolean expression over the same parameters that must hold, or nothing of the whole statement
    happens; `@` in it stands for what `sql` returns. A part may have a check alone.
    """

    sql: str
    args: Sequence[Any]
    check: str = ""


@lru_cache(maxsize=256)
def compose_reads(parts: tuple[tuple[str, int], ...]) -> str:
    """Return one query of a column for each (SQL, number of values)."""
    columns: list[str] = []
    offset = 0
    for sql, width in parts:
        columns.append(f"({_shift(sql, offset)})::text")
        offset += width
    return f"select {', '.join(columns)}"


@lru_cache(maxsize=256)
def compose_writes(parts: tuple[tuple[str, str, int], ...]) -> str:
    """Return one statement that carries out each (SQL, check, number of values), in this order.

    PostgreSQL carries out changes that nothing in the statement reads last to first, so they are written that way.
    Whoever locks rows of several parts in their order waits and does not deadlock. A part whose check asks what it
    returned comes before all others.
    """
    changes: list[str] = []
    checks: list[str] = []
    offset = 0
    for number, (sql, check, width) in enumerate(parts):
        if sql:
            changes.append(f"p{number} as ({_shift(sql, offset)})")
        if check:
            checks.append(f"ledger_expect({_shift(check, offset).replace('@', f'p{number}')})")
        offset += width
    return (f"with {', '.join(reversed(changes))} " if changes else "") + f"select {', '.join(checks) or '1'}"


def _shift(sql: str, offset: int) -> str:
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + offset}", sql)
