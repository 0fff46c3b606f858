"""What a lane reads and writes: parts of composed statements, each over arrays, on one connection.

Arrays are joined by index lookups only; the lane's connection pins the planner so (ADR 0004). Nothing joins
one CTE with another: that goes quadratic. Nothing is locked before it is written: the journal's trigger refuses
rows that do not continue their wallet, and the keys of keys and journal refuse what is there already (ADR 0010).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

import asyncpg
import msgspec

from pitboss.kernel.statements import ReadPart, WritePart
from pitboss.ledger.contracts import KnownKey, OpenAward, OpenHold, PostingBatch, WalletState
from pitboss.platform.db import id_array, number_array, text_array

_READ_WALLETS = """
select json_agg(json_build_array(w.tenant_id, w.wallet_id, w.player_id, w.version, w.real_minor, w.bonus_minor,
    w.held_minor, w.debt_minor, w.has_awards, w.status = 1, w.has_limits,
    coalesce((extract(epoch from w.closed_until) * 1000000)::bigint, 0), w.licence))
from unnest($1::text::bigint[], $2::text::bigint[]) as n(tenant_id, wallet_id)
join wallet w on w.tenant_id = n.tenant_id and w.wallet_id = n.wallet_id
"""

_READ_KEYS = """
select json_agg(json_build_array(n.position, k.wallet_id, k.content_hash, k.outcome, k.refusal, k.version,
    k.answered_minor, coalesce(j.op, 0), coalesce(j.account_id, 0), coalesce(j.d_real, 0), coalesce(j.d_bonus, 0),
    coalesce(j.d_held, 0), coalesce(j.d_debt, 0), coalesce(j.round_id::text, ''),
    coalesce((select r.version from journal r where r.tenant_id = j.tenant_id and r.wallet_id = j.wallet_id
              and r.reverses_version = j.version), 0)))
from unnest($1::text::bigint[], $2::text::int[], $3::text::uuid[]) with ordinality as n(tenant_id, source_id, key, position)
join call_key k on k.tenant_id = n.tenant_id and k.source_id = n.source_id and k.key = n.key
left join journal j on j.tenant_id = k.tenant_id and j.wallet_id = k.wallet_id and j.version = k.version
"""

_READ_HOLDS = """
select json_agg(json_build_array(h.tenant_id, h.wallet_id, h.opened_version, h.amount_minor, h.captured_minor,
    h.released_minor, h.expires_at))
from unnest($1::text::bigint[], $2::text::int[], $3::text::uuid[]) as n(tenant_id, source_id, key)
join call_key k on k.tenant_id = n.tenant_id and k.source_id = n.source_id and k.key = n.key
join hold h on h.tenant_id = k.tenant_id and h.wallet_id = k.wallet_id and h.opened_version = k.version
"""

_READ_AWARDS = """
select json_agg(json_build_array(a.tenant_id, a.wallet_id, a.granted_version, a.remaining_minor, a.wagered_minor,
    j.source_id, j.account_id, j.reference))
from unnest($1::text::bigint[], $2::text::bigint[]) as n(tenant_id, wallet_id)
join award a on a.tenant_id = n.tenant_id and a.wallet_id = n.wallet_id
join journal j on j.tenant_id = a.tenant_id and j.wallet_id = a.wallet_id and j.version = a.granted_version
"""

_READ_AWARD_ENTRIES = """
select json_agg(json_build_array(e.tenant_id, e.wallet_id, e.version, e.granted_version, e.d_remaining)
    order by e.granted_version)
from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[]) as n(tenant_id, wallet_id, version)
join award_entry e on e.tenant_id = n.tenant_id and e.wallet_id = n.wallet_id and e.version = n.version
"""

_READ_TIMES = """
select json_agg(json_build_array(j.tenant_id, j.wallet_id, j.version,
    (extract(epoch from j.created_at) * 1000000)::bigint))
from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[]) as n(tenant_id, wallet_id, version)
join journal j on j.tenant_id = n.tenant_id and j.wallet_id = n.wallet_id and j.version = n.version
"""

_READ_USAGE = """
select json_agg(json_build_array(u.tenant_id, u.wallet_id, u.kind, u.period, u.window_start, u.used_minor))
from unnest($1::text::bigint[], $2::text::bigint[]) as n(tenant_id, wallet_id)
join usage u on u.tenant_id = n.tenant_id and u.wallet_id = n.wallet_id
where u.window_start >= $3 and (u.period > 1 or u.window_start >= $4)
"""

_WALLET_NUMBERS = """
select n.position, w.wallet_id, w.licence
from unnest($1::text::bigint[], $2::text::bigint[], $3::text[])
    with ordinality as n(tenant_id, player_id, currency, position)
