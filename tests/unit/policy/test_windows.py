"""Days, weeks and months of a time zone: DST, leap days, midnights that do not exist or come twice."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.policy.contracts import Retention
from pitboss.policy.rules import (
    add_months,
    compute_day_start,
    compute_exclusion_end,
    compute_kept_until,
    compute_local_day,
    compute_window,
)
from pitboss_sdk.jurisdiction import CountsFrom, LimitPeriod

MALTA = "Europe/Malta"
ZONES = [
    "UTC",
    MALTA,
    "America/Sao_Paulo",
    "America/Havana",
    "America/Toronto",
    "America/St_Johns",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Europe/Madrid",
    "Pacific/Chatham",
]
START = datetime(2000, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 37 * 366 * 86_400).map(lambda seconds: START + timedelta(seconds=seconds))


@given(moment=MOMENTS, zone=st.sampled_from(ZONES), period=st.sampled_from(list(LimitPeriod)))
def test_windows_hold_their_moment_and_leave_no_gap(moment: datetime, zone: str, period: LimitPeriod) -> None:
    window = compute_window(period, moment, zone)
    assert window.starts_at <= moment < window.ends_at
    assert window.first_day <= compute_local_day(moment, zone) < window.next_day
    instant = timedelta(microseconds=1)
    assert compute_local_day(window.starts_at, zone) == window.first_day
    assert compute_local_day(window.starts_at - instant, zone) == window.first_day - timedelta(days=1)
    assert compute_local_day(window.ends_at - instant, zone) == window.next_day - timedelta(days=1)
    following = compute_window(period, window.ends_at, zone)
    assert (following.first_day, following.starts_at) == (window.next_day, window.ends_at)


@given(moment=MOMENTS, zone=st.sampled_from(ZONES))
def test_a_day_lies_in_its_week_and_its_month(moment: datetime, zone: str) -> None:
    day, week, month = (compute_window(period, moment, zone) for period in LimitPeriod)
    assert week.starts_at <= day.starts_at < day.ends_at <= week.ends_at
    assert month.starts_at <= day.starts_at < day.ends_at <= month.ends_at
    assert week.first_day.weekday() == 0
    assert (month.first_day.day, month.next_day.day) == (1, 1)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        (MALTA, date(2027, 3, 27), 24),
        (MALTA, date(2027, 3, 28), 23),
        (MALTA, date(2027, 3, 29), 24),
        (MALTA, date(2027, 10, 30), 24),
        (MALTA, date(2027, 10, 31), 25),
        (MALTA, date(2027, 11, 1), 24),
        (MALTA, date(2028, 2, 29), 24),
        ("America/Sao_Paulo", date(2018, 11, 3), 24),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),  # no midnight: the clock jumps to 1
        ("America/Sao_Paulo", date(2019, 2, 16), 25),  # an hour before midnight comes twice
        ("America/Sao_Paulo", date(2027, 11, 7), 24),  # no summer time any more
        ("America/Havana", date(2026, 11, 1), 25),  # midnight comes twice
    ],
)
def test_a_day_is_as_long_as_its_clock_says(zone: str, day: date, hours: int) -> None:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone))
    window = compute_window(LimitPeriod.DAY, noon, zone)
    assert window.first_day == day
    assert window.ends_at - window.starts_at == timedelta(hours=hours)


def test_a_day_without_midnight_begins_with_the_jump() -> None:
    assert compute_day_start(date(2018, 11, 4), "America/Sao_Paulo") == datetime(2018, 11, 4, 3, tzinfo=UTC)
    assert compute_day_start(date(2026, 11, 1), "America/Havana") == datetime(2026, 11, 1, 4, tzinfo=UTC)


def test_weeks_and_months_over_a_change_of_clocks_and_a_leap_day() -> None:
    spring = compute_window(LimitPeriod.WEEK, datetime(2027, 3, 28, 12, tzinfo=UTC), MALTA)
    assert spring.ends_at - spring.starts_at == timedelta(hours=7 * 24 - 1)
    leap = compute_window(LimitPeriod.MONTH, datetime(2028, 2, 29, 12, tzinfo=UTC), MALTA)
    assert leap.ends_at - leap.starts_at == timedelta(days=29)
    common = compute_window(LimitPeriod.MONTH, datetime(2027, 2, 28, 22, 59, tzinfo=UTC), MALTA)
    assert (common.first_day, common.next_day) == (date(2027, 2, 1), date(2027, 3, 1))
    # One minute later it is March in Malta, though not in UTC.
    after = compute_window(LimitPeriod.MONTH, datetime(2027, 2, 28, 23, 0, tzinfo=UTC), MALTA)
    assert after.first_day == date(2027, 3, 1)


@pytest.mark.parametrize(
    ("day", "months", "later"),
    [
        (date(2027, 1, 31), 1, date(2027, 3, 1)),
        (date(2028, 1, 31), 1, date(2028, 3, 1)),
        (date(2028, 1, 29), 1, date(2028, 2, 29)),
        (date(2028, 2, 29), 12, date(2029, 3, 1)),
        (date(2028, 2, 29), 48, date(2032, 2, 29)),
        (date(2026, 12, 31), 2, date(2027, 3, 1)),
        (date(2026, 11, 30), 0, date(2026, 11, 30)),
        (date(2026, 12, 15), 1, date(2027, 1, 15)),
    ],
)
def test_months_are_never_shortened(day: date, months: int, later: date) -> None:
    assert add_months(day, months) == later


@given(day=st.dates(date(2000, 1, 1), date(2090, 1, 1)), months=st.integers(0, 200))
def test_a_term_has_all_its_months(day: date, months: int) -> None:
    later = add_months(day, months)
    first, last = day.year * 12 + day.month, later.year * 12 + later.month
    assert (last - first, later.day) in {(months, day.day), (months + 1, 1)}
    assert add_months(day + timedelta(days=1), months) >= later


def test_an_exclusion_lasts_to_the_end_of_its_last_day() -> None:
    begins_at = datetime(2026, 9, 29, 22, 30, tzinfo=UTC)  # 30 September in Malta
    assert compute_exclusion_end(begins_at, 6, MALTA) == datetime(2027, 3, 30, 22, tzinfo=UTC)  # summer time by then


@pytest.mark.parametrize(
    ("retention", "closed_on", "kept_until"),
    [
        (Retention(5, CountsFrom.CREATION), None, date(2029, 3, 1)),
        (Retention(5, CountsFrom.ACCOUNT_CLOSED), None, None),
        (Retention(5, CountsFrom.ACCOUNT_CLOSED), date(2025, 6, 30), date(2030, 6, 30)),
        (Retention(5, CountsFrom.ACCOUNT_CLOSED), date(2023, 6, 30), date(2029, 3, 1)),  # written after the closing
        (Retention(None, CountsFrom.CREATION), date(2025, 6, 30), None),
        (Retention(0, CountsFrom.CREATION), None, date(2024, 2, 29)),
    ],
)
def test_a_record_is_kept_until(retention: Retention, closed_on: date | None, kept_until: date | None) -> None:
    assert compute_kept_until(retention, date(2024, 2, 29), closed_on) == kept_until
