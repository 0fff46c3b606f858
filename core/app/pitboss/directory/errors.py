"""Errors of the directory that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class SnapshotRefused(PitbossError):
    """A snapshot that this cell does not believe: forged, of another cell, or older than what it has."""

    code = "directory.snapshot_refused"
    kind = ErrorKind.REFUSED


class TenantUnknown(PitbossError):
    code = "directory.tenant_unknown"
    kind = ErrorKind.NOT_FOUND


class TenantMoving(PitbossError):
    """The tenant is on its way to another cell, which takes minutes; the same request may succeed then."""

    code = "directory.tenant_moving"
    kind = ErrorKind.UNAVAILABLE
    retry_after_seconds = 15
