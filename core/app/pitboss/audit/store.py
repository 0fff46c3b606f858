"""Every SQL statement of the audit log."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.tables import AuditEventRow, ControlAuditEventRow


async def insert_event(session: AsyncSession, tenant_id: int, values: dict[str, Any]) -> None:
    """Append one event of a tenant."""
    await session.execute(insert(AuditEventRow).values(tenant_id=tenant_id, **values))


async def insert_control_event(session: AsyncSession, values: dict[str, Any]) -> None:
    """Append one event of the control plane."""
    await session.execute(insert(ControlAuditEventRow).values(values))


async def fetch_events(
    session: AsyncSession, tenant_id: int, *, target: tuple[str, str] | None, before: UUID | None, rows: int
) -> list[AuditEventRow]:
    """Return the newest events of a tenant, of one target where given, older than `before`."""
    query = select(AuditEventRow).where(AuditEventRow.tenant_id == tenant_id)
    if target is not None:
        query = query.where(AuditEventRow.target_type == target[0], AuditEventRow.target_id == target[1])
    if before is not None:
        query = query.where(AuditEventRow.event_id < before)
    return list(await session.scalars(query.order_by(AuditEventRow.event_id.desc()).limit(rows)))


async def fetch_control_events(
    session: AsyncSession, *, target: tuple[str, str] | None, before: UUID | None, rows: int
) -> list[ControlAuditEventRow]:
    """Return the newest events of the control plane, of one target where given, older than `before`."""
    query = select(ControlAuditEventRow)
    if target is not None:
        query = query.where(ControlAuditEventRow.target_type == target[0], ControlAuditEventRow.target_id == target[1])
    if before is not None:
        query = query.where(ControlAuditEventRow.event_id < before)
    return list(await session.scalars(query.order_by(ControlAuditEventRow.event_id.desc()).limit(rows)))
