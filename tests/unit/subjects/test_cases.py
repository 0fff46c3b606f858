"""Every pair of states, the clock, and what a request must say."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import msgspec
import pytest

from pitboss.subjects.contracts import Case, CaseKind, CaseOrder, CaseReason, CaseState, Clock
from pitboss.subjects.errors import CaseOrderInvalid, NothingDone, ReasonMissing, StepRefused
from pitboss.subjects.rules import check_order, check_step, clock_of, compute_due, list_next, merge_reasons, reasons_of

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WHY = (CaseReason.EXCESSIVE,)
R, K, P, C, A, F = CaseState
ALLOWED = {(R, K), (R, F), (K, P), (K, F), (P, C), (P, A), (P, F)}
"""Every step there is; whoever adds one changes this list too."""


def make_case(**changes: Any) -> Case:
    case = Case(
        case_id=UUID(int=1),
        player=UUID(int=2),
        player_id=1,
        kind=CaseKind.ACCESS,
        state=CaseState.RECEIVED,
        reasons=(),
        reference="letter-1",
        received_at=NOW,
        due_at=NOW + timedelta(days=30),
        changed_at=NOW,
        effect_at=NOW,
        ended_at=None,
    )
    return msgspec.structs.replace(case, **changes)


def reasons_for(wanted: CaseState) -> Iterable[CaseReason]:
    return WHY if wanted in {A, F} else ()


@pytest.mark.parametrize(("before", "wanted"), list(product(CaseState, CaseState)))
def test_each_step_is_allowed_or_refused(before: CaseState, wanted: CaseState) -> None:
    case = make_case(state=before, reasons=tuple(reasons_for(before)))
    if before is wanted:
        assert check_step(case, wanted, reasons_for(wanted)) is False
    elif (before, wanted) in ALLOWED:
        assert check_step(case, wanted, reasons_for(wanted)) is True
    else:
        with pytest.raises(StepRefused):
            check_step(case, wanted, reasons_for(wanted))


def test_a_final_state_is_not_given_other_reasons() -> None:
    with pytest.raises(StepRefused):
        check_step(make_case(state=F, reasons=WHY), F, (CaseReason.WITHDRAWN,))


@pytest.mark.parametrize("wanted", [A, F])
def test_who_is_refused_or_answered_in_part_is_told_why(wanted: CaseState) -> None:
    with pytest.raises(ReasonMissing):
        check_step(make_case(state=P), wanted, ())


def test_nothing_else_has_reasons() -> None:
    with pytest.raises(ReasonMissing):
        check_step(make_case(state=P), C, WHY)


def test_a_case_is_completed_by_what_was_done_for_it() -> None:
    case = make_case(state=P, effect_at=None)
    with pytest.raises(NothingDone):
        check_step(case, C, ())
    assert list_next(case) == [A, F]
    assert list_next(make_case(state=P)) == [C, A, F]


@pytest.mark.parametrize(("days", "due"), [(30, 30), (15, 15), (1, 1), (45, 30), (0, 1)])
def test_a_law_shortens_the_clock_and_nobody_lengthens_it(days: int, due: int) -> None:
    assert compute_due(NOW, days) == NOW + timedelta(days=due)


@pytest.mark.parametrize(
    ("passed", "ended", "clock"),
    [
        (timedelta(0), None, Clock.RUNNING),
        (timedelta(days=25), None, Clock.RUNNING),
        (timedelta(days=25, seconds=1), None, Clock.SOON),
        (timedelta(days=30), None, Clock.SOON),
        (timedelta(days=30, microseconds=1), None, Clock.OVERDUE),
        (timedelta(days=90), timedelta(days=30), Clock.MET),
        (timedelta(days=90), timedelta(days=30, microseconds=1), Clock.LATE),
    ],
)
def test_the_clock(passed: timedelta, ended: timedelta | None, clock: Clock) -> None:
    case = make_case(ended_at=None if ended is None else NOW + ended)
    assert clock_of(case, NOW + passed) is clock


@pytest.mark.parametrize(
    "changes",
    [
        {"reference": ""},
        {"reference": "a b"},
        {"reference": "x" * 101},
        {"reference": "letter-1\n"},
        {"received_at": NOW + timedelta(seconds=1)},
        {"received_at": NOW - timedelta(days=366)},
    ],
)
def test_an_order_that_cannot_be(changes: dict[str, Any]) -> None:
    order = CaseOrder(UUID(int=1), CaseKind.ACCESS, "letter-1", NOW, 30)
    check_order(order, NOW)
    with pytest.raises(CaseOrderInvalid):
        check_order(msgspec.structs.replace(order, **changes), NOW)


def test_reasons_are_stored_once_and_in_order() -> None:
    stored = merge_reasons([CaseReason.WITHDRAWN, CaseReason.EXCESSIVE, CaseReason.WITHDRAWN])
    assert reasons_of(stored) == (CaseReason.EXCESSIVE, CaseReason.WITHDRAWN)
    assert reasons_of("") == ()
