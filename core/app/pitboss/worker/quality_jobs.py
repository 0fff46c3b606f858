"""The jobs of data quality: measure closed hours, hold them against aggregators' books, tell how they stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.clock import monotonic_seconds, utc_now
from pitboss.kernel.scope import Actor, TenantScope
from pitboss.platform.db import Database
from pitboss.platform.outbox import enqueue
from pitboss.platform.telemetry import Metrics
from pitboss.plughost import service as plughost
from pitboss.plughost.contracts import TransactionCalls
from pitboss.plughost.runtime import Drivers
from pitboss.quality import service as quality
from pitboss.quality.contracts import COMPARE_JOB, HOURS_BACK, MEASURE_JOB, Area, Dimension, State
from pitboss.worker.jobs import Job, job_actor
from pitboss_sdk.errors import PitbossError

_MEASURE_SECONDS: Final = 3600
_COMPARE_SECONDS: Final = 300
_TELL_SECONDS: Final = 60
BUDGET_SECONDS: Final = 60.0
"""After so long another job goes on, so that none outlives the context of its own transaction."""
_TIMEOUT_SECONDS: Final = 240
_HOURS_AT_ONCE: Final = 4
"""Hours that one run asks an aggregator about."""

_log = structlog.get_logger(__name__)


async def measure_hour(database: Database, scope: TenantScope, hour: datetime, actor: Actor) -> None:
    """Read an hour in one moment of its records, and keep what was read; a kill in between changes nothing."""
    now = utc_now()
    async with database.snapshot(scope) as snapshot:
        readings = await quality.read_hour(snapshot, scope, hour, now)
    async with database.transaction(scope) as session:
        await quality.keep_hour(session, scope, hour, readings, now, actor)


async def _compare_plugin(database: Database, scope: TenantScope, plugin: str, calls: TransactionCalls) -> None:
    # Aggregators are asked between transactions: none waits for one.
    actor, now = job_actor(COMPARE_JOB), utc_now()
    async with database.transaction(scope) as session:
        changed = set(await quality.close_mended(session, scope, plugin, actor))
        hours = await quality.list_due_hours(session, scope, plugin, now)
        findings = await quality.list_due_findings(session, scope, plugin, now)
    for hour in hours[:_HOURS_AT_ONCE]:
        asked = await quality.ask_hour(calls, hour)
        async with database.transaction(scope) as session:
            await quality.keep_asked_hour(session, scope, plugin, hour, asked, utc_now(), actor)
        changed.add(hour)
        if asked.problem and asked.is_offered:
            _log.warning("quality.not_compared", tenant=scope.slug, plugin=plugin)
            break
    for finding in findings:
        listed = await quality.ask_round(calls, finding)
        async with database.transaction(scope) as session:
            if await quality.keep_asked_round(session, scope, finding, listed, utc_now(), actor):
                changed.add(finding.hour)
    for hour in sorted(changed):
        await measure_hour(database, scope, hour, actor)


def quality_jobs(
    database: Database,
    drivers: Drivers,
    metrics: Metrics,
    scopes: Callable[[], Sequence[TenantScope]],
    *,
    budget_seconds: float = BUDGET_SECONDS,
) -> tuple[Job, ...]:
    """Return the jobs of data quality; metrics tell of the tenants of `scopes` alone."""
    told: set[str] = set()

    def forget_closed() -> None:
        for slug in told - {scope.slug for scope in scopes()}:
            metrics.quality_findings.remove(slug)
            metrics.quality_measured_at.remove(slug)
            for area in Area:
                for dimension in Dimension:
                    metrics.quality_state.remove(slug, area.name.lower(), dimension.name.lower())
            told.remove(slug)

    async def measure(session: AsyncSession, scope: TenantScope, payload: Mapping[str, Any]) -> None:
        # Newest first, so that what is looked at is fresh; the rest is for another job where there is much.
        began, now, actor = monotonic_seconds(), utc_now(), job_actor(MEASURE_JOB)
        before = datetime.fromisoformat(str(payload["before"])) if "before" in payload else None
        for hour in quality.list_hours(now, HOURS_BACK, before):
            await measure_hour(database, scope, hour, actor)
            if monotonic_seconds() - began > budget_seconds:
                await enqueue(session, scope, MEASURE_JOB, {"before": hour.isoformat()})
                return
        await quality.forget_old(session, scope, now)

    async def compare(session: AsyncSession, scope: TenantScope, _payload: Mapping[str, Any]) -> None:
        for enabled in await plughost.list_enabled(session, scope):
            if enabled.kind != "games":
                continue
            try:
                driver = await drivers.get(session, scope, enabled.slug)
            except PitbossError as error:  # one that cannot be built keeps no other from being compared
                _log.warning("quality.not_compared", tenant=scope.slug, plugin=enabled.slug, error_code=error.code)
                continue
            if driver.lists_transactions:
                await _compare_plugin(database, scope, enabled.slug, driver)

    async def tell(session: AsyncSession, scope: TenantScope, _payload: Mapping[str, Any]) -> None:
        # From the books, not from memory: a worker that was started since has not seen what was measured.
        totals = await quality.find_totals(session, scope)
        if totals is not None:
            metrics.quality_findings.labels(scope.slug).set(totals.open_findings)
            metrics.quality_measured_at.labels(scope.slug).set(totals.measured_at.timestamp())
            for (area, dimension), state in totals.states.items():
                place = (scope.slug, area.name.lower(), dimension.name.lower())
                metrics.quality_state.labels(*place).set(state - State.GREEN)
            told.add(scope.slug)

    metrics.before_render(forget_closed)
    return (
        Job(MEASURE_JOB, measure, "quality.measure.edit", _MEASURE_SECONDS, _TIMEOUT_SECONDS),
        Job(COMPARE_JOB, compare, "quality.book.view", _COMPARE_SECONDS, _TIMEOUT_SECONDS),
        Job("quality.tell_measures", tell, "quality.measure.edit", _TELL_SECONDS),
    )
