"""A cell with everything that runs in a deployment, behind proxies, on a disk that can be filled."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.crash.cell import Cell, Seat
from tests.crash.traffic import Wire
from tests.factories.audit_logs import write_keys
from tests.factories.databases import PlaneDatabase
from tests.factories.keys import make_ring
from tests.factories.players import make_policy, make_registration
from tests.factories.ports import free_port
from tests.factories.tenants import environment_of
from tests.torture.gates import install
from tests.torture.proxy import Proxy

from pitboss.accounts import service as accounts
from pitboss.accounts.contracts import BrandTerms
from pitboss.games import service as games
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, ActorKind, Origin
from pitboss.ledger import service as ledger
from pitboss.limits import service as limits
from pitboss.limits.contracts import Limit, LimitKind, Period
from pitboss.platform.embedded import PostgresServer
from pitboss.platform.processes import spawn
from pitboss.platform.settings import NamedKey
from pitboss_sdk.games import GameInfo

WORKERS = ("worker", "second")
COMMANDS = {
    "web": ("web", "cell"),
    "control": ("web", "control"),
    "worker": ("worker",),
    "second": ("worker",),
    "relay": ("relay",),
    "sequencer": ("sequencer",),
}
DISK_MB = 900
GAMES = 12
"""Games about which notices come, each with a count of its own."""
TERMS = BrandTerms("aurora", ("en", "es", "pt-BR"), "en", ("EUR",), "mt_mga")
PASSWORD = "correct horse battery"
STAKE_LIMIT_MINOR = 100
ACTOR, ORIGIN = Actor(ActorKind.DEPLOYMENT, "test"), Origin(request_id="test")


class BrokenPromise(AssertionError):
    """Something that was acknowledged is otherwise than it was told, seen while things broke."""


class World(Cell):
    """The processes of a control plane and of a cell; with a sabotage they run with one of their guards removed."""

    def __init__(self, folder: Path, sabotage: str = "") -> None:
        super().__init__(folder)
        # Who was in a deadlock stands in the details, which are not logged otherwise.
        options = {"shared_buffers": "64MB", "log_error_verbosity": "default"}
        self.postgres = PostgresServer(folder / "postgres", port=self.postgres.port, options=options)
        self.ports = {name: free_port() for name in COMMANDS}
        self.sabotage = sabotage
        self.database_proxy = Proxy(free_port(), self.postgres.port)
        # Workers have a way of their own: what they acknowledge can be held without holding the relay.
        self.redis_proxy = Proxy(free_port(), self.redis.port)
        self.worker_redis_proxy = Proxy(free_port(), self.redis.port)
        self.disk = folder / "postgres"
        self.has_disk = False
        self.forgetful: list[tuple[str, str]] = []
        """Players who ask for their password again: their address, and one of this machine that they come from."""
        self.used: list[Wire] = []
        """Calls of control that the cell took lately."""
        self.limited: Seat
        self.excluded: Seat
        self.resident: Seat
        """Who is signed in all the time."""

    @contextmanager
    def open(self, players: int, forgetful: int) -> Iterator[list[Seat]]:
        """Start everything; of the players, three more than asked for are kept for probes."""
        with ExitStack() as stack:
            stack.enter_context(self._mount())
            for proxy in (self.database_proxy, self.redis_proxy, self.worker_redis_proxy):
                proxy.start()
                stack.callback(proxy.stop)
            self._forgetful = forgetful
            *seats, self.limited, self.excluded, self.resident = stack.enter_context(self.run(players + 3))
            yield seats

    @contextmanager
    def _mount(self) -> Iterator[None]:
        """Put the database's files on a small disk of their own, where that may be done."""
        self.disk.mkdir()
        mount = shutil.which("mount")
        if mount is not None and os.geteuid() == 0:
            options = f"size={DISK_MB}m,mode=755"
            done = subprocess.run([mount, "-t", "tmpfs", "-o", options, "torture", str(self.disk)], check=False)
            self.has_disk = done.returncode == 0
        try:
            yield
        finally:
            if self.has_disk:
                subprocess.run(["umount", "--lazy", str(self.disk)], check=True)

    def _configure(self, control: PlaneDatabase) -> None:
        super()._configure(control)
        calls = Ed25519PrivateKey.generate()
        shipped = self.settings.cell_file
        cell_file = self.folder / "cells" / shipped.name
        cell_file.parent.mkdir()
        cell_file.write_text(shipped.read_text().replace(":8081", f":{self.ports['web']}"))
        self.settings = msgspec.structs.replace(
            self.settings,
            cell_file=cell_file,
            call_signing_key=NamedKey("call1", calls.private_bytes_raw()),
            call_public_keys=(NamedKey("call1", calls.public_key().public_bytes_raw()),),
            audit_keys_file=write_keys(self.folder / "audit-keys.toml", secrets.token_bytes(32)),
        )
        asyncio.run(self.administer(*install()))

    async def administer(self, *statements: str) -> None:
        """Run statements in the cell's database as the superuser, past the proxy."""
        admin = await asyncpg.connect(self.database.admin_url)
        try:
            for statement in statements:
                await admin.execute(statement)
        finally:
            await admin.close()

    async def fetch(self, query: str, *values: object) -> list[Any]:
        admin = await asyncpg.connect(self.database.admin_url)
        try:
            return await admin.fetch(query, *values)
        finally:
            await admin.close()

    async def _furnish(self, players: int) -> list[Seat]:
        seats = await super()._furnish(players)
        listed = tuple(GameInfo(f"noticed-{number}", "A game") for number in range(GAMES))
        password_hash = "$argon2id$nobody-signs-in"
        with self._cell_database() as database:
            async with database.transaction(self.scope) as session:
                await games.sync_catalogue(session, self.scope, "softswiss", listed, ACTOR, ORIGIN)
            for number in range(self._forgetful):
                registration = make_registration()
                prepared = accounts.prepare_registration(registration, TERMS, utc_now().date(), minimum_age_years=18)
                async with database.transaction(self.scope) as session:
                    await accounts.register(session, self.scope, make_ring(), prepared, password_hash, ORIGIN)
                self.forgetful.append((registration.email, f"127.0.{number // 200}.{number % 200 + 2}"))
            await database.engine.dispose()
        return seats

    async def restrict(self) -> None:
        """Give one player a limit that any stake breaks and keep another from playing; both have money by now."""
        with self._cell_database() as database:
            async with database.transaction(self.scope) as session:
                player = await accounts.get_player(session, self.scope, UUID(self.limited.holder.account))
                wallet = await ledger.get_wallet(session, self.scope, player.player_id, "EUR")
                limit = Limit(LimitKind.STAKE, Period.MONTH, STAKE_LIMIT_MINOR)
                await limits.set_limit(session, self.scope, wallet, limit, ACTOR, ORIGIN)
            async with database.transaction(self.scope) as session:
                player = await accounts.get_player(session, self.scope, UUID(self.excluded.holder.account))
                await limits.exclude(
                    session, self.scope, player.player_id, policy=make_policy(), actor=ACTOR, origin=ORIGIN
                )
            await database.engine.dispose()

    def launch(self, name: str) -> None:
        """Start one process with what it needs, behind the proxies; call it from the main thread."""
        environ = environment_of(self.settings)
        redis = self.worker_redis_proxy if name in WORKERS else self.redis_proxy
        for key, value in environ.items():
            if key.endswith("_DATABASE_URL"):
                environ[key] = value.replace(f":{self.postgres.port}/", f":{self.database_proxy.port}/")
        environ["PITBOSS_REDIS_URL"] = self.redis.url().replace(f":{self.redis.port}/", f":{redis.port}/")
        environ["PITBOSS_PLANE"] = "control" if name == "control" else "cell"
        is_web = name in {"web", "control"}
        environ["PITBOSS_PORT" if is_web else "PITBOSS_METRICS_PORT"] = str(self.ports[name])
        if name == "web":
            environ["PITBOSS_WALLET_PORT"] = str(self.wallet_port)
        module = ("tests.torture.sabotage", self.sabotage) if self.sabotage else ("pitboss.bootstrap",)
        command = [sys.executable, "-m", *module, *COMMANDS[name]]
        self.children[name] = spawn(command, log=self.log(name), env=environ)

    def kill_processes(self, *names: str) -> None:
        """Kill processes with SIGKILL; they are not started again."""
        for name in names:
            os.kill(self.children[name].pid, signal.SIGKILL)
        for name in names:
            self.children[name].wait()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of our commands with the settings of the cell."""
        argv = [sys.executable, "-m", "pitboss.bootstrap", *words]
        environ = {**environment_of(self.settings), "PITBOSS_REDIS_URL": self.redis.url()}
        return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=600, check=False)
