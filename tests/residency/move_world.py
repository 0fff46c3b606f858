"""Two cells of one locality as real processes, tenants in the first, players whose traffic follows a tenant that moves."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import asyncpg
import httpx
import msgspec
from tests.crash.cell import Cell, Seat
from tests.crash.traffic import Answer, Line, Traffic, Wire
from tests.factories.databases import DatabaseServer, PlaneDatabase
from tests.factories.ports import free_port
from tests.factories.tenants import ROOT, environment_of, open_deployment, run_apply, twin

from pitboss.audit.runtime import describe_keys, origin_of, read_key_file
from pitboss.cli.supervisor import is_ready
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.platform.embedded import PostgresServer, RedisServer, write_private
from pitboss.platform.processes import spawn, tail, wait_until
from pitboss.platform.settings import Settings, require

TENANT, NEIGHBOUR = "aurora", "boreal"
SOURCE, TARGET = "eu-1", "eu-2"
_REALMS = count(1)
"""Worlds that are open at the same time share a server, so each has logins of its own."""


class MoveWorld(Cell):
    """The cell that a tenant leaves, and beside it the one that it goes to, on the servers of the test."""

    def __init__(self, folder: Path, postgres: PostgresServer, redis: RedisServer) -> None:
        super().__init__(folder)
        self.postgres, self.redis = postgres, redis
        self.places = {SOURCE: (free_port(), free_port()), TARGET: (free_port(), free_port())}
        self.ports = {"web": self.places[SOURCE][0]}
        self.wallet_port = self.places[SOURCE][1]
        self.databases: dict[str, PlaneDatabase] = {}
        self.control: PlaneDatabase
        self.cells: dict[str, Settings] = {}

    @contextmanager
    def open(self, players: int) -> Iterator[list[Seat]]:
        """Make databases, tenants and players; processes are started by `launch_cell`."""
        with ExitStack() as stack:
            server = DatabaseServer(self.postgres, realm=f"move{next(_REALMS)}")
            for name in (SOURCE, TARGET):
                self.databases[name] = stack.enter_context(server.clone("cell"))
            self.control = stack.enter_context(server.clone("control"))
            self.database = self.databases[SOURCE]
            self._configure(self.control)
            self._place()
            asyncio.run(self._apply_all())
            stack.callback(self._stop)
            yield asyncio.run(self._furnish(players))

    def _place(self) -> None:
        cells = self.folder / "cells"
        cells.mkdir()
        shipped = (ROOT / "deploy/cells/eu-1.toml").read_text()
        twin(self.settings.tenants_dir, NEIGHBOUR, "01a1fbe4-4666-757a-bf99-969a96f72ab9")
        for name, (port, _) in self.places.items():
            moved = shipped.replace('"eu-1"', f'"{name}"')
            (cells / f"{name}.toml").write_text(
                re.sub(r'address = ".*"', f'address = "http://127.0.0.1:{port}"', moved)
            )
            keys = self.folder / f"audit-keys-{name}.toml"
            write_private(keys, f'current = "{secrets.token_hex(32)}"\n')
            database = self.databases[name]
            self.cells[name] = msgspec.structs.replace(
                self.settings,
                cell=name,
                cell_file=cells / f"{name}.toml",
                cell_database_url=database.app_url,
                cell_worker_database_url=database.worker_url,
                cell_relay_database_url=database.relay_url,
                cell_sequencer_database_url=database.sequencer_url,
                cell_migrate_url=database.migrate_url,
                admin_database_url=self.postgres.admin_url(),
                audit_keys_file=keys,
                objects_dir=self.folder / "objects",
                lanes=1,
            )
            self._write_settings(name)
        self.settings = self.cells[SOURCE]

    def _write_settings(self, name: str) -> None:
        hidden = {
            "control_database_url",
            "control_migrate_url",
            "control_sequencer_database_url",
            "directory_signing_key",
        }
        cell = msgspec.structs.replace(
            self.cells[name], **{field: None for field in hidden if hasattr(self.cells[name], field)}
        )
        values = {key: value for key, value in environment_of(cell).items() if key.startswith("PITBOSS_")}
        lines = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in sorted(values.items()))
        write_private(self.settings_file(name), lines)

    def settings_file(self, name: str) -> Path:
        return self.folder / f"{name}.env"

    @property
    def kit(self) -> Path:
        return self.folder / "kit"

    async def _apply_all(self) -> None:
        deployment = open_deployment(self.settings)
        try:
            for slug in (TENANT, NEIGHBOUR):
                assert await run_apply(deployment, slug) > 0
        finally:
            await deployment.close()

    def launch_cell(self, name: str) -> None:
        """Start the web of a cell; it is ready when it has a directory."""
        web, wallet = self.places[name]
        environ = environment_of(msgspec.structs.replace(self.cells[name], port=web, wallet_port=wallet, plane="cell"))
        command = [sys.executable, "-m", "pitboss.bootstrap", "web", "cell"]
        self.children[name] = spawn(command, log=self.log(name), env=environ)

    def wait_for_cell(self, name: str) -> None:
        assert wait_until(lambda: is_ready("127.0.0.1", self.places[name][0]), 60), tail(self.log(name), 40)

    def move(self, *words: str, to: str = TARGET) -> subprocess.Popen[str]:
        """Begin, or go on with, a move by the command."""
        files = ("--from", str(self.settings_file(SOURCE)), "--to", str(self.settings_file(to)))
        return self._tenant("move", TENANT, *files, "--kit", str(self.kit), *words)

    def _tenant(self, *words: str) -> subprocess.Popen[str]:
        control = {
            "control_database_url": self.control.app_url,
            "directory_signing_key": self.settings.directory_signing_key,
            "directory_public_keys": self.settings.directory_public_keys,
            "cell_file": self.cells[SOURCE].cell_file,
            "tenants_dir": self.settings.tenants_dir,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "pitboss.bootstrap", "tenant", *words],
            cwd=ROOT,
            env=environment_of(Settings(**control)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def credit(self, seat: Seat, amount: str) -> None:
        """Deposit by hand, so that the books hold something."""
        words = ("--tenant", TENANT, "--player", seat.holder.account, "--amount", amount, "--reference", "seed")
        command = [sys.executable, "-m", "pitboss.bootstrap", "player", "credit", *words, "--reason", "test"]
        subprocess.run(command, cwd=ROOT, env=environment_of(self.cells[SOURCE]), check=True, capture_output=True)

    def pack(self, into: Path, keys: Path) -> subprocess.CompletedProcess[str]:
        """Write the kit of the tenant as it stands, and the opened keys beside it."""
        process = self._tenant(
            "kit", TENANT, "--from", str(self.settings_file(SOURCE)), "--into", str(into), "--keys", str(keys)
        )
        printed, said = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, printed, said)

    def write_public_keys(self) -> Path:
        """Write the public keys of both cells' logs, as auditors are given them."""
        file = self.folder / "public-keys.txt"
        lines: list[str] = []
        for name in (SOURCE, TARGET):
            known = read_key_file(require(self.cells[name], "audit_keys_file"))
            raw = [key.public_key().public_bytes_raw() for key in known]
            lines += describe_keys(origin_of(name, TENANT), raw)
        file.write_text("\n".join(lines))
        return file

    def finish(self, process: subprocess.Popen[str]) -> str:
        printed, said = process.communicate(timeout=120)
        assert process.returncode == 0, printed + said
        return printed + said

    def kill_after(self, process: subprocess.Popen[str], line: str) -> bool:
        """Kill a move with SIGKILL as soon as it has said something; False when it ended before."""
        assert process.stderr is not None
        for said in process.stderr:
            if line in said:
                os.kill(process.pid, signal.SIGKILL)
                process.communicate()
                return True
        process.communicate()
        return False

    def get(self, name: str, path: str, slug: str = TENANT, **headers: str) -> httpx.Response:
        address = f"http://127.0.0.1:{self.places[name][0]}{path}"
        return httpx.get(address, headers={"host": f"{slug}.localhost", **headers}, timeout=10)

    @contextmanager
    def opened(self, name: str) -> Iterator[Database]:
        """Yield a cell's database as its web uses it."""
        database = self.databases[name]
        yield Database(create_engine(database.app_url, pool_size=1), name, ContextSigner(database.context_keys))

    async def count_rows(self, name: str, slug_number: int = 1) -> dict[str, int]:
        """Return how many rows of a tenant each table has, as an administrator sees it."""
        connection = await asyncpg.connect(self.databases[name].admin_url)
        try:
            tables = await connection.fetch(
                "select table_name from information_schema.columns where column_name = 'tenant_id' and table_schema = 'public'"
            )
            counts: dict[str, int] = {}
            for (table,) in tables:
                found = await connection.fetchval(f"select count(*) from {table} where tenant_id = $1", slug_number)
                if found:
                    counts[table] = found
            return counts
        finally:
            await connection.close()


class Following(Traffic):
    """Players that go where they are sent: 421 names another cell, and the same call goes there."""

    def __init__(self, world: MoveWorld, seats: list[Seat], seed: int) -> None:
        super().__init__(world, seats, seed)
        self._places = list(world.places.values())
        self._turned: dict[int, int] = {}
        self.sent_away = 0
        self.arrived = threading.Event()

    async def _surely(self, connection: Line, call: Wire) -> Answer:
        while True:
            answer = await super()._surely(connection, call)
            place = self._turned.get(id(connection), 0)
            if answer.status != 421:
                if place:
                    self.arrived.set()
                return answer
            self.sent_away += 1
            self._turned[id(connection)] = 1 - place
            connection.turn_to(*self._places[1 - place])
            await asyncio.sleep(0.1)


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
