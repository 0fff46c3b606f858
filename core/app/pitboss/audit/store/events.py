"""The statements of events: written in the transaction of the change, read newest first."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.contracts import WRITES, EventMatch, ToldEvent
from pitboss.audit.tables import AuditColumns, AuditEventRow, ControlAuditEventRow


async def insert_event(session: AsyncSession, tenant_id: int, values: dict[str, Any]) -> None:
    """Append one event of a tenant."""
    await session.execute(insert(AuditEventRow).values(tenant_id=tenant_id, **values))


async def insert_control_event(session: AsyncSession, values: dict[str, Any]) -> None:
    """Append one event of the control plane."""
    await session.execute(insert(ControlAuditEventRow).values(values))


async def fetch_events(
    session: AsyncSession, tenant_id: int, match: EventMatch, before: tuple[datetime, UUID] | None, rows: int
) -> list[AuditEventRow]:
    """Return the newest events of a tenant that match, older than `before` (time and id)."""
    query = select(AuditEventRow).where(AuditEventRow.tenant_id == tenant_id)
    query = query.where(*_conditions(AuditEventRow, match, before))
    newest = query.order_by(AuditEventRow.occurred_at.desc(), AuditEventRow.event_id.desc())
    return list(await session.scalars(newest.limit(rows)))


async def fetch_control_events(
    session: AsyncSession, match: EventMatch, before: tuple[datetime, UUID] | None, rows: int
) -> list[ControlAuditEventRow]:
    """Return the newest events of the control plane that match, older than `before` (time and id)."""
    query = select(ControlAuditEventRow).where(*_conditions(ControlAuditEventRow, match, before))
    newest = query.order_by(ControlAuditEventRow.occurred_at.desc(), ControlAuditEventRow.event_id.desc())
    return list(await session.scalars(newest.limit(rows)))


async def list_written(
    session: AsyncSession, tenant_id: int | None, first: int, end: int, most: int
) -> list[ToldEvent]:
    """Return events that tell of rows, of the transactions from `first` up to `end`; of control without a tenant."""
    table = ControlAuditEventRow if tenant_id is None else AuditEventRow
    query = select(table.written_in, table.occurred_at, table.event_id, table.type, table.target_id).where(
        table.written_in >= first, table.written_in < end, table.type.in_(WRITES), table.outcome == "success"
    )
    if tenant_id is not None:
        query = query.where(AuditEventRow.tenant_id == tenant_id)
    rows = await session.execute(query.order_by(table.written_in, table.event_id).limit(most))
    return [ToldEvent(*row) for row in rows]


def _conditions(
    table: type[AuditColumns], match: EventMatch, before: tuple[datetime, UUID] | None
) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [getattr(table, column) == value for column, value in match.columns]
    if match.since is not None:
        found.append(table.occurred_at >= match.since)
    if match.until is not None:
        found.append(table.occurred_at < match.until)
    if before is not None:
        found.append(tuple_(table.occurred_at, table.event_id) < tuple_(*before))
    return found
