"""A whole cell of real processes on servers with full durability, whose parts can be killed one by one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import asyncpg
import msgspec
from tests.factories.databases import DatabaseServer, PlaneDatabase
from tests.factories.keys import make_ring
from tests.factories.players import make_policy, make_registration
from tests.factories.ports import free_port
from tests.factories.tenants import (
    copy_tenants,
    edit_plugin,
    environment_of,
    open_deployment,
    run_apply,
    tenant_settings,
    write_plugin_secrets,
)

from pitboss.accounts import service as accounts
from pitboss.accounts.contracts import BrandTerms
from pitboss.accounts.runtime import Passwords
from pitboss.cli.simulate.aggregator import Aggregators
from pitboss.cli.simulate.calls import Holder
from pitboss.cli.simulate.vendors import Vendor, make_vendor
from pitboss.cli.supervisor import is_ready
from pitboss.games import service as games
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.ledger import service as ledger
from pitboss.limits import service as limits
from pitboss.limits.contracts import Limit, LimitKind, Period
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.platform.embedded import PostgresServer, RedisServer
from pitboss.platform.processes import spawn, tail, wait_until
from pitboss.platform.settings import Settings
from pitboss_sdk.games import GameInfo

TENANT, DOMAIN = "aurora", "aurora.localhost"
PLUGINS = {"softswiss": "copper-dice", "hub88": "h88_lantern_bay"}
"""Both dialects, each with the game that is played in it."""
TERMS = BrandTerms("aurora", ("en", "es", "pt-BR"), "en", ("EUR",), "mt_mga")
READY_SECONDS = 180
LIMITED = frozenset({2, 3})
"""Of five players each, who has limits."""


class Seat(msgspec.Struct, frozen=True):
    """A player as the traffic knows it, and what the aggregator of one dialect knows."""

    vendor: Vendor
    holder: Holder
    wallet_id: int
    email: str
    is_limited: bool
    """Whether limits that are never reached count what the player stakes, loses and deposits."""


class Cell:
    """The servers, the databases and the processes of one cell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Fixed ports: everything else finds the servers again after they were killed.
        self.postgres = PostgresServer(folder / "postgres", port=free_port(), options={"shared_buffers": "64MB"})
        self.redis = RedisServer(folder / "redis", port=free_port())
        self.mail = folder / "mail"
        self.vendors: list[Vendor] = []
        self.gateway_port = free_port()
        self.ports = {name: free_port() for name in ("web", "worker", "relay")}
        self.wallet_port = free_port()
        self.children: dict[str, Popen[bytes]] = {}
        self.settings: Settings = Settings()
        self.database: PlaneDatabase
        self.scope = TenantScope(1, TENANT, "eu-1")

    @contextmanager
    def run(self, players: int) -> Iterator[list[Seat]]:
        """Start everything, with that many players; stop everything at the end."""
        with ExitStack() as stack:
            self.postgres.start()
            stack.callback(self.postgres.remove)
            self.redis.start()
            stack.callback(self.redis.remove)
            server = DatabaseServer(self.postgres)
            self.database = stack.enter_context(server.clone("cell"))
            control = stack.enter_context(server.clone("control"))
            self._configure(control)
            asyncio.run(self._apply())
            seats = asyncio.run(self._furnish(players))
            stack.enter_context(self._list_games())
            stack.callback(self._stop)
            for name in self.ports:
                self.launch(name)
            for name in self.ports:
                self.wait_ready(name)
            yield seats

    @contextmanager
    def _list_games(self) -> Iterator[None]:
        """Answer the worker, which asks the aggregators for their games for as long as it lives."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="aggregators")
        thread.start()
        aggregators = Aggregators(self.vendors, "127.0.0.1", self.gateway_port)
        server = asyncio.run_coroutine_threadsafe(aggregators.start(), loop).result()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(server.close)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _configure(self, control: PlaneDatabase) -> None:
        tenants_dir = copy_tenants(self.folder)
        secrets_file = self.folder / "secrets.toml"
        known = write_plugin_secrets(secrets_file, tenants_dir)
        for plugin in PLUGINS:
            edit_plugin(tenants_dir, TENANT, plugin, "127.0.0.1:8089", f"127.0.0.1:{self.gateway_port}")
            config = tomllib.loads((tenants_dir / TENANT / "plugins" / f"{plugin}.toml").read_text())
            vendor = make_vendor(plugin, config, known)
            assert vendor is not None
            self.vendors.append(vendor)
        self.settings = msgspec.structs.replace(
            tenant_settings(control, self.database, tenants_dir),
            redis_url=self.redis.url(),
            secrets_file=secrets_file,
            mail_spool_dir=self.mail,
            lanes=2,
        )

    async def _apply(self) -> None:
        deployment = open_deployment(self.settings)
        try:
            assert await run_apply(deployment, TENANT) > 0
        finally:
            await deployment.close()

    @contextmanager
    def _cell_database(self) -> Iterator[Database]:
        yield Database(create_engine(self.database.app_url), "eu-1", ContextSigner(self.database.context_keys))

    async def _furnish(self, players: int) -> list[Seat]:
        """Give the tenant games, and players with a wallet and an open session each, of both dialects and both ways."""
        actor, origin = Actor(ActorKind.DEPLOYMENT, "test"), Origin(request_id="test")
        password_hash = await Passwords().hash("correct horse battery")
        seats: list[Seat] = []
        with self._cell_database() as database:
            for plugin, code in PLUGINS.items():
                async with database.transaction(self.scope) as session:
                    await games.sync_catalogue(session, self.scope, plugin, (GameInfo(code, "A game"),), actor, origin)
            for number in range(players):
                # Ways take turns with every player, dialects with every other.
                vendor = self.vendors[(number ^ number >> 1) & 1]
                registration = make_registration()
                prepared = accounts.prepare_registration(registration, TERMS, utc_now().date(), minimum_age_years=18)
                async with database.transaction(self.scope) as session:
                    player = await accounts.register(session, self.scope, make_ring(), prepared, password_hash, origin)
                    wallet_id = await ledger.open_wallet(session, self.scope, player.player_id, "EUR", player.licence)
                    game = await games.get_game(session, self.scope, PLUGINS[vendor.plugin])
                    opened = await games.open_session(
                        session,
                        self.scope,
                        player_id=player.player_id,
                        wallet_id=wallet_id,
                        game=game,
                        policy=make_policy(),
                        actor=actor,
                        origin=origin,
                    )
                    await games.finish_launch(session, self.scope, opened, opened=True)
                    is_limited = number % 5 in LIMITED
                    if is_limited:
                        wallet = await ledger.get_wallet(session, self.scope, player.player_id, "EUR")
                        for kind in LimitKind:
                            limit = Limit(kind, Period.MONTH, 10**12)
                            await limits.set_limit(session, self.scope, wallet, limit, actor, origin)
                account = str(player.public_id)
                token = str(opened) if vendor.plugin == "softswiss" else f"{opened}.{account}.EUR"
                holder = Holder(account, "EUR", 2, game.code, token)
                seats.append(Seat(vendor, holder, wallet_id, registration.email, is_limited))
            await database.engine.dispose()
        return seats

    def launch(self, name: str) -> None:
        """Start one process; call it from the main thread."""
        arguments = {"web": ("web", "cell"), "worker": ("worker",), "relay": ("relay",)}[name]
        port = "PITBOSS_PORT" if name == "web" else "PITBOSS_METRICS_PORT"
        environ = {**environment_of(self.settings), port: str(self.ports[name]), "PITBOSS_PLANE": "cell"}
        if name == "web":
            environ["PITBOSS_WALLET_PORT"] = str(self.wallet_port)
        command = [sys.executable, "-m", "pitboss.bootstrap", *arguments]
        self.children[name] = spawn(command, log=self.log(name), env=environ)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def wait_ready(self, name: str) -> None:
        """Wait until a process says that it is ready."""
        ready = wait_until(lambda: is_ready("127.0.0.1", self.ports[name]), READY_SECONDS)
        assert ready, f"{name} is not ready:\n{tail(self.log(name), 40)}"

    def kill(self, victim: str) -> None:
        """Kill a part with SIGKILL and start it again."""
        if victim == "postgres":
            pid = self.postgres.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            self.postgres.stop()
            self.postgres.start()
        elif victim == "backend":
            asyncio.run(self._kill_backend())
        else:
            child = self.children[victim]
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            self.launch(victim)

    async def _kill_backend(self) -> None:
        """Kill the server process behind a lane, so that PostgreSQL resets itself in the middle of postings."""
        admin = await asyncpg.connect(self.postgres.admin_url())
        try:
            pids: list[Any] = await admin.fetch(
                "select pid from pg_stat_activity where application_name like 'pitboss lane%' and datname = $1 order by pid",
                self.database.name,
            )
            assert pids, "no lane is connected"
            os.kill(pids[0]["pid"], signal.SIGKILL)
        finally:
            admin.terminate()

    def revive(self) -> list[str]:
        """Start again what ended by itself, and return which that was: nothing may."""
        ended = [name for name, child in self.children.items() if child.poll() is not None]
        for name in ended:
            self.launch(name)
        return ended

    def _stop(self) -> None:
        for child in self.children.values():
            child.kill()
            child.wait()
