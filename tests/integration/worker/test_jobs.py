"""Jobs on a real PostgreSQL and a real Redis: each has its effect once, whatever is sent twice, killed or away."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories.databases import PlaneDatabase
from tests.factories.web import cell_settings, store_directory

from pitboss.directory.contracts import PublicKey
from pitboss.directory.runtime import Directory
from pitboss.kernel.scope import TenantScope
from pitboss.platform import outbox
from pitboss.platform.broker import create_broker
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.platform.settings import Settings
from pitboss.platform.telemetry import Metrics
from pitboss.worker.jobs import Job, JobRegistry, Period, UnknownJob
from pitboss.worker.relay import Relay
from pitboss.worker.runner import JobRunner, JobWorker, compute_backoff_seconds

AURORA = TenantScope(1, "aurora", "eu-1")
JADE = TenantScope(2, "jade", "eu-1")
PERMISSION = "ledger.book.edit"
EFFECT = "test.effect"
HERE = Path(__file__).parent


async def leave_effect(session: AsyncSession, scope: TenantScope, payload: Mapping[str, Any]) -> None:
    """Leave a row behind that a test can count."""
    await outbox.enqueue(session, scope, EFFECT, payload)


class Stand:
    """A cell's database behind each login, its directory, a broker, and whoever needs them."""

    def __init__(self, cell: PlaneDatabase, redis_url: str, settings: Settings) -> None:
        self.cell = cell
        self.redis_url = redis_url
        self.settings = settings
        self.metrics = Metrics()
        self.app = self._database(cell.app_url)
        self.worker = self._database(cell.worker_url)
        self.relay_database = self._database(cell.relay_url)
        keys = [PublicKey(found.key_id, found.raw) for found in settings.directory_public_keys]
        self.directory = Directory("eu-1", keys)
        self._brokers: list[Any] = []

    def _database(self, url: str) -> Database:
        return Database(create_engine(url), "eu-1", ContextSigner(self.cell.context_keys))

    def broker(self) -> Any:
        broker = create_broker(self.redis_url, "eu-1")
        self._brokers.append(broker)
        return broker

    def relay(self, *periods: Period) -> Relay:
        return Relay(self.relay_database, self.directory, self.broker(), periods, self.metrics)

    def runner(self, *jobs: Job) -> JobRunner:
        return JobRunner(self.worker, self.directory, JobRegistry(jobs), self.metrics)

    async def enqueue(self, job: str = "test.job", scope: TenantScope = AURORA, **payload: Any) -> None:
        async with self.app.transaction(scope) as session:
            await outbox.enqueue(session, scope, job, payload)

    async def rows(self, query: str) -> list[Any]:
        connection = await asyncpg.connect(self.cell.admin_url)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    async def effects(self) -> int:
        return await count_of(self, f"select count(*) from outbox_job where job = '{EFFECT}'")

    async def close(self) -> None:
        for broker in self._brokers:
            broker.client.close()
        for database in (self.app, self.worker, self.relay_database):
            await database.engine.dispose()


@pytest.fixture
async def stand(cell_database: PlaneDatabase, redis_url: str) -> AsyncIterator[Stand]:
    settings = cell_settings(cell_database, redis_url)
    await store_directory(settings)
    made = Stand(cell_database, redis_url, settings)
    await made.directory.refresh(made.app)
    yield made
    await made.close()


def job(handler: Any = leave_effect, name: str = "test.job", **more: Any) -> Job:
    return Job(name, handler, PERMISSION, **more)


async def the_job(stand: Stand) -> Any:
    (row,) = await stand.rows("select * from outbox_job where job = 'test.job'")
    return row


async def test_a_job_goes_the_whole_way(stand: Stand) -> None:
    await stand.enqueue(number=7)
    worker = JobWorker(stand.broker(), stand.runner(job()), asyncio.get_running_loop())
    assert await worker.find_problem()
    worker.start()
    try:
        assert await stand.relay().step() == 1
        await until(stand.effects, 1)
        assert await worker.find_problem() == ""
    finally:
        await worker.stop()
    assert await worker.find_problem()
    row = await the_job(stand)
    assert row["done_at"] is not None
    assert (await stand.rows(f"select payload from outbox_job where job = '{EFFECT}'"))[0][0] == '{"number": 7}'
    text_of_metrics = stand.metrics.render().decode()
    assert 'pitboss_jobs_total{job_name="test.job",outcome="done"} 1.0' in text_of_metrics
    assert 'pitboss_outbox_sent_total{job_name="test.job"} 1.0' in text_of_metrics


