"""What a lane reads and writes: a handful of set-based statements, each over arrays, on one connection.

Arrays are joined by index lookups only; the lane's connection pins the planner so (ADR 0004). Nothing joins
one CTE with another: that goes quadratic.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import asyncpg

from pitboss.ledger.contracts import KnownKey, OpenAward, OpenHold, PostingBatch, WalletState
from pitboss.platform.db import id_array, number_array

_LOCK = """
select w.tenant_id, w.wallet_id, w.player_id, w.version, w.real_minor, w.bonus_minor, w.held_minor, w.debt_minor,
    w.has_awards, w.status = 1, w.has_limits
from unnest($1::text::bigint[], $2::text::bigint[]) as n(tenant_id, wallet_id)
join wallet w on w.tenant_id = n.tenant_id and w.wallet_id = n.wallet_id
order by w.tenant_id, w.wallet_id
for no key update of w
"""

_KEYS = """
select n.position, k.wallet_id, k.content_hash, k.outcome, k.refusal, k.version, k.answered_minor,
    coalesce(j.op, 0), coalesce(j.account_id, 0), coalesce(j.d_real, 0), coalesce(j.d_bonus, 0),
    coalesce(j.d_held, 0), coalesce(j.d_debt, 0), coalesce(j.round_id::text, ''),
    coalesce((select r.version from journal r where r.tenant_id = j.tenant_id and r.wallet_id = j.wallet_id
              and r.reverses_version = j.version), 0)
from unnest($1::text::bigint[], $2::text::int[], $3::text::uuid[]) with ordinality as n(tenant_id, source_id, key, position)
join call_key k on k.tenant_id = n.tenant_id and k.source_id = n.source_id and k.key = n.key
left join journal j on j.tenant_id = k.tenant_id and j.wallet_id = k.wallet_id and j.version = k.version
"""

_AWARDS = """
select a.tenant_id, a.wallet_id, a.granted_version, a.remaining_minor, a.wagered_minor
from unnest($1::text::bigint[], $2::text::bigint[]) as n(tenant_id, wallet_id)
join award a on a.tenant_id = n.tenant_id and a.wallet_id = n.wallet_id
order by a.tenant_id, a.wallet_id, a.granted_version
"""

_AWARD_ENTRIES = """
select e.tenant_id, e.wallet_id, e.version, e.granted_version, e.d_remaining
from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[]) as n(tenant_id, wallet_id, version)
join award_entry e on e.tenant_id = n.tenant_id and e.wallet_id = n.wallet_id and e.version = n.version
order by 1, 2, 3, 4
"""

_HOLDS = """
select h.tenant_id, h.wallet_id, h.opened_version, h.amount_minor, h.captured_minor, h.released_minor, h.expires_at
from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[]) as n(tenant_id, wallet_id, opened_version)
join hold h on h.tenant_id = n.tenant_id and h.wallet_id = n.wallet_id and h.opened_version = n.opened_version
"""

_USAGE = """
select u.tenant_id, u.wallet_id, u.kind, u.period, u.window_start, u.used_minor
from unnest($1::text::bigint[], $2::text::bigint[]) as n(tenant_id, wallet_id)
join usage u on u.tenant_id = n.tenant_id and u.wallet_id = n.wallet_id
where u.window_start >= $3
"""

_WALLET_NUMBERS = """
select n.position, w.wallet_id
from unnest($1::text::bigint[], $2::text::bigint[], $3::text[])
    with ordinality as n(tenant_id, player_id, currency, position)
join wallet w on w.tenant_id = n.tenant_id and w.player_id = n.player_id and w.currency = n.currency
"""

_POST = """
with booked as (
    insert into journal (tenant_id, wallet_id, version, op, account_id, source_id, d_real, d_bonus, d_held, d_debt,
        real_after, bonus_after, held_after, debt_after, round_id, reference, reverses_version, batch_id)
    select *, $1::bigint from unnest($2::text::bigint[], $3::text::bigint[], $4::text::bigint[],
        $5::text::smallint[], $6::text::int[], $7::text::int[], $8::text::bigint[], $9::text::bigint[],
        $10::text::bigint[], $11::text::bigint[], $12::text::bigint[], $13::text::bigint[], $14::text::bigint[],
        $15::text::bigint[], $16::text::uuid[], $17::text[], $18::text::bigint[])
), keyed as (
    insert into call_key (tenant_id, source_id, key, wallet_id, content_hash, outcome, refusal, version,
        answered_minor)
    select * from unnest($19::text::bigint[], $20::text::int[], $21::text::uuid[], $22::text::bigint[],
        $23::text::bigint[], $24::text::smallint[], $25::text::smallint[], $26::text::bigint[], $27::text::bigint[])
), housed as (
    insert into house_delta (tenant_id, account_id, batch_id, delta_minor)
    select n.tenant_id, n.account_id, $1::bigint, n.delta
    from unnest($28::text::bigint[], $29::text::int[], $30::text::bigint[]) as n(tenant_id, account_id, delta)
), counted as (
    insert into batch (tenant_id, batch_id, lane, bookings, counter_minor)
    select n.tenant_id, $1::bigint, $31::int, n.bookings, n.counter
    from unnest($32::text::bigint[], $33::text::int[], $34::text::bigint[]) as n(tenant_id, bookings, counter)
)
select 1
"""

_NEW_HOLDS = """
insert into hold (tenant_id, wallet_id, opened_version, amount_minor, expires_at)
select * from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[], $4::text::bigint[], $5::timestamptz[])
"""

_RESOLVE_HOLDS = """
update hold h set captured_minor = n.captured, released_minor = n.released,
    state = case when n.captured + n.released < h.amount_minor then 1 when n.captured > 0 then 2 else 3 end,
    resolved_at = case when n.captured + n.released < h.amount_minor then null else now() end
