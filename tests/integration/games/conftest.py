"""A cell with a games plugin enabled for Aurora, and its aggregator on a real port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, make_origin
from tests.factories.players import open_cell as open_database
from tests.factories.ports import free_port
from tests.factories.web import (
    CONTENT,
    ROOT,
    WebUnderTest,
    apply_policies,
    cell_settings,
    register,
    store_directory,
    with_packs,
)

from pitboss.bootstrap import open_cell_web
from pitboss.cli.demo_secrets import make_demo_secrets
from pitboss.cli.simulate.aggregator import Aggregators
from pitboss.cli.simulate.calls import Answer, Call, Holder
from pitboss.cli.simulate.vendors import Vendor, make_vendor
from pitboss.kernel.scope import Actor, ActorKind
from pitboss.ledger import service as ledger
from pitboss.platform.secrets import SecretStore
from pitboss.platform.telemetry import Metrics
from pitboss.plughost import service as plughost
from pitboss.plughost.runtime import Drivers, PluginHost, load_host, read_cell_file
from pitboss.worker.games_jobs import SYNC_JOB, game_jobs

CONFIGS: dict[str, dict[str, Any]] = {
    "softswiss": {"casino_id": "aurora", "api_secret": {"secret": "test-secret"}},
    "hub88": {
        "flavour": "hub88",
        "operator_id": "7",
        "lobby_url": "https://aurora.example",
        "private_key": {"secret": "operator-private-key"},
        "aggregator_public_key": {"secret": "aggregator-public-key"},
    },
}
SECRETS = make_demo_secrets(["test-secret", "operator-private-key", "aggregator-public-key"])
DEPLOYMENT = Actor(ActorKind.DEPLOYMENT, "tester")


@dataclass
class Player:
    """Somebody signed in, with money."""

    player_id: str
    headers: dict[str, str]
    deposits: int = field(default=0)


@dataclass
class GamesUnderTest:
    """The web, the aggregator that it talks to, and what both need."""

    web: WebUnderTest
    client: httpx.AsyncClient
    vendor: Vendor
    aggregators: Aggregators
    server: Any
    database: PlaneDatabase
    drivers: Drivers

    async def sync(self) -> None:
        """Take over the aggregator's list as the worker does."""
        (job,) = game_jobs(self.drivers)
        assert job.name == SYNC_JOB
        async with open_database(self.database, self.database.worker_url) as cell, cell.transaction(AURORA) as session:
            await job.handler(session, AURORA, {"plugin": self.vendor.plugin})

    async def operate(self, method: str, path: str, **content: Any) -> httpx.Response:
        return await self.client.request(method, f"/api/v1/operator{path}", headers=self.web.operator, **content)

    async def enter(self, deposit_minor: int = 100_00) -> Player:
        """Register, sign in and deposit."""
        player = Player(*await register(self.client))
        if deposit_minor:
            assert (await self.deposit(player, deposit_minor)).status_code == 201
        return player

    async def deposit(self, player: Player, amount_minor: int) -> httpx.Response:
        player.deposits += 1
        body = {
            "amount_minor": amount_minor,
            "currency": "EUR",
            "reference": f"{player.player_id}-{player.deposits}",
            "reason": "goodwill",
        }
        return await self.operate("POST", f"/players/{player.player_id}/credits", json=body)

    async def launch(self, player: Player, game: str = "paper-kites") -> httpx.Response:
        return await self.client.post(f"/api/v1/games/{game}/sessions", json={}, headers=player.headers)

    async def hold(self, player: Player, game: str = "paper-kites") -> Holder:
        """Launch a game and return what the aggregator learnt by it."""
        answer = await self.launch(player, game)
        assert answer.status_code == 201, answer.text
        launch = self.aggregators.take_launch(answer.json()["url"])
        assert launch is not None
        return Holder(launch.account, launch.currency, 2, launch.game, launch.session)

    async def call(self, call: Call, holder: Holder) -> Answer:
        operation, body = self.vendor.write(call, holder)
        answer = await self.client.post(
            f"/wallet/aurora/{self.vendor.plugin}/{operation}",
            content=body,
            headers={self.vendor.signature_header: self.vendor.sign(body)},
        )
        read = self.vendor.read(answer.status_code, answer.content, holder.decimals)
        assert read is not None, answer.text
        return read


async def enable(database: PlaneDatabase, host: PluginHost, plugin: str, port: int) -> None:
    """Enable the plugin for Aurora as `pitboss tenant apply` does."""
    async with open_database(database) as cell, cell.transaction(AURORA) as session:
        await plughost.enable_plugin(
            session,
            AURORA,
            host.get_plugin(plugin),
            {**CONFIGS[plugin], "gateway_url": f"http://127.0.0.1:{port}"},
            locality="eu",
            actor=DEPLOYMENT,
            origin=make_origin(),
        )
        await ledger.open_house_accounts(session, AURORA, ("EUR", "BTC"), (plugin,))
        await ledger.ensure_source(session, AURORA, f"games.{plugin}")


@asynccontextmanager
async def open_games(
    plugin: str, database: PlaneDatabase, redis_url: str, folder: Path, *packs: str, also: str = ""
) -> AsyncIterator[GamesUnderTest]:
    """Open a cell for one plugin of Aurora, which has these licences; `also` is more of the cell's file."""
    secrets_file = folder / "secrets.toml"
    secrets_file.touch(mode=0o600)
    secrets_file.write_text("".join(f'{name} = "{value}"\n' for name, value in SECRETS.items()))
    cell_file = folder / "eu-1.toml"
    cell_file.write_text((ROOT / "deploy/cells/eu-1.toml").read_text() + also)
    settings = cell_settings(database, redis_url)
    settings = msgspec.structs.replace(settings, secrets_file=secrets_file, cell_file=cell_file)
    host = load_host(read_cell_file(cell_file))
    port = free_port()
    await enable(database, host, plugin, port)
    content = with_packs(*packs) if packs else CONTENT
    await store_directory(settings, content)
    await apply_policies(settings, content=content)
    vendor = make_vendor(plugin, CONFIGS[plugin], SECRETS)
    assert vendor is not None
    aggregators = Aggregators([vendor], "127.0.0.1", port)
    server = await aggregators.start()
    metrics = Metrics()
    drivers = Drivers(host.plugins, SecretStore(secrets_file))
    async with open_cell_web(settings, metrics) as front:
        web = WebUnderTest(front, settings, metrics)
        async with web.client() as client:
            opened = GamesUnderTest(web, client, vendor, aggregators, server, database, drivers)
            await opened.sync()
            yield opened
    await drivers.close()
    server.close()
    await server.wait_closed()


@pytest.fixture
async def games(cell_database: PlaneDatabase, redis_url: str, tmp_path: Path) -> AsyncIterator[GamesUnderTest]:
    async with open_games("softswiss", cell_database, redis_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def hub88(cell_database: PlaneDatabase, redis_url: str, tmp_path: Path) -> AsyncIterator[GamesUnderTest]:
    async with open_games("hub88", cell_database, redis_url, tmp_path) as opened:
        yield opened