async def test_a_job_that_is_sent_twice_has_one_effect(stand: Stand) -> None:
    await stand.enqueue()
    job_id = (await the_job(stand))["job_id"]
    started = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(session: AsyncSession, scope: TenantScope, payload: Mapping[str, Any]) -> None:
        started.set()
        await go_on.wait()
        await leave_effect(session, scope, payload)

    runner = stand.runner(job(slow))
    first = asyncio.create_task(runner.run(AURORA.tenant_id, job_id))
    await started.wait()
    assert await runner.run(AURORA.tenant_id, job_id) == "skipped"  # while the first is still running
    go_on.set()
    assert await first == "done"
    assert await runner.run(AURORA.tenant_id, job_id) == "skipped"  # and after it
    assert await stand.effects() == 1


async def test_a_failure_leaves_nothing_and_comes_again_later(stand: Stand) -> None:
    await stand.enqueue()
    assert await stand.relay().step() == 1
    row = await the_job(stand)
    calls: list[int] = []

    async def fail_once(session: AsyncSession, scope: TenantScope, payload: Mapping[str, Any]) -> None:
        await leave_effect(session, scope, payload)
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("the vendor was away")

    runner = stand.runner(job(fail_once))
    before = await database_time(stand)
    assert await runner.run(AURORA.tenant_id, row["job_id"]) == "failed"
    assert await stand.effects() == 0
    row = await the_job(stand)
    assert row["done_at"] is None
    assert row["lease_until"] is None
    assert before <= row["available_at"] - timedelta(seconds=2) <= await database_time(stand)
    await stand.rows("update outbox_job set available_at = available_at + interval '1 hour' returning 1")
    assert await stand.relay().step() == 0  # not before its time
    assert await runner.run(AURORA.tenant_id, row["job_id"]) == "done"
    assert await stand.effects() == 1


async def test_a_job_that_takes_too_long_is_ended(stand: Stand) -> None:
    await stand.enqueue()
    row = await the_job(stand)

    async def endless(session: AsyncSession, scope: TenantScope, payload: Mapping[str, Any]) -> None:
        await leave_effect(session, scope, payload)
        await session.execute(text("select pg_sleep(60)"))

    assert await stand.runner(job(endless, timeout_seconds=1)).run(AURORA.tenant_id, row["job_id"]) == "failed"
    assert await stand.effects() == 0
    assert (await the_job(stand))["done_at"] is None


async def test_a_message_starts_nothing_that_the_outbox_does_not_hold(stand: Stand) -> None:
    await stand.enqueue(scope=AURORA)
    row = await the_job(stand)
    runner = stand.runner(job())
    assert await runner.run(AURORA.tenant_id, row["job_id"] + 1) == "skipped"
    assert await runner.run(JADE.tenant_id, row["job_id"]) == "skipped"
    assert await runner.run(999, row["job_id"]) == "tenant_unknown"
    assert await stand.effects() == 0


async def test_an_unknown_job_is_kept_for_a_worker_that_knows_it(stand: Stand) -> None:
    await stand.enqueue("test.of_tomorrow")
    (row,) = await stand.rows("select * from outbox_job")
    assert await stand.runner(job()).run(AURORA.tenant_id, row["job_id"]) == "failed"
    (row,) = await stand.rows("select * from outbox_job")
    assert row["done_at"] is None


def test_the_registry_refuses_what_cannot_be_meant() -> None:
    with pytest.raises(ValueError, match="twice"):
        JobRegistry([job(), job()])
    with pytest.raises(Exception, match="not registered"):
        JobRegistry([Job("a.b", leave_effect, "no.such.permission")])
    with pytest.raises(UnknownJob):
        JobRegistry([]).get("a.b")


