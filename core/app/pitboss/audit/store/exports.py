"""The statements of destinations: who gets a tenant's events, how far each has got, and who is sending to it."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.tables import AuditDeliveryRow, AuditDestinationRow, AuditEntryRow, AuditLogRow
from pitboss.kernel.scope import TenantScope


class Lease(msgspec.Struct, frozen=True):
    """The right to send to a destination for a while, from an entry on."""

    name: str
    turn: int
    next_seq: int
    attempts: int
    size: int
    """Entries that the log has."""


async def list_due(session: AsyncSession) -> list[tuple[int, str]]:
    """Return tenant and name of the destinations of the context's tenants that lack something and may be tried."""
    row, log, now = AuditDeliveryRow, AuditLogRow, func.clock_timestamp()
    query = (
        select(row.tenant_id, row.name)
        .join(log, log.tenant_id == row.tenant_id)
        .where(log.size > row.next_seq, row.due_at <= now, or_(row.leased_until.is_(None), row.leased_until < now))
    )
    return [(found.tenant_id, found.name) for found in await session.execute(query)]


async def lease_delivery(session: AsyncSession, scope: TenantScope, name: str, seconds: float) -> Lease | None:
    """Take the right to send to a destination, unless somebody has it or nothing is due."""
    row, now = AuditDeliveryRow, func.clock_timestamp()
    log = await session.get(AuditLogRow, scope.tenant_id)
    if log is None:
        return None
    taken = await session.execute(
        update(row)
        .where(
            row.tenant_id == scope.tenant_id,
            row.name == name,
            row.next_seq < log.size,
            row.due_at <= now,
            or_(row.leased_until.is_(None), row.leased_until < now),
        )
        .values(leased_until=now + timedelta(seconds=seconds), turn=row.turn + 1)
        .returning(row.turn, row.next_seq, row.attempts)
    )
    found = taken.first()
    return None if found is None else Lease(name, found.turn, found.next_seq, found.attempts, log.size)


async def advance_delivery(session: AsyncSession, scope: TenantScope, lease: Lease, next_seq: int) -> bool:
    """Note that everything before `next_seq` has arrived; return whether the lease was still good."""
    return await _end_turn(
        session,
        scope,
        lease,
        next_seq=next_seq,
        attempts=0,
        problem="",
        due_at=func.clock_timestamp(),
        delivered_at=func.clock_timestamp(),
    )


async def postpone_delivery(
    session: AsyncSession, scope: TenantScope, lease: Lease, seconds: float, problem: str
) -> bool:
    """Note that a destination did not take a batch, and when it is tried again."""
    due_at = func.clock_timestamp() + timedelta(seconds=seconds)
    return await _end_turn(session, scope, lease, attempts=lease.attempts + 1, problem=problem, due_at=due_at)


async def _end_turn(session: AsyncSession, scope: TenantScope, lease: Lease, **values: object) -> bool:
    row = AuditDeliveryRow
    changed = await session.execute(
        update(row)
        .where(row.tenant_id == scope.tenant_id, row.name == lease.name, row.turn == lease.turn)
        .values(leased_until=None, **values)
        .returning(row.turn)
    )
    return changed.first() is not None


async def list_waits(session: AsyncSession) -> list[tuple[int, str, float]]:
    """Return tenant, name and seconds that the oldest event waits, for every destination of the context's tenants."""
    row, entry = AuditDeliveryRow, AuditEntryRow
    waited = func.coalesce(func.extract("epoch", func.clock_timestamp() - entry.recorded_at), 0)
    query = select(row.tenant_id, row.name, waited.label("seconds")).outerjoin(
        entry, (entry.tenant_id == row.tenant_id) & (entry.log_seq == row.next_seq)
    )
    return [(found.tenant_id, found.name, float(found.seconds)) for found in await session.execute(query)]


async def fetch_destination(session: AsyncSession, scope: TenantScope, name: str) -> AuditDestinationRow | None:
    """Return one destination."""
    return await session.get(AuditDestinationRow, (scope.tenant_id, name))


async def fetch_destinations(
    session: AsyncSession, scope: TenantScope
) -> list[tuple[AuditDestinationRow, AuditDeliveryRow]]:
    """Return the destinations of a tenant, each with how far it has got."""
    of_both = (AuditDeliveryRow.tenant_id == AuditDestinationRow.tenant_id) & (
        AuditDeliveryRow.name == AuditDestinationRow.name
    )
    query = select(AuditDestinationRow, AuditDeliveryRow).join(AuditDeliveryRow, of_both)
    found = await session.execute(
        query.where(AuditDestinationRow.tenant_id == scope.tenant_id).order_by(AuditDestinationRow.name)
    )
    return [(row[0], row[1]) for row in found]


async def insert_destination(session: AsyncSession, scope: TenantScope, values: dict[str, str], next_seq: int) -> None:
    """Add a destination that is sent to from an entry on."""
    await session.execute(insert(AuditDestinationRow).values(tenant_id=scope.tenant_id, **values))
    await session.execute(
        insert(AuditDeliveryRow).values(tenant_id=scope.tenant_id, name=values["name"], next_seq=next_seq)
    )


async def delete_destination(session: AsyncSession, scope: TenantScope, name: str) -> bool:
    """Remove a destination; return whether it was there."""
    row = AuditDestinationRow
    gone = await session.execute(
        delete(row).where(row.tenant_id == scope.tenant_id, row.name == name).returning(row.name)
    )
    return gone.first() is not None


async def rewind_delivery(session: AsyncSession, scope: TenantScope, name: str, next_seq: int) -> bool:
    """Let a destination be sent to again from an entry on; who is sending to it meanwhile changes nothing."""
    row = AuditDeliveryRow
    changed = await session.execute(
        update(row)
        .where(row.tenant_id == scope.tenant_id, row.name == name)
        .values(
            next_seq=next_seq,
            turn=row.turn + 1,
            attempts=0,
            problem="",
            leased_until=None,
            due_at=func.clock_timestamp(),
        )
        .returning(row.name)
    )
    return changed.first() is not None
