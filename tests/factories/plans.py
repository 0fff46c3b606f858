"""What a statement of ours reads on a real database, told by the server that carries it out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession


async def explain(session: AsyncSession, reading: Awaitable[Any]) -> list[dict[str, Any]]:
    """Carry `reading` out on `session`, and return the plan nodes of its only statement as it is carried out again."""
    connection = await session.connection()
    with _caught(connection.sync_connection) as statements:
        await reading
    ((statement, values),) = statements
    answer = await connection.exec_driver_sql(f"explain (analyze, format json) {statement}", values)
    found = answer.scalar_one()
    return list(_nodes((found if isinstance(found, list) else json.loads(found))[0]["Plan"]))


def count_read(nodes: list[dict[str, Any]], table: str) -> int:
    """Return how many rows of a table were looked at, those that were thrown away too."""
    counts = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return sum(
        round(sum(node.get(name, 0) for name in counts) * node["Actual Loops"])
        for node in nodes
        if node.get("Relation Name") == table
    )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


@contextmanager
def _caught(connection: Any) -> Iterator[list[tuple[str, Any]]]:
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        statements.append((statement, values))

    event.listen(connection, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(connection, "before_cursor_execute", note)
