"""Errors of the audit log that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class FilterInvalid(PitbossError):
    """The log is asked for what cannot be in it; an empty answer would look like a finding."""

    code = "audit.filter_invalid"
    kind = ErrorKind.INVALID


class UnknownEventType(PitbossError):
    """The type is not registered, or is registered for another kind of target."""

    code = "audit.unknown_event_type"
    kind = ErrorKind.BUG
