"""The base error of Pitboss and the kinds that decide what an edge does with it."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class ErrorKind(StrEnum):
    """What an edge answers: the HTTP status, and whether a retry may help."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    CONFLICT = "conflict"
    LIMITED = "limited"
    REFUSED = "refused"
    MISDIRECTED = "misdirected"
    UNAVAILABLE = "unavailable"
    UNKNOWN_OUTCOME = "unknown_outcome"
    BUG = "bug"


class PitbossError(Exception):
    """A situation with a stable code; subclasses set `code` and `kind`.

    `detail` is safe to show to the caller: it never carries a personal value or a secret.
    """

    code: ClassVar[str] = "pitboss.error"
    kind: ClassVar[ErrorKind] = ErrorKind.BUG

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.code)
        self.detail = detail
