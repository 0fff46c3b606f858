"""Every SQL statement of themes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.themes.contracts import BrandTheme, Logo, Served
from pitboss.themes.tables import BrandThemeRow


async def fetch_themes(
    session: AsyncSession, tenant_id: int, *, for_update: bool = False
) -> dict[str, tuple[str, BrandTheme]]:
    """Return version and theme of each brand of a tenant, locked against another change where asked."""
    row = BrandThemeRow
    query = select(row.brand, row.version, row.colour, row.names, row.logo).where(row.tenant_id == tenant_id)
    found = await session.execute(query.order_by(row.brand).with_for_update() if for_update else query)
    return {
        each.brand: (each.version, BrandTheme(colour=each.colour, names=each.names, logo=each.logo)) for each in found
    }


async def insert_theme(session: AsyncSession, tenant_id: int, brand: str, values: dict[str, Any]) -> bool:
    """Write a brand's first theme; False when another transaction wrote it before."""
    statement = insert(BrandThemeRow).values(tenant_id=tenant_id, brand=brand, **values)
    inserted = await session.execute(statement.on_conflict_do_nothing().returning(BrandThemeRow.brand))
    return inserted.first() is not None


async def update_theme(session: AsyncSession, tenant_id: int, brand: str, values: dict[str, Any]) -> None:
    """Write a brand's theme as it is to be from now on."""
    await session.execute(
        update(BrandThemeRow)
        .where(BrandThemeRow.tenant_id == tenant_id, BrandThemeRow.brand == brand)
        .values(**values, updated_at=func.clock_timestamp())
    )


async def delete_theme(session: AsyncSession, tenant_id: int, brand: str) -> None:
    """Let a brand look as the platform does."""
    await session.execute(
        delete(BrandThemeRow).where(BrandThemeRow.tenant_id == tenant_id, BrandThemeRow.brand == brand)
    )


async def find_served(session: AsyncSession, tenant_id: int, brand: str) -> Served | None:
    """Return what a brand's pages need of its theme."""
    row = BrandThemeRow
    query = select(row.version, row.stylesheet, row.names, row.logo.is_not(None))
    found = (await session.execute(query.where(row.tenant_id == tenant_id, row.brand == brand))).first()
    return None if found is None else Served(*found)


async def find_logo(session: AsyncSession, tenant_id: int, brand: str) -> Logo | None:
    """Return a brand's logo."""
    row = BrandThemeRow
    query = select(row.version, row.logo_type, row.logo).where(row.logo.is_not(None))
    found = (await session.execute(query.where(row.tenant_id == tenant_id, row.brand == brand))).first()
    return None if found is None else Logo(*found)
