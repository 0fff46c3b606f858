"""What is left of awards, read inside a use case's session."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import TenantScope
from pitboss.ledger.contracts import AwardMoney
from pitboss.ledger.tables import AwardRow, CallKeyRow, SourceRow


async def find_award_money(
    session: AsyncSession, scope: TenantScope, source: str, keys: Collection[UUID]
) -> dict[UUID, AwardMoney]:
    """Return what is left of awards by the key of their booking; those not booked are not in the answer."""
    rows = await session.execute(
        select(CallKeyRow.key, AwardRow)
        .join(SourceRow, (SourceRow.tenant_id == CallKeyRow.tenant_id) & (SourceRow.source_id == CallKeyRow.source_id))
        .join(
            AwardRow,
            (AwardRow.tenant_id == CallKeyRow.tenant_id)
            & (AwardRow.wallet_id == CallKeyRow.wallet_id)
            & (AwardRow.granted_version == CallKeyRow.version),
        )
        .where(CallKeyRow.tenant_id == scope.tenant_id, SourceRow.name == source, CallKeyRow.key.in_(keys))
        .execution_options(populate_existing=True)
    )
    return {key: AwardMoney(award.granted_minor, award.remaining_minor, award.wagered_minor) for key, award in rows}
