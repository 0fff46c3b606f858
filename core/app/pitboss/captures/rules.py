"""Hold what transactions wrote against what they told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pitboss.audit.contracts import WRITES, Rows, ToldEvent, Written
from pitboss.captures.contracts import Capture, Finding, Transaction

_ORDER = (Rows.NAMED, Rows.SHARED, Rows.ONE, Rows.MAYBE, Rows.KIN, Rows.SOME, Rows.ANY)
"""What names its row chooses first, so that it is left to it by those that take any."""


def compare(transaction: Transaction, writes: Mapping[str, tuple[Written, ...]] = WRITES) -> Iterator[Finding]:
    """Yield what is written and not told, or told and not written; a row that is written again counts once.

    The order of events among each other makes no difference.
    """
    rows = {(capture.table, capture.key): capture for capture in transaction.captures}
    left = dict(rows)
    claims = [(event, written) for event in transaction.events for written in writes.get(event.type, ())]
    for event, written in sorted(claims, key=lambda claim: _ORDER.index(claim[1].rows)):
        if not _claim(event, written, rows, left):
            subject, detail = f"{event.type} {event.target_id}", f"event {event.event_id}, no row of {written.tables}"
            yield Finding("unfounded", transaction.number, transaction.at, subject, detail)
    for (table, key), capture in left.items():
        detail = f"{capture.operation} by {capture.login}"
        yield Finding("unexplained", transaction.number, transaction.at, f"{table} {key}", detail)


def _claim(
    event: ToldEvent, written: Written, rows: Mapping[tuple[str, str], Capture], left: dict[tuple[str, str], Capture]
) -> bool:
    tables = written.tables.split()
    if written.rows in {Rows.NAMED, Rows.SHARED}:
        among = rows if written.rows is Rows.SHARED else left
        wanted = [(table, event.target_id) for table in tables if (table, event.target_id) in among]
    else:
        wanted = [row for row in left if row[0] in tables]
    taken = wanted[:1] if written.rows in {Rows.ONE, Rows.MAYBE} else wanted
    if written.rows is Rows.KIN and wanted:
        first = event.target_id if any(_first(key) == event.target_id for _, key in wanted) else _first(wanted[0][1])
        taken = [(table, key) for table, key in wanted if _first(key) == first]
    for row in taken:
        left.pop(row, None)
    return bool(taken) or written.rows in {Rows.MAYBE, Rows.KIN, Rows.ANY}


def _first(key: str) -> str:
    return key.partition(":")[0]
