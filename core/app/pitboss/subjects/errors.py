"""Errors of data subjects' requests that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class CaseNotFound(PitbossError):
    code = "subjects.case_not_found"
    kind = ErrorKind.NOT_FOUND


class CaseOrderInvalid(PitbossError):
    """The detail names what is wrong, never a value."""

    code = "subjects.case_order_invalid"
    kind = ErrorKind.INVALID


class ReferenceTaken(PitbossError):
    """Another case has this reference."""

    code = "subjects.reference_taken"
    kind = ErrorKind.CONFLICT


class StepRefused(PitbossError):
    """The case is not where this step begins."""

    code = "subjects.step_refused"
    kind = ErrorKind.CONFLICT


class NothingDone(PitbossError):
    """A case is completed by what was done for it: the export, the change, the restriction, the erasure."""

    code = "subjects.nothing_done"
    kind = ErrorKind.REFUSED


class ReasonMissing(PitbossError):
    """A case that is refused or carried out in part says why."""

    code = "subjects.reason_missing"
    kind = ErrorKind.INVALID


class ExportNotFound(PitbossError):
    """There is no such export, or it is over: one answer for both."""

    code = "subjects.export_not_found"
    kind = ErrorKind.NOT_FOUND


class ProcessingRestricted(PitbossError):
    """The player's data are kept and used for nothing but what the law or the player asks for."""

    code = "subjects.processing_restricted"
    kind = ErrorKind.REFUSED


class TableNotBound(PitbossError):
    """A table holds something of subjects, and nothing says how their rows are found."""

    code = "subjects.table_not_bound"
    kind = ErrorKind.BUG
