"""The statements that proofs read: entries, tiles and checkpoints of one log, under the application's login."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import func, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.tables import (
    AuditCheckpointRow,
    AuditCosignatureRow,
    AuditEntryRow,
    AuditEventRow,
    AuditLogRow,
    AuditSealRow,
    AuditTileRow,
)
from pitboss.kernel.scope import TenantScope

_BATCH = 5_000


class Signed(msgspec.Struct, frozen=True):
    """A checkpoint with the lines of its witnesses."""

    size: int
    note: str
    lines: tuple[str, ...]
    made_at: datetime


async def fetch_log(session: AsyncSession, scope: TenantScope) -> AuditLogRow | None:
    """Return where the tenant's log stands."""
    return await session.get(AuditLogRow, scope.tenant_id)


async def fetch_checkpoints(
    session: AsyncSession, scope: TenantScope, above: int = -1, most: int | None = None
) -> list[Signed]:
    """Return the checkpoints of a tenant above a size, by size: all, or the first `most`."""
    query = select(AuditCheckpointRow).where(
        AuditCheckpointRow.tenant_id == scope.tenant_id, AuditCheckpointRow.size > above
    )
    rows = list(await session.scalars(query.order_by(AuditCheckpointRow.size).limit(most)))
    lines: dict[int, list[str]] = {}
    if rows:
        cosigned = select(AuditCosignatureRow).where(
            AuditCosignatureRow.tenant_id == scope.tenant_id,
            AuditCosignatureRow.size.between(rows[0].size, rows[-1].size),
        )
        for row in await session.scalars(cosigned.order_by(AuditCosignatureRow.witness)):
            lines.setdefault(row.size, []).append(row.line)
    return [Signed(row.size, row.note, tuple(lines.get(row.size, ())), row.made_at) for row in rows]


async def fetch_tiles(
    session: AsyncSession, scope: TenantScope, wanted: Collection[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """Return full tiles by level and number."""
    query = select(AuditTileRow).where(
        AuditTileRow.tenant_id == scope.tenant_id, tuple_(AuditTileRow.level, AuditTileRow.number).in_(list(wanted))
    )
    return {(row.level, row.number): row.hashes for row in await session.scalars(query)}


async def find_place(session: AsyncSession, scope: TenantScope, moment: datetime) -> int:
    """Return the place of the first entry that was recorded at `moment` or later; the size where there is none."""
    query = select(func.min(AuditEntryRow.log_seq)).where(
        AuditEntryRow.tenant_id == scope.tenant_id, AuditEntryRow.recorded_at >= moment
    )
    found = await session.scalar(query)
    if found is None:
        log = await fetch_log(session, scope)
        return 0 if log is None else log.size
    return int(found)


async def try_to_seal(session: AsyncSession, scope: TenantScope) -> bool:
    """Keep every other process from sealing this log until the transaction ends; return whether none did."""
    lock = func.pg_try_advisory_xact_lock(func.hashtextextended("audit_seal", scope.tenant_id))
    return bool(await session.scalar(select(lock)))


async def find_last_seal(session: AsyncSession, scope: TenantScope) -> AuditSealRow | None:
    """Return the newest package of a log that is in write-once storage."""
    query = select(AuditSealRow).where(AuditSealRow.tenant_id == scope.tenant_id)
    return await session.scalar(query.order_by(AuditSealRow.first.desc()).limit(1))


async def insert_seal(session: AsyncSession, scope: TenantScope, first: int, end: int, manifest: bytes) -> None:
    """Write down that a package is in write-once storage."""
    await session.execute(
        insert(AuditSealRow).values(tenant_id=scope.tenant_id, first=first, end=end, manifest=manifest)
    )


async def find_entry(session: AsyncSession, scope: TenantScope, event_id: UUID) -> AuditEntryRow | None:
    """Return the entry of an event."""
    return await session.scalar(
        select(AuditEntryRow).where(AuditEntryRow.tenant_id == scope.tenant_id, AuditEntryRow.event_id == event_id)
    )


async def read_bodies(
    session: AsyncSession, scope: TenantScope, first: int, end: int
) -> AsyncIterator[tuple[int, bytes]]:
    """Yield place and bytes of entries from `first` up to `end`, in pieces."""
    while first < end:
        upto = min(first + _BATCH, end)
        query = select(AuditEntryRow.log_seq, AuditEntryRow.body).where(
            AuditEntryRow.tenant_id == scope.tenant_id, AuditEntryRow.log_seq >= first, AuditEntryRow.log_seq < upto
        )
        for row in await session.execute(query.order_by(AuditEntryRow.log_seq)):
            yield row.log_seq, row.body
        first = upto


async def read_events(
    session: AsyncSession, scope: TenantScope, first: int, end: int
) -> AsyncIterator[tuple[AuditEntryRow, AuditEventRow | None]]:
    """Yield entries from `first` up to `end`, each with the event as the application wrote it, in pieces."""
    event = AuditEventRow
    while first < end:
        upto = min(first + _BATCH, end)
        query = (
            select(AuditEntryRow, event)
            .outerjoin(event, (event.tenant_id == AuditEntryRow.tenant_id) & (event.event_id == AuditEntryRow.event_id))
            .where(
                AuditEntryRow.tenant_id == scope.tenant_id, AuditEntryRow.log_seq >= first, AuditEntryRow.log_seq < upto
            )
        )
        for entry, row in await session.execute(query.order_by(AuditEntryRow.log_seq)):
            yield entry, row
        session.expunge_all()
        first = upto


async def count_left_out(session: AsyncSession, scope: TenantScope, log: AuditLogRow) -> int:
    """Return how many events should be in the log, by the transactions that it has passed, and are not."""
    event = AuditEventRow
    in_log = select(AuditEntryRow.event_id).where(
        AuditEntryRow.tenant_id == scope.tenant_id, AuditEntryRow.event_id == event.event_id
    )
    query = select(func.count()).where(
        event.tenant_id == scope.tenant_id,
        tuple_(event.written_in, event.event_id) <= (log.taken_in, log.taken_id),
        ~in_log.exists(),
    )
    return int(await session.scalar(query) or 0)
