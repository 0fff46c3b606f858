"""What a lane reads and writes: a handful of set-based statements, each over arrays, on one connection.

Arrays are joined by index lookups only; the lane's connection pins the planner so (ADR 0004). Nothing joins
one CTE with another: that goes quadratic.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import asyncpg
from asyncpg.pgproto.pgproto import UUID as DriverUUID  # noqa: N811 - the driver's own class costs half

from pitboss.ledger.contracts import KnownKey, OpenAward, OpenHold, PostingBatch, WalletState
from pitboss.ledger.errors import StaleWallet

_LOCK = """
select w.tenant_id, w.wallet_id, w.player_id, w.version, w.real_minor, w.bonus_minor, w.held_minor, w.debt_minor,
    coalesce((select true from award a where a.tenant_id = w.tenant_id and a.wallet_id = w.wallet_id limit 1), false)
from unnest($1::bigint[], $2::bigint[]) as n(tenant_id, wallet_id)
join wallet w on w.tenant_id = n.tenant_id and w.wallet_id = n.wallet_id
order by w.tenant_id, w.wallet_id
for no key update of w
"""

_KEYS = """
select n.position, k.wallet_id, k.content_hash, k.outcome, k.refusal, k.version, k.answered_minor,
    coalesce(j.op, 0), coalesce(j.account_id, 0), coalesce(j.d_real, 0), coalesce(j.d_bonus, 0),
    coalesce(j.d_held, 0), coalesce(j.d_debt, 0), j.round_id,
    coalesce((select r.version from journal r where r.tenant_id = j.tenant_id and r.wallet_id = j.wallet_id
              and r.reverses_version = j.version), 0)
from unnest($1::bigint[], $2::int[], $3::uuid[]) with ordinality as n(tenant_id, source_id, key, position)
join call_key k on k.tenant_id = n.tenant_id and k.source_id = n.source_id and k.key = n.key
left join journal j on j.tenant_id = k.tenant_id and j.wallet_id = k.wallet_id and j.version = k.version
"""

_AWARDS = """
select a.tenant_id, a.wallet_id, a.granted_version, a.remaining_minor, a.wagered_minor
from unnest($1::bigint[], $2::bigint[]) as n(tenant_id, wallet_id)
join award a on a.tenant_id = n.tenant_id and a.wallet_id = n.wallet_id
order by a.tenant_id, a.wallet_id, a.granted_version
"""

_AWARD_ENTRIES = """
select e.tenant_id, e.wallet_id, e.version, e.granted_version, e.d_remaining
from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as n(tenant_id, wallet_id, version)
join award_entry e on e.tenant_id = n.tenant_id and e.wallet_id = n.wallet_id and e.version = n.version
order by 1, 2, 3, 4
"""

_HOLDS = """
select h.tenant_id, h.wallet_id, h.opened_version, h.amount_minor, h.captured_minor, h.released_minor, h.expires_at
from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as n(tenant_id, wallet_id, opened_version)
join hold h on h.tenant_id = n.tenant_id and h.wallet_id = n.wallet_id and h.opened_version = n.opened_version
"""

_USAGE = """
select u.tenant_id, u.wallet_id, u.kind, u.period, u.window_start, u.used_minor
from unnest($1::bigint[], $2::bigint[]) as n(tenant_id, wallet_id)
join usage u on u.tenant_id = n.tenant_id and u.wallet_id = n.wallet_id
where u.window_start >= $3
"""

_WALLET_NUMBERS = """
select n.position, w.wallet_id
from unnest($1::bigint[], $2::bigint[], $3::text[]) with ordinality as n(tenant_id, player_id, currency, position)
join wallet w on w.tenant_id = n.tenant_id and w.player_id = n.player_id and w.currency = n.currency
"""

_POST = """
with moved as (
    update wallet w
    set version = n.version, real_minor = n.real_minor, bonus_minor = n.bonus_minor,
        held_minor = n.held_minor, debt_minor = n.debt_minor
    from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::bigint[]) as n(tenant_id, wallet_id, version_before, version, real_minor, bonus_minor, held_minor,
        debt_minor)
    where w.tenant_id = n.tenant_id and w.wallet_id = n.wallet_id and w.version = n.version_before
    returning 1
), booked as (
    insert into journal (tenant_id, wallet_id, version, op, account_id, source_id, d_real, d_bonus, d_held, d_debt,
        real_after, bonus_after, held_after, debt_after, round_id, reference, reverses_version, batch_id)
    select *, $9::bigint from unnest($10::bigint[], $11::bigint[], $12::bigint[], $13::smallint[], $14::int[],
        $15::int[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[],
        $22::bigint[], $23::bigint[], $24::uuid[], $25::text[], $26::bigint[])
), keyed as (
    insert into call_key (tenant_id, source_id, key, wallet_id, content_hash, outcome, refusal, version,
        answered_minor)
    select * from unnest($27::bigint[], $28::int[], $29::uuid[], $30::bigint[], $31::bigint[], $32::smallint[],
        $33::smallint[], $34::bigint[], $35::bigint[])
), housed as (
    insert into house_delta (tenant_id, account_id, batch_id, delta_minor)
    select n.tenant_id, n.account_id, $9::bigint, n.delta
    from unnest($36::bigint[], $37::int[], $38::bigint[]) as n(tenant_id, account_id, delta)
), counted as (
    insert into batch (tenant_id, batch_id, lane, bookings, counter_minor)
    select n.tenant_id, $9::bigint, $39::int, n.bookings, n.counter
    from unnest($40::bigint[], $41::int[], $42::bigint[]) as n(tenant_id, bookings, counter)
)
select count(*) from moved
"""

_NEW_HOLDS = """
insert into hold (tenant_id, wallet_id, opened_version, amount_minor, expires_at)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::timestamptz[])
"""

_RESOLVE_HOLDS = """
update hold h set captured_minor = n.captured, released_minor = n.released,
    state = case when n.captured + n.released < h.amount_minor then 1 when n.captured > 0 then 2 else 3 end,
    resolved_at = case when n.captured + n.released < h.amount_minor then null else now() end
