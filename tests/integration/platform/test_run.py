"""`make run` as a user sees it: from a fresh clone to the first bet, stopped, killed, started twice, crowded out."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pitboss.cli.state import MARK
from pitboss.cli.supervisor import BLOCK, fetch
from pitboss.platform.embedded import PostgresServer
from pitboss.platform.processes import is_port_free, processes_in, processes_marked, start_ticks, wait_until

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc for what is left behind"),
]
ROOT = Path(__file__).resolve().parents[3]
FIGURES = ROOT / "build" / "figures" / "start.json"


class Run:
    """One `pitboss run` (or `make run`) and what it printed so far."""

    def __init__(self, argv: list[str], folder: Path, state: Path, **settings: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PITBOSS_")}
        self.state = state
        self.output = folder / f"output-{time.monotonic_ns()}"
        self.started = time.monotonic()
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                argv,
                cwd=folder,
                env={**inherited, "PITBOSS_STATE_DIR": str(state), **settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def text(self) -> str:
        return self.output.read_text()

    def wait_for(self, pattern: str, timeout_seconds: int) -> float:
        """Wait until the output matches and return the seconds since the start."""
        found = wait_until(
            lambda: re.search(pattern, self.text()) is not None or self.process.poll() is not None, timeout_seconds
        )
        assert found, f"no {pattern!r} in {timeout_seconds} s:\n{self.text()}"
        assert re.search(pattern, self.text()), self.text()
        return time.monotonic() - self.started

    def supervisor(self) -> int:
        return int((self.state / "lock").read_text())

    def left_over(self) -> list[int]:
        """Return every process of this state folder, servers included."""
        server = PostgresServer(self.state / "postgres")
        redis = [
            int(line.split()[0]) for line in _read(self.state / "redis" / "pid") if start_ticks(int(line.split()[0]))
        ]
        return processes_marked(MARK, str(self.state)) + processes_in(server.data) + redis

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def _read(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _block() -> int:
    """Return the first port of a block that nobody uses."""
    return next(
        base for base in range(18080, 28000, 50) if all(is_port_free(base + offset) for offset in BLOCK.values())
    )


@pytest.fixture(scope="module")
def clone() -> Iterator[Path]:
    """A fresh copy of the tree, without environment and state."""
    folder = Path(tempfile.mkdtemp(prefix="pitboss-clone-"))
    folder.chmod(0o711)
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    yield folder
    PostgresServer(folder / ".pitboss" / "postgres").remove()
    shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, port: int, **settings: str) -> Run:
    argv = [str(folder / ".venv" / "bin" / "pitboss"), "run"]
    return Run(argv, folder, folder / ".pitboss", PITBOSS_PORT=str(port), **settings)


def test_fresh_clone_to_first_bet_and_everything_after(clone: Path) -> None:
    """One long story, since each step needs the state that the one before left."""
    port = _block()
    caches = {"PIP_NO_CACHE_DIR": "1", "UV_CACHE_DIR": str(clone / ".cold-cache")}
    run = Run(["make", "run"], clone, clone / ".pitboss", PITBOSS_PORT=str(port), **caches)
    try:
        first_bet_seconds = run.wait_for("first simulated wallet call", 300)
        for name in ("control", "cell", "worker", "relay"):
            assert fetch("127.0.0.1", port + BLOCK[name], "/readyz")[0] == 200, name

        second = Run([str(clone / ".venv/bin/pitboss"), "run"], clone, clone / ".pitboss")
        assert second.process.wait(20) == 1
        assert f"process {run.supervisor()}" in second.text()

        worker = _process_on(port + BLOCK["worker"], run)
        os.kill(worker, signal.SIGKILL)
        run.wait_for("worker ended by signal SIGKILL, starts again in 1 s", 20)
        assert wait_until(lambda: fetch("127.0.0.1", port + BLOCK["worker"], "/readyz")[0] == 200, 60)

        os.kill(run.supervisor(), signal.SIGTERM)
        stopping = time.monotonic()
        run.process.wait(30)
        assert time.monotonic() - stopping < 20
        assert run.left_over() == []
    finally:
        run.end()

    run = _start(clone, port)
    try:
        second_start_seconds = run.wait_for("Pitboss runs after", 60)
        os.kill(run.supervisor(), signal.SIGKILL)
        assert wait_until(lambda: not run.left_over(), 20), run.left_over()
    finally:
        run.end()

    run = _start(clone, port)
    try:
        run.wait_for("Pitboss runs after", 60)
        stop = subprocess.run(
            [str(clone / ".venv/bin/pitboss"), "stop"],
            cwd=clone,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "stopped" in stop.stdout
        assert run.process.wait(5) == 0
        assert run.left_over() == []
    finally:
        run.end()

    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    figures = {"first_bet_seconds": round(first_bet_seconds, 1), "second_start_seconds": round(second_start_seconds, 1)}
    FIGURES.write_text(json.dumps(figures) + "\n")
    assert first_bet_seconds <= 180
    assert second_start_seconds <= 10


def _process_on(port: int, run: Run) -> int:
    """Return the supervised process that was told to serve on `port`."""
    wanted = f"PITBOSS_METRICS_PORT={port}".encode()
    found = [
        pid
        for pid in processes_marked(MARK, str(run.state))
        if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") and os.getpgid(pid) == pid
    ]
    assert len(found) == 1
    return found[0]


def test_busy_port_of_a_set_block_is_named(tmp_path: Path) -> None:
    port = _block()
    with socket.create_server(("127.0.0.1", port + BLOCK["cell"])):
        run = Run(
            [sys.executable, "-m", "pitboss.bootstrap", "run"], tmp_path, tmp_path / "state", PITBOSS_PORT=str(port)
        )
        assert run.process.wait(30) == 1
    assert f"port {port + BLOCK['cell']} is in use" in run.text()
    assert run.left_over() == []


def test_failing_step_ends_the_run_with_its_log_and_nothing_left(tmp_path: Path) -> None:
    tenant = tmp_path / "tenants" / "broken"
    tenant.mkdir(parents=True)
    (tenant / "tenant.toml").write_text("slug = 'broken'\n")
    run = Run(
        [sys.executable, "-m", "pitboss.bootstrap", "run"],
        tmp_path,
        tmp_path / "state",
        PITBOSS_PORT=str(_block()),
        PITBOSS_TENANTS_DIR="tenants",
        PITBOSS_CELL_FILE=str(ROOT / "deploy" / "cells" / "eu-1.toml"),
    )
    try:
        assert run.process.wait(120) == 1
        assert "`pitboss tenant apply broken` ended with code 1" in run.text()
        assert run.left_over() == []
    finally:
        run.end()
        PostgresServer(tmp_path / "state" / "postgres").remove()
