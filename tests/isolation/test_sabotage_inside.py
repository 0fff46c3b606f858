"""The probes of the inside are probed: what keeps tenants apart there is taken away once, and they must see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from litestar import Request
from litestar.di import Provide
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, JADE
from tests.isolation.attacks import read_attacks, write_attacks
from tests.isolation.conftest import Figures
from tests.isolation.http_probes import HttpProber
from tests.isolation.job_probes import open_jobs
from tests.isolation.operation_probes import probe_strays
from tests.isolation.probes import Arena, Report
from tests.isolation.store_probes import probe_logs, probe_redis_content, probe_redis_keys
from tests.isolation.webhook_probes import probe_webhooks
from tests.isolation.world import World, open_world

from pitboss.directory.runtime import Directory
from pitboss.platform import redis as platform_redis
from pitboss.platform import telemetry
from pitboss.platform.db import Database
from pitboss.platform.outbox import LeasedJob
from pitboss.platform.redis import CellRedis, RedisKey
from pitboss.plughost.runtime import Receivers
from pitboss.web import security
from pitboss.worker import runner
from pitboss.worker.jobs import Job, JobRegistry

Probe = Callable[[World, Report, Path], Awaitable[None]]
Break = Callable[[World, pytest.MonkeyPatch], None]


def open_every_tenant(patch: pytest.MonkeyPatch) -> None:
    """Sign transactions for both tenants, so that only the part that is probed is left."""
    real = Database.tenants_transaction
    both = [AURORA.tenant_id, JADE.tenant_id]
    patch.setattr(Database, "tenants_transaction", lambda self, _tenants: real(self, both))


def take_any_job(world: World, patch: pytest.MonkeyPatch) -> None:
    """A worker that finds a job by its number alone."""
    real = runner.take

    async def take(session: Any, scope: Any, job_id: int) -> LeasedJob | None:
        return await real(session, scope, job_id) or await real(session, world.b.scope, job_id)

    open_every_tenant(patch)
    patch.setattr(runner, "take", take)


def believe_the_payload(world: World, patch: pytest.MonkeyPatch) -> None:
    """Jobs that act for the tenant that their payload names."""
    real = JobRegistry.get

    def get(self: JobRegistry, name: str) -> Job:
        job = real(self, name)

        async def handle(session: Any, scope: Any, payload: Any) -> object:
            named = {world.b.scope.slug, world.b.scope.tenant_id} & {payload.get("tenant"), payload.get("tenant_id")}
            return await job.handler(session, world.b.scope if named else scope, payload)

        return msgspec.structs.replace(job, handler=handle)

    open_every_tenant(patch)
    patch.setattr(JobRegistry, "get", get)


def remember_receivers_without_tenant(_world: World, patch: pytest.MonkeyPatch) -> None:
    real = Receivers.find_fresh
    patch.setattr(Receivers, "find_fresh", lambda self, _scope, slug: real(self, AURORA, slug))


def find_domains_by_a_part(_world: World, patch: pytest.MonkeyPatch) -> None:
    """A directory that takes a host name for a tenant's when one is a part of it."""
    real = Directory.find_tenant_by_domain

    def find(self: Directory, domain: str) -> Any:
        return real(self, domain) or (real(self, "jade.localhost") if "jade.localhost" in domain else None)

    patch.setattr(Directory, "find_tenant_by_domain", find)


def take_the_tenant_from_the_query(_world: World, patch: pytest.MonkeyPatch) -> None:
    real = security.host_name
    patch.setattr(security, "host_name", lambda connection: connection.query_params.get("host") or real(connection))


async def probe_payloads(world: World, report: Report, folder: Path) -> None:
    async with open_jobs(world, folder, report) as jobs:
        await jobs.probe_payloads()


async def probe_messages(world: World, report: Report, folder: Path) -> None:
    async with open_jobs(world, folder, report) as jobs:
        await jobs.probe_messages()


async def probe_notices(world: World, report: Report, _folder: Path) -> None:
    await probe_webhooks(HttpProber(world, report))


async def probe_hosts(world: World, report: Report, _folder: Path) -> None:
    await HttpProber(world, report).probe_hosts(("/api/v1/operator/rounds",))


async def probe_queries(world: World, report: Report, _folder: Path) -> None:
    await probe_strays(HttpProber(world, report))


SABOTAGES: tuple[tuple[str, Break, Probe, tuple[str, ...]], ...] = (
    ("a job is found by its number alone", take_any_job, probe_messages, ("message (1,", "of B")),
    ("a job believes its payload", believe_the_payload, probe_payloads, ("with stray tenant",)),
    (
        "receivers are remembered without tenant",
        remember_receivers_without_tenant,
        probe_notices,
        ("signed by A", "answered 202"),
    ),
    ("domains are found by a part", find_domains_by_a_part, probe_hosts, ("'host'", "the answer holds")),
    (
        "the tenant is taken from the query",
        take_the_tenant_from_the_query,
        probe_queries,
        ("query of strays", "the answer holds"),
    ),
)


