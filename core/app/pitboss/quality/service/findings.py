"""How findings open and close: a row, and an event of the same transaction."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit import service as audit
from pitboss.audit.contracts import AuditEvent, Change
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.quality import store
from pitboss.quality.contracts import Area, Dimension, Fault, Finding

_TYPES: Final = {True: "quality.finding_opened", False: "quality.finding_closed"}


async def open_one(
    session: AsyncSession,
    scope: TenantScope,
    hour: datetime,
    place: tuple[Area, Dimension],
    plugin: str,
    fault: Fault,
    next_at: datetime | None,
    actor: Actor,
) -> None:
    """Open a finding and tell of it."""
    finding_id = await store.open_finding(session, scope, hour, place, plugin, fault, next_at)
    changes = (
        Change("kind", None, fault.kind.name.lower()),
        Change("hour", None, hour.isoformat()),
        Change("area", None, place[0].name.lower()),
        Change("plugin", None, plugin),
        Change("reference", None, fault.reference),
        Change("detail", None, fault.detail),
    )
    await _record(session, scope, finding_id, changes, actor, is_open=True)


async def close_all(session: AsyncSession, scope: TenantScope, findings: Collection[Finding], actor: Actor) -> None:
    """Close findings and tell of each."""
    if not findings:
        return
    await store.close_findings(session, scope, [each.finding_id for each in findings])
    for each in findings:
        changes = (Change("kind", each.kind.name.lower(), None), Change("reference", each.reference, None))
        await _record(session, scope, each.finding_id, changes, actor, is_open=False)


async def _record(
    session: AsyncSession,
    scope: TenantScope,
    finding_id: UUID,
    changes: tuple[Change, ...],
    actor: Actor,
    *,
    is_open: bool,
) -> None:
    event = AuditEvent(_TYPES[is_open], actor, Origin(), "quality_finding", str(finding_id), changes)
    await audit.record_event(session, scope, event)