from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[], $4::text::bigint[], $5::text::bigint[])
    as n(tenant_id, wallet_id, opened_version, captured, released)
where h.tenant_id = n.tenant_id and h.wallet_id = n.wallet_id and h.opened_version = n.opened_version
"""

_NEW_AWARDS = """
insert into award (tenant_id, wallet_id, granted_version, granted_minor, remaining_minor)
select t, w, v, g, g from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[], $4::text::bigint[]) as n(t, w, v, g)
"""

_MOVE_AWARDS = """
update award a set remaining_minor = n.remaining, wagered_minor = n.wagered
from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[], $4::text::bigint[], $5::text::bigint[])
    as n(tenant_id, wallet_id, granted_version, remaining, wagered)
where a.tenant_id = n.tenant_id and a.wallet_id = n.wallet_id and a.granted_version = n.granted_version
"""

_NEW_AWARD_ENTRIES = """
insert into award_entry (tenant_id, wallet_id, version, granted_version, d_remaining)
select * from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[], $4::text::bigint[], $5::text::bigint[])
"""

_ADD_USAGE = """
insert into usage (tenant_id, wallet_id, kind, period, window_start, used_minor)
select * from unnest($1::text::bigint[], $2::text::bigint[], $3::text::smallint[], $4::text::smallint[], $5::text::date[], $6::text::bigint[])
on conflict (tenant_id, wallet_id, kind, period, window_start)
do update set used_minor = usage.used_minor + excluded.used_minor
"""

Pair = tuple[int, int]
Triple = tuple[int, int, int]


def _columns(rows: Sequence[Sequence[int | None]], width: int) -> list[str]:
    return [number_array(column) for column in zip(*rows, strict=True)] if rows else ["{}"] * width


async def lock_wallets(connection: asyncpg.Connection, pairs: Sequence[Pair]) -> dict[Pair, WalletState]:
    """Lock wallets in (tenant, wallet) order; `pairs` must be sorted. Unknown ones are not in the answer."""
    rows = await connection.fetch(_LOCK, *_columns(pairs, 2))
    wallets: dict[Pair, WalletState] = {}
    for tenant, wallet, player, version, real, bonus, held, debt, awards, is_open, limited in rows:
        state = WalletState(tenant, wallet, player, version, real, bonus, held, debt, version, awards, is_open, limited)
        wallets[(tenant, wallet)] = state
    return wallets


async def read_keys(
    connection: asyncpg.Connection, keys: Sequence[tuple[int, int, bytes]]
) -> dict[tuple[int, int, bytes], KnownKey]:
    """Return what is known of each (tenant, source, key); unknown ones are not in the answer."""
    rows = await connection.fetch(
        _KEYS,
        number_array([key[0] for key in keys]),
        number_array([key[1] for key in keys]),
        id_array([key[2].hex() for key in keys]),
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
    numbers = _columns([name[:2] for name in names], 2)
    rows = await connection.fetch(_WALLET_NUMBERS, *numbers, [name[2] for name in names])
    return {names[row[0] - 1]: row[1] for row in rows}


async def post(connection: asyncpg.Connection, batch_id: int, lane: int, batch: PostingBatch) -> None:
    """Write a whole batch; the journal moves the wallets, and the server refuses rows that do not continue them."""
    per_tenant: dict[int, list[int]] = {}
    for row in batch.bookings:
        share = per_tenant.setdefault(row[0], [0, 0])
        share[0] += 1
        share[1] += row[9] - row[6] - row[7] - row[8]
    keys = sorted(batch.keys)
    bookings = batch.bookings
    await connection.execute(
        _POST,
        batch_id,
        *_columns([row[:14] for row in bookings], 14),
        id_array([row[14] for row in bookings]),
        [row[15] for row in bookings],
        number_array([row[16] for row in bookings]),
        *_columns([key[:2] for key in keys], 2),
        id_array([key[2].hex() for key in keys]),
        *_columns([key[3:] for key in keys], 6),
        *_columns([(*account, delta) for account, delta in batch.house.items()], 3),
        lane,
        *_columns([(tenant, *share) for tenant, share in per_tenant.items()], 3),
    )
    if batch.new_holds or batch.holds or batch.new_awards or batch.awards or batch.usage:
        await _post_rare(connection, batch)


async def _post_rare(connection: asyncpg.Connection, batch: PostingBatch) -> None:
    if batch.new_holds:
        rows = [hold[:4] for hold in batch.new_holds]
        await connection.execute(_NEW_HOLDS, *_columns(rows, 4), [hold[4] for hold in batch.new_holds])
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
        used = sorted(batch.usage.items())
        numbers = _columns([(*key[:4], minor) for key, minor in used], 5)
        days = id_array([key[4].isoformat() for key, _ in used])
        await connection.execute(_ADD_USAGE, *numbers[:4], days, numbers[4])


async def next_batch_block(connection: asyncpg.Connection) -> int:
    """Return a number that no lane had before; it stands for a block of batch ids."""
    return int(await connection.fetchval("select nextval('batch_block_seq')"))
