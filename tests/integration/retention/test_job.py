"""The worker carries a plan out in small transactions: a kill loses nothing, and the end is certified once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from tests.factories.players import AURORA
from tests.factories.web import cell_settings, store_directory
from tests.integration.retention.conftest import PACKS, House

from pitboss.audit.contracts import EventFilter
from pitboss.audit.service import list_events
from pitboss.directory.contracts import PublicKey
from pitboss.directory.runtime import Directory
from pitboss.kernel.clock import utc_now
from pitboss.platform import outbox
from pitboss.platform.telemetry import Metrics
from pitboss.retention import service as retention
from pitboss.retention.contracts import CARRY_OUT_JOB, Run
from pitboss.retention.errors import PlanNotApproved, PlanSettled
from pitboss.worker.jobs import JobRegistry
from pitboss.worker.retention_jobs import retention_jobs
from pitboss.worker.runner import JobRunner

HERE = Path(__file__).parent


async def order(house: House, run: Run) -> None:
    async with house.app.transaction(AURORA) as session:
        await retention.order_carry_out(session, AURORA, run.run_id, PACKS, utc_now())


async def open_jobs(house: House) -> list[int]:
    rows = await house.admin.fetch("select job_id from outbox_job where done_at is null order by job_id")
    return [row["job_id"] for row in rows]


@pytest.fixture
async def runner(house: House) -> JobRunner:
    settings = cell_settings(house.plane, "redis://127.0.0.1:1")
    await house.admin.execute("alter table directory_snapshot disable trigger all; delete from directory_snapshot")
    await store_directory(settings)
    directory = Directory("eu-1", [PublicKey(key.key_id, key.raw) for key in settings.directory_public_keys])
    await directory.refresh(house.app)
    return JobRunner(house.worker, directory, JobRegistry(retention_jobs(house.worker, batch_rows=4)), Metrics())


async def count_certificates(house: House, run: Run) -> int:
    wanted = EventFilter(type="retention.carried_out", target=f"retention_run:{run.run_id}")
    async with house.app.transaction(AURORA) as session:
        return len((await list_events(session, AURORA, wanted)).items)


async def test_the_worker_carries_out_and_certifies_once(house: House, runner: JobRunner) -> None:
    await house.add_rounds(await house.add_player(), 10)
    run = await house.propose()
    with pytest.raises(PlanNotApproved):
        await order(house, run)
    await house.approve(run)
    await order(house, run)
    await order(house, run)  # the same again is the same job
    (job_id,) = await open_jobs(house)
    assert await runner.run(AURORA.tenant_id, job_id) == "done"
    done = await house.get(run)
    assert (done.rows_destroyed, await house.count("round")) == (10, 0)
    assert await count_certificates(house, run) == 1
    with pytest.raises(PlanSettled):
        await order(house, run)
    async with house.app.transaction(AURORA) as session:
        await outbox.enqueue(session, AURORA, CARRY_OUT_JOB, {"run_id": str(run.run_id)})
    (again,) = await open_jobs(house)
    assert await runner.run(AURORA.tenant_id, again) == "done"
    assert await count_certificates(house, run) == 1


async def test_a_job_without_an_approved_plan_ends_and_destroys_nothing(house: House, runner: JobRunner) -> None:
    await house.add_rounds(await house.add_player(), 2)
    run = await house.propose()
    async with house.app.transaction(AURORA) as session:
        for run_id in (run.run_id, UUID(int=7)):
            await outbox.enqueue(session, AURORA, CARRY_OUT_JOB, {"run_id": str(run_id)})
    for job_id in await open_jobs(house):
        assert await runner.run(AURORA.tenant_id, job_id) == "done"
    assert await house.count("round") == 2
    assert await count_certificates(house, run) == 0


async def test_a_killed_worker_is_gone_on_from_where_it_was(house: House, runner: JobRunner) -> None:
    """SIGKILL between and in the middle of batches; what was counted is what is gone."""
    await house.add_rounds(await house.add_player(), 30)
    run = await house.approve(await house.propose())
    await order(house, run)
    said = kill_in_the_middle(house, run)
    assert said[5] == b"gone\n"
    half = await house.get(run)
    assert 6 <= half.rows_destroyed < 30
    assert half.rows_destroyed + await house.count("round") == 30
    assert half.finished_at is None
    (job_id,) = await open_jobs(house)
    assert await runner.run(AURORA.tenant_id, job_id) == "done"
    done = await house.get(run)
    assert (done.rows_destroyed, await house.count("round")) == (30, 0)
    assert await count_certificates(house, run) == 1


def kill_in_the_middle(house: House, run: Run) -> list[bytes]:
    """Let a process destroy some rows and kill it; return what it said."""
    keys = ",".join(f"{key.key_id}:{key.secret.hex()}" for key in house.plane.context_keys)
    arguments = [sys.executable, HERE / "killed.py", house.plane.worker_url, keys, str(run.run_id)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        said = [victim.stdout.readline() for _ in range(6)]
        victim.send_signal(signal.SIGKILL)
        return said + victim.stdout.readlines()
