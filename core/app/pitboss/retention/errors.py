"""Errors of retention that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class HoldUnknown(PitbossError):
    code = "retention.hold_unknown"
    kind = ErrorKind.NOT_FOUND


class HoldInvalid(PitbossError):
    """What the hold is to keep is not there, or not said."""

    code = "retention.hold_invalid"
    kind = ErrorKind.INVALID


class ReasonInvalid(PitbossError):
    """A reason is a code and a case is a reference: the log keeps them for good, so they hold no words about a person."""

    code = "retention.reason_invalid"
    kind = ErrorKind.INVALID


class HoldLifted(PitbossError):
    """The hold was lifted before."""

    code = "retention.hold_lifted"
    kind = ErrorKind.CONFLICT


class RunUnknown(PitbossError):
    code = "retention.run_unknown"
    kind = ErrorKind.NOT_FOUND


class NothingDue(PitbossError):
    """There is no row whose time is over and that nothing holds back."""

    code = "retention.nothing_due"
    kind = ErrorKind.REFUSED


class SamePerson(PitbossError):
    """Who proposed a plan may not approve it."""

    code = "retention.same_person"
    kind = ErrorKind.FORBIDDEN


class PlanNotApproved(PitbossError):
    """Nobody has approved the plan."""

    code = "retention.plan_not_approved"
    kind = ErrorKind.REFUSED


class PlanDiffers(PitbossError):
    """The plan is not the one that was looked at."""

    code = "retention.plan_differs"
    kind = ErrorKind.CONFLICT


class PlanStale(PitbossError):
    """The plan is too old, or the schedule has changed since."""

    code = "retention.plan_stale"
    kind = ErrorKind.CONFLICT


class PlanSettled(PitbossError):
    """The plan was approved, or carried out, before."""

    code = "retention.plan_settled"
    kind = ErrorKind.CONFLICT
