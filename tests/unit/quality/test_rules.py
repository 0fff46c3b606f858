"""When a measure is green, amber, red or grey, which hours are closed, and when an aggregator is asked again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.ledger.contracts import Effect, Op, Outcome
from pitboss.quality import rules
from pitboss.quality.contracts import Area, Dimension, FindingKind, Reading, State
from pitboss_sdk.games import LegKind, ListedState, ListedTransaction

counts = st.integers(0, 10**9)


def reading(area: Area, dimension: Dimension, found: int, wrong: int, grave: int = 0) -> Reading:
    return Reading(area, dimension, found, wrong, grave)


@pytest.mark.parametrize(
    ("area", "dimension", "found", "wrong", "grave", "state"),
    [
        (Area.AUDIT, Dimension.COMPLETENESS, 0, 0, 0, State.NO_DATA),
        (Area.AUDIT, Dimension.COMPLETENESS, 10**9, 0, 0, State.GREEN),
        (Area.AUDIT, Dimension.COMPLETENESS, 10**9, 1, 0, State.RED),
        (Area.PAYMENTS, Dimension.CONSISTENCY, 0, 1, 0, State.RED),
        (Area.ROUNDS, Dimension.COMPLETENESS, 1000, 1, 0, State.AMBER),
        (Area.ROUNDS, Dimension.COMPLETENESS, 1000, 10, 0, State.AMBER),
        (Area.ROUNDS, Dimension.COMPLETENESS, 1000, 11, 0, State.RED),
        (Area.ROUNDS, Dimension.COMPLETENESS, 10**6, 1, 1, State.RED),
        (Area.PAYMENTS, Dimension.TIMELINESS, 1000, 10, 0, State.GREEN),
        (Area.PAYMENTS, Dimension.TIMELINESS, 1000, 11, 0, State.AMBER),
        (Area.PAYMENTS, Dimension.TIMELINESS, 1000, 51, 0, State.RED),
    ],
)
def test_states(area: Area, dimension: Dimension, found: int, wrong: int, grave: int, state: State) -> None:
    assert rules.decide_state(reading(area, dimension, found, wrong, grave)) is state


def test_what_cannot_be_known_is_grey_whatever_was_counted() -> None:
    unknown = Reading(Area.AUDIT, Dimension.CONSISTENCY, 5, 3, is_known=False)
    assert rules.decide_state(unknown) is State.NO_DATA


@given(counts, counts)
def test_one_wrong_record_is_never_no_share(found: int, wrong: int) -> None:
    share = rules.compute_share_ppm(found, wrong)
    assert (share > 0) is (wrong > 0)
    assert 0 <= share <= rules.MILLION


@given(st.integers(0, 10**9))
def test_hours_are_closed_and_none_is_left_out(second: int) -> None:
    now = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    hours = rules.list_hours(now, 24)
    assert all(hour + timedelta(hours=1, minutes=2) <= now for hour in hours)
    assert now - hours[0] < timedelta(hours=2, minutes=2)
    assert [one - other for one, other in pairwise(hours)] == [timedelta(hours=1)] * 23
    assert rules.list_hours(now, 24, before=hours[3]) == hours[4:]


def test_pauses_double() -> None:
    pauses = [rules.compute_pause(attempt) for attempt in range(6)]
    assert [pause // timedelta(minutes=1) for pause in pauses] == [5, 10, 20, 40, 80, 160]


def listed(state: ListedState, kind: LegKind = LegKind.BET, amount: int = 500, at_us: int = 0) -> ListedTransaction:
    return ListedTransaction("t", kind, state, amount, "EUR", "r", at_us)


def effect(
    op: Op = Op.BET, moved: int = -500, outcome: Outcome = Outcome.ACCEPTED, *, is_reversed: bool = False
) -> Effect:
    moment = datetime(1970, 1, 1, tzinfo=UTC)
    return Effect("t", outcome, int(op), moved, "EUR", None, moment, is_reversed)


REFUSED = Effect("t", Outcome.REFUSED)


@pytest.mark.parametrize(
    ("there", "here", "kinds"),
    [
        (listed(ListedState.BOOKED), effect(), []),
        (listed(ListedState.BOOKED), effect(is_reversed=True), []),
        (listed(ListedState.BOOKED), None, [FindingKind.MISSING_HERE]),
        (listed(ListedState.BOOKED), REFUSED, [FindingKind.MISSING_HERE]),
        (listed(ListedState.BOOKED, amount=501), effect(), [FindingKind.AMOUNT_DIFFERS]),
        (listed(ListedState.BOOKED, LegKind.WIN), effect(), [FindingKind.AMOUNT_DIFFERS]),
        (listed(ListedState.BOOKED, LegKind.WIN), effect(Op.WIN, 500), []),
        (listed(ListedState.BOOKED, LegKind.ROLLBACK, 0), REFUSED, []),
        (listed(ListedState.BOOKED, LegKind.ROLLBACK, 0), None, [FindingKind.MISSING_HERE]),
        (listed(ListedState.UNDONE), None, []),
        (listed(ListedState.UNDONE), REFUSED, []),
        (listed(ListedState.UNDONE), effect(is_reversed=True), []),
        (listed(ListedState.UNDONE), effect(), [FindingKind.STANDS_HERE]),
        (listed(ListedState.OPEN), None, []),
        (listed(ListedState.OPEN, amount=9), effect(), []),
    ],
)
def test_two_books_are_held_against_each_other(
    there: ListedTransaction, here: Effect | None, kinds: list[FindingKind]
) -> None:
    compared = rules.compare_lists([there], {} if here is None else {"t": here})
    assert [fault.kind for fault in compared.faults] == kinds
    assert compared.matched == (there.state is ListedState.BOOKED and not kinds)


def test_one_reference_listed_twice_is_told_once() -> None:
    compared = rules.compare_lists([listed(ListedState.BOOKED)] * 3, {"t": effect()})
    assert [(fault.kind, fault.detail) for fault in compared.faults] == [(FindingKind.LISTED_TWICE, "3 times")]


@pytest.mark.parametrize(("seconds", "late"), [(0, 0), (60, 0), (-60, 0), (61, 1), (-61, 1)])
def test_a_booking_far_from_the_aggregators_time_is_late(seconds: int, late: int) -> None:
    there = listed(ListedState.BOOKED, at_us=seconds * 1_000_000)
    assert rules.compare_lists([there], {"t": effect()}).late == late
