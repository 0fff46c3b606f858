"""Windows, and what still fits into them."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.limits.contracts import Limit, LimitKind, Period
from pitboss.limits.rules import compute_earliest_window, compute_usage, compute_window_start, decide_limits

FRIDAY = date(2026, 11, 20)
DATES = st.dates(date(2000, 1, 1), date(2100, 1, 1))


@pytest.mark.parametrize(
    ("period", "today", "start"),
    [
        (Period.DAY, FRIDAY, FRIDAY),
        (Period.WEEK, FRIDAY, date(2026, 11, 16)),
        (Period.WEEK, date(2026, 11, 16), date(2026, 11, 16)),
        (Period.WEEK, date(2027, 1, 1), date(2026, 12, 28)),
        (Period.MONTH, FRIDAY, date(2026, 11, 1)),
        (Period.MONTH, date(2028, 2, 29), date(2028, 2, 1)),
    ],
)
def test_where_a_window_begins(period: Period, today: date, start: date) -> None:
    assert compute_window_start(period, today) == start


@given(DATES, st.sampled_from(Period))
def test_a_day_lies_in_its_own_window(today: date, period: Period) -> None:
    start = compute_window_start(period, today)
    assert start <= today
    assert compute_window_start(period, start) == start
    assert compute_earliest_window(today) <= start
    longest = {Period.DAY: 0, Period.WEEK: 6, Period.MONTH: 30}[period]
    assert today - start <= timedelta(days=longest)


def test_a_limit_is_reached_at_its_amount_and_exceeded_above() -> None:
    limits = [Limit(LimitKind.STAKE, Period.DAY, 100), Limit(LimitKind.LOSS, Period.WEEK, 50)]
    used = {(2, 1, FRIDAY): 60, (3, 2, date(2026, 11, 16)): 0}
    assert decide_limits(limits, used, {LimitKind.STAKE: 40}, FRIDAY) is None
    assert decide_limits(limits, used, {LimitKind.STAKE: 41}, FRIDAY) is limits[0]
    assert decide_limits(limits, used, {LimitKind.STAKE: 1, LimitKind.LOSS: 51}, FRIDAY) is limits[1]
    assert decide_limits(limits, used, {LimitKind.DEPOSIT: 10**12}, FRIDAY) is None


def test_money_that_comes_back_is_taken_above_every_limit() -> None:
    limits = [Limit(LimitKind.LOSS, Period.DAY, 0)]
    assert decide_limits(limits, {(3, 1, FRIDAY): 500}, {LimitKind.LOSS: -10}, FRIDAY) is None
    assert decide_limits(limits, {(3, 1, FRIDAY): 500}, {LimitKind.LOSS: 0}, FRIDAY) is None


def test_the_window_of_another_day_does_not_count() -> None:
    limits = [Limit(LimitKind.DEPOSIT, Period.DAY, 100)]
    used = {(1, 1, FRIDAY - timedelta(days=1)): 100}
    assert decide_limits(limits, used, {LimitKind.DEPOSIT: 100}, FRIDAY) is None


def test_each_limit_counts_in_its_own_window() -> None:
    limits = [Limit(LimitKind.STAKE, period, 10) for period in Period] + [Limit(LimitKind.DEPOSIT, Period.DAY, 5)]
    counted = compute_usage(limits, {LimitKind.STAKE: -7, LimitKind.LOSS: 3}, FRIDAY)
    assert counted == {(2, 1, FRIDAY): -7, (2, 2, date(2026, 11, 16)): -7, (2, 3, date(2026, 11, 1)): -7}
