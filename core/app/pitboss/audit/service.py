"""Use cases of the audit log: record an event in the transaction of the change, and read the log."""

from __future__ import annotations

import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit import store
from pitboss.audit.contracts import (
    EVENT_TYPES,
    Access,
    AuditEvent,
    Change,
    Destination,
    EventFilter,
    EventType,
    Outcome,
    RecordedEvent,
    Sealed,
    Value,
)
from pitboss.audit.errors import DestinationInvalid, DestinationUnknown, UnknownEventType
from pitboss.audit.rules import check_filter, mask_change, may_be_sealed
from pitboss.audit.rules.access import describe_access
from pitboss.audit.store import exports, list_written, proofs
from pitboss.audit.store.quality import find_log_facts
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, Page, decode_cursor, encode_cursor
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.keys import service as keys
from pitboss.keys.contracts import FieldPlace
from pitboss.keys.errors import FieldUnreadable, SubjectErased, SubjectRestricted
from pitboss.keys.service import KeyRing
from pitboss.platform.event_senders import Target, find_target_fault

__all__ = ["find_log_facts", "list_written"]

ALL_EVENTS: Final = EventFilter()
DESTINATION_NAME: Final = re.compile("[a-z0-9-]{1,40}")
_STATES: Final[dict[type[Exception], str]] = {
    SubjectErased: "erased",
    SubjectRestricted: "restricted",
    FieldUnreadable: "unreadable",
}


async def record_event(session: AsyncSession, scope: TenantScope, event: AuditEvent) -> None:
    """Append `event` to the tenant's log in the current transaction; raise `UnknownEventType`."""
    await store.insert_event(session, scope.tenant_id, _masked(event))


async def record_sealed_event(session: AsyncSession, scope: TenantScope, ring: KeyRing, event: AuditEvent) -> None:
    """Append an event about a player whose personal values are kept, sealed under the player's own key.

    The log holds and proves the sealed bytes, so it verifies as before when the key is destroyed.
    """
    event_type, event_id = _find_type(event), new_uuid()
    subject = UUID(event.target_id)
    sides = [
        (_sealed_place(subject, event_id, change.path, side), msgspec.json.encode(value))
        for change in event.changes
        if may_be_sealed(change.path, event_type)
        for side, value in (("before", change.before), ("after", change.after))
        if value is not None
    ]
    boxes = await keys.seal_fields(session, scope, ring, sides) if sides else []
    sealed = {place.row: Sealed(b64encode(box).decode()) for (place, _), box in zip(sides, boxes, strict=True)}

    def put(change: Change, side: str) -> Value:
        masked = mask_change(change, event_type)
        found = sealed.get(_sealed_row(event_id, change.path, side))
        return found if found is not None else getattr(masked, side)

    changes = [Change(change.path, put(change, "before"), put(change, "after")) for change in event.changes]
    await store.insert_event(session, scope.tenant_id, _values(event, event_type, event_id, changes))


async def reveal_events(
    session: AsyncSession, scope: TenantScope, ring: KeyRing, events: Sequence[RecordedEvent]
) -> list[RecordedEvent]:
    """Return events with their sealed values opened; one that does not open says why in its `state`.

    Callers check `audit.event.reveal`, and record that they show them.
    """
    return [await _reveal(session, scope, ring, event) for event in events]


async def _reveal(session: AsyncSession, scope: TenantScope, ring: KeyRing, event: RecordedEvent) -> RecordedEvent:
    async def reveal(change: Change, side: str, value: Value) -> Value:
        if not isinstance(value, Sealed):
            return value
        try:
            place = _sealed_place(UUID(event.target_id), event.event_id, change.path, side)
            (plain,) = await keys.open_fields(session, scope, ring, [(place, b64decode(value.sealed))])
        except (SubjectErased, SubjectRestricted, FieldUnreadable) as error:
            return Sealed(value.sealed, _STATES[type(error)])
        return msgspec.json.decode(plain, type=str | int | bool | list[str])

    changes = [
        Change(
            change.path,
            await reveal(change, "before", change.before),
            await reveal(change, "after", change.after),
        )
        for change in event.changes
    ]
    return msgspec.structs.replace(event, changes=tuple(changes))


def _sealed_row(event_id: UUID, path: str, side: str) -> str:
    return f"{event_id}.{path}.{side}"


def _sealed_place(subject: UUID, event_id: UUID, path: str, side: str) -> FieldPlace:
    return FieldPlace(subject, "audit_event", "changes", _sealed_row(event_id, path, side))


async def record_control_event(session: AsyncSession, event: AuditEvent) -> None:
    """Append `event` to the control plane's log in the current transaction; raise `UnknownEventType`."""
    await store.insert_control_event(session, _masked(event))