join wallet w on w.tenant_id = n.tenant_id and w.player_id = n.player_id and w.currency = n.currency
"""

_BOOK = """
insert into journal (tenant_id, wallet_id, version, op, account_id, source_id, d_real, d_bonus, d_held, d_debt,
    real_after, bonus_after, held_after, debt_after, round_id, reference, reverses_version, batch_id)
select *, $18::bigint from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[], $4::text::smallint[],
    $5::text::int[], $6::text::int[], $7::text::bigint[], $8::text::bigint[], $9::text::bigint[], $10::text::bigint[],
    $11::text::bigint[], $12::text::bigint[], $13::text::bigint[], $14::text::bigint[], $15::text::uuid[], $16::text::text[],
    $17::text::bigint[])
"""

_KEEP_KEYS = """
insert into call_key (tenant_id, source_id, key, wallet_id, content_hash, outcome, refusal, version, answered_minor)
select * from unnest($1::text::bigint[], $2::text::int[], $3::text::uuid[], $4::text::bigint[], $5::text::bigint[],
    $6::text::smallint[], $7::text::smallint[], $8::text::bigint[], $9::text::bigint[])
"""

_TELL_HOUSE = """
insert into house_delta (tenant_id, account_id, batch_id, delta_minor)
select n.tenant_id, n.account_id, $4::bigint, n.delta
from unnest($1::text::bigint[], $2::text::int[], $3::text::bigint[]) as n(tenant_id, account_id, delta)
"""

_COUNT = """
insert into batch (tenant_id, batch_id, lane, bookings, counter_minor)
select n.tenant_id, $4::bigint, $5::int, n.bookings, n.counter
from unnest($1::text::bigint[], $2::text::int[], $3::text::bigint[]) as n(tenant_id, bookings, counter)
"""

_STILL_STANDS = """
$4::int = (select count(*) from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[])
    as n(tenant_id, wallet_id, version)
    join wallet w on w.tenant_id = n.tenant_id and w.wallet_id = n.wallet_id and w.version = n.version)
"""

_STILL_NEW = """
not exists (select from unnest($1::text::bigint[], $2::text::int[], $3::text::uuid[]) as n(tenant_id, source_id, key)
    join call_key k on k.tenant_id = n.tenant_id and k.source_id = n.source_id and k.key = n.key)
"""

_NOT_ENDED = """
now() < timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
"""

_NEW_HOLDS = """
insert into hold (tenant_id, wallet_id, opened_version, amount_minor, captured_minor, released_minor, expires_at, state,
    resolved_at)
select n.*, case when n.captured + n.released < n.amount then 1 when n.captured > 0 then 2 else 3 end,
    case when n.captured + n.released < n.amount then null else now() end
from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[], $4::text::bigint[], $5::text::bigint[],
    $6::text::bigint[], $7::timestamptz[])
    as n(tenant_id, wallet_id, opened_version, amount, captured, released, expires_at)
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
insert into award (tenant_id, wallet_id, granted_version, granted_minor, remaining_minor, wagered_minor)
select * from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[], $4::text::bigint[],
    $5::text::bigint[], $6::text::bigint[])
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
Key = tuple[int, int, bytes]
_WALLET_ROWS = msgspec.json.Decoder(list[tuple[int, int, int, int, int, int, int, int, bool, bool, bool, int, str]])
_KEY_ROWS = msgspec.json.Decoder(list[tuple[int, int, int, int, int, int, int, int, int, int, int, int, int, str, int]])
_AWARD_ROWS = msgspec.json.Decoder(list[tuple[int, int, int, int, int, int, int, str]])
_FOURS = msgspec.json.Decoder(list[tuple[int, int, int, int]])
_FIVES = msgspec.json.Decoder(list[tuple[int, int, int, int, int]])
_USAGE_ROWS = msgspec.json.Decoder(list[tuple[int, int, int, int, date, int]])
_HOLD_ROWS = msgspec.json.Decoder(list[tuple[int, int, int, int, int, int, datetime]])


