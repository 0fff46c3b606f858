"""`kill -9` in the middle of traffic: what was acknowledged is there exactly once, and every sum is zero."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.crash.cell import Cell
from tests.crash.judge import compare, judge_jobs
from tests.crash.traffic import Traffic

from pitboss.platform.db import ContextSigner, Database, create_engine

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends children with their parent there"),
]
FIGURES = Path(__file__).resolve().parents[2] / "build" / "figures" / "crash.json"
PLAYERS = 16
VICTIMS = ("web",) * 7 + ("worker",) * 4 + ("relay",) * 4 + ("postgres",) * 4 + ("backend",) * 3
CALLS_BETWEEN = 40
"""Calls that must be acknowledged after a kill before the next: each comes in the middle of traffic."""


@pytest.fixture
def cell() -> Iterator[Cell]:
    with tempfile.TemporaryDirectory(prefix="pitboss-crash-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield Cell(folder)


def test_kills_in_the_middle_of_traffic(cell: Cell) -> None:
    seed = int(os.environ.get("PITBOSS_TEST_SEED", "0")) or random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    with cell.run(PLAYERS) as seats:
        traffic = Traffic(cell, seats, seed)
        traffic.start()
        try:
            kills = _kill_all(cell, traffic, rng)
        finally:
            traffic.stop()
        for name in cell.ports:
            cell.wait_ready(name)
        figures = asyncio.run(_judge(cell, traffic)) | {"kills": kills, "seed": seed}
    _write(figures)
    assert traffic.wrong == []
    assert {name: figures[name] for name in ("lost_acknowledged", "double_effects", "nonzero_sums")} == {
        "lost_acknowledged": 0,
        "double_effects": 0,
        "nonzero_sums": 0,
    }, f"seed {seed}: {figures}"
    assert figures["jobs_lost"] == figures["jobs_twice"] == 0, f"seed {seed}: {figures}"
    assert figures["wrong_balances"] == 0, f"seed {seed}: {figures}"
    assert figures["wrong_awards"] == figures["wrong_usage"] == 0, f"seed {seed}: {figures}"
    assert kills >= 20


def _kill_all(cell: Cell, traffic: Traffic, rng: random.Random) -> int:
    order = list(VICTIMS)
    rng.shuffle(order)
    kills = 0
    for victim in order:
        _await_calls(cell, traffic)
        time.sleep(rng.uniform(0.0, 0.5))
        cell.kill(victim)
        kills += 1
    _await_calls(cell, traffic)
    return kills


def _await_calls(cell: Cell, traffic: Traffic) -> None:
    """Wait until traffic flows again."""
    target, deadline = traffic.count + CALLS_BETWEEN, time.monotonic() + 180
    while traffic.count < target:
        assert not traffic.wrong, traffic.wrong
        assert time.monotonic() < deadline, f"traffic does not come back: {cell.log('web').read_text()[-3000:]}"
        time.sleep(0.02)
    assert cell.revive() == [], "a process ended that nobody killed"


async def _judge(cell: Cell, traffic: Traffic) -> dict[str, Any]:
    """Compare what was acknowledged with what is there, twice: before and after every call was repeated."""
    admin = await asyncpg.connect(cell.database.admin_url)
    database = Database(create_engine(cell.database.app_url), "eu-1", ContextSigner(cell.database.context_keys))
    try:
        first = await compare(admin, database, cell, traffic)
        different = await traffic.replay_all()
        second = await compare(admin, database, cell, traffic)
        jobs = await judge_jobs(admin, cell, traffic)
    finally:
        await admin.close()
        await database.engine.dispose()
    figures = {name: max(value, second[name]) for name, value in first.items()}
    figures["lost_acknowledged"] += len(different)
    print("\n".join(different[:20]))
    return figures | jobs | {"acknowledged": traffic.count, "retries": traffic.retries}


def _write(figures: dict[str, Any]) -> None:
    print(figures)
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(json.dumps(figures) + "\n")
