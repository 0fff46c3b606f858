"""A cell is lost in the middle of traffic and comes back elsewhere: how much is missing, how long it took, and proved books."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import msgspec
import pytest
from tests.crash.cell import Cell
from tests.factories.audit_logs import Log
from tests.factories.figures import write_figures
from tests.factories.tenants import environment_of

from pitboss.kernel.clock import utc_now
from pitboss.migrations.provision import provision
from pitboss.platform.backup import Exercise, Register
from pitboss.platform.embedded import PostgresServer
from pitboss.platform.processes import processes_in, spawn, tail, wait_until

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends children with their parent there"),
]
CALLS = int(os.environ.get("PITBOSS_TEST_RESTORE_CALLS", "0")) or 150
"""Calls that must be acknowledged before the loss."""


@pytest.fixture
def cell() -> Iterator[Cell]:
    # Thousands of small files are made durable: in memory where there is room, since no power is cut here.
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made there
    place = memory if memory.is_dir() and shutil.disk_usage(memory).free > 2**31 else None
    with tempfile.TemporaryDirectory(prefix="pitboss-restore-", dir=place, ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Cell(Path(name))


class Credits:
    """Operators who credit players without a pause, and know when each call was acknowledged."""

    def __init__(self, cell: Cell, accounts: list[str]) -> None:
        self.cell = cell
        self.acknowledged: dict[str, datetime] = {}
        self._going = True
        self._threads = [threading.Thread(target=self._work, args=(account,)) for account in accounts]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._going = False
        for thread in self._threads:
            thread.join()

    def call(self, connection: http.client.HTTPConnection, account: str, reference: str) -> int:
        body = {"amount_minor": 100, "currency": "EUR", "reference": reference, "reason": "test"}
        headers = {
            "host": "aurora.localhost",
            "content-type": "application/json",
            "authorization": f"Bearer {self.cell.settings.operator_token}",
        }
        connection.request("POST", f"/api/v1/operator/players/{account}/credits", json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status == 201:
            self.acknowledged[reference] = utc_now()
        return answer.status

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.cell.ports["web"], timeout=5)

    def _work(self, account: str) -> None:
        connection, number = self.connect(), 0
        while self._going:
            number += 1
            try:
                self.call(connection, account, f"credit-{account}-{number}")
            except (OSError, http.client.HTTPException):
                connection.close()
                time.sleep(0.05)
        connection.close()


def pitboss(cell: Cell, *words: str) -> str:
    """Run a command and return what it said; a code other than 0 fails with that."""
    command = [sys.executable, "-m", "pitboss.bootstrap", *words]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environment_of(cell.settings))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


async def give_backup_login(cell: Cell) -> None:
    url = f"postgresql://pitboss_backup_test:backup-password@127.0.0.1:{cell.postgres.port}/any"
    urls = cell.database.urls
    await provision(cell.postgres.admin_url(), urls, url)
    with pytest.raises(asyncpg.PostgresError):  # it replicates and looks into no database
        await asyncpg.connect(url.replace("/any", f"/{cell.database.name}"))
    cell.settings = msgspec.structs.replace(
        cell.settings,
        backup_database_url=url,
        backup_dir=cell.folder / "backups",
        state_dir=cell.folder / "state",
    )


async def read_references(scratch: Path, password: str, database: str) -> set[str]:
    """Start a restored server once more, as somebody would who works on with it, and return the credits that it has."""
    server = PostgresServer(scratch)
    server.start()
    try:
        url = f"postgresql://pitboss_admin:{password}@127.0.0.1:{server.port}/{database}"
        connection = await asyncpg.connect(url)
        try:
            rows = await connection.fetch("select reference from journal")
        finally:
            await connection.close()
    finally:
        server.stop()
    return {row["reference"] for row in rows}


def lose(cell: Cell) -> datetime:
    """Kill every process of the server at one blow and delete its data; return the moment before."""
    data = cell.postgres.data
    moment = utc_now()
    for pid in processes_in(data):
        os.kill(pid, signal.SIGKILL)
    cell.postgres.kill()
    shutil.rmtree(data)
    return moment


def restore(cell: Cell, name: str, *words: str) -> tuple[Path, Exercise]:
    scratch = cell.folder / name
    said = pitboss(cell, "backup", "restore", "--scratch", str(scratch), "--scenario", name, *words)
    print(said)
    assert re.search(r"exercise \S+ passed", said)
    return scratch, Register(cell.settings.state_dir / "exercises").list()[-1][0]


def test_a_lost_cell_comes_back(cell: Cell) -> None:
    with cell.run(4) as seats:
        asyncio.run(give_backup_login(cell))
        environ = environment_of(cell.settings)
        archive = spawn([sys.executable, "-m", "pitboss.bootstrap", "archive"], log=cell.log("archive"), env=environ)
        credit = Credits(cell, [seat.holder.account for seat in seats])
        try:
            pitboss(cell, "backup", "base")
            credit.start()
            _await(credit, CALLS // 2, cell)
            entries = asyncio.run(Log(cell.database, cell.folder, [cell.scope]).sequence())
            assert entries > 0
            one = credit.connect()
            assert credit.call(one, seats[0].holder.account, "before-the-moment") == 201
            between = utc_now()
            assert credit.call(one, seats[0].holder.account, "after-the-moment") == 201
            one.close()
            _await(credit, CALLS, cell)
            password = (cell.postgres.directory / "password").read_text().strip()
            lost_at = lose(cell)
            acknowledged = {name: at for name, at in credit.acknowledged.items() if at <= lost_at}
        finally:
            credit.stop()
            archive.terminate()
            archive.wait()
        latest, exercise = restore(cell, "a-lost-cell", "--to", "latest", "--lost-at", lost_at.isoformat())
        there = asyncio.run(read_references(latest, password, cell.database.name))
        missing = sorted(at for name, at in acknowledged.items() if name not in there)
        before, _ = restore(cell, "a-moment", "--to", between.astimezone(UTC).isoformat())
        at_moment = asyncio.run(read_references(before, password, cell.database.name))
        _judge(cell, exercise, entries)
        for scratch in (latest, before):
            PostgresServer(scratch).remove()
        _leave_something_to_clean_up(cell)
    assert "before-the-moment" in at_moment
    assert "after-the-moment" not in at_moment
    assert {"before-the-moment", "after-the-moment"} <= there
    lost_seconds = (lost_at - missing[0]).total_seconds() if missing else 0.0
    figures = {
        "acknowledged": len(acknowledged),
        "lost_acknowledged": len(missing),
        "recovery_point_seconds": lost_seconds,
        "recovery_point_bound_seconds": exercise.recovery_point_seconds or 0.0,
        "recovery_time_seconds": exercise.recovery_time_seconds,
        "findings": len(exercise.findings),
    }
    write_figures("backup", figures)
    print(figures)
    assert len(acknowledged) >= CALLS
    assert lost_seconds <= 5
    assert exercise.recovery_point_seconds is not None
    assert lost_seconds <= exercise.recovery_point_seconds <= 5
    assert exercise.recovery_time_seconds <= 15 * 60


def _await(credit: Credits, calls: int, cell: Cell) -> None:
    there = wait_until(lambda: len(credit.acknowledged) >= calls, 120)
    assert there, f"no traffic: {tail(cell.log('web'), 20)}"


def _judge(cell: Cell, exercise: Exercise, entries: int) -> None:
    assert exercise.passed, exercise.findings
    assert (exercise.cell, exercise.locality) == (cell.settings.cell, cell.settings.locality)
    assert any(line.startswith("ledger: 1 tenants, 4 wallets") for line in exercise.evidence), exercise.evidence
    # The root of the checkpoint was computed anew from what came back.
    begin = f"audit log of aurora: {entries} entries lead to the last checkpoint, root "
    assert any(line.startswith(begin) for line in exercise.evidence), exercise.evidence
    said = pitboss(cell, "backup", "exercises")
    assert "a-lost-cell" in said
    assert "a-moment" in said
    assert "as it was written" in pitboss(cell, "backup", "verify")
    register = cell.settings.state_dir / "exercises" / "register.jsonl"
    register.write_text(register.read_text().replace("a-lost-cell", "a-won-cell"))
    with pytest.raises(AssertionError, match="not what was written"):
        pitboss(cell, "backup", "exercises")


def _leave_something_to_clean_up(cell: Cell) -> None:
    """Start an empty server with databases of the same names, which the end of the run drops."""
    cell.postgres.start()

    async def run() -> None:
        connection = await asyncpg.connect(cell.postgres.admin_url())
        try:
            control = str(cell.settings.control_database_url).rpartition("/")[2]
            for name in (cell.database.name, control):
                await connection.execute(f'create database "{name}"')
        finally:
            await connection.close()

    asyncio.run(run())
