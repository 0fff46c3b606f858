"""An apply that is cut off anywhere is healed by the next; two at once are one after the other."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories.databases import PlaneDatabase
from tests.factories.tenants import (
    State,
    count_rows,
    environment_of,
    open_deployment,
    read_state,
    run_apply,
)

from pitboss.cli import tenant_apply
from pitboss.cli.tenant_apply import STEPS, Deployment, plan
from pitboss.platform.db import ControlDatabase, Database
from pitboss.platform.settings import Settings
from pitboss.tenancy.errors import ApplyRunning


@pytest.mark.parametrize("done", range(len(STEPS) + 1))
async def test_a_rerun_heals_an_interruption_between_steps(
    deployment: Deployment, untroubled: State, done: int
) -> None:
    folder = deployment.workshop.check("aurora")
    for step in STEPS[:done]:
        await step(deployment, folder)
    await run_apply(deployment)
    assert await read_state(deployment) == untroubled
    assert (await plan(deployment, folder)).entries == ()


class Interrupted(Exception):
    """The step is cut off before its transaction ends."""


class CutControl(ControlDatabase):
    """Control's database, whose transactions end in an interruption after their last statement."""

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncSession]:
        async with super().transaction() as session:
            yield session
            await session.flush()
            raise Interrupted


class CutCell(Database):
    """A cell's database, whose transactions end in an interruption after their last statement."""

    @asynccontextmanager
    async def tenants_transaction(self, tenant_ids: Any) -> AsyncGenerator[AsyncSession]:
        async with super().tenants_transaction(tenant_ids) as session:
            yield session
            raise Interrupted

    @asynccontextmanager
    async def cell_transaction(self) -> AsyncGenerator[AsyncSession]:
        async with super().cell_transaction() as session:
            yield session
            raise Interrupted


@pytest.mark.parametrize("done", range(len(STEPS)))
async def test_a_rerun_heals_an_interruption_just_before_a_commit(
    deployment: Deployment, settings: Settings, untroubled: State, done: int
) -> None:
    folder = deployment.workshop.check("aurora")
    for step in STEPS[:done]:
        await step(deployment, folder)
    before = await read_state(deployment)
    cut = open_deployment(settings)
    if STEPS[done] in {tenant_apply.reserve, tenant_apply.activate}:
        cut.control = CutControl(cut.control.engine)
    else:
        cut.cell = CutCell(cut.cell.engine, "eu-1", cut.cell._signer)
    with pytest.raises(Interrupted):
        await STEPS[done](cut, folder)
    await cut.close()
    assert await read_state(deployment) == before
    await run_apply(deployment)
    assert await read_state(deployment) == untroubled


_KILLED = """
import asyncio, os, signal
from pitboss.cli.tenant_apply import STEPS, Deployment, Workshop
from pitboss.kernel.scope import Origin
from pitboss.permissions.service import deployment_actor
from pitboss.platform.settings import load_settings
from pitboss.tenancy.contracts import By

async def main(done):
    deployment = Deployment(Workshop(load_settings()), By(deployment_actor(), Origin()))
    folder = deployment.workshop.check("aurora")
    async with deployment.alone():
        for step in STEPS[:done]:
            await step(deployment, folder)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(int(os.environ["DONE"])))
"""


def start(settings: Settings, arguments: Sequence[str], **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**environment_of(settings), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_process(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    process = start(settings, ["-m", "pitboss.bootstrap", "tenant", *arguments])
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


@pytest.mark.crash
@pytest.mark.parametrize("done", range(len(STEPS)))
async def test_a_rerun_heals_a_killed_process(
    deployment: Deployment, settings: Settings, untroubled: State, done: int
) -> None:
    """The process dies by SIGKILL between two transactions, while it holds the lock of applies."""
    process = start(settings, ["-c", _KILLED], DONE=str(done))
    _, errors = await asyncio.to_thread(process.communicate, timeout=120)
    assert process.returncode == -signal.SIGKILL, errors
    code, output, errors = await asyncio.to_thread(run_process, settings, "apply", "aurora")
    assert (code, errors) == (0, "")
    assert "aurora: applied" in output
    assert await read_state(deployment) == untroubled


@pytest.mark.crash
@pytest.mark.parametrize(
    ("step", "table"),
    [
        ("reserve", "tenant"),
        ("prepare", "plugin_enablement"),
        ("prepare", "brand_theme"),
        ("activate", "brand"),
        ("store", "directory_snapshot"),
    ],
)
async def test_a_rerun_heals_a_kill_inside_a_transaction(
    deployment: Deployment,
    settings: Settings,
    untroubled: State,
    control_database: PlaneDatabase,
    cell_database: PlaneDatabase,
    step: str,
    table: str,
) -> None:
    """The command is held in the middle of a step by a lock on a table that the step writes, and killed there."""
    database = control_database if step in {"reserve", "activate"} else cell_database
    admin = await asyncpg.connect(database.admin_url)
    watcher = await asyncpg.connect(database.admin_url)
    async with admin.transaction():
        await admin.execute(f"lock table {table} in share mode")
        process = start(settings, ["-m", "pitboss.bootstrap", "tenant", "apply", "aurora"])
        waiting = "select count(*) from pg_locks where not granted and relation = $1::regclass"
        async with asyncio.timeout(120):
            while not await watcher.fetchval(waiting, table):
                assert process.poll() is None, process.communicate()
                await asyncio.sleep(0.02)
        process.kill()
        await asyncio.to_thread(process.communicate)
    await admin.close()
    await watcher.close()
    assert process.returncode == -signal.SIGKILL
    await run_apply(deployment)
    assert await read_state(deployment) == untroubled


async def test_two_applies_at_once_are_one_after_the_other(
    deployment: Deployment, settings: Settings, untroubled: State
) -> None:
    others = [open_deployment(settings) for _ in range(3)]
    changed = await asyncio.gather(*[run_apply(each) for each in [deployment, *others]])
    for each in others:
        await each.close()
    assert sorted(changed)[:3] == [0, 0, 0]
    assert await read_state(deployment) == untroubled


async def test_an_apply_does_not_wait_for_ever(deployment: Deployment, settings: Settings) -> None:
    hasty = Deployment(deployment.workshop, deployment.by, lock_wait_ms=100)
    other = open_deployment(settings)
    async with other.alone():
        with pytest.raises(ApplyRunning):
            await run_apply(hasty)
    await other.close()
    assert count_rows(await read_state(deployment)) == 0
    assert await run_apply(hasty) > 0
    await hasty.close()
