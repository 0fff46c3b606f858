"""`pitboss quality` as an engineer types it."""

from __future__ import annotations

import json
from datetime import timedelta

import asyncpg
import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, open_cell
from tests.factories.web import cell_settings, run_command, store_directory
from tests.integration.quality.conftest import Records, leave_open


@pytest.fixture
async def aurora(cell_database: PlaneDatabase):
    admin = await asyncpg.connect(cell_database.admin_url)
    async with open_cell(cell_database) as cell, open_cell(cell_database, cell_database.worker_url) as worker:
        records = Records(AURORA, cell, worker, admin)
        await records.open()
        await records.fill()
        yield records
    await admin.close()


async def test_hours_are_measured_and_shown(aurora: Records, cell_database: PlaneDatabase, redis_url: str) -> None:
    settings = cell_settings(cell_database, redis_url)
    await store_directory(settings)
    nothing = run_command(settings, "quality", "show", "aurora")
    assert (nothing.returncode, nothing.stdout) == (0, "no hour was measured yet\n")
    span = [(aurora.hour + timedelta(hours=number)).strftime("%Y-%m-%dT%H:%M") for number in (-1, 1)]
    measured = run_command(settings, "quality", "measure", "aurora", "--from", span[0], "--to", span[1])
    assert (measured.returncode, measured.stdout) == (0, "aurora: 2 hours measured\n"), measured.stderr
    await leave_open(aurora)
    assert run_command(settings, "quality", "measure", "aurora", "--from", span[0], "--to", span[1]).returncode == 0
    shown = run_command(settings, "quality", "show", "aurora", "--json")
    assert shown.returncode == 1, "something is red"
    told = json.loads(shown.stdout)
    assert len(told) == 24
    (open_round,) = [each for each in told if each["state"] == "red"]
    assert (open_round["area"], open_round["dimension"], open_round["wrong"]) == ("rounds", "completeness", 1)
    lines = run_command(settings, "quality", "show", "aurora").stdout
    assert f"{aurora.hour:%Y-%m-%d %H}h  rounds    completeness x red 1/3" in lines
    tomorrow = (aurora.hour + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    assert run_command(settings, "quality", "measure", "aurora", "--from", span[0], "--to", tomorrow).returncode == 2
