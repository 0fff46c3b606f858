"""Errors of keys and erasure that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class KeysNotPrepared(PitbossError):
    """The tenant has no keys in this cell yet."""

    code = "keys.not_prepared"
    kind = ErrorKind.UNAVAILABLE


class FieldUnreadable(PitbossError):
    """The sealed bytes were not sealed for this place under a key that is there; which of it stays untold."""

    code = "keys.field_unreadable"
    kind = ErrorKind.REFUSED


class SubjectErased(PitbossError):
    """The subject's keys were destroyed: nothing is read and nothing new is written."""

    code = "keys.subject_erased"
    kind = ErrorKind.CONFLICT


class SubjectRestricted(PitbossError):
    """The subject's fields are kept for the law alone and may not be read for anything else."""

    code = "keys.subject_restricted"
    kind = ErrorKind.REFUSED
