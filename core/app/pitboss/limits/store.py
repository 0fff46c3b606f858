"""Every SQL statement of the limits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import TenantScope
from pitboss.kernel.statements import ReadPart
from pitboss.limits.contracts import (
    Change,
    Exclusion,
    ExclusionKind,
    Limit,
    LimitKind,
    Period,
    PlayerLimit,
    PlayTimeLimit,
)
from pitboss.limits.tables import ExclusionRow, PlayerLimitRow, PlayTimeLimitRow
from pitboss.platform.db import number_array

_ROWS = msgspec.json.Decoder(list[tuple[int, int, int, int, int]])
_READ = """
select json_agg(json_build_array(l.tenant_id, l.wallet_id, l.kind, l.period,
    case when l.next_from <= $3::timestamptz then l.next_minor else l.amount_minor end))
from unnest($1::text::bigint[], $2::text::bigint[]) as n(tenant_id, wallet_id)
join player_limit l on l.tenant_id = n.tenant_id and l.wallet_id = n.wallet_id
where l.next_from is null or l.next_from > $3::timestamptz or l.next_minor is not null
"""


def ask_limits(pairs: Sequence[tuple[int, int]], now: datetime) -> ReadPart:
    """Return the part that reads the limits of wallets as they are at `now`."""
    tenants, wallets = number_array([pair[0] for pair in pairs]), number_array([pair[1] for pair in pairs])
    return ReadPart(_READ, (tenants, wallets, now))


def tell_limits(text: str) -> dict[tuple[int, int], list[Limit]]:
    """Return what `ask_limits` read; wallets without limits are not in the answer."""
    found: dict[tuple[int, int], list[Limit]] = {}
    for row in _ROWS.decode(text):
        found.setdefault((row[0], row[1]), []).append(Limit(LimitKind(row[2]), Period(row[3]), row[4]))
    return found


async def write_limit(session: AsyncSession, scope: TenantScope, wallet_id: int, wanted: PlayerLimit) -> None:
    """Set a limit of a wallet, with the change that waits, if one does."""
    limit, waiting = wanted.limit, wanted.waiting
    values = {
        "tenant_id": scope.tenant_id,
        "wallet_id": wallet_id,
        "kind": limit.kind,
        "period": limit.period,
        "amount_minor": limit.amount_minor,
        "next_minor": None if waiting is None else waiting.amount_minor,
        "next_from": None if waiting is None else waiting.at,
    }
    statement = insert(PlayerLimitRow).values(values)
    changed = ("amount_minor", "next_minor", "next_from")
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "wallet_id", "kind", "period"],
            set_={name: statement.excluded[name] for name in changed} | {"set_at": func.now()},
        )
    )


async def list_limits(session: AsyncSession, scope: TenantScope, wallet_id: int) -> list[PlayerLimit]:
    """Return the limits of one wallet as they are written, whatever the time of a waiting change."""
    rows = await session.scalars(
        select(PlayerLimitRow)
        .where(PlayerLimitRow.tenant_id == scope.tenant_id, PlayerLimitRow.wallet_id == wallet_id)
        .order_by(PlayerLimitRow.kind, PlayerLimitRow.period)
    )
    return [
        PlayerLimit(
            Limit(LimitKind(row.kind), Period(row.period), row.amount_minor),
            None if row.next_from is None else Change(row.next_minor, row.next_from),
        )
        for row in rows
    ]


async def list_limited_wallets(session: AsyncSession, scope: TenantScope) -> list[int]:
    """Return all wallets that have a limit; read whole, for the proof of the books."""
    statement = select(PlayerLimitRow.wallet_id).where(PlayerLimitRow.tenant_id == scope.tenant_id).distinct()
    return list(await session.scalars(statement))


async def delete_limit(
    session: AsyncSession, scope: TenantScope, wallet_id: int, kind: LimitKind, period: Period
) -> None:
    """Remove a limit of a wallet."""
    await session.execute(
        delete(PlayerLimitRow).where(
            PlayerLimitRow.tenant_id == scope.tenant_id,
            PlayerLimitRow.wallet_id == wallet_id,
            PlayerLimitRow.kind == kind,
            PlayerLimitRow.period == period,
        )
    )


async def write_play_time(session: AsyncSession, scope: TenantScope, player_id: int, wanted: PlayTimeLimit) -> None:
    """Set a limit of a player's play time, with the change that waits, if one does."""
    values = {
        "tenant_id": scope.tenant_id,
        "player_id": player_id,
        "period": wanted.period,
        "limit_minutes": wanted.minutes,
        "next_minutes": wanted.next_minutes,
        "next_from": wanted.next_from,
    }
    statement = insert(PlayTimeLimitRow).values(values)
    changed = ("limit_minutes", "next_minutes", "next_from")
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "player_id", "period"],
            set_={name: statement.excluded[name] for name in changed} | {"set_at": func.now()},
        )
    )


async def list_play_time(session: AsyncSession, scope: TenantScope, player_id: int) -> list[PlayTimeLimit]:
    """Return the limits of a player's play time as they are written, whatever the time of a waiting change."""
    rows = await session.scalars(
        select(PlayTimeLimitRow)
        .where(PlayTimeLimitRow.tenant_id == scope.tenant_id, PlayTimeLimitRow.player_id == player_id)
        .order_by(PlayTimeLimitRow.period)
        .execution_options(populate_existing=True)
    )
    return [PlayTimeLimit(Period(row.period), row.limit_minutes, row.next_minutes, row.next_from) for row in rows]


async def delete_play_time(session: AsyncSession, scope: TenantScope, player_id: int, period: Period) -> None:
    """Remove a limit of a player's play time."""
    await session.execute(
        delete(PlayTimeLimitRow).where(
            PlayTimeLimitRow.tenant_id == scope.tenant_id,
            PlayTimeLimitRow.player_id == player_id,
            PlayTimeLimitRow.period == period,
        )
    )


async def insert_exclusion(session: AsyncSession, scope: TenantScope, player_id: int, exclusion: Exclusion) -> None:
    """Write a new exclusion."""
    await session.execute(
        insert(ExclusionRow).values(
            tenant_id=scope.tenant_id,
            player_id=player_id,
            exclusion_id=exclusion.exclusion_id,
            kind=int(exclusion.kind),
            starts_at=exclusion.starts_at,
            ends_at=exclusion.ends_at,
            reason=exclusion.reason,
        )
    )


async def write_lift(session: AsyncSession, scope: TenantScope, exclusion_id: UUID, lifted_from: datetime) -> None:
    """Note from when on an exclusion does not stand any more."""
    await session.execute(
        update(ExclusionRow)
        .where(ExclusionRow.tenant_id == scope.tenant_id, ExclusionRow.exclusion_id == exclusion_id)
        .values(lifted_from=lifted_from)
    )


async def list_exclusions(session: AsyncSession, scope: TenantScope, player_id: int) -> list[Exclusion]:
    """Return all exclusions of a player, newest first."""
    rows = await session.scalars(
        select(ExclusionRow)
        .where(ExclusionRow.tenant_id == scope.tenant_id, ExclusionRow.player_id == player_id)
        .order_by(ExclusionRow.starts_at.desc(), ExclusionRow.exclusion_id)
    )
    return [
        Exclusion(row.exclusion_id, ExclusionKind(row.kind), row.starts_at, row.ends_at, row.lifted_from, row.reason)
        for row in rows
    ]
