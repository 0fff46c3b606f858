"""Rows of random ages under clocks that jump: none goes before its time, none stays after it unless it is held."""

from __future__ import annotations

import os
import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pitboss.policy.contracts import Retention
from pitboss.retention.rules import compute_cutoff
from pitboss_sdk.jurisdiction import CountsFrom

ROWS = int(os.environ.pop("PITBOSS_TEST_RETAINED", "10000"))
"""Rows for each of three seeds; the long form has a million of them."""
JUMPS = 20
ZONES = ("UTC", "America/Sao_Paulo", "Europe/Malta", "Pacific/Apia", "Australia/Lord_Howe")
FIRST = datetime(2000, 1, 1, tzinfo=UTC)


class Rows:
    """Rows as a table holds them: when each began, when its account was closed, and whether a hold keeps it."""

    def __init__(self, dice: random.Random, count: int, retention: Retention, zone: ZoneInfo) -> None:
        self.alive = set(range(count))
        self.held = {index for index in range(count) if dice.random() < 0.02}
        self.began: list[datetime | None] = []
        self.kept_until: list[int] = []
        for _ in range(count):
            created = FIRST + timedelta(seconds=dice.randrange(27 * 365 * 86_400))
            closed = created + timedelta(seconds=dice.randrange(-86_400, 9 * 365 * 86_400))
            open_still = dice.random() < 0.1
            from_closing = retention.counts_from is CountsFrom.ACCOUNT_CLOSED
            start = max(created, closed) if from_closing else created
            self.began.append(None if from_closing and open_still else start)
            self.kept_until.append(_last_day_kept(start.astimezone(zone).date(), retention.years or 0))


def _last_day_kept(day: date, years: int) -> int:
    """Return the last day of a period by the calendar alone: a 29th of February that is missing is the first of March."""
    leap = (day.year + years) % 4 == 0 and ((day.year + years) % 100 != 0 or (day.year + years) % 400 == 0)
    if (day.month, day.day) == (2, 29) and not leap:
        return date(day.year + years, 3, 1).toordinal()
    return date(day.year + years, day.month, day.day).toordinal()


@pytest.mark.parametrize("seed", range(3))
def test_clocks_that_jump_destroy_nothing_early_and_leave_nothing_late(seed: int) -> None:
    dice = random.Random(seed)
    retention = Retention(dice.randrange(8), dice.choice(list(CountsFrom)))
    name = dice.choice(ZONES)
    zone = ZoneInfo(name)
    rows = Rows(dice, ROWS, retention, zone)
    clocks = sorted(FIRST + timedelta(seconds=dice.randrange(36 * 365 * 86_400)) for _ in range(JUMPS))
    dice.shuffle(clocks)  # back, too
    destroyed = 0
    for now in clocks:
        cutoff = compute_cutoff(retention, now, name)
        assert cutoff is not None
        today = now.astimezone(zone).date().toordinal()
        for index in list(rows.alive):
            began = rows.began[index]
            if began is not None and began < cutoff and index not in rows.held:
                assert rows.kept_until[index] < today, f"seed {seed}: {began} went too early at {now}"
                rows.alive.discard(index)
                destroyed += 1
        late = [
            index
            for index in rows.alive
            if rows.began[index] is not None and index not in rows.held and rows.kept_until[index] + 7 < today
        ]
        assert not late, f"seed {seed}: {rows.began[late[0]]} stays at {now}"
        if dice.random() < 0.3:
            rows.held ^= set(dice.sample(range(ROWS), ROWS // 100))
    assert destroyed > ROWS // 4
    assert any(rows.kept_until[index] < FIRST.toordinal() + 365 * 20 for index in rows.held & rows.alive)
