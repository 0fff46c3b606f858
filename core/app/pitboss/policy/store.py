"""Every SQL statement of the policy."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.policy.contracts import AppliedPolicy, TenantPolicy
from pitboss.policy.tables import TenantPolicyRow


async def find_applied(session: AsyncSession, tenant_id: int, *, for_update: bool = False) -> AppliedPolicy | None:
    """Return what was applied for a tenant, locked against another change where asked."""
    query = select(TenantPolicyRow.policy, TenantPolicyRow.packs).where(TenantPolicyRow.tenant_id == tenant_id)
    row = (await session.execute(query.with_for_update() if for_update else query)).first()
    return None if row is None else AppliedPolicy(msgspec.convert(row.policy, TenantPolicy), row.packs)


async def insert_applied(session: AsyncSession, tenant_id: int, applied: AppliedPolicy) -> bool:
    """Write a tenant's first policy; False when another transaction wrote it before."""
    statement = insert(TenantPolicyRow).values(tenant_id=tenant_id, **_columns(applied))
    inserted = await session.execute(statement.on_conflict_do_nothing().returning(TenantPolicyRow.tenant_id))
    return inserted.first() is not None


async def update_applied(session: AsyncSession, tenant_id: int, applied: AppliedPolicy) -> None:
    """Write a tenant's policy as it is to be from now on."""
    await session.execute(
        update(TenantPolicyRow)
        .where(TenantPolicyRow.tenant_id == tenant_id)
        .values(**_columns(applied), updated_at=func.clock_timestamp())
    )


def _columns(applied: AppliedPolicy) -> dict[str, Any]:
    return {"policy": msgspec.to_builtins(applied.policy), "packs": dict(applied.packs)}
