"""A `pitboss run` as a process of its own: started, watched, asked, and ended with nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from pitboss.cli.stack import BLOCK, RunCell, find_cells
from pitboss.cli.state import MARK
from pitboss.platform.embedded import PostgresServer
from pitboss.platform.processes import processes_in, processes_marked, start_ticks, wait_until
from pitboss.platform.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PITBOSS = (sys.executable, "-m", "pitboss.bootstrap")
EVERY_OFFSET = tuple(offset for offsets in BLOCK.values() for offset in offsets)


def shipped_cell(name: str) -> RunCell:
    """Return one of the cells that have a file in the project."""
    settings = Settings(cell_file=ROOT / "deploy" / "cells" / "eu-1.toml")
    return next(cell for cell in find_cells(settings) if cell.name == name)


class Run:
    """One `pitboss run` (or `make run`) and what it printed so far."""

    def __init__(
        self, argv: list[str], folder: Path, state: Path, *, output: Path | None = None, **settings: str
    ) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PITBOSS_")}
        self.state = state
        self.output = output or folder / f"output-{time.monotonic_ns()}"
        self.started = time.monotonic()
        with self.output.open("wb") as written:
            self.process = subprocess.Popen(
                argv,
                cwd=folder,
                env={**inherited, "PITBOSS_STATE_DIR": str(state), **settings},
                stdin=subprocess.DEVNULL,
                stdout=written,
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

    def processes_told(self, setting: str) -> list[int]:
        """Return the supervised processes whose environment holds `setting`, NAME=value."""
        found: list[int] = []
        for pid in processes_marked(MARK, str(self.state)):
            with suppress(OSError):  # it may end while it is looked at
                told = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                if setting.encode() in told and os.getpgid(pid) == pid:
                    found.append(pid)
        return found

    def left_over(self) -> list[int]:
        """Return every process of this state folder, servers included."""
        server = PostgresServer(self.state / "postgres")
        pids = [int(path.read_text().split()[0]) for path in self.state.glob("redis/*/pid")]
        redis = [pid for pid in pids if start_ticks(pid)]
        return processes_marked(MARK, str(self.state)) + processes_in(server.data) + redis

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
