"""Tenant B from the inside of the cell: through jobs, webhooks, Redis, logs, and what no operation asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.factories.databases import PlaneDatabase
from tests.isolation.conftest import Figures
from tests.isolation.http_probes import HttpProber
from tests.isolation.job_probes import UnknownPayload, demand_known, open_jobs
from tests.isolation.operation_probes import probe_strays
from tests.isolation.store_probes import probe_logs, probe_redis_content, probe_redis_keys
from tests.isolation.webhook_probes import probe_webhooks
from tests.isolation.world import open_world

from pitboss.worker.jobs import Job, JobRegistry


async def test_nothing_inside_the_cell_crosses(
    cell_database: PlaneDatabase, redis_url: str, tmp_path: Path, figures: Figures
) -> None:
    inside, api = figures.new_report("inside"), figures.new_report("http")
    with capture_logs() as lines:
        async with open_world(cell_database, redis_url, tmp_path) as world:
            prober = HttpProber(world, inside)
            before = await world.fingerprint_b()
            await probe_webhooks(prober)
            await probe_strays(HttpProber(world, api))
            for table, rows in (await world.fingerprint_b()).items():
                inside.count(f"rows of {table}", "" if rows == before[table] else "were changed from outside")
            async with open_jobs(world, tmp_path, inside) as jobs:
                await jobs.probe_payloads()
                await jobs.probe_messages()
            probe_redis_keys(world.a.scope, world.b.scope, redis_url, inside)
            probe_redis_content(world, redis_url, inside)
            probe_logs([*world.a.marks, *world.b.marks], lines, inside)
    assert inside.leaks + api.leaks == [], "\n".join(inside.leaks + api.leaks)
    assert len(lines) >= 100, "the processes tell of what was refused, so the probes of logs prove something"
    assert inside.probes >= 500


async def test_webhooks_in_the_other_cell_are_not_reached(
    cell_database: PlaneDatabase, neighbour_database: PlaneDatabase, redis_url: str, tmp_path: Path, figures: Figures
) -> None:
    report = figures.new_report("inside")
    async with open_world(cell_database, redis_url, tmp_path, neighbour_database) as world:
        before = await world.fingerprint_b()
        await probe_webhooks(HttpProber(world, report))
        probe_redis_keys(world.a.scope, world.b.scope, redis_url, report)
        probe_redis_content(world, redis_url, report)
        for table, rows in (await world.fingerprint_b()).items():
            report.count(f"rows of {table}", "" if rows == before[table] else "were changed from outside")
    assert report.leaks == [], "\n".join(report.leaks)


def test_a_job_that_nobody_judged_stops_the_suite() -> None:
    async def nothing(*_: object) -> None: ...

    registry = JobRegistry([Job("new.kind", nothing, "platform.outbox.delete")])
    with pytest.raises(UnknownPayload, match=r"new\.kind"):
        demand_known(registry)