def test_the_pause_grows_and_ends() -> None:
    pauses = [compute_backoff_seconds(attempts) for attempts in (1, 2, 3, 9, 10, 1000)]
    assert pauses == [2, 4, 8, 512, 600, 600]


async def test_two_relays_send_each_job_once(stand: Stand) -> None:
    for number in range(250):
        await stand.enqueue(number=number, scope=AURORA if number % 2 else JADE)
    relays = [stand.relay(Period("test.tick", 3600)) for _ in range(2)]
    sent = sum([sum(await asyncio.gather(*(relay.step() for relay in relays))) for _ in range(4)])
    assert sent == 253  # each job once, and one tick for each tenant
    attempts = await stand.rows("select distinct attempts from outbox_job")
    assert [row["attempts"] for row in attempts] == [1]


async def test_a_periodic_job_is_there_once_a_slot_and_never_in_heaps(stand: Stand) -> None:
    relay = stand.relay(Period("test.tick", 1))
    for _ in range(3):
        await relay.step()
        await asyncio.sleep(1.05)
    # Nobody worked it off, so one stands for all the slots.
    rows = await stand.rows("select tenant_id, dedupe_key from outbox_job where job = 'test.tick'")
    assert sorted(row["tenant_id"] for row in rows) == [1, 2, 3]
    runner = stand.runner(job(leave_effect, "test.tick"))
    for row in await stand.rows("select tenant_id, job_id from outbox_job where job = 'test.tick'"):
        assert await runner.run(row["tenant_id"], row["job_id"]) == "done"
    await asyncio.sleep(1.05)
    await relay.step()
    assert len(await stand.rows("select 1 from outbox_job where job = 'test.tick'")) == 6


async def test_a_paused_tenant_is_served_and_a_closed_one_is_not(stand: Stand) -> None:
    await stand.enqueue(scope=TenantScope(3, "paused", "eu-1"))
    assert await stand.relay().step() == 1


async def test_what_the_broker_did_not_take_is_given_back(stand: Stand) -> None:
    await stand.enqueue()
    away = create_broker("redis://127.0.0.1:1/0", "eu-1")
    relay = Relay(stand.relay_database, stand.directory, away, (), stand.metrics)
    assert await relay.step() == 0
    row = await the_job(stand)
    assert row["lease_until"] is None
    assert row["available_at"] > await database_time(stand)


async def test_a_lost_message_is_sent_again_when_its_lease_ends(stand: Stand) -> None:
    await stand.enqueue()
    relay = stand.relay()
    assert await relay.step() == 1
    assert await relay.step() == 0
    await stand.rows("update outbox_job set lease_until = now() - interval '1 second' returning 1")
    assert await relay.step() == 1


async def test_old_done_jobs_are_pruned_and_others_stay(stand: Stand) -> None:
    for number in range(3):
        await stand.enqueue(number=number)
    await stand.rows(
        "update outbox_job set done_at = now() - case payload->>'number' when '0' then interval '25 hours'"
        " when '1' then interval '23 hours' end returning 1"
    )
    async with stand.worker.transaction(JADE) as session:
        assert await outbox.prune_done(session, JADE) == 0
    async with stand.worker.transaction(AURORA) as session:
        assert await outbox.prune_done(session, AURORA) == 1
    left = await stand.rows("select payload->>'number' as number from outbox_job order by 1")
    assert [row["number"] for row in left] == ["1", "2"]


async def test_the_depth_is_measured(stand: Stand) -> None:
    relay = stand.relay()
    await stand.enqueue()
    await stand.rows("update outbox_job set available_at = now() - interval '90 seconds' returning 1")
    await relay._measure()
    assert stand.metrics.outbox_open_jobs._value.get() == 1
    assert 90 <= stand.metrics.outbox_oldest_seconds._value.get() < 120


