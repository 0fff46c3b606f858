"""The whole signed call over HTTP: a web process of the cell, and the generator that calls it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.bench.cases import CaseFailed, Sample
from tests.bench.measure import cpu_seconds, resident_mib
from tests.bench.stage import GAME, PLUGIN, ROOT, Stage

from pitboss.platform.processes import find_free_port, spawn, stop_group, tail
from pitboss.platform.settings import child_environ

_START_SECONDS: Final = 30
_COMMAND_SECONDS: Final = 120
MEMORY_CONNECTIONS: Final = 64
PLAIN: Final = ""
LIMITED: Final = "limited"
"""Crowds of players: every one of the second has limits of stake and loss a day, and some have bonus money."""
OPEN: Final = "wallet_open"
OPEN_SHARE: Final = 0.7
OPEN_CONNECTIONS: Final = 256
"""Open loop: this share of the best rate falls due, over so many connections."""
_BEST_CONNECTIONS: Final = 256
_TRIAL_SECONDS: Final = 3
MEMORY_WARM_UP_SECONDS: Final = 30
_MEMORY_STEP_SECONDS: Final = 10


class Web:
    """A web process as a deployment starts it, and a generator process beside it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._port = 0
        self._wallet_port = 0
        self._log = stage.folder / "web.log"
        self._server: subprocess.Popen[bytes] | None = None
        self._generator: asyncio.subprocess.Process | None = None
        self._rates: dict[tuple[int, str], list[float]] = {}

    async def start(self) -> None:
        """Start both; raise `CaseFailed` when the web does not become ready."""
        self._port = find_free_port()
        self._wallet_port = find_free_port()
        command = Path(sys.executable).with_name("pitboss")
        environ = child_environ(self._stage.web_environ(self._port, self._wallet_port))
        self._server = spawn([str(command), "web", "cell"], log=self._log, env=environ)
        for _ in range(_START_SECONDS * 5):
            await asyncio.sleep(0.2)
            if self._server.poll() is not None or await asyncio.to_thread(self._is_ready):
                break
        if not await asyncio.to_thread(self._is_ready):
            raise CaseFailed(f"the web process did not become ready; the end of its log:\n{tail(self._log, 5)}")
        await self._start_generator()

    def _is_ready(self) -> bool:
        """Say whether every tenant's callback address answers: an unsigned call is refused for its signature."""
        for books in self._stage.books.values():
            url = f"http://127.0.0.1:{self._wallet_port}/wallet/{books.scope.slug}/{PLUGIN}/balance"
            try:
                urlopen(url, data=b"{}", timeout=2).close()
            except HTTPError as refused:
                if b'"403"' not in refused.read():
                    return False
            except OSError:
                return False
        return True

    async def _start_generator(self) -> None:
        slugs = {tenant_id: books.scope.slug for tenant_id, books in self._stage.books.items()}
        plan = {
            "host": "127.0.0.1",
            "port": self._wallet_port,
            "secret": self._stage.secret,
            "plugin": PLUGIN,
            "game": GAME,
            "seed": 7,
            "tenants": list(slugs.values()),
            "players": {
                crowd: [(slugs[seat.tenant_id], seat.account, seat.session) for seat in seats]
                for crowd, seats in ((PLAIN, self._stage.web_seats), (LIMITED, self._stage.limited_web_seats))
            },
        }
        path = self._stage.folder / "plan.json"
        path.write_text(json.dumps(plan))
        self._generator = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("generator.py")),
            str(path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
        )
        await self._read_line()

    async def best_rate(self) -> float:
        """Return the calls a second of the closed loop that was the fastest so far; one is tried where none was."""
        if not self._rates:
            await self.load(_BEST_CONNECTIONS, _TRIAL_SECONDS)
        return max(map(statistics.median, self._rates.values()))

    async def load(self, connections: int, seconds: float, crowd: str = PLAIN, rate: float = 0) -> Sample:
        """Let the generator call for `seconds`; raise `CaseFailed` when one answer is not what it must be.

        Closed loop, or `rate` calls a second whatever is answered.
        """
        generator = self._running()
        if generator.stdin is None:
            raise CaseFailed("the generator does not listen")
        command = json.dumps({"connections": connections, "seconds": seconds, "crowd": crowd, "rate": rate})
        generator.stdin.write(command.encode() + b"\n")
        web_began = self.cpu_seconds()
        seen = await self._read_line(seconds)
        web_cpu = self.cpu_seconds() - web_began
        if seen["wrong"] or not seen["calls"]:
            raise CaseFailed(f"{seen['wrong']} of {seen['calls']} calls went wrong: {seen['examples']}")
        sample = Sample(seen["calls"], seen["seconds"], seen["p50_ms"], seen["p99_ms"], seen["cpu_seconds"], web_cpu)
        if not rate:
            self._rates.setdefault((connections, crowd), []).append(sample.rate)
        return sample

    async def _read_line(self, seconds: float = 0) -> dict[str, Any]:
        generator = self._running()
        if generator.stdout is None:
            raise CaseFailed("the generator does not speak")
        line = await asyncio.wait_for(generator.stdout.readline(), seconds + _COMMAND_SECONDS)
        if not line:
            raise CaseFailed("the generator ended")
        return json.loads(line)

    def _running(self) -> asyncio.subprocess.Process:
        if self._generator is None or self._server is None or self._server.poll() is not None:
            raise CaseFailed(f"the web process does not run; the end of its log:\n{tail(self._log, 5)}")
        return self._generator

    def cpu_seconds(self) -> float:
        """Return the CPU time that the web process has used."""
        return cpu_seconds(self._server.pid) if self._server is not None else 0.0

    def resident_mib(self) -> float:
        """Return the memory that the web process holds."""
        return resident_mib(self._server.pid) if self._server is not None else 0.0

    async def close(self) -> None:
        """End both processes."""
        if self._generator is not None and self._generator.stdin is not None:
            self._generator.stdin.close()
            await self._generator.wait()
        if self._server is not None:
            stop_group(self._server, signal.SIGTERM, 20)


