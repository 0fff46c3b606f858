"""Errors of the sealed log that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class SealRefused(PitbossError):
    """What is to be sealed does not follow from what is sealed: going on would prove what is not so."""

    code = "evidence.seal_refused"
    kind = ErrorKind.CONFLICT


class RoundUnproven(PitbossError):
    """A round is not, or not whole, in a stored segment yet, or the segment in the store is not what was sealed."""

    code = "evidence.round_unproven"
    kind = ErrorKind.NOT_FOUND
