"""The jobs of data subjects' requests: make exports, remove those that are over, tell how clocks stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.clock import utc_now
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Origin, TenantScope
from pitboss.keys.runtime import KeyRing
from pitboss.platform.catalog import load_metadata
from pitboss.platform.objects import ObjectFolder
from pitboss.platform.telemetry import Metrics
from pitboss.subjects import service as subjects
from pitboss.subjects.contracts import EXPORT_JOB, ROOM
from pitboss.worker.jobs import Job, job_actor

WATCH_JOB: Final = "subjects.watch_cases"
_WATCH_SECONDS: Final = 300
_MAKE_TIMEOUT_SECONDS: Final = 300


def subject_jobs(
    ring: KeyRing,
    objects: ObjectFolder,
    metrics: Metrics,
    scopes: Callable[[], Sequence[TenantScope]],
) -> tuple[Job, ...]:
    """Return the jobs of data subjects' requests; metrics tell of the tenants of `scopes` only."""
    metadata = load_metadata("cell")
    told: set[str] = set()

    async def make_export(session: AsyncSession, scope: TenantScope, payload: Mapping[str, Any]) -> None:
        await subjects.make_export(
            session,
            scope,
            ring,
            metadata,
            objects.of(scope, ROOM),
            UUID(str(payload["export_id"])),
            actor=job_actor(EXPORT_JOB),
            origin=Origin(request_id=str(new_uuid())),
        )

    async def watch(session: AsyncSession, scope: TenantScope, _payload: Mapping[str, Any]) -> None:
        now = utc_now()
        origin = Origin(request_id=str(new_uuid()))
        await subjects.sweep_exports(
            session, scope, objects.of(scope, ROOM), now, actor=job_actor(WATCH_JOB), origin=origin
        )
        _, overdue = await subjects.count_cases(session, scope, now)
        metrics.subject_cases_overdue.labels(scope.slug).set(overdue)
        told.add(scope.slug)

    def forget_closed() -> None:
        for slug in told - {scope.slug for scope in scopes()}:
            metrics.subject_cases_overdue.remove(slug)
            told.remove(slug)

    metrics.before_render(forget_closed)
    return (
        Job(EXPORT_JOB, make_export, "subjects.export.edit", timeout_seconds=_MAKE_TIMEOUT_SECONDS),
        Job(WATCH_JOB, watch, "subjects.export.delete", _WATCH_SECONDS),
    )