def name_case(connections: int, crowd: str) -> str:
    """Return the name under which a case is measured."""
    return f"wallet_http_{crowd}_{connections}" if crowd else f"wallet_http_{connections}"


class HttpCase:
    """Closed loop at one number of connections, of players with or without limits and awards."""

    def __init__(self, web: Web, connections: int, crowd: str = PLAIN) -> None:
        self.name = name_case(connections, crowd)
        self.title = f"signed wallet call over HTTP, {connections} connections"
        if crowd == LIMITED:
            self.title = f"… {connections}, players with limits and awards"
        self._web = web
        self._connections = connections
        self._crowd = crowd

    async def run(self, seconds: float) -> Sample:
        """Let the generator call for `seconds`."""
        return await self._web.load(self._connections, seconds, self._crowd)

    async def close(self) -> None:
        """The processes are shared."""


class OpenCase:
    """Open loop at a share of the best rate: latency counts from the moment that a call falls due."""

    name = OPEN
    title = f"… open loop at {OPEN_SHARE:.0%} of the best rate"

    def __init__(self, web: Web) -> None:
        self._web = web

    async def run(self, seconds: float) -> Sample:
        """Let calls fall due for `seconds`."""
        rate = await self._web.best_rate() * OPEN_SHARE
        return await self._web.load(OPEN_CONNECTIONS, seconds, rate=rate)

    async def close(self) -> None:
        """The processes are shared."""


async def measure_memory(web: Web, seconds: float) -> list[float]:
    """Load at 64 connections for `seconds` and return the memory of the web process, in MiB, every ten of them.

    Half a minute of load comes before, so that caches and arenas are filled as they are in service.
    """
    await web.load(MEMORY_CONNECTIONS, MEMORY_WARM_UP_SECONDS)
    seen = [web.resident_mib()]
    for _ in range(int(seconds / _MEMORY_STEP_SECONDS)):
        await web.load(MEMORY_CONNECTIONS, _MEMORY_STEP_SECONDS)
        seen.append(web.resident_mib())
    return seen
