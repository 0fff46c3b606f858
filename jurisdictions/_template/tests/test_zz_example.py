"""What the pack says on the day before, on and after each boundary."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pitboss_sdk.jurisdiction import read_pack

PACK = read_pack(Path(__file__).parents[1] / "pitboss_jurisdictions" / "zz_example")
DAY = timedelta(days=1)
GOLDEN: dict[str, list[tuple[date, Any]]] = {
    "minimum_age_years": [(date(2026, 1, 1), 18)],
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
