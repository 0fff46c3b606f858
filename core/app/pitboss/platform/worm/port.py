"""The port of write-once storage: what is put stays as it is until its retention is over and no hold is on it."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import AsyncIterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from pitboss_sdk.errors import ErrorKind, PitbossError

_KEY: Final = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*(?:/[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*")
_MAX_KEY_CHARACTERS: Final = 200


class WormRefused(PitbossError):
    """The store does not do that to what it keeps: retention or a hold stands against it."""

    code = "platform.worm_refused"
    kind = ErrorKind.REFUSED


class WormUnavailable(PitbossError):
    """The store did not answer; the same call may succeed later."""

    code = "platform.worm_unavailable"
    kind = ErrorKind.UNAVAILABLE


class ObjectMissing(PitbossError):
    """The store has no such object or version."""

    code = "platform.object_missing"
    kind = ErrorKind.NOT_FOUND


class ObjectDamaged(PitbossError):
    """What the store has is not what was put: somebody reached past it."""

    code = "platform.object_damaged"
    kind = ErrorKind.BUG


class Mode(StrEnum):
    """Whether who may bypass retention can (governance), or nobody can (compliance)."""

    GOVERNANCE = "GOVERNANCE"
    COMPLIANCE = "COMPLIANCE"


class Retention(msgspec.Struct, frozen=True):
    """Until when a version stays, to the second."""

    mode: Mode
    until: datetime


class StoredVersion(msgspec.Struct, frozen=True):
    """A version of an object as the store tells of it."""

    key: str
    version: str
    size_bytes: int
    sha256: str
    retention: Retention | None
    hold: bool

    def is_of(self, content: bytes) -> bool:
        """Return whether `content` is what was put."""
        return hmac.compare_digest(hashlib.sha256(content).hexdigest(), self.sha256)


class WormStore(Protocol):
    """What the application does with write-once storage: nothing here deletes or shortens.

    A key that is there already gets a further version; `version` left empty is the newest. Every call may raise
    `WormUnavailable`.
    """

    async def put(self, key: str, content: bytes, retention: Retention, *, hold: bool = False) -> StoredVersion:
        """Store a version; it is kept as asked when this returns. Raise `ValueError` for a retention that is over."""
        ...

    async def put_parts(self, key: str, parts: AsyncIterable[bytes], retention: Retention) -> StoredVersion:
        """Store a version from parts, without holding the whole in memory."""
        ...

    async def get(self, key: str, version: str = "") -> bytes:
        """Return the content; raise `ObjectMissing` or `ObjectDamaged`."""
        ...

    async def head(self, key: str, version: str = "") -> StoredVersion:
        """Return what the store tells of a version; raise `ObjectMissing`."""
        ...

    async def list_versions(self, prefix: str = "") -> list[StoredVersion]:
        """Return every version of the keys that begin with `prefix`, by key, oldest first."""
        ...

    async def extend_retention(self, key: str, version: str, until: datetime) -> StoredVersion:
        """Keep a version longer, in its mode; raise `WormRefused` where that would shorten it."""
        ...

    async def set_hold(self, key: str, version: str, *, on: bool) -> StoredVersion:
        """Put a hold on a version or take it off; it counts beside retention."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class WormAdministration(Protocol):
    """What someone with every right may ask of the store; it refuses with `WormRefused` what it must.

    For destroying what is over, and for proving that nothing else can be destroyed. The application asks for none
    of it elsewhere.
    """

    async def delete_version(self, key: str, version: str, *, bypass: bool = False) -> None:
        """Destroy a version; `bypass` is the right over governance."""
        ...

    async def delete_versions(self, versions: Sequence[tuple[str, str]], *, bypass: bool = False) -> None:
        """Destroy several (key, version) in one call; those that must stay do, and then it raises."""
        ...

    async def hide(self, key: str) -> None:
        """Delete a key without naming a version: the newest is no longer found, every version stays."""
        ...

    async def set_retention(self, key: str, version: str, retention: Retention | None, *, bypass: bool = False) -> None:
        """Replace the retention of a version, or take it away."""
        ...

    async def suspend_versioning(self) -> None:
        """Stop keeping versions."""
        ...


def check_key(key: str) -> str:
    """Return `key` if every store takes it."""
    if len(key) > _MAX_KEY_CHARACTERS or not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key: letters, digits, . _ = - and single slashes, at most 200")
    return key


def check_retention(retention: Retention, now: datetime) -> Retention:
    """Return the retention in whole seconds of UTC; raise `ValueError` if it is over or has no zone."""
    if retention.until.tzinfo is None:
        raise ValueError("retention ends at a moment with a time zone")
    until = retention.until.astimezone(UTC)
    if until.microsecond:  # up, never down: what was asked for is kept at least so long
        until = datetime.fromtimestamp(int(until.timestamp()) + 1, UTC)
    if until <= now:
        raise ValueError("retention that is over protects nothing")
    return Retention(retention.mode, until)
