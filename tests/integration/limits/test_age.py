"""Who may register on the eve of a birthday, on it and after, by the calendar of the licence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.factories.clock import Clock
from tests.factories.databases import PlaneDatabase
from tests.factories.web import registration_body
from tests.integration.limits.lawful import open_lawful

from pitboss.policy.contracts import TenantPolicy

BIRTHDAYS = [
    # The first moment at which the player is old enough; who was born on 29 February waits for 1 March in common years.
    ("mt_mga", "2017-06-15", 18, "2035-06-14T22:00"),
    ("mt_mga", "2017-03-25", 18, "2035-03-24T23:00"),
    ("mt_mga", "2016-02-29", 18, "2034-02-28T23:00"),
    ("mt_mga", "2016-02-29", 20, "2036-02-28T23:00"),
    ("mt_mga", "2016-02-29", 21, "2037-02-28T23:00"),
    ("br_spa", "2017-06-15", 18, "2035-06-15T03:00"),
    ("br_spa", "2016-02-29", 18, "2034-03-01T03:00"),
    ("br_spa", "2018-01-01", 18, "2036-01-01T03:00"),
]


@pytest.mark.parametrize(("pack", "born", "years", "from_when"), BIRTHDAYS)
async def test_an_account_opens_from_the_first_moment_of_the_birthday(
    cell_database: PlaneDatabase, redis_url: str, tmp_path: Path, pack: str, born: str, years: int, from_when: str
) -> None:
    birthday = datetime.fromisoformat(from_when).replace(tzinfo=UTC)
    policy = TenantPolicy(minimum_age_years=years)
    # The law's figures are those of the day too, and packs are older than any of these birthdays.
    async with (
        open_lawful(cell_database, redis_url, tmp_path, [pack], policy) as web,
        web.client() as client,
    ):
        with Clock(cell_database).taken_over() as clock:
            for moment, status in (
                (birthday - timedelta(days=1), 422),
                (birthday - timedelta(microseconds=1), 422),
                (birthday, 201),
                (birthday + timedelta(days=1), 201),
            ):
                await clock.set(moment)
                body = registration_body(
                    birth_date=born,
                    limits=[{"kind": "loss", "period": "day", "amount_minor": 1}],
                    play_time_limits=[{"period": "day", "minutes": 60}],
                )
                answer = await client.post("/api/v1/players", json=body)
                assert (moment, answer.status_code) == (moment, status), answer.text
                if status == 422:
                    assert answer.json()["detail"] == f"birth_date: {years} years of age are needed"
