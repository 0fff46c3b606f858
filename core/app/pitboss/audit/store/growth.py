"""The statements by which a log grows; the sequencer speaks to the driver itself, since it moves thousands of rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from pitboss.audit.contracts import Entry, LogState

LEADER_LOCK: Final = 7220253
ZERO_ID: Final = UUID(int=0)


async def try_to_lead(connection: asyncpg.Connection) -> bool:
    """Take the cell's lock of sequencers for as long as the connection lives; return whether it was free."""
    return bool(await connection.fetchval("select pg_try_advisory_lock($1)", LEADER_LOCK))


async def set_context(connection: asyncpg.Connection, token: str) -> None:
    """Bind a signed context to the current transaction."""
    await connection.execute("select set_config('pitboss.ctx', $1, true)", token)


_WORK: Final = """
select t.tenant_id from unnest($1::bigint[]) t (tenant_id) left join audit_log l on l.tenant_id = t.tenant_id
where (l.tenant_id is null and exists (select from audit_event e where e.tenant_id = t.tenant_id)
    or l.public_key <> $2 and l.size > 0
    or l.taken_in > pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    or l.size > l.checkpoint_size and l.checkpoint_at <= clock_timestamp() - make_interval(secs => $3)
    or exists (select from audit_event e where e.tenant_id = t.tenant_id
        and (e.written_in, e.event_id) > (l.taken_in, l.taken_id)
        and e.written_in < pg_snapshot_xmin(pg_current_snapshot())::text::bigint))
"""


async def list_work(
    connection: asyncpg.Connection, tenant_ids: Sequence[int], public_key: bytes, every_seconds: float
) -> list[int]:
    """Return the tenants of the context whose log has something to take, to hand over or to sign."""
    rows = await connection.fetch(_WORK, list(tenant_ids), public_key, float(every_seconds))
    return [row["tenant_id"] for row in rows]


async def read_horizon(connection: asyncpg.Connection) -> tuple[int, datetime]:
    """Return the transaction before which all have ended, and the database's clock."""
    row = await connection.fetchrow(
        "select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as horizon, clock_timestamp() as now"
    )
    assert row is not None  # noqa: S101 - a select without a table has one row
    return row["horizon"], row["now"]


async def lock_log(connection: asyncpg.Connection, tenant_id: int) -> LogState | None:
    """Return where a log stands, and keep every other sequencer from it until the transaction ends."""
    row = await connection.fetchrow(
        "select origin, size, edge, taken_in, taken_id, recorded_at, public_key, checkpoint_size, checkpoint_at"
        " from audit_log where tenant_id = $1 for update",
        tenant_id,
    )
    return None if row is None else LogState(**row)


async def insert_log(connection: asyncpg.Connection, tenant_id: int, state: LogState) -> None:
    """Begin a log, unless another sequencer just did."""
    values = msgspec.structs.astuple(state)
    await connection.execute(
        "insert into audit_log (tenant_id, origin, size, edge, taken_in, taken_id, recorded_at, public_key,"
        " checkpoint_size, checkpoint_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict do nothing",
        tenant_id,
        *values,
    )


async def update_log(connection: asyncpg.Connection, tenant_id: int, state: LogState) -> None:
    """Write where a log stands now."""
    await connection.execute(
        "update audit_log set size = $2, edge = $3, taken_in = $4, taken_id = $5, recorded_at = $6, public_key = $7,"
        " checkpoint_size = $8, checkpoint_at = $9 where tenant_id = $1",
        tenant_id,
        *msgspec.structs.astuple(state)[1:],
    )


_EVENTS: Final = """
select event_id, written_in, occurred_at, category, type, outcome, reason, actor_kind, actor_name, origin, target_type,
    target_id, changes from audit_event
where tenant_id = $1 and (written_in, event_id) > ($2, $3) and written_in < $4
order by written_in, event_id limit $5
"""


async def fetch_new_events(
    connection: asyncpg.Connection, tenant_id: int, state: LogState, horizon: int, most: int
) -> list[dict[str, Any]]:
    """Return the next events that are not in the log yet, of transactions that have all ended, in their order."""
    rows = await connection.fetch(_EVENTS, tenant_id, state.taken_in, state.taken_id, horizon, most)
    decode = msgspec.json.decode
    return [{**row, "origin": decode(row["origin"]), "changes": decode(row["changes"])} for row in rows]


