"""Every SQL statement of the plugin host."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.plughost.contracts import Enablement
from pitboss.plughost.tables import PluginEnablementRow


async def fetch_enablements(session: AsyncSession, tenant_id: int) -> list[Enablement]:
    """Return a tenant's plugins, enabled or not, by slug."""
    rows = await session.scalars(
        select(PluginEnablementRow)
        .where(PluginEnablementRow.tenant_id == tenant_id)
        .order_by(PluginEnablementRow.slug)
        .execution_options(populate_existing=True)
    )
    return [_enablement(row) for row in rows]


async def find_enablement(
    session: AsyncSession, tenant_id: int, slug: str, *, for_update: bool = False
) -> Enablement | None:
    """Return one plugin of a tenant, locked against another change where asked."""
    query = (
        select(PluginEnablementRow)
        .where(PluginEnablementRow.tenant_id == tenant_id, PluginEnablementRow.slug == slug)
        .execution_options(populate_existing=True)
    )
    row = await session.scalar(query.with_for_update() if for_update else query)
    return None if row is None else _enablement(row)


async def insert_enablement(session: AsyncSession, tenant_id: int, slug: str, values: dict[str, Any]) -> bool:
    """Write a tenant's first row for a plugin; False when another transaction wrote it before."""
    statement = insert(PluginEnablementRow).values(tenant_id=tenant_id, slug=slug, **values)
    inserted = await session.execute(statement.on_conflict_do_nothing().returning(PluginEnablementRow.slug))
    return inserted.first() is not None


async def update_enablement(session: AsyncSession, tenant_id: int, slug: str, values: dict[str, Any]) -> None:
    """Write a tenant's plugin as it is to be from now on."""
    await session.execute(
        update(PluginEnablementRow)
        .where(PluginEnablementRow.tenant_id == tenant_id, PluginEnablementRow.slug == slug)
        .values(**values, updated_at=func.clock_timestamp())
    )


def _enablement(row: PluginEnablementRow) -> Enablement:
    return Enablement(
        slug=row.slug,
        kind=row.kind,
        distribution=row.distribution,
        version=row.version,
        config=row.config,
        config_version=row.config_version,
        enabled=row.enabled,
        updated_at=row.updated_at,
    )
