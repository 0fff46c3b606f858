"""Which step of a case may follow which, and how a case stands against its day."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from pitboss.subjects.contracts import SOON, Case, CaseOrder, CaseReason, CaseState, Clock
from pitboss.subjects.errors import CaseOrderInvalid, NothingDone, ReasonMissing, StepRefused

NEXT: Final[Mapping[CaseState, frozenset[CaseState]]] = {
    CaseState.RECEIVED: frozenset({CaseState.IDENTITY_CHECKED, CaseState.REFUSED}),
    CaseState.IDENTITY_CHECKED: frozenset({CaseState.IN_PROGRESS, CaseState.REFUSED}),
    CaseState.IN_PROGRESS: frozenset({CaseState.COMPLETED, CaseState.PARTIAL, CaseState.REFUSED}),
    CaseState.COMPLETED: frozenset(),
    CaseState.PARTIAL: frozenset(),
    CaseState.REFUSED: frozenset(),
}
"""Every step there is. Nobody's data are told, changed or destroyed before it is known who asks."""
_EXPLAINED: Final = frozenset({CaseState.PARTIAL, CaseState.REFUSED})
_REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}", re.ASCII)
MAX_ANSWER_DAYS: Final = 30
_MAX_BACKDATE: Final = timedelta(days=365)


def list_next(case: Case) -> list[CaseState]:
    """Return the states that may follow, as far as it is known now."""
    return sorted(state for state in NEXT[case.state] if state is not CaseState.COMPLETED or case.effect_at is not None)


def check_order(order: CaseOrder, now: datetime) -> None:
    """Raise `CaseOrderInvalid` for a reference that is none, or a moment that cannot be when it was received."""
    if not _REFERENCE.fullmatch(order.reference):
        raise CaseOrderInvalid("reference: up to 100 letters, digits and . _ : - are meant")
    if not now - _MAX_BACKDATE <= order.received_at <= now:
        raise CaseOrderInvalid("received_at: not in the past year")


def compute_due(received_at: datetime, answer_days: int) -> datetime:
    """Return when a case must be answered: `answer_days` after it came in, and never more than thirty."""
    return received_at + timedelta(days=min(max(answer_days, 1), MAX_ANSWER_DAYS))


def check_step(case: Case, wanted: CaseState, reasons: Iterable[CaseReason]) -> bool:
    """Return whether there is something to do; the same step again does nothing.

    Raises `StepRefused`, `ReasonMissing`, and `NothingDone` where a case would be completed that had no effect.
    """
    given = tuple(reasons)
    if case.state is wanted and (not wanted.is_final or set(given) <= set(case.reasons)):
        return False
    if wanted not in NEXT[case.state]:
        raise StepRefused(f"{case.state.name.lower()} is not followed by {wanted.name.lower()}")
    if wanted in _EXPLAINED and not given:
        raise ReasonMissing("name a reason")
    if wanted not in _EXPLAINED and given:
        raise ReasonMissing("only a case that is refused or carried out in part has reasons")
    if wanted is CaseState.COMPLETED and case.effect_at is None:
        raise NothingDone("nothing was done for this case yet")
    return True


def clock_of(case: Case, now: datetime) -> Clock:
    """Return how a case stands against its day."""
    if case.ended_at is not None:
        return Clock.MET if case.ended_at <= case.due_at else Clock.LATE
    if now > case.due_at:
        return Clock.OVERDUE
    return Clock.SOON if now > case.due_at - SOON else Clock.RUNNING


def merge_reasons(reasons: Iterable[CaseReason]) -> str:
    """Return reasons as they are stored: each once, in one order."""
    return " ".join(sorted({reason.value for reason in reasons}))


def reasons_of(stored: str) -> tuple[CaseReason, ...]:
    """Return the reasons that are stored."""
    return tuple(map(CaseReason, stored.split()))