@pytest.mark.crash
async def test_what_a_killed_worker_held_comes_back_from_the_broker(stand: Stand, tmp_path: Path) -> None:
    """The next worker gets it some five seconds after the kill; no relay runs that could send it again."""
    await stand.enqueue(never_ends_in="worker")
    assert await stand.relay().step() == 1
    victim = start_process("worker", stand, tmp_path)
    await until(lambda: count_in_hand(stand, "worker"), 1)
    victim.kill()
    victim.wait()
    heir = start_process("worker2", stand, tmp_path)
    try:
        await until(stand.effects, 1)
    finally:
        heir.kill()
        heir.wait()
    assert (await the_job(stand))["attempts"] == 1


class Crew:
    """Two workers and a relay, with always something to do for them while one of them is to be killed."""

    def __init__(self, stand: Stand, folder: Path) -> None:
        self._stand = stand
        self._folder = folder
        self.count = 0
        self.processes = {name: start_process(name, stand, folder) for name in ("worker", "worker2", "relay")}

    async def hand_out(self) -> None:
        """Leave more to do behind, unless there is plenty."""
        still_open = "select count(*) from outbox_job where job = 'test.job' and done_at is null"
        if await count_of(self._stand, still_open) < 20:
            for number in range(self.count, self.count + 20):
                await self._stand.enqueue(number=number, scope=AURORA if number % 2 else JADE)
            self.count += 20

    async def kill(self, name: str) -> None:
        """Kill a worker that has a job in hand, or the relay as soon as it has taken another one to send."""
        if name == "relay":
            leases = "select coalesce(sum(attempts), 0) from outbox_job where job = 'test.job'"
            taken = await count_of(self._stand, leases)
            await until(lambda: count_of(self._stand, leases), taken + 1, self.hand_out)
        else:
            await until(lambda: count_in_hand(self._stand, name), 1, self.hand_out)
        os.kill(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()
        # A lease is long for a test: what the killed process held is due at once.
        await self._stand.rows("update outbox_job set lease_until = now() where lease_until > now() returning 1")
        self.processes[name] = start_process(name, self._stand, self._folder)

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.mark.crash
async def test_killed_workers_and_relays_lose_nothing_and_repeat_nothing(stand: Stand, tmp_path: Path) -> None:
    """SIGKILL of a worker in the middle of its jobs and of a relay in the middle of sending, again and again."""
    crew = Crew(stand, tmp_path)
    try:
        for _ in range(4):
            for name in ("worker", "relay", "worker2"):
                await crew.kill(name)
        await until(stand.effects, crew.count)
        await asyncio.sleep(1)  # for an effect too many
    finally:
        crew.end()
    assert await stand.effects() == crew.count
    numbers = await stand.rows(f"select distinct payload->>'number' from outbox_job where job = '{EFFECT}'")
    assert len(numbers) == crew.count
    assert (await stand.rows("select count(*) from outbox_job where job = 'test.job' and done_at is null"))[0][0] == 0


def start_process(name: str, stand: Stand, folder: Path) -> subprocess.Popen[bytes]:
    role = name.removesuffix("2")
    settings = stand.settings
    url = {"worker": stand.cell.worker_url, "relay": stand.cell.relay_url}[role]
    arguments = [
        name,
        role,
        url,
        stand.redis_url,
        ",".join(f"{key.key_id}:{key.secret.hex()}" for key in stand.cell.context_keys),
        ",".join(f"{key.key_id}:{key.raw.hex()}" for key in settings.directory_public_keys),
    ]
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen([sys.executable, HERE / "process.py", *arguments], stderr=log, stdout=log)


async def until(
    measure: Callable[[], Awaitable[int]],
    wanted: int,
    meanwhile: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Wait until at least so much is measured; only a test that fails waits to the end."""
    async with asyncio.timeout(120):
        while await measure() < wanted:
            if meanwhile is not None:
                await meanwhile()
            await asyncio.sleep(0.05)


async def count_in_hand(stand: Stand, name: str) -> int:
    """Return how many jobs the process of that name has begun and not committed."""
    running = f"select count(*) from pg_stat_activity where application_name = '{name}' and state like 'idle in%'"
    return await count_of(stand, running)


async def count_of(stand: Stand, query: str) -> int:
    return (await stand.rows(query))[0][0]


async def database_time(stand: Stand) -> Any:
    return (await stand.rows("select now()"))[0][0]
