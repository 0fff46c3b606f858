"""What measures of data quality read of the journal: faults of a span, sums of rounds, effects of external ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import TenantScope
from pitboss.ledger.contracts import BookingFaults, Effect, FaultSample, Op, Outcome, RoundSpan, RoundSums

SAMPLES: Final = 100
"""References that are told of one fault; the count tells of all."""

# The fences (`offset 0`) keep each a look-up for a booking, whatever the statistics say of tables that grow.
_FAULTS = """
with span as materialized (
    select wallet_id, version, source_id, reference, real_after - d_real as real, bonus_after - d_bonus as bonus,
        held_after - d_held as held, debt_after - d_debt as debt
    from journal where tenant_id = :tenant_id and created_at >= :since and created_at < :until
        and op = any(cast(:ops as smallint[]))
), judged as (
    select s.reference, case
        when k.outcome is distinct from 1 then 2
        when (k.wallet_id, k.version) <> (s.wallet_id, s.version) then 1
        when s.version > 1 and p.version is null then 3
        when (s.real, s.bonus, s.held, s.debt) <> (coalesce(p.real_after, 0::bigint), coalesce(p.bonus_after, 0::bigint),
            coalesce(p.held_after, 0::bigint), coalesce(p.debt_after, 0::bigint)) then 3
        else 0 end as fault
    from span s
    left join lateral (select outcome, wallet_id, version from call_key k where k.tenant_id = :tenant_id
        and k.source_id = s.source_id
        and k.key = encode(substr(sha256(convert_to(s.reference, 'UTF8')), 1, 16), 'hex')::uuid offset 0) k on true
    left join lateral (select version, real_after, bonus_after, held_after, debt_after from journal p
        where p.tenant_id = :tenant_id and p.wallet_id = s.wallet_id and p.version = s.version - 1 offset 0) p on true
)
select fault, count(*), coalesce((array_agg(reference order by reference) filter (where fault > 0))[1:100], '{}')
from judged group by fault
"""
_SUMS = """
select n.position, s.bet_real, s.bet_bonus, s.won
from unnest(cast(:rounds as uuid[]), cast(:wallets as bigint[]), cast(:firsts as bigint[]), cast(:lasts as bigint[]))
    with ordinality as n(round_id, wallet_id, first, last, position)
cross join lateral (select coalesce(-sum(d_real) filter (where op in (1, 3)), 0)::bigint as bet_real,
        coalesce(-sum(d_bonus) filter (where op in (1, 3)), 0)::bigint as bet_bonus,
        coalesce(sum(d_real + d_bonus + d_held - d_debt) filter (where op in (2, 4)), 0)::bigint as won
    from (select * from journal j where j.tenant_id = :tenant_id and j.wallet_id = n.wallet_id
        and j.version between n.first and n.last offset 0) j
    where j.round_id = n.round_id) s
"""
_EFFECTS = """
select n.reference, k.outcome, j.op, j.d_real + j.d_bonus + j.d_held - j.d_debt, w.currency, j.round_id, j.created_at,
    j.version is not null and exists (select from journal r where r.tenant_id = :tenant_id
        and r.wallet_id = j.wallet_id and r.reverses_version = j.version)
from unnest(cast(:references as text[]), cast(:keys as uuid[])) as n(reference, key)
join source s on s.tenant_id = :tenant_id and s.name = :source
cross join lateral (select * from call_key k where k.tenant_id = :tenant_id and k.source_id = s.source_id
    and k.key = n.key offset 0) k
left join lateral (select * from journal j where j.tenant_id = :tenant_id and j.wallet_id = k.wallet_id
    and j.version = k.version and k.outcome = 1 offset 0) j on true
