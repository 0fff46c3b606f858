"""What the pack says on the day before, on and after each boundary."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pitboss_sdk.jurisdiction import Mark, list_filings, read_pack

PACK = read_pack(Path(__file__).parents[1] / "pitboss_jurisdictions" / "mt_mga")
DAY = timedelta(days=1)
READ_ON = date(2026, 11, 20)
GOLDEN: dict[str, list[tuple[date, Any]]] = {
    "exclusion_terms": [(READ_ON, frozenset({"definite", "indefinite"}))],
    "exclusion_early_end_allowed": [(READ_ON, True)],
    "exclusion_lift_wait_hours": [(READ_ON, 168)],
    "due_diligence_thresholds_minor.EUR": [(READ_ON, 200_000)],
    "due_diligence_days": [(READ_ON, 30)],
    "tax_rates_basis_points.gaming_tax": [(READ_ON, 500)],
    "reports.gaming_tax": [(READ_ON, True)],
    "reports.player_funds": [(READ_ON, True)],
    "reports.adr": [(READ_ON, True)],
    "reports.industry_performance": [(READ_ON, True)],
    "reports.interim_statements": [(READ_ON, True)],
    "reports.audited_statements": [(READ_ON, True)],
    "data_sets.player_funds": [(READ_ON, True)],
    "data_sets.gaming_tax": [(READ_ON, True)],
}
"""Name → the days from which another value holds; True for reports and data sets, None where nothing holds any more."""


def test_every_boundary_of_the_pack_is_golden() -> None:
    found: dict[str, set[date]] = {}
    for name, entry in PACK.list_statements():
        ends = {entry.until + DAY} if entry.until else set()
        found.setdefault(name, set()).update({entry.since} | ends)
    assert found == {name: {day for day, _ in values} for name, values in GOLDEN.items()}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_before_on_and_after(name: str) -> None:
    def value_on(day: date) -> Any:
        found = PACK.find_statement(name, day)
        return None if found is None else getattr(found, "value", True)

    before = None
    for day, value in GOLDEN[name]:
        assert value_on(day - DAY) == before
        assert value_on(day) == value
        assert value_on(day + DAY) == value
        before = value


def test_only_what_the_regulator_itself_says_is_verified() -> None:
    verified = {name for name, entry in PACK.list_statements() if entry.mark is Mark.VERIFIED}
    assert verified == {name for name in GOLDEN if name.startswith("reports.")} | {"data_sets.player_funds"}


@pytest.mark.parametrize(
    ("report", "period_end", "due_on"),
    [
        ("gaming_tax", date(2026, 11, 30), date(2026, 12, 20)),
        ("player_funds", date(2026, 12, 31), date(2027, 1, 20)),
        ("adr", date(2028, 1, 31), date(2028, 2, 20)),
        ("industry_performance", date(2027, 6, 30), date(2027, 9, 7)),
        ("industry_performance", date(2026, 12, 31), date(2027, 2, 28)),
        ("industry_performance", date(2027, 12, 31), date(2028, 2, 28)),  # a leap year
        ("interim_statements", date(2027, 6, 30), date(2027, 8, 30)),
        ("audited_statements", date(2026, 12, 31), date(2027, 6, 29)),
        ("audited_statements", date(2027, 12, 31), date(2028, 6, 28)),  # 180 days of a leap year
    ],
)
def test_a_report_is_due_on_its_day_and_not_beside_it(report: str, period_end: date, due_on: date) -> None:
    def list_ends(day: date) -> list[date]:
        filings = list_filings(PACK.calendar.reports, day, day)
        return [filing.period_end for filing in filings if filing.report == report]

    assert list_ends(due_on) == [period_end]
    assert list_ends(due_on - DAY) == list_ends(due_on + DAY) == []


def test_a_year_of_filings() -> None:
    filings = list_filings(PACK.calendar.reports, date(2027, 1, 1), date(2027, 12, 31))
    assert len(filings) == 3 * 12 + 2 + 1 + 1
    assert [filing.due_on for filing in filings] == sorted(filing.due_on for filing in filings)
