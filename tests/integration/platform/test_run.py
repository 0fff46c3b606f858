"""`make run` as a user sees it: from a fresh clone to the first bet, stopped, killed, started twice, crowded out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.factories.ports import free_block
from tests.factories.runs import PITBOSS, ROOT, Run

from pitboss.cli.stack import BLOCK, BLOCK_PORTS
from pitboss.cli.supervisor import fetch
from pitboss.platform.embedded import PostgresServer
from pitboss.platform.processes import wait_until

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc for what is left behind"),
]
FIGURES = ROOT / "build" / "figures" / "start.json"


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
    return Run(argv, folder, folder / ".pitboss", output=None, PITBOSS_PORT=str(port), **settings)


def test_fresh_clone_to_first_bet_and_everything_after(clone: Path) -> None:
    """One long story, since each step needs the state that the one before left."""
    port = free_block(BLOCK_PORTS)
    caches = {"PIP_NO_CACHE_DIR": "1", "UV_CACHE_DIR": str(clone / ".cold-cache")}
    run = Run(["make", "run"], clone, clone / ".pitboss", output=None, PITBOSS_PORT=str(port), **caches)
    try:
        first_bet_seconds = run.wait_for("first simulated wallet call in .*(?s:.*)first simulated wallet call in", 600)
        for name in ("control", "web", "worker", "relay"):
            for offset in BLOCK[name]:
                assert wait_until(lambda at=port + offset: fetch("127.0.0.1", at, "/readyz")[0] == 200, 60), (
                    name,
                    offset,
                )

        second = Run([str(clone / ".venv/bin/pitboss"), "run"], clone, clone / ".pitboss")
        assert second.process.wait(120) == 1
        assert f"process {run.supervisor()}" in second.text()

        (worker,) = run.processes_told(f"PITBOSS_METRICS_PORT={port + BLOCK['worker'][1]}")
        os.kill(worker, signal.SIGKILL)
        run.wait_for("worker of br-1 ended by signal SIGKILL, starts again in 1 s", 60)
        assert wait_until(lambda: fetch("127.0.0.1", port + BLOCK["worker"][1], "/readyz")[0] == 200, 60)

        os.kill(run.supervisor(), signal.SIGTERM)
        run.process.wait(120)
        assert run.left_over() == []
    finally:
        run.end()

    run = _start(clone, port)
    try:
        second_start_seconds = run.wait_for("Pitboss runs after", 180)
        os.kill(run.supervisor(), signal.SIGKILL)
        assert wait_until(lambda: not run.left_over(), 60), run.left_over()
    finally:
        run.end()

    run = _start(clone, port)
    try:
        run.wait_for("Pitboss runs after", 180)
        stop = subprocess.run(
            [str(clone / ".venv/bin/pitboss"), "stop"],
            cwd=clone,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert "stopped" in stop.stdout
        assert run.process.wait(60) == 0
        assert run.left_over() == []
    finally:
        run.end()

    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    figures = {"first_bet_seconds": round(first_bet_seconds, 1), "second_start_seconds": round(second_start_seconds, 1)}
    FIGURES.write_text(json.dumps(figures) + "\n")  # `make figures` holds them against what was promised


def test_busy_port_of_a_set_block_is_named(tmp_path: Path) -> None:
    port = free_block(BLOCK_PORTS)
    with socket.create_server(("127.0.0.1", port + BLOCK["web"][1])):
        files = {"PITBOSS_CELL_FILE": str(ROOT / "deploy" / "cells" / "br-1.toml")}
        run = Run([*PITBOSS, "run"], tmp_path, tmp_path / "state", output=None, PITBOSS_PORT=str(port), **files)
        assert run.process.wait(120) == 1
    assert f"port {port + BLOCK['web'][1]} is in use" in run.text()
    assert run.left_over() == []


def test_failing_step_ends_the_run_with_its_log_and_nothing_left(tmp_path: Path) -> None:
    tenant = tmp_path / "tenants" / "broken"
    tenant.mkdir(parents=True)
    (tenant / "tenant.toml").write_text("slug = 'broken'\n")
    run = Run(
        [*PITBOSS, "run"],
        tmp_path,
        tmp_path / "state",
        PITBOSS_PORT=str(free_block(BLOCK_PORTS)),
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