left join wallet w on w.tenant_id = :tenant_id and w.wallet_id = j.wallet_id
"""
_OTHERS = """
with span as materialized (
    select j.wallet_id, j.version, j.op, j.reference, j.round_id, j.created_at,
        j.d_real + j.d_bonus + j.d_held - j.d_debt as moved
    from journal j join source s on s.tenant_id = :tenant_id and s.source_id = j.source_id and s.name = :source
    where j.tenant_id = :tenant_id and j.created_at >= :since and j.created_at < :until
        and j.op = any(cast(:ops as smallint[]))
)
select s.reference, s.op, s.moved, w.currency, s.round_id, s.created_at
from span s join wallet w on w.tenant_id = :tenant_id and w.wallet_id = s.wallet_id
where not exists (select from unnest(cast(:known as text[])) as n(reference) where n.reference = s.reference)
    and not exists (select from journal r where r.tenant_id = :tenant_id and r.wallet_id = s.wallet_id
        and r.reverses_version = s.version)
order by s.created_at, s.reference limit :most
"""
_HOLDS = """
select h.wallet_id || '-' || h.opened_version from hold h
where h.tenant_id = :tenant_id and h.state = 1 and h.expires_at >= :since and h.expires_at < :until
order by h.expires_at limit :most
"""


async def find_booking_faults(
    session: AsyncSession, scope: TenantScope, ops: Collection[Op], since: datetime, until: datetime
) -> BookingFaults:
    """Return what is wrong with the bookings of some kinds from `since` up to `until`."""
    values = {"tenant_id": scope.tenant_id, "since": since, "until": until, "ops": sorted(map(int, ops))}
    found = {row[0]: FaultSample(row[1], tuple(row[2])) for row in await session.execute(text(_FAULTS), values)}
    faults = [found.get(fault, FaultSample()) for fault in (1, 2, 3)]
    return BookingFaults(sum(sample.count for sample in found.values()), *faults)


async def sum_rounds(session: AsyncSession, scope: TenantScope, rounds: Sequence[RoundSpan]) -> list[RoundSums]:
    """Return what the bookings of each round come to, in the order of `rounds`."""
    values = {
        "tenant_id": scope.tenant_id,
        "rounds": [each.round_id for each in rounds],
        "wallets": [each.wallet_id for each in rounds],
        "firsts": [each.first for each in rounds],
        "lasts": [each.last for each in rounds],
    }
    rows = await session.execute(text(_SUMS), values)
    return [RoundSums(*row[1:]) for row in sorted(rows, key=_position)]


def _position(row: Sequence[int]) -> int:
    return row[0]


async def find_effects(
    session: AsyncSession, scope: TenantScope, source: str, keys: Mapping[str, UUID]
) -> dict[str, Effect]:
    """Return what became of external ids, given with their keys."""
    values = {
        "tenant_id": scope.tenant_id,
        "source": source,
        "references": list(keys),
        "keys": list(keys.values()),
    }
    rows = await session.execute(text(_EFFECTS), values)
    return {
        row[0]: Effect(row[0], Outcome(row[1]), row[2] or 0, row[3] or 0, row[4] or "", row[5], row[6], row[7])
        for row in rows
    }


async def find_other_bookings(
    session: AsyncSession,
    scope: TenantScope,
    source: str,
    ops: Collection[Op],
    since: datetime,
    until: datetime,
    known: Collection[str],
) -> list[Effect]:
    """Return bookings of a source that stand, and whose external ids are not among `known`; some of them, oldest first."""
    values = {
        "tenant_id": scope.tenant_id,
        "source": source,
        "since": since,
        "until": until,
        "ops": sorted(map(int, ops)),
        "known": list(known),
        "most": SAMPLES,
    }
    return [Effect(row[0], Outcome.ACCEPTED, *row[1:]) for row in await session.execute(text(_OTHERS), values)]


async def find_unended_holds(session: AsyncSession, scope: TenantScope, since: datetime, until: datetime) -> list[str]:
    """Return holds that are open though their time ended from `since` up to `until`, by wallet and opening version."""
    values = {"tenant_id": scope.tenant_id, "since": since, "until": until, "most": SAMPLES}
    return [row[0] for row in await session.execute(text(_HOLDS), values)]