def _columns(rows: Sequence[Sequence[int | None]], width: int) -> list[str]:
    return [number_array(column) for column in zip(*rows, strict=True)] if rows else ["{}"] * width


def _key_columns(keys: Sequence[Key]) -> list[str]:
    return [*_columns([key[:2] for key in keys], 2), id_array([key[2].hex() for key in keys])]


def ask_wallets(pairs: Sequence[Pair]) -> ReadPart:
    """Return the part that reads wallets."""
    return ReadPart(_READ_WALLETS, _columns(pairs, 2))


def tell_wallets(text: str) -> dict[Pair, WalletState]:
    """Return what `ask_wallets` read; unknown ones are not in the answer."""
    return {(row[0], row[1]): WalletState(*row) for row in _WALLET_ROWS.decode(text)}


def ask_keys(keys: Sequence[Key]) -> ReadPart:
    """Return the part that reads what is known of each (tenant, source, key)."""
    return ReadPart(_READ_KEYS, _key_columns(keys))


def tell_keys(keys: Sequence[Key], text: str) -> dict[Key, KnownKey]:
    """Return what `ask_keys` read; unknown ones are not in the answer."""
    return {keys[row[0] - 1]: KnownKey(*row[1:]) for row in _KEY_ROWS.decode(text)}


def ask_holds(keys: Sequence[Key]) -> ReadPart:
    """Return the part that reads the holds that were opened under these keys."""
    return ReadPart(_READ_HOLDS, _key_columns(keys))


def tell_holds(text: str) -> dict[Triple, OpenHold]:
    """Return what `ask_holds` read, by (tenant, wallet, opened version)."""
    return {(row[0], row[1], row[2]): OpenHold(*row[2:]) for row in _HOLD_ROWS.decode(text)}


def ask_awards(pairs: Sequence[Pair]) -> ReadPart:
    """Return the part that reads the awards of wallets."""
    return ReadPart(_READ_AWARDS, _columns(pairs, 2))


def tell_awards(text: str) -> dict[Triple, OpenAward]:
    """Return what `ask_awards` read, by (tenant, wallet, granted version)."""
    return {(row[0], row[1], row[2]): OpenAward(*row[2:]) for row in _AWARD_ROWS.decode(text)}


def ask_award_entries(bookings: Sequence[Triple]) -> ReadPart:
    """Return the part that reads which awards each (tenant, wallet, version) moved."""
    return ReadPart(_READ_AWARD_ENTRIES, _columns(bookings, 3))


def tell_award_entries(text: str) -> dict[Triple, list[tuple[int, int]]]:
    """Return what `ask_award_entries` read: (granted version, change) of each booking, oldest award first."""
    entries: dict[Triple, list[tuple[int, int]]] = {}
    for row in _FIVES.decode(text):
        entries.setdefault((row[0], row[1], row[2]), []).append((row[3], row[4]))
    return entries


def ask_times(bookings: Sequence[Triple]) -> ReadPart:
    """Return the part that reads when each (tenant, wallet, version) was booked."""
    return ReadPart(_READ_TIMES, _columns(bookings, 3))


def tell_times(text: str) -> dict[Triple, int]:
    """Return what `ask_times` read: microseconds since 1970 of each booking."""
    return {(row[0], row[1], row[2]): row[3] for row in _FOURS.decode(text)}


def ask_usage(pairs: Sequence[Pair], since: date, today: date) -> ReadPart:
    """Return the part that reads what wallets used of limit windows from `since` on, and of days from `today` on."""
    return ReadPart(_READ_USAGE, [*_columns(pairs, 2), since, today])


def tell_usage(text: str) -> dict[tuple[int, int, int, int, date], int]:
    """Return what `ask_usage` read: minor units by (tenant, wallet, kind, period, window start)."""
    return {(row[0], row[1], row[2], row[3], row[4]): row[5] for row in _USAGE_ROWS.decode(text)}


async def read_wallet_numbers(
    connection: asyncpg.Connection, names: Sequence[tuple[int, int, str]]
) -> dict[tuple[int, int, str], tuple[int, str]]:
    """Return wallet ids and licences by (tenant, player, currency); those that are not open are not in the answer."""
    numbers = _columns([name[:2] for name in names], 2)
    rows = await connection.fetch(_WALLET_NUMBERS, *numbers, [name[2] for name in names])
    return {names[row[0] - 1]: (row[1], row[2]) for row in rows}


