"""Taxes, report calendar and data sets of a pack, and the days on which reports are due."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pitboss_sdk.jurisdiction.figures import Evidence, Figure, Slug, Text

MonthDay = Annotated[str, Meta(pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\Z", description="month-day")]


class TaxBase(StrEnum):
    """What a rate is taken of."""

    GROSS_REVENUE = "gross_revenue"
    """Stakes less prizes."""
    STAKES = "stakes"
    NET_PRIZES = "net_prizes"


class Tax(Figure[Annotated[int, Meta(ge=0, le=10_000)]], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rate in basis points (1 % is 100), what it is taken of, and who owes it."""

    tax: Slug
    title: Text
    base: TaxBase
    payer: Literal["operator", "player"]
    scope: Text
    """Which revenue, games or players."""

    @property
    def key(self) -> str:
        """The tax."""
        return self.tax


class TaxFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`reports/tax.toml`."""

    tax_rates_basis_points: tuple[Tax, ...] = ()


class Frequency(StrEnum):
    """The period that one report tells of."""

    DAILY = "daily"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    HALF_YEARLY = "half_yearly"
    YEARLY = "yearly"


_MONTHS = {Frequency.MONTHLY: 1, Frequency.QUARTERLY: 3, Frequency.HALF_YEARLY: 6, Frequency.YEARLY: 12}


class Due(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a report is due after the last day of its period; exactly one of the fields is set.

    `day_of_next_month` in the month after; `month_days` the first of these days of a year that comes;
    `last_weekday_of_month` the last Monday to Friday of the next such month (public holidays are not known here).
    """

    days_after: Annotated[int, Meta(ge=0, le=400)] | None = None
    day_of_next_month: Annotated[int, Meta(ge=1, le=28)] | None = None
    month_days: tuple[MonthDay, ...] = ()
    last_weekday_of_month: Annotated[int, Meta(ge=1, le=12)] | None = None

    def count_rules(self) -> int:
        """Return how many of the fields are set."""
        single = (self.days_after, self.day_of_next_month, self.last_weekday_of_month)
        return sum(rule is not None for rule in single) + bool(self.month_days)

    def compute_day(self, period_end: date) -> date:
        """Return the last day on which a report about a period is in time."""
        if self.days_after is not None:
            return period_end + timedelta(days=self.days_after)
        if self.day_of_next_month is not None:
            following = period_end.replace(day=1) + timedelta(days=31)
            return following.replace(day=self.day_of_next_month)
        years = (period_end.year, period_end.year + 1)
        if self.last_weekday_of_month is not None:
            days = [_last_weekday(year, self.last_weekday_of_month) for year in years]
        else:
            days = [_day_of(year, month_day) for year in years for month_day in self.month_days]
        return min(day for day in days if day > period_end)


def _day_of(year: int, month_day: str) -> date:
    month, day = (int(part) for part in month_day.split("-"))
    return date(year, month, min(day, monthrange(year, month)[1]))


def _last_weekday(year: int, month: int) -> date:
    last = date(year, month, monthrange(year, month)[1])
    return last - timedelta(days=max(0, last.weekday() - 4))


class Report(Evidence, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A report that is owed. `data_set` names the file below `reports/` that says what stands in it."""

    report: Slug
    title: Text
    recipient: Text
    form: Text
    """How it is handed in."""
    frequency: Frequency
    due: Due
    last_month: Annotated[int, Meta(ge=1, le=12)] = 12
    """The month with which the year of a quarterly, half-yearly or yearly report ends."""
    data_set: str = ""

    @property
    def key(self) -> str:
        """The report."""
        return self.report


class CalendarFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`reports/calendar.toml`."""

    reports: tuple[Report, ...] = ()


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column of a data set. `personal` says that it tells of one person."""

    name: Slug
    type: Literal["text", "count", "amount_minor", "currency", "date", "moment", "flag"]
    about: Text
    personal: bool = False


class DataSet(Evidence, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in a report: one row for each `row`."""

    title: Text
    row: Text
    columns: Annotated[tuple[Column, ...], Meta(min_length=1)]


class Filing(msgspec.Struct, frozen=True, order=True):
    """One report about one period, and the last day on which it is in time."""

    due_on: date
    report: str
    period_start: date
    period_end: date


def list_filings(reports: Iterable[Report], first: date, last: date) -> list[Filing]:
    """Return what is due from `first` to `last`, both included, in order; each by the rule of the day it is due."""
    filings: list[Filing] = []
    for report in reports:
        # No rule looks further back than a period and 400 days.
        for start, end in _list_periods(report, first - timedelta(days=800), last):
            due_on = report.due.compute_day(end)
            if first <= due_on <= last and report.holds(due_on):
                filings.append(Filing(due_on, report.report, start, end))
    return sorted(filings)


def _list_periods(report: Report, first: date, last: date) -> Iterator[tuple[date, date]]:
    """Yield first and last day of the periods that end between `first` and `last`."""
    if report.frequency is Frequency.DAILY:
        for offset in range((last - first).days + 1):
            day = first + timedelta(days=offset)
            yield day, day
        return
    months = _MONTHS[report.frequency]
    for number in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        if (number + 1 - report.last_month) % months:
            continue
        end = date(number // 12, number % 12 + 1, monthrange(number // 12, number % 12 + 1)[1])
        if first <= end <= last:
            begin = number + 1 - months
            yield date(begin // 12, begin % 12 + 1, 1), end
