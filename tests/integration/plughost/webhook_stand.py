"""A cell whose tenants take notices, the sender of them, and a worker that is run by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import msgspec
from sqlalchemy import text
from tests.factories.databases import PlaneDatabase
from tests.factories.players import make_origin
from tests.factories.players import open_cell as open_database
from tests.factories.web import ROOT, WebUnderTest, apply_policies, cell_settings, store_directory

from pitboss.bootstrap import open_cell_web
from pitboss.cli.demo_secrets import make_demo_secrets
from pitboss.directory.contracts import PublicKey
from pitboss.directory.runtime import Directory
from pitboss.games import service as games
from pitboss.kernel.clock import epoch_seconds
from pitboss.kernel.scope import Actor, ActorKind, TenantScope
from pitboss.ledger import service as ledger
from pitboss.platform.db import Database
from pitboss.platform.secrets import SecretStore
from pitboss.platform.telemetry import Metrics
from pitboss.plughost import service as plughost
from pitboss.plughost.contracts import WEBHOOK_JOB
from pitboss.plughost.runtime import Receivers, load_host, read_cell_file
from pitboss.worker.jobs import JobRegistry
from pitboss.worker.runner import JobRunner
from pitboss.worker.webhook_jobs import webhook_jobs
from pitboss_sdk.games import GameInfo
from pitboss_sdk.testing import Notice, NoticeSender

AURORA = TenantScope(1, "aurora", "eu-1")
JADE = TenantScope(2, "jade", "eu-1")
PLUGIN = "softswiss"
GAMES = ("nine-lanterns", "paper-kites", "copper-dice")
DEPLOYMENT = Actor(ActorKind.DEPLOYMENT, "tester")
SECRETS = make_demo_secrets(
    ["aurora-api", "jade-api", "aurora-notice-secret", "jade-notice-secret", "older-notice-secret"]
)


def config_of(scope: TenantScope) -> dict[str, Any]:
    return {
        "casino_id": scope.slug,
        "gateway_url": "http://127.0.0.1:9",
        "api_secret": {"secret": f"{scope.slug}-api"},
        "notice_secret": {"secret": f"{scope.slug}-notice-secret"},
    }


@dataclass
class WebhookStand:
    """The web, the worker's login, and what both tell."""

    web: WebUnderTest
    client: httpx.AsyncClient
    app: Database
    worker: Database
    runner: JobRunner
    metrics: Metrics
    secrets_file: Path
    ids: Any = field(default_factory=lambda: count(1))

    async def post(
        self,
        event: str = "games.game_suspended",
        *,
        scope: TenantScope = AURORA,
        path: str | None = None,
        event_id: str = "",
        ago_seconds: int = 0,
        game: str = GAMES[0],
        sequence: int = 1,
        secret: str = "",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        operator: str = "",
        stranger: bool = False,
    ) -> httpx.Response:
        """Post one notice, well signed unless something else is said."""
        sender = NoticeSender(operator or scope.slug, SECRETS[secret or f"{scope.slug}-notice-secret"])
        sent_at_us = (epoch_seconds() - ago_seconds) * 1_000_000
        notice = Notice(event, event_id or f"event-{next(self.ids)}", sent_at_us, game, sequence)
        written = sender.write(notice) if body is None else body
        assert written is not None
        signed = {**sender.sign(notice, written, stranger=stranger), **(headers or {})}
        return await self.client.post(path or f"/webhooks/{scope.slug}/{PLUGIN}", content=written, headers=signed)

    async def work(self, *, rounds: int = 1) -> list[str]:
        """Run every open job of webhooks, as if each were due; return what became of them."""
        outcomes: list[str] = []
        for _ in range(rounds):
            for scope in (AURORA, JADE):
                query = "select job_id from outbox_job where done_at is null and job = :job order by job_id"
                for (job_id,) in await self.rows(query, scope, job=WEBHOOK_JOB):
                    outcomes.append(await self.runner.run(scope.tenant_id, job_id))
        return outcomes

    async def rows(self, query: str, scope: TenantScope = AURORA, **values: Any) -> list[tuple[Any, ...]]:
        async with self.worker.transaction(scope) as session:
            return [tuple(row) for row in await session.execute(text(query), values)]

    async def events(self, scope: TenantScope = AURORA) -> list[tuple[str, int, str]]:
        found = await self.rows("select event_id, state, reason from webhook order by received_at, event_id", scope)
        return [(row[0], row[1], row[2]) for row in found]

    async def is_in_play(self, code: str = GAMES[0], scope: TenantScope = AURORA) -> bool:
        ((enabled,),) = await self.rows("select enabled from game where code = :code", scope, code=code)
        return enabled

    def count(self, outcome: str, scope: TenantScope = AURORA) -> float:
        labels = {"tenant": scope.slug, "plugin": PLUGIN, "outcome": outcome}
        return self.web.metrics.registry.get_sample_value("pitboss_webhooks_total", labels) or 0

    def write_secrets(self, values: dict[str, str]) -> None:
        self.secrets_file.write_text("".join(f'{name} = "{value}"\n' for name, value in values.items()))

    async def enable(self, scope: TenantScope, table: dict[str, Any]) -> None:
        plugin = load_host(read_cell_file(ROOT / "deploy/cells/eu-1.toml")).get_plugin(PLUGIN)
        async with self.app.transaction(scope) as session:
            await plughost.enable_plugin(
                session, scope, plugin, table, locality="eu", actor=DEPLOYMENT, origin=make_origin()
            )


async def furnish(app: Database, scopes: Iterable[TenantScope], codes: Iterable[str]) -> None:
    """Give tenants a catalogue."""
    listed = tuple(GameInfo(code, code.title()) for code in codes)
    for scope in scopes:
        async with app.transaction(scope) as session:
            await ledger.open_house_accounts(session, scope, ("EUR",), (PLUGIN,))
            await games.sync_catalogue(session, scope, PLUGIN, listed, DEPLOYMENT, make_origin())


@asynccontextmanager
async def open_stand(database: PlaneDatabase, redis_url: str, folder: Path) -> AsyncIterator[WebhookStand]:
    """Open a cell in which Aurora and Jade take notices."""
    secrets_file = folder / "secrets.toml"
    secrets_file.touch(mode=0o600)
    settings = msgspec.structs.replace(cell_settings(database, redis_url), secrets_file=secrets_file)
    host = load_host(read_cell_file(ROOT / "deploy/cells/eu-1.toml"))
    await store_directory(settings)
    await apply_policies(settings)
    web_metrics, metrics = Metrics(), Metrics()
    async with open_database(database) as app, open_database(database, database.worker_url) as worker:
        keys = [PublicKey(found.key_id, found.raw) for found in settings.directory_public_keys]
        directory = Directory("eu-1", keys)
        await directory.refresh(worker)
        jobs = webhook_jobs(Receivers(host.plugins, SecretStore(secrets_file)), metrics, directory.scopes)
        runner = JobRunner(worker, directory, JobRegistry(jobs), metrics)
        async with open_cell_web(settings, web_metrics) as front:
            web = WebUnderTest(front, settings, web_metrics)
            async with web.client() as client:
                stand = WebhookStand(web, client, app, worker, runner, metrics, secrets_file)
                stand.write_secrets(SECRETS)
                await furnish(app, (AURORA, JADE), GAMES)
                for scope in (AURORA, JADE):
                    await stand.enable(scope, config_of(scope))
                yield stand