def plan_post(batch_id: int, lane: int, batch: PostingBatch) -> list[WritePart]:
    """Return the parts that write a whole batch; the journal moves the wallets.

    The server refuses rows that do not continue their wallets, and keys that are there already.
    """
    bookings, keys = sorted(batch.bookings), sorted(batch.keys)
    parts: list[WritePart] = []
    if bookings:
        per_tenant: dict[int, list[int]] = {}
        for row in bookings:
            share = per_tenant.setdefault(row[0], [0, 0])
            share[0] += 1
            share[1] += row[9] - row[6] - row[7] - row[8]
        columns = list(zip(*bookings, strict=True))
        numbers = [number_array(column) for column in columns[:14]]
        round_ids, reversed_versions = id_array(columns[14]), number_array(columns[16])
        parts.append(WritePart(_BOOK, [*numbers, round_ids, text_array(columns[15]), reversed_versions, batch_id]))
        house = _columns([(*account, delta) for account, delta in sorted(batch.house.items())], 3)
        parts.append(WritePart(_TELL_HOUSE, [*house, batch_id]))
        counts = _columns([(tenant, *share) for tenant, share in per_tenant.items()], 3)
        parts.append(WritePart(_COUNT, [*counts, batch_id, lane]))
    if keys:
        parts.append(WritePart(_KEEP_KEYS, [*_key_columns(keys), *_columns([key[3:] for key in keys], 6)]))
    if batch.new_holds or batch.holds or batch.new_awards or batch.awards or batch.usage:
        parts += _plan_rare(batch)
    if batch.right_before_us is not None:
        parts.append(WritePart("", [batch.right_before_us], _NOT_ENDED))
    return parts


def _plan_rare(batch: PostingBatch) -> list[WritePart]:
    """Return the parts for holds, awards and usage; a row that is new in this batch is written as it ends."""
    parts: list[WritePart] = []
    opened = {hold[:3]: hold for hold in batch.new_holds}
    if opened:
        ends = [batch.holds.get(name) for name in opened]
        done = [(end.captured, end.released) if end is not None else (0, 0) for end in ends]
        rows = [(*hold[:4], *its) for hold, its in zip(opened.values(), done, strict=True)]
        parts.append(WritePart(_NEW_HOLDS, [*_columns(rows, 6), [hold[4] for hold in opened.values()]]))
    moved = [(*name, hold.captured, hold.released) for name, hold in batch.holds.items() if name not in opened]
    if moved:
        parts.append(WritePart(_RESOLVE_HOLDS, _columns(moved, 5)))
    granted = {award[:3]: award[3] for award in batch.new_awards}
    awards = [(*name, award.remaining, award.wagered) for name, award in batch.awards.items()]
    new = [(*row[:3], granted[row[:3]], *row[3:]) for row in awards if row[:3] in granted]
    if new:
        parts.append(WritePart(_NEW_AWARDS, _columns(new, 6)))
    old = [row for row in awards if row[:3] not in granted]
    if old:
        parts.append(WritePart(_MOVE_AWARDS, _columns(old, 5)))
    if batch.award_entries:
        parts.append(WritePart(_NEW_AWARD_ENTRIES, _columns(batch.award_entries, 5)))
    if batch.usage:
        used = sorted(batch.usage.items())
        numbers = _columns([(*key[:4], minor) for key, minor in used], 5)
        days = id_array([key[4].isoformat() for key, _ in used])
        parts.append(WritePart(_ADD_USAGE, [*numbers[:4], days, numbers[4]]))
    return parts


def plan_standing(wallets: Sequence[tuple[int, int, int]]) -> WritePart:
    """Return the check that (tenant, wallet) pairs, each with the version it was decided on, still stand there."""
    return WritePart("", [*_columns(wallets, 3), len(wallets)], _STILL_STANDS)


def plan_new(keys: Sequence[Key]) -> WritePart:
    """Return the check that nothing is known of any (tenant, source, key)."""
    return WritePart("", _key_columns(keys), _STILL_NEW)


NEXT_BLOCK: Final = ReadPart("select nextval('batch_block_seq')", ())
"""Reads a number that no lane had before; it stands for a block of batch ids."""
