"""Jobs of tenant A in which something of tenant B's is named, and messages that name a job of B's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from tests.isolation.probes import Report
from tests.isolation.world import PLUGIN, Side, World

from pitboss.accounts.service import RESET_MAIL_JOB
from pitboss.bootstrap import create_jobs, lay_cell_ground
from pitboss.platform.secrets import SecretStore
from pitboss.platform.telemetry import Metrics
from pitboss.plughost.contracts import CATALOGUE_JOB, WEBHOOK_JOB
from pitboss.plughost.runtime import Drivers, Receivers, load_host, read_cell_file
from pitboss.retention.contracts import CARRY_OUT_JOB
from pitboss.subjects.contracts import EXPORT_JOB
from pitboss.wallet.runtime import Lanes
from pitboss.worker.jobs import JobRegistry
from pitboss.worker.runner import JobRunner

NAMES: dict[str, tuple[str, ...]] = {
    RESET_MAIL_JOB: ("player_id", "domain", "causation_id", "mail_id"),
    WEBHOOK_JOB: ("plugin", "event_id"),
    CATALOGUE_JOB: ("plugin",),
    CARRY_OUT_JOB: ("run_id",),
    EXPORT_JOB: ("export_id",),
}
"""What the payload of each job names; the relay leaves periodic jobs without one, any other must be here."""
STRAY = ("tenant", "tenant_id", "scope", "slug", "player_id", "wallet_id", "event_id", "brand")
"""Names that no handler reads where they are not its own."""


class UnknownPayload(AssertionError):
    """There is a job of which the probes do not know what its payload names."""


def demand_known(jobs: JobRegistry) -> None:
    """Raise `UnknownPayload` for a job that is left by hand and is not on the list."""
    unknown = set(jobs.list_names()) - NAMES.keys() - {period.name for period in jobs.list_periods()}
    if unknown:
        raise UnknownPayload(f"what do the payloads of these name? {sorted(unknown)}")


class JobProber:
    """A worker of the cell, run by hand, with the outbox as an administrator fills it."""

    def __init__(self, world: World, runner: JobRunner, jobs: JobRegistry, spool: Path, report: Report) -> None:
        self.world = world
        self._runner = runner
        self._jobs = jobs
        self._spool = spool
        self.report = report

    async def probe_payloads(self) -> None:
        """Run every kind of job of A with B's values in it, beside twins."""
        demand_known(self._jobs)
        sides = [await self._values_of(side) for side in (self.world.a, self.world.b)]
        for job in self._jobs.list_names():
            for name in NAMES.get(job, ()):
                mine = {each: sides[0][each] for each in NAMES[job]}
                await self._compare(job, name, {**mine, name: sides[1][name]}, {**mine, name: MISSING[name]})
            base = {each: sides[0][each] for each in NAMES.get(job, ())}
            for name in STRAY:
                if name not in base:
                    stray = {**base, name: sides[1].get(name, self.world.b.scope.slug)}
                    await self._compare(job, f"stray {name}", stray, {**base, name: "nobody"})

    async def _values_of(self, side: Side) -> dict[str, Any]:
        tenant_id = side.scope.tenant_id
        player_id = await self.world.admin.fetchval("select min(player_id) from player where tenant_id = $1", tenant_id)
        return {
            "player_id": player_id,
            "domain": side.host,
            "causation_id": side.ids["round_id"],
            "mail_id": side.ids["player_id"],
            "plugin": PLUGIN,
            "event_id": side.ids["event_id"],
            "run_id": await self.world.admin.fetchval(PLAN, tenant_id),
            "export_id": await self.world.admin.fetchval(EXPORT, tenant_id, player_id),
            "tenant": side.scope.slug,
            "tenant_id": tenant_id,
        }

    async def _compare(self, job: str, name: str, payload: dict[str, Any], twin: dict[str, Any]) -> None:
        before = await self.world.fingerprint_b()
        endings = [await self._end(job, each) for each in (payload, twin)]
        what = f"job {job} with {name} of B"
        alike = endings[0] == endings[1]
        self.report.count(what, "" if alike else f"{endings[0]} where nothing is there: {endings[1]}")
        after = await self.world.fingerprint_b()
        touched = [table for table in before if before[table] != after[table]]
        self.report.count(f"{what}, rows of B", f"{touched} were changed by the other tenant" if touched else "")

    async def _end(self, job: str, payload: dict[str, Any]) -> tuple[Any, ...]:
        """Leave a job of A, run it, and return how it ended and what it left behind."""
        a = self.world.a.scope.tenant_id
        job_id = await self._leave(a, job, payload)
        for mail in self._spool.glob("*.eml"):
            mail.unlink()
        outcome = await self._runner.run(a, job_id)
        left = await self.world.admin.fetch(
            "select payload::text as text from outbox_job where tenant_id = $1 and job_id > $2", a, job_id
        )
        written = [path.read_text() for path in self._spool.glob("*.eml")]
        typed = json.dumps(payload)
        shown = [mark for mark in self.world.b.marks for text in written if mark in text and mark not in typed]
        self.report.count(f"job {job}, mails", f"a mail holds {shown[0]}" if shown else "")
        await self.world.admin.execute("update outbox_job set done_at = now() where job_id = $1", job_id)
        return outcome, len(left), len(written)

    async def _leave(self, tenant_id: int, job: str, payload: dict[str, Any]) -> int:
        found: int = await self.world.admin.fetchval(
            "insert into outbox_job (tenant_id, job, payload) values ($1, $2, $3) returning job_id",
            tenant_id,
            job,
            json.dumps(payload),
        )
        return found

    async def probe_messages(self) -> None:
        """Send what a message in Redis can hold: a job of B's under another tenant, and tenants that are none."""
        a, b = self.world.a.scope.tenant_id, self.world.b.scope.tenant_id
        for job in self._jobs.list_names():
            payload = await self._values_of(self.world.b)
            job_id = await self._leave(b, job, payload)
            for tenant in (a, NOBODY, 0, -1, 2**63, str(b), f"{b} ", [b], {"tenant_id": b}, None):
                before = await self.world.fingerprint_b()
                outcome = await self._runner.run(tenant, job_id)  # pyright: ignore[reportArgumentType] - as JSON comes
                same = before == await self.world.fingerprint_b()
                wrong = "" if same and outcome in {"skipped", "tenant_unknown"} else f"{outcome}, rows kept: {same}"
                self.report.count(f"message ({tenant!r}, {job} of B)", wrong)
            await self.world.admin.execute("delete from outbox_job where job_id = $1", job_id)


