"""Days, weeks and months of a time zone, and terms counted in months and years."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pitboss.policy.contracts import Retention, Window
from pitboss_sdk.jurisdiction import CountsFrom, LimitPeriod


def compute_local_day(moment: datetime, time_zone: str) -> date:
    """Return the day of a time zone on which an aware moment falls."""
    return moment.astimezone(ZoneInfo(time_zone)).date()


def compute_day_start(day: date, time_zone: str) -> datetime:
    """Return the first moment of a day, in UTC.

    Where clocks jump over midnight the day begins with the jump; where midnight comes twice it begins with the first.
    """
    midnight = datetime.combine(day, time.min, ZoneInfo(time_zone))
    return midnight.astimezone(UTC)


def compute_first_day(period: LimitPeriod, today: date) -> date:
    """Return the first day of the day, the week from Monday or the calendar month that `today` lies in."""
    if period is LimitPeriod.DAY:
        return today
    if period is LimitPeriod.WEEK:
        return today - timedelta(days=today.weekday())
    return today.replace(day=1)


def compute_window(period: LimitPeriod, moment: datetime, time_zone: str) -> Window:
    """Return the day, the week from Monday or the calendar month in which a moment falls."""
    first = compute_first_day(period, compute_local_day(moment, time_zone))
    if period is LimitPeriod.DAY:
        following = first + timedelta(days=1)
    elif period is LimitPeriod.WEEK:
        following = first + timedelta(days=7)
    else:
        following = add_months(first, 1)
    return Window(first, following, compute_day_start(first, time_zone), compute_day_start(following, time_zone))


def add_months(day: date, months: int) -> date:
    """Return the same day of a later month, or the first of the month after where that month is too short.

    So a term is never shorter than its months: from 31 January a month lasts to 1 March, from 29 February a year too.
    """
    number = day.year * 12 + day.month - 1 + months
    try:
        return day.replace(year=number // 12, month=number % 12 + 1)
    except ValueError:
        number += 1
        return date(number // 12, number % 12 + 1, 1)


def compute_exclusion_end(begins_at: datetime, months: int, time_zone: str) -> datetime:
    """Return the first moment (UTC) after an exclusion of whole months: the end of the same day of the last month."""
    first_day = compute_local_day(begins_at, time_zone)
    return compute_day_start(add_months(first_day, months) + timedelta(days=1), time_zone)


def compute_kept_until(retention: Retention, created_on: date, account_closed_on: date | None) -> date | None:
    """Return the last day on which a record must be kept, or None as long as no end is known."""
    starts_on = created_on if retention.counts_from is CountsFrom.CREATION else account_closed_on
    if retention.years is None or starts_on is None:
        return None
    return add_months(max(created_on, starts_on), retention.years * 12)
