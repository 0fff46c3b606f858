"""An aggregator's own books, asked over HTTP with real signatures, held against what its calls had booked here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import asyncpg
import msgspec
import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, open_cell
from tests.factories.web import store_directory
from tests.integration.games.conftest import GamesUnderTest, open_games
from tests.integration.quality.conftest import WORKER

from pitboss.cli.simulate.calls import Call, Holder, Leg
from pitboss.cli.simulate.hub88 import Hub88
from pitboss.directory.contracts import PublicKey
from pitboss.directory.runtime import Directory
from pitboss.kernel.clock import utc_now
from pitboss.ledger.contracts import Effect, Op, Outcome
from pitboss.platform.db import Database
from pitboss.platform.telemetry import Metrics
from pitboss.plughost.runtime import Drivers
from pitboss.quality import rules
from pitboss.quality import service as quality
from pitboss.quality.contracts import (
    COMPARE_JOB,
    Area,
    ComparisonState,
    Dimension,
    Finding,
    FindingKind,
    Measure,
    State,
)
from pitboss.worker.jobs import JobRegistry
from pitboss.worker.quality_jobs import measure_hour, quality_jobs
from pitboss.worker.runner import JobRunner

KINDS = FindingKind


class Stand:
    """A cell whose hub88 has played, everything of it in the last hour but one."""

    def __init__(self, games: GamesUnderTest, worker: Database, admin: asyncpg.Connection) -> None:
        self.games = games
        self.worker = worker
        self.admin = admin
        self.vendor = cast("Hub88", games.vendor)
        self.holder: Holder
        self.hour = utc_now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)

    @property
    def drivers(self) -> Drivers:
        return self.games.drivers

    @property
    def books(self) -> dict[str, dict[str, Any]]:
        return self.vendor._books

    async def seat(self) -> None:
        self.holder = await self.games.hold(await self.games.enter(1_000_000), "h88_lantern_bay")

    async def send(self, call: Call) -> None:
        """Let the aggregator send a call, and write into its books what it was answered."""
        answer = await self.games.call(call, self.holder)
        self.vendor.keep_books(call, self.holder, accepted=not answer.api_code)

    async def play(self, name: str) -> None:
        """Play a round: a bet of 500 and a win of 300."""
        await self.send(Call("bet", name, (Leg("bet", f"{name}-bet", 500),)))
        await self.send(Call("win", name, (Leg("win", f"{name}-win", 300),), finished=True))

    async def age(self) -> None:
        """Let everything that was booked and listed have happened in the middle of that hour."""
        moment = self.hour + timedelta(minutes=30)
        async with self.admin.transaction():
            await self.admin.execute("set local session_replication_role = replica")
            await self.admin.execute("update journal set created_at = $1 where op < 5", moment)
            await self.admin.execute("update round set started_at = $1, updated_at = $1", moment)
        self.vendor._books_since = ""
        for entry in self.books.values():
            entry["inserted_at"] = moment.strftime("%Y-%m-%dT%H:%M:%S")

    async def compare(self) -> None:
        """Ask about the hour and keep what comes of it, as the job does."""
        async with self.worker.transaction(AURORA) as session:
            driver = await self.drivers.get(session, AURORA, "hub88")
        asked = await quality.ask_hour(driver, self.hour)
        async with self.worker.transaction(AURORA) as session:
            await quality.keep_asked_hour(session, AURORA, "hub88", self.hour, asked, utc_now(), WORKER)

    async def measure(self) -> dict[Dimension, Measure]:
        await measure_hour(self.worker, AURORA, self.hour, WORKER)
        async with self.worker.transaction(AURORA) as session:
            measures, _ = await quality.list_hour(session, AURORA, self.hour)
        return {each.dimension: each for each in measures if each.area is Area.ROUNDS}

    async def findings(self) -> dict[tuple[str, FindingKind], Finding]:
        async with self.worker.transaction(AURORA) as session:
            page = await quality.list_findings(session, AURORA, self.hour, Area.ROUNDS, cursor=None, page_size=50)
        return {(each.reference, each.kind): each for each in page.items}

    async def count_bookings(self) -> int:
        found: int = await self.admin.fetchval("select count(*) from journal")
        return found


@pytest.fixture
async def stand(cell_database: PlaneDatabase, redis_url: str, tmp_path: Path) -> AsyncIterator[Stand]:
    admin = await asyncpg.connect(cell_database.admin_url)
    async with (
        open_games("hub88", cell_database, redis_url, tmp_path) as games,
        open_cell(cell_database, cell_database.worker_url) as worker,
    ):
        found = Stand(games, worker, admin)
        await found.seat()
        yield found
    await admin.close()


async def test_books_that_agree_say_so_and_how_soon_bets_were_booked(stand: Stand) -> None:
    await stand.play("r1")
    await stand.send(Call("bet", "r2", (Leg("bet", "r2-bet", 700),)))
    await stand.send(Call("rollback", "r2", (Leg("rollback", "r2-back", original="r2-bet"),), finished=True))
    await stand.send(Call("bet", "r3", (Leg("bet", "r3-bet", 10**9),)))  # more than there is: refused on both sides
    await stand.age()
    await stand.compare()
    assert await stand.findings() == {}
    measures = await stand.measure()
    assert {each.state for each in measures.values()} == {State.GREEN}
    assert measures[Dimension.TIMELINESS].found == 4
    stand.books["r1-bet"]["inserted_at"] = (stand.hour + timedelta(minutes=20)).strftime("%Y-%m-%dT%H:%M:%S")
    await stand.compare()
    assert (await stand.measure())[Dimension.TIMELINESS].state is State.RED


async def test_every_difference_is_found_by_name_and_no_money_is_posted(stand: Stand) -> None:
    for number in range(5):
        await stand.play(f"r{number}")
    stand.vendor.plant("lose")
    await stand.play("r5")
    stand.vendor.plant("double")
    await stand.play("r6")
    await stand.age()
    del stand.books["r0-bet"]
    stand.books["r1-bet"]["amount"] += 100_000
    stand.books["r2-win"]["status"] = "TS_DECLINED"
    stand.books["r3-bet"]["status"] = "TS_RETRY_ATTEMPTS_LIMIT_EXCEEDED"
    before = await stand.count_bookings()
    await stand.compare()
    found = await stand.findings()
    assert {name: (each.is_open, each.round) for name, each in found.items()} == {
        ("r0-bet", KINDS.MISSING_THERE): (True, "r0"),
        ("r1-bet", KINDS.AMOUNT_DIFFERS): (True, "r1"),
        ("r2-win", KINDS.STANDS_HERE): (True, "r2"),
        ("r5-bet-lost", KINDS.MISSING_HERE): (True, "r5"),
        ("r6-bet", KINDS.LISTED_TWICE): (True, "r6"),
    }
    assert found["r1-bet", KINDS.AMOUNT_DIFFERS].detail == "listed bet 6.00 EUR, booked bet 5.00 EUR"
    assert await stand.count_bookings() == before
    measures = await stand.measure()
    states = {name: each.state for name, each in measures.items()}
    assert states.pop(Dimension.TIMELINESS) is State.GREEN
    assert set(states.values()) == {State.RED}
    await stand.compare()
    told = "select count(*) from audit_event where type = 'quality.finding_opened'"
    assert await stand.admin.fetchval(told) == 5


async def test_a_lost_call_that_is_sent_again_closes_its_gap(stand: Stand) -> None:
    stand.vendor.plant("lose")
    await stand.play("r1")
    await stand.age()
    await stand.compare()
    assert (await stand.measure())[Dimension.COMPLETENESS].state is State.RED
    (found,) = (await stand.findings()).values()
    assert (found.kind, found.next_at is not None) == (KINDS.MISSING_HERE, True)
    lost = Call("win", "r1", (Leg("win", "r1-bet-lost", 500),))
    stand.books["r1-bet-lost"]["kind"] = "TK_WIN"
    await stand.send(lost)
    async with stand.worker.transaction(AURORA) as session:
        assert await quality.close_mended(session, AURORA, "hub88", WORKER) == [stand.hour]
    assert [each.is_open for each in (await stand.findings()).values()] == [False]
    await stand.age()
    await stand.compare()
    assert (await stand.measure())[Dimension.COMPLETENESS].state is State.GREEN


async def test_a_gap_is_asked_for_again_by_its_round_and_not_for_ever(stand: Stand) -> None:
    await stand.play("r1")
    await stand.age()
    entry = stand.books.pop("r1-win")
    await stand.compare()
    now, pauses = utc_now(), list[timedelta]()
    async with stand.worker.transaction(AURORA) as session:
        driver = await stand.drivers.get(session, AURORA, "hub88")
        assert await quality.list_due_findings(session, AURORA, "hub88", now) == []
    (finding,) = (await stand.findings()).values()
    for _ in range(2 * rules.MAX_ATTEMPTS):
        (finding,) = (await stand.findings()).values()
        if finding.next_at is None:
            break
        pauses.append(finding.next_at - now)
        now = finding.next_at
        async with stand.worker.transaction(AURORA) as session:
            assert len(await quality.list_due_findings(session, AURORA, "hub88", now)) == 1
        listed = await quality.ask_round(driver, finding)
        assert listed is not None
        assert [each.reference for each in listed] == ["r1-bet"]
        async with stand.worker.transaction(AURORA) as session:
            assert not await quality.keep_asked_round(session, AURORA, finding, listed, now, WORKER)
    assert finding.attempts == rules.MAX_ATTEMPTS == len(pauses)
    assert finding.is_open
    assert pauses[1:] == sorted(pauses[1:])
    assert pauses[-1] >= timedelta(hours=2)
    stand.books["r1-win"] = entry
    listed = await quality.ask_round(driver, finding)
    async with stand.worker.transaction(AURORA) as session:
        assert await quality.keep_asked_round(session, AURORA, finding, listed, now, WORKER)
    assert [each.is_open for each in (await stand.findings()).values()] == [False]


async def test_an_aggregator_that_does_not_answer_is_asked_again_and_given_up(stand: Stand) -> None:
    stand.games.server.close()
    await stand.games.server.wait_closed()
    for number in range(rules.MAX_ATTEMPTS):
        async with stand.worker.transaction(AURORA) as session:
            due = await quality.list_due_hours(session, AURORA, "hub88", utc_now() + timedelta(days=number / 8))
        assert stand.hour in due
        await stand.compare()
    async with stand.worker.transaction(AURORA) as session:
        _, comparisons = await quality.list_hour(session, AURORA, stand.hour)
        later = utc_now() + timedelta(hours=12)
        assert stand.hour not in await quality.list_due_hours(session, AURORA, "hub88", later)
    assert [(each.state, each.attempts) for each in comparisons] == [(ComparisonState.GIVEN_UP, rules.MAX_ATTEMPTS)]
    assert (await stand.measure())[Dimension.TIMELINESS].state is State.NO_DATA


async def test_books_that_begin_in_the_middle_of_an_hour_are_no_gap(stand: Stand) -> None:
    await stand.play("r1")
    await stand.age()
    stand.books.clear()
    stand.vendor._books_since = (stand.hour + timedelta(minutes=40)).strftime("%Y-%m-%dT%H:%M:%S")
    await stand.compare()
    async with stand.worker.transaction(AURORA) as session:
        _, comparisons = await quality.list_hour(session, AURORA, stand.hour)
    assert [each.state for each in comparisons] == [ComparisonState.WAITING]
    assert await stand.findings() == {}


async def test_the_job_compares_measures_and_tells(stand: Stand) -> None:
    settings = stand.games.web.settings
    await stand.admin.execute("alter table directory_snapshot disable trigger all; delete from directory_snapshot")
    await store_directory(settings)
    directory = Directory("eu-1", [PublicKey(key.key_id, key.raw) for key in settings.directory_public_keys])
    await directory.refresh(stand.worker)
    metrics = Metrics()
    jobs = JobRegistry(quality_jobs(stand.worker, stand.drivers, metrics, directory.scopes, budget_seconds=0.0))
    runner = JobRunner(stand.worker, directory, jobs, metrics)
    stand.vendor.plant("lose")
    await stand.play("r1")
    await stand.age()

    async def run(name: str, payload: str = "{}") -> str:
        job_id = await stand.admin.fetchval(
            "insert into outbox_job (tenant_id, job, payload) values (1, $1, $2::jsonb) returning job_id", name, payload
        )
        return await runner.run(AURORA.tenant_id, job_id)

    for _ in range(6):  # four hours at a time
        assert await run(COMPARE_JOB) == "done"
    assert [each.kind for each in (await stand.findings()).values()] == [KINDS.MISSING_HERE]
    # Without time left each run measures one hour and leaves the rest to another.
    hours = 0
    assert await run("quality.measure") == "done"
    while True:
        hours += 1
        left = await stand.admin.fetchrow(
            "select job_id, payload from outbox_job where job = 'quality.measure' and done_at is null"
        )
        if left is None:
            break
        assert await runner.run(AURORA.tenant_id, left["job_id"]) == "done"
    assert hours == 24 + 1
    # In the first minutes of an hour books are asked for one hour less than is measured, and one that is older.
    assert await stand.admin.fetchval("select count(distinct hour) from quality_measure") in {24, 25}
    assert await run("quality.tell_measures") == "done"
    told = metrics.render().decode()
    assert 'pitboss_quality_findings_open{tenant="aurora"} 1.0' in told
    assert 'pitboss_quality_state{area="rounds",dimension="completeness",tenant="aurora"} 2.0' in told


def test_what_the_aggregator_calls_undone_is_no_gap() -> None:
    from pitboss_sdk.games import LegKind, ListedState, ListedTransaction

    listed = ListedTransaction("a", LegKind.BET, ListedState.UNDONE, 5, "EUR", "r", 0)
    assert rules.compare_lists([listed], {}) == ([], 0, 0)
    booked = Effect("a", Outcome.ACCEPTED, int(Op.BET), -5, "EUR", None, datetime(1970, 1, 1, tzinfo=UTC))
    assert [each.kind for each in rules.compare_lists([listed], {"a": booked}).faults] == [KINDS.STANDS_HERE]
    taken_back = msgspec.structs.replace(booked, is_reversed=True)
    assert rules.compare_lists([listed], {"a": taken_back}).faults == []