EXPORT = """
with made as (
    insert into subject_case (tenant_id, case_id, player_id, received_at, due_at, kind, state, reference)
    values ($1, gen_random_uuid(), $2, now(), now() + interval '30 d', 1, 3, gen_random_uuid()::text)
    returning tenant_id, case_id)
insert into subject_export (tenant_id, export_id, case_id, expires_at)
select tenant_id, gen_random_uuid(), case_id, now() + interval '7 d' from made returning export_id::text
"""
"""An export that is asked for, of a request that is worked on."""
NOBODY = 999
PLAN = """
insert into retention_run (tenant_id, run_id, proposed_at, approved_at, digest, schedule_version, reason, proposed_by,
    approved_by)
values ($1, gen_random_uuid(), now(), now(), '', '', '', 'deployment:ada', 'deployment:bo') returning run_id::text
"""
"""An approved plan, which whoever carries it out ends."""
MISSING: dict[str, Any] = {
    "player_id": 987_654_321,
    "domain": "nobody.localhost",
    "causation_id": "01900000-0000-7000-8000-000000000009",
    "mail_id": "01900000-0000-7000-8000-000000000008",
    "plugin": "nothing",
    "event_id": "event-of-nobody",
    "run_id": "01900000-0000-7000-8000-000000000007",
    "export_id": "01900000-0000-4000-8000-000000000006",
}


@asynccontextmanager
async def open_jobs(world: World, folder: Path, report: Report) -> AsyncIterator[JobProber]:
    """Open a worker of A's cell, its handlers as a worker process has them."""
    settings = msgspec.structs.replace(
        world.web.settings, mail_spool_dir=folder / "mail", objects_dir=folder / "objects"
    )
    host, secrets = load_host(read_cell_file(settings.cell_file)), SecretStore(settings.secrets_file)
    async with lay_cell_ground(settings, "worker", Metrics()) as ground:
        await ground.directory.refresh(ground.database)
        drivers = Drivers(host.plugins, secrets, ground.metrics)
        jobs = create_jobs(settings, ground, Lanes([]), drivers, Receivers(host.plugins, secrets))
        try:
            runner = JobRunner(ground.database, ground.directory, jobs, ground.metrics)
            yield JobProber(world, runner, jobs, settings.mail_spool_dir, report)
        finally:
            await drivers.close()
