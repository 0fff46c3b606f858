"""What the pack says on the day before, on and after each boundary."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pitboss_sdk.jurisdiction import Mark, list_filings, read_pack

PACK = read_pack(Path(__file__).parents[1] / "pitboss_jurisdictions" / "br_spa")
DAY = timedelta(days=1)
READ_ON = date(2026, 11, 20)
CENTRAL = date(2025, 12, 10)
"""The central self-exclusion platform opened."""
GOLDEN: dict[str, list[tuple[date, Any]]] = {
    "minimum_age_years": [(READ_ON, 18)],
    "mandatory_limits": [(READ_ON, frozenset({"loss", "session_time"}))],
    "exclusion_terms": [(READ_ON, frozenset({"definite", "indefinite"}))],
    "exclusion_minimum_months": [(CENTRAL, 1)],
    "exclusion_early_end_allowed": [(CENTRAL, False)],
    "bonus_allowed": [(READ_ON, False)],
    "register_checks": [(READ_ON, frozenset({"registration", "first_login_of_day"}))],
    "register_recheck_days": [(READ_ON, 15)],
    "register_block_hours": [(CENTRAL, 72)],
    "subject_answer_days": [(READ_ON, 15)],
    "retention_years.aml_records": [(READ_ON, 5)],
    "retention_years.exclusion_records": [(READ_ON, 5)],
    "tax_rates_basis_points.operator_revenue": [
        (date(2025, 1, 1), 1200),
        (date(2026, 1, 1), 1300),
        (date(2027, 1, 1), 1400),
        (date(2028, 1, 1), 1500),
    ],
    "tax_rates_basis_points.player_income": [(READ_ON, 1500)],
    "reports.sigap_daily": [(READ_ON, True)],
    "reports.coaf_nil": [(READ_ON, True)],
    "reports.aml_yearly": [(READ_ON, True)],
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


def test_what_nobody_read_in_a_primary_text_is_marked() -> None:
    verified = {name for name, entry in PACK.list_statements() if entry.mark is Mark.VERIFIED}
    assert verified == {
        "minimum_age_years",
        "mandatory_limits",
        "exclusion_terms",
        "bonus_allowed",
        "register_checks",
        "register_recheck_days",
        "retention_years.aml_records",
        "tax_rates_basis_points.player_income",
    }


@pytest.mark.parametrize(
    ("report", "period_end", "due_on"),
    [
        ("sigap_daily", date(2028, 2, 27), date(2028, 2, 29)),
        ("sigap_daily", date(2028, 2, 28), date(2028, 3, 1)),
        ("sigap_daily", date(2027, 2, 27), date(2027, 3, 1)),
        ("coaf_nil", date(2026, 12, 31), date(2027, 1, 29)),  # 31 January 2027 is a Sunday
        ("coaf_nil", date(2027, 12, 31), date(2028, 1, 31)),  # a Monday
        ("aml_yearly", date(2026, 12, 31), date(2027, 2, 1)),
    ],
)
def test_a_report_is_due_on_its_day(report: str, period_end: date, due_on: date) -> None:
    filings = list_filings(PACK.calendar.reports, due_on, due_on)
    assert [filing.period_end for filing in filings if filing.report == report] == [period_end]


def test_yearly_reports_are_due_once_a_year() -> None:
    filings = list_filings(PACK.calendar.reports, date(2027, 1, 1), date(2027, 12, 31))
    assert [filing.report for filing in filings if filing.report != "sigap_daily"] == ["coaf_nil", "aml_yearly"]
    assert len(filings) == 365 + 2
