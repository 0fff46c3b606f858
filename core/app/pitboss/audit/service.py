"""Use cases of the audit log: record an event in the transaction of the change, and read the log."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit import store
from pitboss.audit.contracts import EVENT_TYPES, AuditEvent, EventFilter, Outcome, RecordedEvent
from pitboss.audit.errors import UnknownEventType
from pitboss.audit.rules import check_filter, mask_change
from pitboss.audit.store import list_written
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, Page, decode_cursor, encode_cursor
from pitboss.kernel.scope import TenantScope

__all__ = ["list_written"]

ALL_EVENTS: Final = EventFilter()


async def record_event(session: AsyncSession, scope: TenantScope, event: AuditEvent) -> None:
    """Append `event` to the tenant's log in the current transaction; raise `UnknownEventType`."""
    await store.insert_event(session, scope.tenant_id, _values(event))


async def record_control_event(session: AsyncSession, event: AuditEvent) -> None:
    """Append `event` to the control plane's log in the current transaction; raise `UnknownEventType`."""
    await store.insert_control_event(session, _values(event))


async def list_events(
    session: AsyncSession,
    scope: TenantScope,
    wanted: EventFilter = ALL_EVENTS,
    *,
    cursor: str | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
) -> Page[RecordedEvent]:
    """Return a tenant's events, newest first; raise `FilterInvalid`, `InvalidCursor`."""
    rows = min(page_size, MAX_PAGE_SIZE)
    match = check_filter(wanted)
    return _page(await store.fetch_events(session, scope.tenant_id, match, _before(cursor), rows + 1), rows)


async def list_control_events(
    session: AsyncSession,
    wanted: EventFilter = ALL_EVENTS,
    *,
    cursor: str | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
) -> Page[RecordedEvent]:
    """Return the control plane's events, newest first; raise `FilterInvalid`, `InvalidCursor`."""
    rows = min(page_size, MAX_PAGE_SIZE)
    match = check_filter(wanted)
    return _page(await store.fetch_control_events(session, match, _before(cursor), rows + 1), rows)


def _values(event: AuditEvent) -> dict[str, Any]:
    event_type = EVENT_TYPES.get(event.type)
    if event_type is None:
        raise UnknownEventType(f"audit event type {event.type!r} is not registered")
    if event_type.target_type != event.target_type:
        raise UnknownEventType(f"{event.type} is about a {event_type.target_type}, not a {event.target_type}")
    return {
        "event_id": new_uuid(),
        "category": event_type.category.value,
        "type": event.type,
        "outcome": Outcome(event.outcome).value,
        "reason": event.reason,
        "actor_kind": event.actor.kind.value,
        "actor_name": event.actor.name,
        # The salt lets the log hold a digest of the address that nobody can guess back.
        "origin": {**msgspec.to_builtins(event.origin), "salt": secrets.token_hex(16)},
        "target_type": event.target_type,
        "target_id": event.target_id,
        "changes": [msgspec.to_builtins(mask_change(change, event_type)) for change in event.changes],
    }


def _before(cursor: str | None) -> tuple[datetime, UUID] | None:
    return None if cursor is None else decode_cursor(cursor, tuple[datetime, UUID])


def _page(found: Sequence[Any], rows: int) -> Page[RecordedEvent]:
    items = [_recorded(row) for row in found[:rows]]
    more = len(found) > rows
    return Page(items, encode_cursor(items[-1].occurred_at, items[-1].event_id) if more else None)


def _recorded(row: Any) -> RecordedEvent:
    return msgspec.convert(
        {
            "event_id": row.event_id,
            "occurred_at": row.occurred_at,
            "category": row.category,
            "type": row.type,
            "outcome": row.outcome,
            "reason": row.reason,
            "actor": {"kind": row.actor_kind, "name": row.actor_name},
            "request_id": row.origin["request_id"],
            "causation_id": row.origin["causation_id"],
            "target_type": row.target_type,
            "target_id": row.target_id,
            "changes": row.changes,
        },
        RecordedEvent,
    )
