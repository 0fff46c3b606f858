"""What measures of data quality read of rounds."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.games.contracts import CountedRound
from pitboss.games.tables import RoundRow
from pitboss.kernel.scope import TenantScope


async def fetch_counted_rounds(
    session: AsyncSession,
    scope: TenantScope,
    since: datetime,
    until: datetime,
    after: CountedRound | None,
    most: int,
) -> list[CountedRound]:
    """Return rounds that began from `since` up to `until`, in the order of their beginning, the next after one."""
    columns = [getattr(RoundRow, name) for name in CountedRound.__struct_fields__]
    query = select(*columns).where(
        RoundRow.tenant_id == scope.tenant_id, RoundRow.started_at >= since, RoundRow.started_at < until
    )
    if after is not None:
        place = tuple_(RoundRow.started_at, RoundRow.round_id, RoundRow.wallet_id)
        query = query.where(RoundRow.started_at >= after.started_at).where(
            place > (after.started_at, after.round_id, after.wallet_id)
        )
    query = query.order_by(RoundRow.started_at, RoundRow.round_id, RoundRow.wallet_id).limit(most)
    return [CountedRound(*row) for row in await session.execute(query)]


async def find_round_names(session: AsyncSession, scope: TenantScope, rounds: Collection[UUID]) -> dict[UUID, str]:
    """Return what the provider calls rounds, by our ids."""
    query = select(RoundRow.round_id, RoundRow.reference).where(
        RoundRow.tenant_id == scope.tenant_id, RoundRow.round_id.in_(rounds)
    )
    return {row[0]: row[1] for row in await session.execute(query)} if rounds else {}
