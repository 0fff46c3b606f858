"""What of a change may stand in the log, and what the log may be asked for."""

from __future__ import annotations

from collections.abc import Collection

from pitboss.audit.contracts import (
    EVENT_TYPES,
    MASK,
    NEVER_TOLD,
    PERSONAL_FIELDS,
    Change,
    EventFilter,
    EventMatch,
    EventType,
)
from pitboss.audit.errors import FilterInvalid
from pitboss.kernel.scope import ActorKind

_TARGET_TYPES = frozenset(found.target_type for found in EVENT_TYPES.values())
_ACTOR_KINDS = frozenset(kind.value for kind in ActorKind)


def mask_change(change: Change, event_type: EventType) -> Change:
    """Return `change` with classified values replaced by a marker; None stays, so that set and unset can be told."""
    if not is_classified(change.path, event_type):
        return change
    return Change(change.path, *(None if side is None else MASK for side in (change.before, change.after)))


def is_classified(path: str, event_type: EventType) -> bool:
    """Return whether the values of a path may not stand in an event as they are."""
    return path in event_type.classified or not PERSONAL_FIELDS.isdisjoint(path.split("."))


def may_be_sealed(path: str, event_type: EventType) -> bool:
    """Return whether the values of a path may stand in an event sealed, and only so."""
    return is_classified(path, event_type) and NEVER_TOLD.isdisjoint(path.split("."))


def check_filter(wanted: EventFilter) -> EventMatch:
    """Return what `wanted` asks of the columns; raise `FilterInvalid` for what can match no event."""
    columns: list[tuple[str, str]] = []
    if wanted.type:
        _check_known("type", wanted.type, EVENT_TYPES)
        columns.append(("type", wanted.type))
    columns += _split("target", wanted.target, ("target_type", "target_id"), _TARGET_TYPES)
    columns += _split("actor", wanted.actor, ("actor_kind", "actor_name"), _ACTOR_KINDS)
    for name, moment in (("since", wanted.since), ("until", wanted.until)):
        if moment is not None and moment.tzinfo is None:
            raise FilterInvalid(f"{name}: a time zone is needed")
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise FilterInvalid("since: does not lie before until")
    return EventMatch(tuple(columns), wanted.since, wanted.until)


def _split(field: str, text: str, columns: tuple[str, str], known: Collection[str]) -> list[tuple[str, str]]:
    if not text:
        return []
    kind, colon, name = text.partition(":")
    _check_known(field, kind, known)
    if colon and not name:
        raise FilterInvalid(f"{field}: nothing stands after the colon")
    return [(columns[0], kind), (columns[1], name)] if colon else [(columns[0], kind)]


def _check_known(field: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise FilterInvalid(f"{field}: there is no {value!r}; there is {', '.join(sorted(known))}")
