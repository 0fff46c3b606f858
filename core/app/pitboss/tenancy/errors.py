"""Errors of tenancy that callers may see."""

from __future__ import annotations

from collections.abc import Sequence

from pitboss.tenancy.contracts import Problem
from pitboss_sdk.errors import ErrorKind, PitbossError


class TenantFilesInvalid(PitbossError):
    """A tenant's files are not right; `problems` holds every reason that was found."""

    code = "tenancy.files_invalid"
    kind = ErrorKind.INVALID

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


class TenantNotFound(PitbossError):
    code = "tenancy.tenant_not_found"
    kind = ErrorKind.NOT_FOUND


class ChangeRefused(PitbossError):
    """The files ask for something that would break what exists."""

    code = "tenancy.change_refused"
    kind = ErrorKind.REFUSED


class CellUnknown(PitbossError):
    code = "tenancy.cell_unknown"
    kind = ErrorKind.NOT_FOUND


class ApplyRunning(PitbossError):
    """Another apply holds the register; the same command may succeed later."""

    code = "tenancy.apply_running"
    kind = ErrorKind.UNAVAILABLE


class FolderExists(PitbossError):
    """The tenant has a folder already, which is not overwritten."""

    code = "tenancy.folder_exists"
    kind = ErrorKind.CONFLICT
