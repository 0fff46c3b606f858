"""Cases over HTTP while a sealer takes the bookings beside them, and how fast it takes them alone."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any, Final

from tests.bench.cases import Case, CaseFailed, Sample
from tests.bench.measure import cpu_seconds
from tests.bench.stage import CELL, ROOT, Stage

from pitboss.platform.embedded import write_private

_COMMAND_SECONDS: Final = 300
_PREFIX: Final = "wallet_sealed_"


def name_sealed(plain: str) -> str:
    """Return the name under which a case is measured while bookings are sealed."""
    return plain.replace("wallet_http_", "wallet_").replace("wallet_", _PREFIX)


class SealedCase:
    """A case over HTTP with a sealer that has caught up before and works meanwhile."""

    def __init__(self, sealer: Sealer, plain: Case) -> None:
        self.plain = plain
        self.name = name_sealed(plain.name)
        self.title = "… the same, while bookings are sealed"
        self._sealer = sealer
        self.shares: list[float] = []
        """For each round, how much of what was booked in it was sealed in it."""

    async def run(self, seconds: float) -> Sample:
        """Catch up, then run the case while the sealer works."""
        before = await self._sealer.catch_up()
        await self._sealer.go()
        sample = await self.plain.run(seconds)
        sealed = await self._sealer.stop() - before
        left = await self._sealer.catch_up() - before - sealed
        self.shares.append(sealed / (sealed + left) if sealed + left else 1.0)
        return sample

    async def close(self) -> None:
        """End the sealer."""
        await self._sealer.close()


class Sealer:
    """The process that seals, shared by the cases that it runs beside."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._process: asyncio.subprocess.Process | None = None
        self.caught_up: dict[str, float] = {}
        """The most that was sealed alone, before a round: how many bookings, and in how many seconds."""

    async def catch_up(self) -> int:
        """Seal what waits, and return how many bookings were sealed so far."""
        if self._process is None:
            await self._start()
        server = self._server_cpu_seconds()
        told = await self._ask("catch")
        if told["entries"] > self.caught_up.get("entries", 0):
            self.caught_up = {**told, "server_cpu": self._server_cpu_seconds() - server}
        return int(told["all"])

    async def go(self) -> None:
        """Begin to seal from time to time."""
        await self._tell("go")

    async def stop(self) -> int:
        """Pause, and return how many bookings were sealed so far."""
        return int((await self._ask("stop"))["all"])

    def _server_cpu_seconds(self) -> float:
        return cpu_seconds(self._stage.postgres.pid or 0, with_children=True)

    async def close(self) -> None:
        """End the sealer."""
        if self._process is not None and self._process.stdin is not None and self._process.returncode is None:
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
