"""Values of retention that cross the room's border: schedules, legal holds, plans and what became of them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final
from uuid import UUID

import msgspec

from pitboss.policy.contracts import ResolvedFigure, Retention
from pitboss_sdk.jurisdiction import RecordClass

CARRY_OUT_JOB: Final = "retention.carry_out"
"""The job that carries out an approved plan; its payload names the run."""
PLAN_LIFETIME: Final = timedelta(days=7)
"""A plan that is older is neither approved nor carried out; the database holds to the same span."""


class HoldScope(IntEnum):
    """What a legal hold keeps."""

    PLAYER = 1
    TABLE = 2
    TENANT = 3


class Hold(msgspec.Struct, frozen=True):
    """A legal hold: for which case, on what, by whom and why, and since when it holds no more."""

    hold_id: UUID
    case_reference: str
    scope: HoldScope
    subject_id: UUID | None
    """The public id of the player."""
    table_name: str
    reason: str
    placed_by: str
    placed_at: datetime
    lifted_by: str
    lifted_at: datetime | None
    lift_reason: str
    lift_asked_by: str = ""
    """Who asked for the end of it; somebody else lifts it."""

    @property
    def what(self) -> str:
        """What is held, in words."""
        match self.scope:
            case HoldScope.PLAYER:
                return f"player {self.subject_id}"
            case HoldScope.TABLE:
                return f"table {self.table_name}"
            case HoldScope.TENANT:
                return "everything of the tenant"


class KeptBecause(StrEnum):
    """Why something is not destroyed."""

    LEGAL_HOLD = "legal_hold"
    ACCOUNT_OPEN = "account_open"
    RETENTION = "retention"
    """The law names a period, and it is not over."""
    RETENTION_UNKNOWN = "retention_unknown"
    """Nobody verified a period, so it never ends."""


class Keeping(msgspec.Struct, frozen=True):
    """One reason why a subject's data must stay; `until` is the last day of it, None while no end is known."""

    because: KeptBecause
    what: str
    """The case of the hold, or the class of records."""
    until: date | None = None


class ScheduleLine(msgspec.Struct, frozen=True):
    """How long rows of a table are kept for players of one licence. Without `cutoff_at` nothing is destroyed."""

    table: str
    licence: str
    retention: Retention
    figures: tuple[ResolvedFigure, ...]
    """One for each class of records that the rows belong to; the longest of them applies."""
    cutoff_at: datetime | None
    """Rows whose time began before may be destroyed."""

    @property
    def records(self) -> tuple[RecordClass, ...]:
        """The classes of records."""
        return tuple(RecordClass(figure.name.partition(".")[2]) for figure in self.figures)


class Schedule(msgspec.Struct, frozen=True):
    """What applies to a tenant's rows at a moment; the version changes with every period, not with the moment."""

    lines: tuple[ScheduleLine, ...]
    version: str
    moment: datetime


class Step(msgspec.Struct, frozen=True):
    """One table and licence of a plan. `oldest_at` is when the time of the oldest row that stays began."""

    step: int
    table: str
    licence: str
    counts_from: str
    cutoff_at: datetime
    rows_due: int
    rows_held: int
    oldest_at: datetime | None
    rows_destroyed: int = 0
    finished_at: datetime | None = None


class Draft(msgspec.Struct, frozen=True):
    """What would be destroyed if it were approved, counted at one moment; nothing of it is stored."""

    schedule: Schedule
    steps: tuple[Step, ...]

    @property
    def rows_due(self) -> int:
        """Rows that would go."""
        return sum(step.rows_due for step in self.steps)


class Run(msgspec.Struct, frozen=True):
    """A plan that was proposed, and what became of it. `digest` covers everything that an approver approves."""

    run_id: UUID
    digest: str
    schedule_version: str
    reason: str
    proposed_by: str
    proposed_at: datetime
    approved_by: str | None
    approved_at: datetime | None
    finished_at: datetime | None
    steps: tuple[Step, ...]

    @property
    def rows_due(self) -> int:
        """Rows that were approved to go."""
        return sum(step.rows_due for step in self.steps)

    @property
    def rows_destroyed(self) -> int:
        """Rows that are gone."""
        return sum(step.rows_destroyed for step in self.steps)
