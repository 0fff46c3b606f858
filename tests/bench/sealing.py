"""The whole signed call over HTTP while a sealer takes the bookings beside it, and how fast it takes them alone."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any, Final

from tests.bench.cases import CaseFailed, Sample
from tests.bench.http_cases import Web
from tests.bench.measure import cpu_seconds
from tests.bench.stage import CELL, ROOT, Stage

from pitboss.platform.embedded import write_private

CONNECTIONS: Final = 64
NAME: Final = f"wallet_sealed_{CONNECTIONS}"
_COMMAND_SECONDS: Final = 300


class SealedHttpCase:
    """Like the case of 64 connections, with a sealer that has caught up before and works meanwhile."""

    name = NAME
    title = f"… {CONNECTIONS}, while bookings are sealed"

    def __init__(self, stage: Stage, web: Web) -> None:
        self._stage = stage
        self._web = web
        self._process: asyncio.subprocess.Process | None = None
        self._seen = 0
        self.caught_up: dict[str, float] = {}
        """How many bookings the sealer took alone before the first round, and in how many seconds."""
        self.shares: list[float] = []
        """For each round, how much of what was booked in it was sealed in it."""

    async def run(self, seconds: float) -> Sample:
        """Catch up, then let the generator call for `seconds` while the sealer works."""
        if self._process is None:
            await self._start()
        server = self._server_cpu_seconds()
        told = await self._ask("catch")
        if told["entries"] > self.caught_up.get("entries", 0):
            self.caught_up = {**told, "server_cpu": self._server_cpu_seconds() - server}
        self._seen = told["all"]
        await self._tell("go")
        sample = await self._web.load(CONNECTIONS, seconds)
        told = await self._ask("stop")
        sealed = told["all"] - self._seen
        left = (await self._ask("catch"))["entries"]
        self.shares.append(sealed / (sealed + left) if sealed + left else 1.0)
        return sample

    def _server_cpu_seconds(self) -> float:
        return cpu_seconds(self._stage.postgres.pid or 0, with_children=True)

    async def close(self) -> None:
        """End the sealer."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()

    async def _start(self) -> None:
        keys_file = self._stage.folder / "seal-keys.toml"
        write_private(keys_file, f'current = "{secrets.token_hex(32)}"\n')
        plan = {
            "url": self._stage.url("cell", "seq"),
            "key_id": self._stage.context_key.key_id,
            "secret": self._stage.context_key.secret.hex(),
            "scopes": json.dumps([(number, books.scope.slug, CELL) for number, books in self._stage.books.items()]),
            "keys_file": str(keys_file),
            "store": str(self._stage.folder / "worm"),
        }
        path = self._stage.folder / "sealer.json"
        path.write_text(json.dumps(plan))
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("sealer.py")),
            str(path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
        )
        await self._read()

    async def _tell(self, command: str) -> None:
        if self._process is None or self._process.stdin is None:
            raise CaseFailed("the sealer does not run")
        self._process.stdin.write(f"{command}\n".encode())
        await self._process.stdin.drain()

    async def _ask(self, command: str) -> dict[str, Any]:
        await self._tell(command)
        return await self._read()

    async def _read(self) -> dict[str, Any]:
        if self._process is None or self._process.stdout is None:
            raise CaseFailed("the sealer does not run")
        line = await asyncio.wait_for(self._process.stdout.readline(), _COMMAND_SECONDS)
        if not line:
            raise CaseFailed("the sealer ended")
        return json.loads(line)
