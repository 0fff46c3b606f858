"""The whole platform as processes: control and two cells, with ways to ask, to play, to kill and to shut off."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from tests.factories.collector import Collector
from tests.factories.ports import free_block
from tests.factories.runs import PITBOSS, ROOT, Run, shipped_cell

from pitboss.cli.stack import BLOCK, BLOCK_PORTS
from pitboss.cli.state import State, logins_of_cell, logins_of_control, secrets_of_cell, secrets_of_control
from pitboss.cli.supervisor import fetch
from pitboss.platform.embedded import PostgresServer
from pitboss.platform.processes import wait_until
from pitboss.platform.settings import child_environ, variable

TENANT_OF = {"eu-1": "aurora", "br-1": "jangada"}
DATABASE_OF = {"control": "pitboss_control", "eu-1": "pitboss_eu_1", "br-1": "pitboss_br_1"}


class World:
    """One `pitboss run` of both cells without traffic of its own, traced to a collector of the tests."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self.folder = Path(tempfile.mkdtemp(prefix="pitboss-residency-"))
        self.folder.chmod(0o711)
        self.base = free_block(BLOCK_PORTS)
        self.state = State(self.folder / "state")
        settings = {
            "PITBOSS_PORT": str(self.base),
            "PITBOSS_SIMULATE_RATE": "0",
            "PITBOSS_TENANTS_DIR": str(ROOT / "tenants"),
            "PITBOSS_OTLP_ENDPOINT": collector.endpoint,
            "PITBOSS_TRACE_ONE_IN": "1",
            "PITBOSS_TRACE_WALLET_ONE_IN": "1",
        }
        self.run = Run([*PITBOSS, "run"], ROOT, self.state.folder, output=self.folder / "output", **settings)
        self.run.wait_for("Pitboss runs after", 180)

    def close(self) -> None:
        self.run.end()
        PostgresServer(self.state.postgres).remove()
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)

    def port(self, name: str, place: str = "control") -> int:
        offsets = BLOCK[name]
        return self.base + offsets[0 if len(offsets) == 1 else shipped_cell(place).number]

    def address(self, place: str) -> str:
        return f"http://127.0.0.1:{self.port('control' if place == 'control' else 'web', place)}"

    def client(self, cell: str, tenant: str = "", *, from_address: str = "127.0.0.1", agent: str = "") -> httpx.Client:
        """Return a client of a cell's web under a tenant's domain, calling from an address of this machine."""
        return httpx.Client(
            base_url=self.address(cell),
            headers={"host": f"{tenant or TENANT_OF[cell]}.localhost", "user-agent": agent or "test"},
            transport=httpx.HTTPTransport(local_address=from_address),
            timeout=20,
        )

    def secrets_of(self, place: str) -> dict[str, str]:
        return secrets_of_control(self.state) if place == "control" else secrets_of_cell(self.state, place)

    def logins_of(self, place: str) -> dict[str, str]:
        port = self.port("postgres")
        return logins_of_control(self.state, port) if place == "control" else logins_of_cell(self.state, place, port)

    def admin_url(self, place: str) -> str:
        password = (self.state.postgres / "password").read_text().strip()
        return (
            f"postgresql://pitboss_admin:{password}@127.0.0.1:{self.port('postgres')}/{DATABASE_OF.get(place, place)}"
        )

    def redis_url(self, cell: str) -> str:
        password = (self.state.redis / cell / "password").read_text().strip()
        return f"redis://:{password}@127.0.0.1:{self.port('redis', cell)}/0"

    def simulate(self, cell: str, *words: str) -> subprocess.Popen[str]:
        """Start players and their aggregator against a cell."""
        known = {
            name: value for name, value in self.secrets_of(cell).items() if name in {"secrets_file", "operator_token"}
        }
        values = {variable(name): value for name, value in known.items()}
        places = {"PITBOSS_CELL": cell, "PITBOSS_TENANTS_DIR": str(self.state.folder / "tenants")}
        environ = child_environ({**values, **places})
        slug = TENANT_OF[cell]
        place = ("--target", self.address(cell), "--tenant", slug, "--domain", f"{slug}.localhost")
        port = str(self.port("simulate", cell))
        return subprocess.Popen(
            [*PITBOSS, "simulate", *place, "--port", port, "--json", *words],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def command(self, place: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command with the settings of a plane."""
        fields = {**self.logins_of(place), **self.secrets_of(place)}
        if place != "control":
            fields |= {"cell": place, "redis_url": self.redis_url(place)}
        environ = child_environ({variable(field): value for field, value in fields.items()})
        return subprocess.run(
            [*PITBOSS, *words], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False
        )

    def play(self, cell: str, calls: int = 60) -> dict[str, Any]:
        """Bring new players in, let them play, and return what happened; the model and the platform must agree."""
        return finish(self.simulate(cell, "--rate", "0", "--players", "2", "--calls", str(calls)))

    def statuses(self, cell: str) -> dict[str, int]:
        return {name: fetch("127.0.0.1", self.port(name, cell), "/readyz")[0] for name in ("web", "worker", "relay")}

    def wait_until_ready(self, cell: str) -> None:
        assert wait_until(lambda: set(self.statuses(cell).values()) == {200}, 120), self.statuses(cell)

    def process_of(self, name: str, place: str) -> int:
        """Return a supervised process of a plane."""
        variable_name = "PITBOSS_PORT" if name in {"web", "control"} else "PITBOSS_METRICS_PORT"
        (pid,) = self.run.processes_told(f"{variable_name}={self.port(name, place)}")
        return pid

    def kill(self, name: str, place: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End a process and wait until the supervisor has another one."""
        pid = self.process_of(name, place)
        os.kill(pid, number)

        def has_another() -> bool:
            wanted = "PITBOSS_PORT" if name in {"web", "control"} else "PITBOSS_METRICS_PORT"
            return bool(set(self.run.processes_told(f"{wanted}={self.port(name, place)}")) - {pid})

        assert wait_until(has_another, 60)

    @contextmanager
    def shut_off(self, place: str) -> Iterator[None]:
        """Let nobody into a plane's database while the block runs, and throw out who is inside."""
        asyncio.run(self._allow(place, allowed=False))
        try:
            yield
        finally:
            asyncio.run(self._allow(place, allowed=True))

    async def _allow(self, place: str, *, allowed: bool) -> None:
        name = DATABASE_OF[place]
        connection = await asyncpg.connect(self.admin_url("postgres"))
        try:
            await connection.execute(f"alter database {name} allow_connections {str(allowed).lower()}")
            if not allowed:
                await connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name
                )
        finally:
            await connection.close()


def finish(process: subprocess.Popen[str], timeout_seconds: int = 180) -> dict[str, Any]:
    """Wait for a traffic source and return its summary; a difference from the model fails."""
    printed, said = process.communicate(timeout=timeout_seconds)
    assert process.returncode == 0, printed + said
    summary: dict[str, Any] = json.loads(printed)
    assert summary["mismatches"] == 0
    return summary