_LEFT_OUT: Final = """
select event_id, written_in, occurred_at, category, type, outcome, reason, actor_kind, actor_name, origin, target_type,
    target_id, changes from audit_event e
where tenant_id = $1 and not exists (select from audit_entry x where x.tenant_id = $1 and x.event_id = e.event_id)
order by occurred_at, event_id limit $2
"""


async def fetch_left_out(connection: asyncpg.Connection, tenant_id: int, most: int) -> list[dict[str, Any]]:
    """Return events that are not in the log, whatever their transactions' numbers say, in the order of their times."""
    rows = await connection.fetch(_LEFT_OUT, tenant_id, most)
    decode = msgspec.json.decode
    return [{**row, "origin": decode(row["origin"]), "changes": decode(row["changes"])} for row in rows]


async def find_logged(connection: asyncpg.Connection, tenant_id: int, event_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of the events are in the log already."""
    rows = await connection.fetch(
        "select event_id from audit_entry where tenant_id = $1 and event_id = any($2::uuid[])", tenant_id, event_ids
    )
    return {row["event_id"] for row in rows}


async def insert_entries(
    connection: asyncpg.Connection, tenant_id: int, recorded_at: datetime, entries: Sequence[Entry]
) -> None:
    """Append entries whose numbers follow each other."""
    await connection.execute(
        "insert into audit_entry (tenant_id, log_seq, event_id, recorded_at, body)"
        " select $1, $2 + place - 1, event_id, $3, body"
        " from unnest($4::uuid[], $5::bytea[]) with ordinality t (event_id, body, place)",
        tenant_id,
        entries[0].log_seq,
        recorded_at,
        [each.event_id for each in entries],
        [each.body for each in entries],
    )


async def insert_tiles(connection: asyncpg.Connection, tenant_id: int, tiles: Sequence[tuple[int, int, bytes]]) -> None:
    """Write full tiles: level, number, hashes."""
    await connection.executemany(
        "insert into audit_tile (tenant_id, level, number, hashes) values ($1, $2, $3, $4)",
        [(tenant_id, *tile) for tile in tiles],
    )


async def insert_checkpoint(
    connection: asyncpg.Connection, tenant_id: int, size: int, made_at: datetime, note: str
) -> None:
    """Write a signed checkpoint."""
    await connection.execute(
        "insert into audit_checkpoint (tenant_id, size, made_at, note) values ($1, $2, $3, $4)",
        tenant_id,
        size,
        made_at,
        note,
    )


_UNWITNESSED: Final = """
select c.size, c.note, l.edge, l.size as log_size, coalesce((select max(s.size) from audit_cosignature s
    where s.tenant_id = $1 and s.witness = $2), 0) as seen
from audit_checkpoint c join audit_log l on l.tenant_id = c.tenant_id
where c.tenant_id = $1 order by c.size desc limit 1
"""


class Unwitnessed(msgspec.Struct, frozen=True):
    """The newest checkpoint, what the witness has signed before, and the edge of the log as it is."""

    size: int
    note: str
    edge: bytes
    log_size: int
    seen: int


async def find_unwitnessed(connection: asyncpg.Connection, tenant_id: int, witness: str) -> Unwitnessed | None:
    """Return the newest checkpoint if `witness` has not signed it."""
    row = await connection.fetchrow(_UNWITNESSED, tenant_id, witness)
    return None if row is None or row["seen"] >= row["size"] else Unwitnessed(**row)


async def insert_cosignature(
    connection: asyncpg.Connection, tenant_id: int, size: int, witness: str, line: str
) -> None:
    """Keep the line of a witness."""
    await connection.execute(
        "insert into audit_cosignature (tenant_id, size, witness, line) values ($1, $2, $3, $4) on conflict do nothing",
        tenant_id,
        size,
        witness,
        line,
    )


async def fetch_tiles(
    connection: asyncpg.Connection, tenant_id: int, wanted: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """Return full tiles by level and number; those of the edge are not among them."""
    rows = await connection.fetch(
        "select t.level, t.number, t.hashes from audit_tile t"
        " join unnest($2::smallint[], $3::bigint[]) w (level, number) on w.level = t.level and w.number = t.number"
        " where t.tenant_id = $1",
        tenant_id,
        [level for level, _ in wanted],
        [number for _, number in wanted],
    )
    return {(row["level"], row["number"]): row["hashes"] for row in rows}
