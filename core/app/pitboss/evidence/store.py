"""Every SQL statement of the sealed log, on connections of the driver: the sealer's, and that of who reads it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg

from pitboss.evidence.contracts import SealState, Segment

LEADER_LOCK: Final = 7220254


async def try_to_lead(connection: asyncpg.Connection) -> bool:
    """Take the cell's lock of sealers for as long as the connection lives; return whether it was free."""
    return bool(await connection.fetchval("select pg_try_advisory_lock($1)", LEADER_LOCK))


async def set_context(connection: asyncpg.Connection, token: str) -> None:
    """Bind a signed context to the current transaction."""
    await connection.execute("select set_config('pitboss.ctx', $1, true)", token)


async def read_clock(connection: asyncpg.Connection) -> datetime:
    """Return the database's time."""
    return await connection.fetchval("select clock_timestamp()")


async def lock_log(connection: asyncpg.Connection, tenant_id: int) -> SealState | None:
    """Return where a log stands, and keep every other sealer from it until the transaction ends."""
    row = await connection.fetchrow(
        "select origin, size, edge, segments, last_digest, public_key from round_log where tenant_id = $1 for update",
        tenant_id,
    )
    return None if row is None else SealState(*row)


async def find_log(connection: asyncpg.Connection, tenant_id: int) -> SealState | None:
    """Return where a log stands."""
    row = await connection.fetchrow(
        "select origin, size, edge, segments, last_digest, public_key from round_log where tenant_id = $1", tenant_id
    )
    return None if row is None else SealState(*row)


async def insert_log(connection: asyncpg.Connection, tenant_id: int, state: SealState) -> None:
    """Begin a log, unless another sealer just did."""
    await connection.execute(
        "insert into round_log (tenant_id, origin, size, edge, segments, last_digest, public_key)"
        " values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
        tenant_id,
        state.origin,
        state.size,
        state.edge,
        state.segments,
        state.last_digest,
        state.public_key,
    )


async def update_log(connection: asyncpg.Connection, tenant_id: int, state: SealState) -> None:
    """Write where a log stands now."""
    await connection.execute(
        "update round_log set size = $2, edge = $3, segments = $4, last_digest = $5, public_key = $6"
        " where tenant_id = $1",
        tenant_id,
        state.size,
        state.edge,
        state.segments,
        state.last_digest,
        state.public_key,
    )


async def insert_segment(connection: asyncpg.Connection, tenant_id: int, segment: Segment) -> None:
    """Write a signed segment with its objects, which are still to be stored."""
    await connection.execute(
        "insert into round_segment (tenant_id, number, first, size, opened_at, closed_at, manifest, lines, columns)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        tenant_id,
        segment.number,
        segment.first,
        segment.size,
        segment.opened_at,
        segment.closed_at,
        segment.manifest,
        segment.lines,
        segment.columns,
    )


async def insert_tiles(connection: asyncpg.Connection, tenant_id: int, tiles: Sequence[tuple[int, int, bytes]]) -> None:
    """Write full tiles: level, number, hashes."""
    await connection.executemany(
        "insert into round_tile (tenant_id, level, number, hashes) values ($1, $2, $3, $4)",
        [(tenant_id, *tile) for tile in tiles],
    )


async def fetch_tiles(
    connection: asyncpg.Connection, tenant_id: int, wanted: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """Return full tiles by level and number; those of the edge are not among them."""
    rows = await connection.fetch(
        "select t.level, t.number, t.hashes from round_tile t"
        " join unnest($2::smallint[], $3::bigint[]) w (level, number) on w.level = t.level and w.number = t.number"
        " where t.tenant_id = $1",
        tenant_id,
        [level for level, _ in wanted],
        [number for _, number in wanted],
    )
    return {(row["level"], row["number"]): row["hashes"] for row in rows}


async def find_waiting(connection: asyncpg.Connection, tenant_id: int) -> Segment | None:
    """Return the first segment that is not stored yet."""
    row = await connection.fetchrow(
        "select number, first, size, opened_at, closed_at, manifest, lines, columns from round_segment"
        " where tenant_id = $1 and stored_at is null order by number limit 1",
        tenant_id,
    )
    return None if row is None else Segment(*row)


async def mark_stored(connection: asyncpg.Connection, tenant_id: int, number: int) -> None:
    """Let go of a segment's objects, now that they are stored."""
    await connection.execute(
        "update round_segment set stored_at = clock_timestamp(), lines = null, columns = null"
        " where tenant_id = $1 and number = $2 and stored_at is null",
        tenant_id,
        number,
    )


async def list_between(connection: asyncpg.Connection, tenant_id: int, begin: datetime, end: datetime) -> list[Segment]:
    """Return the segments that may hold what was booked in a span."""
    rows = await connection.fetch(
        "select number, first, size, opened_at, closed_at, manifest, lines, columns from round_segment"
        " where tenant_id = $1 and opened_at <= $3 and closed_at >= $2 order by number",
        tenant_id,
        begin,
        end,
    )
    return [Segment(*row) for row in rows]


async def fetch_segment(connection: asyncpg.Connection, tenant_id: int, number: int) -> Segment | None:
    """Return a segment by its number."""
    row = await connection.fetchrow(
        "select number, first, size, opened_at, closed_at, manifest, lines, columns from round_segment"
        " where tenant_id = $1 and number = $2",
        tenant_id,
        number,
    )
    return None if row is None else Segment(*row)