async def record_access(
    session: AsyncSession,
    scope: TenantScope,
    event_type: str,
    target_id: str,
    access: Access,
    *,
    actor: Actor,
    origin: Origin,
) -> None:
    """Append that somebody is shown data, in the transaction that reads it: it leaves after the commit, or not at all."""
    found = EVENT_TYPES.get(event_type)
    target_type = "" if found is None else found.target_type
    event = AuditEvent(event_type, actor, origin, target_type, target_id, describe_access(access))
    await record_event(session, scope, event)


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


async def list_destinations(session: AsyncSession, scope: TenantScope) -> list[Destination]:
    """Return where a tenant's events are sent."""
    return [
        Destination(
            row.name,
            row.kind,
            row.address,
            row.secret,
            delivery.next_seq,
            delivery.attempts,
            delivery.delivered_at,
            delivery.problem,
        )
        for row, delivery in await exports.fetch_destinations(session, scope)
    ]


async def add_destination(
    session: AsyncSession, scope: TenantScope, name: str, target: Target, by: Actor, origin: Origin, first: int = 0
) -> None:
    """Send a tenant's events to a destination from an entry on; raise `DestinationInvalid`."""
    fault = "a name is 1 to 40 of a-z, 0-9 and -" if not DESTINATION_NAME.fullmatch(name) else find_target_fault(target)
    if not fault and await exports.fetch_destination(session, scope, name) is not None:
        fault = "there is one of that name"
    fault = fault or await _find_place_fault(session, scope, first)
    if fault:
        raise DestinationInvalid(fault)
    await exports.insert_destination(session, scope, {"name": name, **msgspec.to_builtins(target)}, first)
    changes = (Change("kind", None, target.kind), Change("address", None, target.address))
    await record_event(session, scope, AuditEvent("destination.added", by, origin, "destination", name, changes))


async def remove_destination(session: AsyncSession, scope: TenantScope, name: str, by: Actor, origin: Origin) -> None:
    """Send nothing to a destination any more; raise `DestinationUnknown`."""
    if not await exports.delete_destination(session, scope, name):
        raise DestinationUnknown(f"{scope.slug} has no destination {name}")
    await record_event(session, scope, AuditEvent("destination.removed", by, origin, "destination", name))


async def replay_destination(
    session: AsyncSession, scope: TenantScope, name: str, first: int, by: Actor, origin: Origin
) -> None:
    """Send a tenant's events to a destination again, from an entry on; raise `DestinationUnknown`, `DestinationInvalid`."""
    if fault := await _find_place_fault(session, scope, first):
        raise DestinationInvalid(fault)
    if not await exports.rewind_delivery(session, scope, name, first):
        raise DestinationUnknown(f"{scope.slug} has no destination {name}")
    changes = (Change("next_seq", None, first),)
    await record_event(session, scope, AuditEvent("destination.replayed", by, origin, "destination", name, changes))


async def _find_place_fault(session: AsyncSession, scope: TenantScope, first: int) -> str:
    """Return why sending may not begin at an entry: what lies between the log's end and it would never be sent."""
    log = await proofs.fetch_log(session, scope)
    size = 0 if log is None else log.size
    return f"the log has {size} entries, so {size} is the last that may be named" if first > size else ""


def _masked(event: AuditEvent) -> dict[str, Any]:
    event_type = _find_type(event)
    return _values(event, event_type, new_uuid(), [mask_change(change, event_type) for change in event.changes])


def _find_type(event: AuditEvent) -> EventType:
    event_type = EVENT_TYPES.get(event.type)
    if event_type is None:
        raise UnknownEventType(f"audit event type {event.type!r} is not registered")
    if event_type.target_type != event.target_type:
        raise UnknownEventType(f"{event.type} is about a {event_type.target_type}, not a {event.target_type}")
    return event_type


def _values(event: AuditEvent, event_type: EventType, event_id: UUID, changes: Sequence[Change]) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "category": event_type.category.value,
        "type": event.type,
        "outcome": Outcome(event.outcome).value,
        "reason": event.reason,
        "actor_kind": event.actor.kind.value,
        "actor_name": event.actor.name,
        "origin": _place(event, event_type),
        "target_type": event.target_type,
        "target_id": event.target_id,
        "changes": [msgspec.to_builtins(change) for change in changes],
    }


def _place(event: AuditEvent, event_type: EventType) -> dict[str, str]:
    """Return where an event came from as its row keeps it.

    A row outlives the account it tells of, and stands in every backup: of players it keeps no address. It keeps that of
    staff and vendors, and of whoever was refused at the door.
    """
    place = msgspec.to_builtins(event.origin)
    if event.actor.kind is ActorKind.PLAYER and event_type.target_type != "refusal":
        place["ip"] = ""
    # The salt lets the log hold a digest of the address that nobody can guess back.
    return {**place, "salt": secrets.token_hex(16)}


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
