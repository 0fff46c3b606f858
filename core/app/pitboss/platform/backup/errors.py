"""What may go wrong with backups."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class BackupFailed(PitbossError):
    """A backup could not be made or restored; the detail says why, and nothing half-made is left."""

    code = "platform.backup_failed"
    kind = ErrorKind.UNAVAILABLE


class BackupRefused(PitbossError):
    """The backup would be kept, made or restored where it may not be."""

    code = "platform.backup_refused"
    kind = ErrorKind.REFUSED


class BackupDamaged(PitbossError):
    """A file of a backup is not the one that was written, or is missing; the detail names it."""

    code = "platform.backup_damaged"
    kind = ErrorKind.CONFLICT


class BackupMissing(PitbossError):
    """No whole backup leads to the moment that was asked for."""

    code = "platform.backup_missing"
    kind = ErrorKind.NOT_FOUND
