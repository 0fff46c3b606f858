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


class KeyMissing(PitbossError):
    """A key that has to sign is not at hand; the log waits."""

    code = "audit.key_missing"
    kind = ErrorKind.UNAVAILABLE


class LogRefused(PitbossError):
    """The log cannot go on as it stands: going on would leave out events, or prove what is not so."""

    code = "audit.log_refused"
    kind = ErrorKind.CONFLICT


class ProofUnavailable(PitbossError):
    """What is to be proved is in no signed checkpoint, or not in the log."""

    code = "audit.proof_unavailable"
    kind = ErrorKind.NOT_FOUND


class DestinationInvalid(PitbossError):
    """Nothing could be sent to what was described, or another destination has that name."""

    code = "audit.destination_invalid"
    kind = ErrorKind.INVALID


class DestinationUnknown(PitbossError):
    """The tenant has no destination of that name."""

    code = "audit.destination_unknown"
    kind = ErrorKind.NOT_FOUND


class SealRefused(PitbossError):
    """The write-once store holds something else than what would be put there; sealing this log waits for a person."""

    code = "audit.seal_refused"
    kind = ErrorKind.CONFLICT
