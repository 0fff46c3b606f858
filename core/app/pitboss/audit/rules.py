"""What of a change may stand in the log."""

from __future__ import annotations

from pitboss.audit.contracts import MASK, PERSONAL_FIELDS, Change, EventType


def mask_change(change: Change, event_type: EventType) -> Change:
    """Return `change` with classified values replaced by a marker; None stays, so that set and unset can be told."""
    if change.path not in event_type.classified and PERSONAL_FIELDS.isdisjoint(change.path.split(".")):
        return change
    return Change(
        change.path,
        None if change.before is None else MASK,
        None if change.after is None else MASK,
    )
