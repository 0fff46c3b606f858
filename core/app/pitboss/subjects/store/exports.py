"""Statements on exports."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import TenantScope
from pitboss.subjects.contracts import Export
from pitboss.subjects.tables import SubjectExportRow


def _export(row: SubjectExportRow) -> Export:
    return Export(
        row.export_id,
        row.case_id,
        row.asked_at,
        row.made_at,
        row.expires_at,
        row.removed_at,
        row.size_bytes,
        row.sha256,
    )


async def insert_export(
    session: AsyncSession, scope: TenantScope, export_id: UUID, case_id: UUID, lifetime: timedelta
) -> None:
    """Insert an export that is yet to be made."""
    await session.execute(
        insert(SubjectExportRow).values(
            tenant_id=scope.tenant_id, export_id=export_id, case_id=case_id, expires_at=func.now() + lifetime
        )
    )


async def fetch_export(
    session: AsyncSession, scope: TenantScope, export_id: UUID, *, lock: bool = False
) -> Export | None:
    """Return an export; `lock` holds it until the transaction ends."""
    query = select(SubjectExportRow).where(
        SubjectExportRow.tenant_id == scope.tenant_id, SubjectExportRow.export_id == export_id
    )
    found = await session.scalar((query.with_for_update() if lock else query).execution_options(populate_existing=True))
    return None if found is None else _export(found)


async def fetch_exports(session: AsyncSession, scope: TenantScope, case_id: UUID) -> list[Export]:
    """Return the exports of a case, newest first."""
    row = SubjectExportRow
    found = await session.scalars(
        select(row)
        .where(row.tenant_id == scope.tenant_id, row.case_id == case_id)
        .order_by(row.asked_at.desc(), row.export_id)
    )
    return [_export(each) for each in found]


async def fetch_over(session: AsyncSession, scope: TenantScope, now: datetime, most: int) -> list[Export]:
    """Return exports whose files are to be removed, held against others who remove them."""
    row = SubjectExportRow
    found = await session.scalars(
        select(row)
        .where(row.tenant_id == scope.tenant_id, row.removed_at.is_(None), or_(row.expires_at <= now))
        .order_by(row.expires_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    return [_export(each) for each in found]


async def update_made(
    session: AsyncSession, scope: TenantScope, export_id: UUID, *, size_bytes: int, sha256: bytes
) -> None:
    """Note that the file of an export is there."""
    row = SubjectExportRow
    await session.execute(
        update(row)
        .where(row.tenant_id == scope.tenant_id, row.export_id == export_id)
        .values(made_at=func.now(), size_bytes=size_bytes, sha256=sha256)
    )


async def update_removed(session: AsyncSession, scope: TenantScope, export_id: UUID) -> None:
    """Note that the file of an export is gone."""
    row = SubjectExportRow
    await session.execute(
        update(row).where(row.tenant_id == scope.tenant_id, row.export_id == export_id).values(removed_at=func.now())
    )
