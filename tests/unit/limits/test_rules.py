"""Windows, and what still fits into them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.limits.contracts import (
    Change,
    Exclusion,
    ExclusionKind,
    Limit,
    LimitKind,
    Period,
    PlayerLimit,
    PlayTimeLimit,
)
from pitboss.limits.rules import (
    compute_closed_until,
    compute_earliest_window,
    compute_first_needed,
    compute_play_time_left,
    compute_usage,
    decide_change,
    decide_limits,
    decide_play_time,
    mature,
    mature_play_time,
    name_window,
)

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
    limit = Limit(LimitKind.STAKE, period, 1)
    assert compute_usage([limit], {LimitKind.STAKE: 7}, today) == {(2, int(period), start): 7}


@given(DATES)
def test_the_earliest_window_is_the_longest_that_is_open(today: date) -> None:
    every = [Limit(LimitKind.STAKE, period, 1) for period in Period]
    starts = [window[2] for window in compute_usage(every, {LimitKind.STAKE: 1}, today)]
    assert compute_earliest_window(today) == min(starts)
    assert today - timedelta(days=30) <= min(starts) <= max(starts) == today


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


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NEVER = datetime(9999, 12, 31, tzinfo=UTC)
WAIT = timedelta(hours=24)


def limit(amount_minor: int, *, then: int | str | None = "", at: datetime = NOW + WAIT) -> PlayerLimit:
    waiting = None if then == "" else Change(None if then is None else int(then), at)
    return PlayerLimit(Limit(LimitKind.STAKE, Period.DAY, amount_minor), waiting)


@pytest.mark.parametrize(
    ("found", "wanted", "becomes"),
    [
        (None, 100, limit(100)),
        (None, None, None),
        (limit(100), 99, limit(99)),
        (limit(100), 100, limit(100)),
        (limit(100), 101, limit(100, then=101)),
        (limit(100), None, limit(100, then=None)),
        (limit(100, then=500), 100, limit(100)),
        (limit(100, then=500), 50, limit(50)),
        (limit(100, then=500), 200, limit(100, then=200)),
        (limit(100, then=500), None, limit(100, then=None)),
    ],
)
def test_stricter_acts_at_once_and_looser_waits(
    found: PlayerLimit | None, wanted: int | None, becomes: PlayerLimit | None
) -> None:
    assert decide_change(found, LimitKind.STAKE, Period.DAY, wanted, NOW, WAIT) == becomes


def test_to_ask_again_for_what_waits_does_not_begin_the_wait_anew() -> None:
    for then in (500, None):
        waiting = limit(100, then=then, at=NOW + timedelta(hours=1))
        assert decide_change(waiting, LimitKind.STAKE, Period.DAY, then, NOW, WAIT) == waiting


def test_where_nothing_waits_by_law_looser_acts_at_once_too() -> None:
    assert decide_change(limit(100), LimitKind.STAKE, Period.DAY, 500, NOW, timedelta()) == limit(500)
    assert decide_change(limit(100), LimitKind.STAKE, Period.DAY, None, NOW, timedelta()) is None


def test_a_change_happens_at_its_moment_and_not_before() -> None:
    raised, removed = limit(100, then=500), limit(100, then=None)
    before = NOW + WAIT - timedelta(microseconds=1)
    assert (mature(raised, before), mature(removed, before)) == (raised, removed)
    assert (mature(raised, NOW + WAIT), mature(removed, NOW + WAIT)) == (limit(500), None)


def exclusion(ends_at: datetime | None, lifted_from: datetime | None = None) -> Exclusion:
    return Exclusion(UUID(int=1), ExclusionKind.SELF_EXCLUSION, NOW - WAIT, ends_at, lifted_from, "")


@pytest.mark.parametrize(
    ("exclusions", "until"),
    [
        ([], None),
        ([exclusion(NOW)], None),
        ([exclusion(NOW + WAIT)], NOW + WAIT),
        ([exclusion(NOW + WAIT), exclusion(NOW + 2 * WAIT)], NOW + 2 * WAIT),
        ([exclusion(None), exclusion(NOW + WAIT)], NEVER),
        ([exclusion(None, lifted_from=NOW + WAIT)], NOW + WAIT),
        ([exclusion(None, lifted_from=NOW)], None),
        ([exclusion(NOW + WAIT, lifted_from=NOW + 2 * WAIT)], NOW + WAIT),
        ([exclusion(None, lifted_from=NOW), exclusion(NOW + WAIT)], NOW + WAIT),
    ],
)
def test_the_longest_exclusion_that_stands_counts(exclusions: list[Exclusion], until: datetime | None) -> None:
    assert compute_closed_until(exclusions, NOW, NEVER) == until


TEN = datetime(2035, 6, 15, 10, tzinfo=UTC)
MINUTES = st.integers(-3000, 0)


@given(
    st.lists(st.tuples(MINUTES, st.integers(0, 900)), max_size=6),
    st.lists(st.tuples(st.sampled_from(Period), st.integers(0, 2000)), max_size=3),
    st.sampled_from(["UTC", "Europe/Malta", "America/Sao_Paulo"]),
)
def test_play_time_is_every_minute_in_which_some_game_was_open(
    spans: list[tuple[int, int]], bounds: list[tuple[Period, int]], zone: str
) -> None:
    limits = [PlayTimeLimit(period, minutes) for period, minutes in bounds]
    opened = [(TEN + timedelta(minutes=since), TEN + timedelta(minutes=since + length)) for since, length in spans]
    left = compute_play_time_left(limits, opened, TEN, zone)
    if not limits:
        assert left is None
        return
    expected: list[int] = []
    for period, minutes in bounds:
        day = TEN.astimezone(ZoneInfo(zone)).replace(hour=0)
        first = {Period.DAY: day, Period.WEEK: day - timedelta(days=day.weekday()), Period.MONTH: day.replace(day=1)}
        counted = (TEN - first[period]) // timedelta(minutes=1)
        played = {
            minute for since, length in spans for minute in range(since, since + length) if -counted <= minute < 0
        }
        expected.append(minutes - len(played))
    assert left == timedelta(minutes=max(0, min(expected)))


@given(
    st.none() | st.tuples(st.integers(0, 3), st.none() | st.tuples(st.none() | st.integers(0, 3), st.integers(-2, 2))),
    st.none() | st.integers(0, 3),
    st.integers(0, 2),
)
def test_play_time_changes_by_the_rule_of_all_limits(found: Any, wanted: int | None, wait_hours: int) -> None:
    wait = timedelta(hours=wait_hours)
    money = time = None
    if found is not None:
        change = None if found[1] is None else Change(found[1][0], TEN + timedelta(hours=found[1][1]))
        money = mature(PlayerLimit(Limit(LimitKind.STAKE, Period.WEEK, found[0]), change), TEN)
        time = mature_play_time(_as_play_time(found[0], change), TEN)
    changed = decide_change(money, LimitKind.STAKE, Period.WEEK, wanted, TEN, wait)
    expected = None
    if changed is not None:
        expected = _as_play_time(changed.limit.amount_minor, changed.waiting)
    assert decide_play_time(time, Period.WEEK, wanted, TEN, wait) == expected


def _as_play_time(minutes: int, change: Change | None) -> PlayTimeLimit:
    if change is None:
        return PlayTimeLimit(Period.WEEK, minutes)
    return PlayTimeLimit(Period.WEEK, minutes, change.amount_minor, change.at)


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "UTC", "Europe/Malta", "America/Sao_Paulo", "Pacific/Kiritimati"])
def test_no_window_that_is_open_anywhere_is_forgotten(zone: str) -> None:
    moment = datetime(2027, 12, 1, tzinfo=UTC)
    while moment < datetime(2028, 4, 1, tzinfo=UTC):
        today = moment.astimezone(ZoneInfo(zone)).date()
        for period in Period:
            window = name_window(Limit(LimitKind.STAKE, period, 1), today)
            assert window[2] >= compute_first_needed(moment.date()), (moment, period)
        moment += timedelta(hours=1)


@pytest.mark.parametrize(
    ("today", "first"),
    [
        (date(2028, 3, 2), date(2028, 2, 1)),
        (date(2028, 3, 3), date(2028, 2, 28)),
        (date(2028, 3, 31), date(2028, 3, 1)),
        (date(2028, 1, 2), date(2027, 12, 1)),
        (date(2028, 1, 3), date(2027, 12, 27)),
    ],
)
def test_what_no_window_needs_is_forgotten(today: date, first: date) -> None:
    assert compute_first_needed(today) == first