from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
    as n(tenant_id, wallet_id, opened_version, captured, released)
where h.tenant_id = n.tenant_id and h.wallet_id = n.wallet_id and h.opened_version = n.opened_version
"""

_NEW_AWARDS = """
insert into award (tenant_id, wallet_id, granted_version, granted_minor, remaining_minor)
select t, w, v, g, g from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) as n(t, w, v, g)
"""

_MOVE_AWARDS = """
update award a set remaining_minor = n.remaining, wagered_minor = n.wagered
from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
    as n(tenant_id, wallet_id, granted_version, remaining, wagered)
where a.tenant_id = n.tenant_id and a.wallet_id = n.wallet_id and a.granted_version = n.granted_version
"""

_NEW_AWARD_ENTRIES = """
insert into award_entry (tenant_id, wallet_id, version, granted_version, d_remaining)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
"""

_ADD_USAGE = """
insert into usage (tenant_id, wallet_id, kind, period, window_start, used_minor)
select * from unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::smallint[], $5::date[], $6::bigint[])
on conflict (tenant_id, wallet_id, kind, period, window_start)
do update set used_minor = usage.used_minor + excluded.used_minor
"""

Pair = tuple[int, int]
Triple = tuple[int, int, int]


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


async def lock_wallets(connection: asyncpg.Connection, pairs: Sequence[Pair]) -> dict[Pair, WalletState]:
    """Lock wallets in (tenant, wallet) order; `pairs` must be sorted. Unknown ones are not in the answer."""
    rows = await connection.fetch(_LOCK, [pair[0] for pair in pairs], [pair[1] for pair in pairs])
    return {
        (tenant, wallet): WalletState(tenant, wallet, player, version, real, bonus, held, debt, version, awards)
        for tenant, wallet, player, version, real, bonus, held, debt, awards in rows
    }


async def read_keys(
    connection: asyncpg.Connection, keys: Sequence[tuple[int, int, bytes]]
) -> dict[tuple[int, int, bytes], KnownKey]:
    """Return what is known of each (tenant, source, key); unknown ones are not in the answer."""
    rows = await connection.fetch(
        _KEYS, [key[0] for key in keys], [key[1] for key in keys], [DriverUUID(key[2]) for key in keys]
    )
    return {keys[row[0] - 1]: KnownKey(*row[1:]) for row in rows}


async def read_awards(connection: asyncpg.Connection, pairs: Sequence[Pair]) -> dict[Triple, OpenAward]:
    """Return the awards of wallets, oldest first."""
    rows = await connection.fetch(_AWARDS, *_columns(pairs, 2))
    return {(row[0], row[1], row[2]): OpenAward(row[2], row[3], row[4]) for row in rows}


async def read_award_entries(
    connection: asyncpg.Connection, bookings: Sequence[Triple]
) -> dict[Triple, list[tuple[int, int]]]:
    """Return (granted_version, d_remaining) of each (tenant, wallet, version)."""
    entries: dict[Triple, list[tuple[int, int]]] = {}
    for row in await connection.fetch(_AWARD_ENTRIES, *_columns(bookings, 3)):
        entries.setdefault((row[0], row[1], row[2]), []).append((row[3], row[4]))
    return entries


async def read_holds(connection: asyncpg.Connection, holds: Sequence[Triple]) -> dict[Triple, OpenHold]:
    """Return holds by (tenant, wallet, opened_version)."""
    rows = await connection.fetch(_HOLDS, *_columns(holds, 3))
    return {(row[0], row[1], row[2]): OpenHold(*row[2:]) for row in rows}


async def read_usage(
    connection: asyncpg.Connection, pairs: Sequence[Pair], since: date
) -> dict[tuple[int, int, int, int, date], int]:
    """Return used minor units by (tenant, wallet, kind, period, window start) from `since` on."""
    rows = await connection.fetch(_USAGE, *_columns(pairs, 2), since)
    return {(row[0], row[1], row[2], row[3], row[4]): row[5] for row in rows}


async def read_wallet_numbers(
    connection: asyncpg.Connection, names: Sequence[tuple[int, int, str]]
) -> dict[tuple[int, int, str], int]:
    """Return wallet ids by (tenant, player, currency); those that are not open are not in the answer."""
    rows = await connection.fetch(_WALLET_NUMBERS, *_columns(names, 3))
    return {names[row[0] - 1]: row[1] for row in rows}


async def post(
    connection: asyncpg.Connection, batch_id: int, lane: int, wallets: Sequence[WalletState], batch: PostingBatch
) -> None:
    """Write a whole batch; raise `StaleWallet` when a wallet is not where it was locked."""
    per_tenant: dict[int, list[int]] = {}
    for row in batch.bookings:
        share = per_tenant.setdefault(row[0], [0, 0])
        share[0] += 1
        share[1] += row[9] - row[6] - row[7] - row[8]
    keys = _columns(sorted(batch.keys), 9)
    keys[2] = [DriverUUID(key) for key in keys[2]]
    moved = await connection.fetchval(
        _POST,
        [w.tenant_id for w in wallets],
        [w.wallet_id for w in wallets],
        [w.version_before for w in wallets],
        [w.version for w in wallets],
        [w.real for w in wallets],
        [w.bonus for w in wallets],
        [w.held for w in wallets],
        [w.debt for w in wallets],
        batch_id,
        *_columns(batch.bookings, 17),
        *keys,
        [pair[0] for pair in batch.house],
        [pair[1] for pair in batch.house],
        list(batch.house.values()),
        lane,
        list(per_tenant),
        [share[0] for share in per_tenant.values()],
        [share[1] for share in per_tenant.values()],
    )
    if moved != len(wallets):
        raise StaleWallet(f"{len(wallets) - moved} of {len(wallets)} wallets moved while they were locked")
    if batch.new_holds or batch.holds or batch.new_awards or batch.awards or batch.usage:
        await _post_rare(connection, batch)


async def _post_rare(connection: asyncpg.Connection, batch: PostingBatch) -> None:
    if batch.new_holds:
        await connection.execute(_NEW_HOLDS, *_columns(batch.new_holds, 5))
    if batch.holds:
        rows = [(*key, hold.captured, hold.released) for key, hold in batch.holds.items()]
        await connection.execute(_RESOLVE_HOLDS, *_columns(rows, 5))
    if batch.new_awards:
        await connection.execute(_NEW_AWARDS, *_columns(batch.new_awards, 4))
    if batch.awards:
        rows = [(*key, award.remaining, award.wagered) for key, award in batch.awards.items()]
        await connection.execute(_MOVE_AWARDS, *_columns(rows, 5))
    if batch.award_entries:
        await connection.execute(_NEW_AWARD_ENTRIES, *_columns(batch.award_entries, 5))
    if batch.usage:
        rows = [(*key, used) for key, used in sorted(batch.usage.items())]
        await connection.execute(_ADD_USAGE, *_columns(rows, 6))


async def next_batch_block(connection: asyncpg.Connection) -> int:
    """Return a number that no lane had before; it stands for a block of batch ids."""
    return int(await connection.fetchval("select nextval('batch_block_seq')"))


async def transaction_time(connection: asyncpg.Connection) -> datetime:
    """Return the database's time at the start of the transaction."""
    return await connection.fetchval("select now()")
