"""What is said against a pack's folder, each fault with file, key and reason; and when reports are due."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories.packs import FIRST_DAY, copy, edit, folder_of, state

from pitboss_sdk.jurisdiction import (
    Due,
    Filing,
    Frequency,
    Mark,
    PackInvalid,
    Report,
    examine_pack,
    list_filings,
    read_manifest,
    read_pack,
)
from pitboss_sdk.jurisdiction.reading import MAX_FILE_BYTES

DAY = timedelta(days=1)


def faults_of(folder: Path) -> list[str]:
    return [str(fault) for fault in examine_pack(folder)[1]]


@pytest.mark.parametrize("code", ["mt_mga", "br_spa"])
def test_the_shipped_packs_have_no_fault(code: str) -> None:
    pack = read_pack(folder_of(code))
    assert pack.manifest.slug == code
    assert {entry.mark for _, entry in pack.list_statements()} == set(Mark)


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("manifest.toml", 'slug = "br_spa"', 'slug = "BR"', "manifest.toml: slug: Expected `str` matching regex"),
        ("manifest.toml", 'slug = "br_spa"', 'slug = "bz_spa"', "manifest.toml: slug: does not begin with the country"),
        ("manifest.toml", "owner", "ownr", "manifest.toml: ownr: is not a key here"),
        ("manifest.toml", 'owner = "pitboss"\n', "", "manifest.toml: owner: is missing"),
        ("manifest.toml", "version = 1", "version = 2", "manifest.toml: manifest_version: this SDK reads version 1"),
        ("manifest.toml", '"BRL"', '"BRR"', "manifest.toml: currency: unknown currency BRR"),
        ("manifest.toml", "Sao_Paulo", "Sao_Paolo", "manifest.toml: time_zone: 'America/Sao_Paolo' is not in"),
        ("manifest.toml", "America/Sao_Paulo", "../etc/passwd", "manifest.toml: time_zone: '../etc/passwd' is not in"),
        ("limits.toml", "value = 18", "value = -1", "limits.toml: minimum_age_years[0].value: Expected `int` >= 0"),
        ("limits.toml", "value = 18", "value = 18.0", "limits.toml: minimum_age_years[0].value: Expected `int`, got"),
        ("limits.toml", "value = 18\n", "", "limits.toml: minimum_age_years[0].value: is missing"),
        ("limits.toml", "[[minimum_age_years]]", "[[minimum_age]]", "limits.toml: minimum_age: is not a key here"),
        ("limits.toml", "[[minimum_age_years]]", "[minimum_age_years]", "limits.toml: minimum_age_years: Expected"),
        (
            "limits.toml",
            '"loss", "s',
            '"los", "s',
            "limits.toml: mandatory_limits[0].value[0]: Invalid enum value 'los'",
        ),
        ("limits.toml", "from = 2026-11-20", "from = 2026-11-31", "limits.toml: is not TOML: Invalid date or datetime"),
        ("limits.toml", "from = 2026-11-20\n", "", "limits.toml: minimum_age_years[0].from: is missing"),
        (
            "limits.toml",
            'see = ["BR1"]',
            "see = []",
            "limits.toml: minimum_age_years[0].see: Expected `array` of length",
        ),
        ("limits.toml", 'mark = "verified"', 'mark = "sure"', "limits.toml: minimum_age_years[0].mark: Invalid enum"),
        ("limits.toml", 'mark = "verified"\n', "", "limits.toml: minimum_age_years[0].mark: is missing"),
        ("limits.toml", "checked_on = 2026-11-20\n", "", "limits.toml: minimum_age_years[0].checked_on: is missing"),
        (
            "limits.toml",
            'source = "Law 14.790/2023, art. 26"\n',
            "",
            "limits.toml: minimum_age_years[0].source: is missing",
        ),
        (
            "limits.toml",
            "value = 18\n",
            "value = 18\nuntil = 2026-11-19\n",
            "limits.toml: minimum_age_years[0].until: is before from",
        ),
        (
            "limits.toml",
            "value = 18\n",
            "value = 18\nsource_date = 2026-11-21\n",
            "limits.toml: minimum_age_years[0].checked_on: is before the date of the source",
        ),
        (
            "limits.toml",
            'see = ["BR1"]',
            'see = ["BR99"]',
            "sources.md: minimum_age_years refers to BR99, which has no",
        ),
        ("sources.md", "## BR5", "## BR5\n\nA text.\n\n## BR6X", "sources.md: BR6X: no statement refers to this entry"),
        (
            "reports/tax.toml",
            "until = 2025-12-31",
            "until = 2026-01-01",
            "reports/tax.toml: tax_rates_basis_points[1]: holds on days on which tax_rates_basis_points[0] holds too",
        ),
        (
            "reports/tax.toml",
            "until = 2027-12-31\n",
            "",
            "reports/tax.toml: tax_rates_basis_points[3]: holds on days on which tax_rates_basis_points[2] holds too",
        ),
        (
            "reports/tax.toml",
            "value = 1200",
            "value = 12_000",
            "reports/tax.toml: tax_rates_basis_points[0].value: Exp",
        ),
        (
            "reports/calendar.toml",
            "due = { days_after = 2 }",
            "due = {}",
            "reports/calendar.toml: reports[0].due: exactly one rule is needed",
        ),
        (
            "reports/calendar.toml",
            "due = { days_after = 2 }",
            "due = { days_after = 2, day_of_next_month = 1 }",
            "reports/calendar.toml: reports[0].due: exactly one rule is needed",
        ),
        (
            "reports/calendar.toml",
            "due = { days_after = 2 }",
            'due = { days_after = 2 }\ndata_set = "daily"',
            "reports/calendar.toml: reports[0].data_set: there is no reports/daily.toml that can be read",
        ),
    ],
)
def test_a_fault_names_file_key_and_reason(tmp_path: Path, file: str, old: str, new: str, fault: str) -> None:
    folder = copy("br_spa", tmp_path)
    edit(folder, file, old, new)
    found = faults_of(folder)
    assert len(found) == 1
    assert found[0].startswith(fault), found


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        (
            "reports/player_funds.toml",
            'name = "open_bets_minor"',
            'name = "open_bets"',
            "reports/player_funds.toml: columns[3].name: a name ends with _minor exactly when the column holds an amount",
        ),
        (
            "reports/player_funds.toml",
            'name = "open_bets_minor"',
            'name = "player_funds_minor"',
            "reports/player_funds.toml: columns[3].name: player_funds_minor is given twice",
        ),
        (
            "reports/player_funds.toml",
            'type = "currency"',
            'type = "text"',
            "reports/player_funds.toml: columns: amounts need a column with their currency",
        ),
        (
            "reports/calendar.toml",
            'data_set = "player_funds"\n',
            "",
            "reports/player_funds.toml: no report of the calendar names this data set",
        ),
        (
            "checks.toml",
            'currency = "EUR"',
            'currency = "EUX"',
            "checks.toml: due_diligence_thresholds_minor[0].currency:",
        ),
    ],
)
def test_a_fault_of_data_sets_and_currencies(tmp_path: Path, file: str, old: str, new: str, fault: str) -> None:
    folder = copy("mt_mga", tmp_path)
    edit(folder, file, old, new)
    found = faults_of(folder)
    assert len(found) == 1
    assert found[0].startswith(fault), found


@pytest.mark.parametrize(
    "file",
    ["manifest.toml", "limits.toml", "checks.toml", "retention.toml", "reports/tax.toml", "reports/calendar.toml"],
)
def test_a_missing_file_is_told(tmp_path: Path, file: str) -> None:
    folder = copy("br_spa", tmp_path)
    (folder / file).unlink()
    assert f"{file}: is missing" in faults_of(folder)
    with pytest.raises(PackInvalid, match=f"{file}: is missing"):
        read_pack(folder)


def test_sources_are_needed(tmp_path: Path) -> None:
    folder = copy("br_spa", tmp_path)
    (folder / "sources.md").unlink()
    assert faults_of(folder) == ["sources.md: is missing or cannot be read"]


@pytest.mark.parametrize("file", ["rules.py", "limits.toml.bak", "reports/Big.toml", "reports/more/x.toml"])
def test_a_strange_file_is_told(tmp_path: Path, file: str) -> None:
    folder = copy("br_spa", tmp_path)
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text("")
    assert faults_of(folder) == [f"{file}: no such file belongs into a pack"]


def test_a_huge_file_and_no_text_are_told(tmp_path: Path) -> None:
    folder = copy("br_spa", tmp_path)
    (folder / "limits.toml").write_text("#" * (MAX_FILE_BYTES + 1))
    (folder / "checks.toml").write_bytes(b"\xff")
    assert [fault.partition(":")[0] for fault in faults_of(folder)] == ["checks.toml", "limits.toml"]


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    folder = copy("br_spa", tmp_path)
    edit(folder, "manifest.toml", '"BRL"', '"BRR"')
    edit(folder, "limits.toml", "value = 18", "value = 'x'")
    edit(folder, "limits.toml", "value = 1\n", "value = 'y'\n")
    edit(folder, "checks.toml", "value = 15", "value = 0")
    assert [fault.split(": ")[:2] for fault in faults_of(folder)] == [
        ["checks.toml", "register_recheck_days[0].value"],
        ["limits.toml", "exclusion_minimum_months[0].value"],
        ["limits.toml", "minimum_age_years[0].value"],
        ["manifest.toml", "currency"],
    ]


def test_the_manifest_alone_is_judged_too(tmp_path: Path) -> None:
    folder = copy("br_spa", tmp_path)
    assert read_manifest(folder).slug == "br_spa"
    edit(folder, "manifest.toml", '"BRL"', '"BRR"')
    with pytest.raises(PackInvalid, match=r"manifest\.toml: currency"):
        read_manifest(folder)


def report(due: Due, frequency: Frequency = Frequency.MONTHLY, **values: object) -> Report:
    given = {"report": "one", "title": "One", "recipient": "X", "form": "Y", "frequency": frequency, "due": due}
    return state(Report, **{**given, **values})


@pytest.mark.parametrize(
    ("due", "period_end", "day"),
    [
        (Due(days_after=0), date(2028, 2, 29), date(2028, 2, 29)),
        (Due(days_after=2), date(2027, 12, 31), date(2028, 1, 2)),
        (Due(day_of_next_month=28), date(2027, 1, 31), date(2027, 2, 28)),
        (Due(day_of_next_month=1), date(2027, 12, 31), date(2028, 1, 1)),
        (Due(month_days=("02-29",)), date(2026, 12, 31), date(2027, 2, 28)),
        (Due(month_days=("02-29",)), date(2027, 12, 31), date(2028, 2, 29)),
        (Due(month_days=("06-30", "12-31")), date(2027, 6, 30), date(2027, 12, 31)),
        (Due(month_days=("06-30", "12-31")), date(2027, 6, 29), date(2027, 6, 30)),
        (Due(last_weekday_of_month=2), date(2026, 12, 31), date(2027, 2, 26)),  # 28 February 2027 is a Sunday
        (Due(last_weekday_of_month=2), date(2027, 12, 31), date(2028, 2, 29)),  # a Tuesday
    ],
)
def test_a_rule_gives_its_day(due: Due, period_end: date, day: date) -> None:
    assert due.compute_day(period_end) == day


@given(
    frequency=st.sampled_from(list(Frequency)),
    last_month=st.integers(1, 12),
    first=st.dates(date(2027, 6, 1), date(2030, 1, 1)),
    days=st.integers(0, 400),
)
def test_periods_follow_one_another_without_gap(frequency: Frequency, last_month: int, first: date, days: int) -> None:
    # Due on the last day of each period, a filing is found exactly when its period ends in the span.
    one = report(Due(days_after=0), frequency, last_month=last_month, since=date(2020, 1, 1))
    filings = list_filings([one], first, first + timedelta(days=days))
    for before, after in pairwise(filings):
        assert after.period_start == before.period_end + DAY
    assert all(filing.period_start <= filing.period_end == filing.due_on for filing in filings)
    lengths = {"daily": (1, 1), "monthly": (28, 31), "quarterly": (89, 92), "half_yearly": (181, 184)}
    shortest, longest = lengths.get(frequency.value, (365, 366))
    assert all(shortest <= (one.period_end - one.period_start).days + 1 <= longest for one in filings)
    assert days // longest <= len(filings) <= days // shortest + 1


def test_a_report_is_due_only_while_it_is_owed() -> None:
    one = report(Due(day_of_next_month=20), since=date(2027, 2, 20), until=date(2027, 3, 20))
    filings = list_filings([one], FIRST_DAY, date(2028, 1, 1))
    assert filings == [
        Filing(date(2027, 2, 20), "one", date(2027, 1, 1), date(2027, 1, 31)),
        Filing(date(2027, 3, 20), "one", date(2027, 2, 1), date(2027, 2, 28)),
    ]