async def test_a_missing_guard_inside_is_seen(
    cell_database: PlaneDatabase, redis_url: str, tmp_path: Path, figures: Figures
) -> None:
    """One world for all of them: what an earlier one broke in the data hides no finding of a later one."""
    unseen: dict[str, list[str]] = {}
    async with open_world(cell_database, redis_url, tmp_path) as world:
        for name, sabotage, probe, words in SABOTAGES:
            figures.sabotages[name] = False
            report = Report()
            with pytest.MonkeyPatch.context() as patch:
                sabotage(world, patch)
                await probe(world, report, tmp_path)
            figures.sabotages[name] = bool(report.leaks_of(*words))
            if not figures.sabotages[name]:
                unseen[name] = report.leaks[:5]
        for name, key in RAW_KEYS.items():
            report = Report()
            with redis.Redis.from_url(redis_url) as client:
                client.set(key, world.b.ids["email"])
                probe_redis_content(world, redis_url, report)
                client.delete(key)
            figures.sabotages[name] = bool(report.leaks_of(key))
            if not figures.sabotages[name]:
                unseen[name] = report.leaks[:5]
    assert unseen == {}


RAW_KEYS = {
    "a raw Redis key": "session:1",
    "a cell's cache with a tenant's data": "eu-1:-:accounts:cache",
    "a tenant's cache with another's data": "eu-1:aurora:accounts:cache",
}


async def test_a_handler_that_takes_the_tenant_from_the_body_is_seen(
    cell_database: PlaneDatabase, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    name = "the tenant is taken from the body"
    figures.sabotages[name] = False
    report = Report()

    async def provide(request: Request[Any, Any, Any]) -> Any:
        body = await request.json() if await request.body() else None
        slug = body.get("tenant") if isinstance(body, dict) else None
        return JADE if slug == JADE.slug else request.scope["state"]["tenant"]

    monkeypatch.setitem(security.API_DEPENDENCIES, "tenant", Provide(provide))
    async with open_world(cell_database, redis_url, tmp_path) as world:
        await probe_strays(HttpProber(world, report))
    figures.sabotages[name] = bool(report.leaks_of("body that nobody asks for", "the answer holds"))
    assert figures.sabotages[name], report.leaks[:5]


def forget_the_tenant(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CellRedis, "key", lambda self, _scope, room, *parts: self.cell_key(room, *parts))


def join_anything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CellRedis, "_join", lambda self, *parts: RedisKey(":".join((self.cell, *parts))))


def take_any_cell(patch: pytest.MonkeyPatch) -> None:
    class Never(Exception): ...

    real = CellRedis.key

    def key(self: CellRedis, scope: Any, room: str, *parts: str) -> RedisKey:
        return real(self, msgspec.structs.replace(scope, cell=self.cell), room, *parts)

    patch.setattr(CellRedis, "key", key)
    patch.setattr(platform_redis, "ForeignCell", Never)


@pytest.mark.parametrize(
    ("name", "sabotage", "words"),
    [
        ("a Redis key without tenant", forget_the_tenant, "made"),
        ("a Redis key whose parts may hold the separator", join_anything, "made"),
        ("a Redis key of another cell's tenant", take_any_cell, "another cell"),
    ],
)
def test_a_careless_builder_of_keys_is_seen(
    name: str,
    sabotage: Callable[[pytest.MonkeyPatch], None],
    words: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
) -> None:
    figures.sabotages[name] = False
    sabotage(monkeypatch)
    report = Report()
    probe_redis_keys(AURORA, JADE, redis_url, report)
    figures.sabotages[name] = bool(report.leaks_of(words))
    assert figures.sabotages[name], report.leaks[:5]


def test_a_log_that_lets_everything_through_is_seen(monkeypatch: pytest.MonkeyPatch, figures: Figures) -> None:
    name = "logs let every field through"
    lines = [{"event": "player.registered", "log_level": "info", "email": "canary.jade@example.com"}]
    guarded, open_report = Report(), Report()
    probe_logs(["canary.jade@example.com"], lines, guarded)
    monkeypatch.setattr(telemetry, "keep_allowed", lambda fields: (dict(fields), 0))
    probe_logs(["canary.jade@example.com"], lines, open_report)
    assert guarded.leaks == []
    figures.sabotages[name] = bool(open_report.leaks_of("player.registered", "holds"))
    assert figures.sabotages[name]


async def test_no_relation_gets_off_lightly(arena: Arena) -> None:
    """A dozen attacks as every login on every relation of tenants, whatever is added later."""
    attacks = {each.name: len([*read_attacks(each), *write_attacks(each)]) for each in arena.relations}
    assert [each.name for each in arena.relations if each.has_tenant and attacks[each.name] < 12] == []
