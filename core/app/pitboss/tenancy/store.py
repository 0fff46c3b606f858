"""Every SQL statement of the register."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.directory.contracts import SignedSnapshot, TenantState
from pitboss.tenancy.contracts import BrandRecord, CellPlace, TenantRecord
from pitboss.tenancy.tables import BrandRow, CellRow, DomainRow, PublishedDirectoryRow, TenantRow


async def fetch_tenants(session: AsyncSession, slug: str | None = None) -> list[TenantRecord]:
    """Return all tenants, or the one of `slug`, with their brands and domains."""
    query = select(TenantRow).order_by(TenantRow.slug).execution_options(populate_existing=True)
    if slug is not None:
        query = query.where(TenantRow.slug == slug)
    rows = list(await session.scalars(query))
    brands = await _fetch_brands(session, [row.tenant_id for row in rows])
    return [
        TenantRecord(
            tenant_id=row.tenant_id,
            slug=row.slug,
            public_id=row.public_id,
            name=row.name,
            state=TenantState(row.state),
            locality=row.locality,
            cell=row.cell,
            environment=row.environment,
            currencies=tuple(row.currencies),
            packs=tuple(row.packs),
            plugins=tuple(row.plugins),
            brands=tuple(brands[row.tenant_id]),
        )
        for row in rows
    ]


async def _fetch_brands(session: AsyncSession, tenant_ids: Sequence[int]) -> dict[int, list[BrandRecord]]:
    domains: dict[tuple[int, str], list[str]] = defaultdict(list)
    for row in await session.execute(
        select(DomainRow.tenant_id, DomainRow.brand, DomainRow.domain).where(DomainRow.tenant_id.in_(tenant_ids))
    ):
        domains[row.tenant_id, row.brand].append(row.domain)
    brands: dict[int, list[BrandRecord]] = defaultdict(list)
    columns = select(
        BrandRow.tenant_id, BrandRow.slug, BrandRow.name, BrandRow.languages, BrandRow.default_language, BrandRow.pack
    ).where(BrandRow.tenant_id.in_(tenant_ids))
    for row in await session.execute(columns):
        brands[row.tenant_id].append(
            BrandRecord(
                slug=row.slug,
                name=row.name,
                domains=tuple(sorted(domains[row.tenant_id, row.slug])),
                languages=tuple(row.languages),
                default_language=row.default_language,
                pack=row.pack,
            )
        )
    return defaultdict(list, {key: sorted(found, key=lambda brand: brand.slug) for key, found in brands.items()})


async def find_slug_of_public_id(session: AsyncSession, public_id: Any) -> str | None:
    """Return the tenant that holds `public_id`."""
    return await session.scalar(select(TenantRow.slug).where(TenantRow.public_id == public_id))


async def fetch_domain_owners(session: AsyncSession, domains: Sequence[str]) -> dict[str, str]:
    """Return the tenants that own any of `domains`: domain → slug."""
    rows = await session.execute(
        select(DomainRow.domain, TenantRow.slug)
        .join(TenantRow, TenantRow.tenant_id == DomainRow.tenant_id)
        .where(DomainRow.domain.in_(domains))
    )
    return {row.domain: row.slug for row in rows}


async def lock_tenant(session: AsyncSession, slug: str) -> None:
    """Let one transaction at a time change a tenant."""
    await session.execute(select(TenantRow.tenant_id).where(TenantRow.slug == slug).with_for_update(key_share=True))


async def insert_tenant(session: AsyncSession, record: TenantRecord) -> int | None:
    """Add a pending tenant without brands; return its number, None when the slug is there already."""
    return await session.scalar(
        insert(TenantRow)
        .values(
            public_id=record.public_id,
            slug=record.slug,
            name=record.name,
            state=TenantState.PENDING.value,
            locality=record.locality,
            cell=record.cell,
            environment=record.environment,
            currencies=[],
            packs=[],
            plugins=[],
        )
        .on_conflict_do_nothing(index_elements=[TenantRow.slug])
        .returning(TenantRow.tenant_id)
    )


async def update_tenant(session: AsyncSession, record: TenantRecord) -> None:
    """Write what may change of a tenant; the time of activation is the first time that it is active."""
    values: dict[str, Any] = {
        "name": record.name,
        "state": record.state.value,
        "currencies": list(record.currencies),
        "packs": list(record.packs),
        "plugins": list(record.plugins),
    }
    if record.state is TenantState.ACTIVE:
        values["activated_at"] = func.coalesce(TenantRow.activated_at, func.now())
    await session.execute(update(TenantRow).where(TenantRow.slug == record.slug).values(values))


async def update_place(session: AsyncSession, slug: str, cell: str, state: TenantState) -> None:
    """Write where a tenant lives and what it may do there; the cell is of its locality, or the database refuses."""
    await session.execute(update(TenantRow).where(TenantRow.slug == slug).values(cell=cell, state=state.value))


async def upsert_brand(session: AsyncSession, tenant_id: int, brand: BrandRecord) -> None:
    """Add a brand or write what may change of it; its domains are written apart."""
    values = {
        "name": brand.name,
        "languages": list(brand.languages),
        "default_language": brand.default_language,
        "pack": brand.pack,
    }
    await session.execute(
        insert(BrandRow)
        .values(tenant_id=tenant_id, slug=brand.slug, **values)
        .on_conflict_do_update(index_elements=[BrandRow.tenant_id, BrandRow.slug], set_=values)
    )


async def delete_brand(session: AsyncSession, tenant_id: int, slug: str) -> None:
    """Remove a brand; its domains are gone before."""
    await session.execute(delete(BrandRow).where(BrandRow.tenant_id == tenant_id, BrandRow.slug == slug))


async def upsert_domain(session: AsyncSession, tenant_id: int, domain: str, brand: str) -> bool:
    """Lead a domain to a brand; return False when another tenant owns it."""
    written = await session.scalar(
        insert(DomainRow)
        .values(domain=domain, tenant_id=tenant_id, brand=brand)
        .on_conflict_do_update(
            index_elements=[DomainRow.domain], set_={"brand": brand}, where=DomainRow.tenant_id == tenant_id
        )
        .returning(DomainRow.domain)
    )
    return written is not None


async def delete_domain(session: AsyncSession, tenant_id: int, domain: str) -> None:
    """Free a domain."""
    await session.execute(delete(DomainRow).where(DomainRow.tenant_id == tenant_id, DomainRow.domain == domain))


async def fetch_cells(session: AsyncSession) -> dict[str, CellPlace]:
    """Return the cells that control knows."""
    rows = await session.execute(select(CellRow.cell, CellRow.locality, CellRow.address).order_by(CellRow.cell))
    return {row.cell: CellPlace(row.cell, row.locality, row.address) for row in rows}


async def lock_cells(session: AsyncSession) -> None:
    """Let one transaction at a time publish; cells are locked in one order."""
    await session.execute(select(CellRow.cell).order_by(CellRow.cell).with_for_update(key_share=True))


async def insert_cell(session: AsyncSession, place: CellPlace) -> bool:
    """Add a cell; return False when it is there already."""
    written = await session.scalar(
        insert(CellRow)
        .values(cell=place.cell, locality=place.locality, address=place.address)
        .on_conflict_do_nothing(index_elements=[CellRow.cell])
        .returning(CellRow.cell)
    )
    return written is not None


async def update_cell_address(session: AsyncSession, place: CellPlace) -> None:
    """Write where a cell is reached."""
    await session.execute(update(CellRow).where(CellRow.cell == place.cell).values(address=place.address))


async def find_published(session: AsyncSession, cell: str) -> SignedSnapshot | None:
    """Return the newest snapshot that was signed for a cell."""
    row = PublishedDirectoryRow
    found = (
        await session.execute(
            select(row.version, row.key_id, row.body, row.signature)
            .where(row.cell == cell)
            .order_by(row.version.desc())
            .limit(1)
        )
    ).first()
    return None if found is None else SignedSnapshot(*found)


async def insert_published(session: AsyncSession, cell: str, signed: SignedSnapshot) -> None:
    """Keep a signed snapshot and move the cell's version on."""
    await session.execute(
        insert(PublishedDirectoryRow).values(
            cell=cell, version=signed.version, key_id=signed.key_id, body=signed.body, signature=signed.signature
        )
    )
    await session.execute(update(CellRow).where(CellRow.cell == cell).values(directory_version=signed.version))
