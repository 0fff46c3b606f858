"""The job that destroys what a plan says, some rows a transaction, and certifies it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.clock import monotonic_seconds, utc_now
from pitboss.kernel.scope import Origin, TenantScope
from pitboss.platform.db import Database
from pitboss.platform.outbox import enqueue
from pitboss.retention import service as retention
from pitboss.retention.contracts import CARRY_OUT_JOB
from pitboss.retention.errors import PlanNotApproved, PlanStale, RunUnknown
from pitboss.worker.jobs import Job, job_actor

_BUDGET_SECONDS: Final = 60.0
"""After so long another job goes on, so that none outlives the context of its own transaction."""
_TIMEOUT_SECONDS: Final = 150

_log = structlog.get_logger(__name__)


def retention_jobs(database: Database, *, batch_rows: int = retention.BATCH_ROWS) -> tuple[Job, ...]:
    """Return the jobs of retention; what was destroyed before a kill stays destroyed, and the next run goes on."""

    async def carry_out(session: AsyncSession, scope: TenantScope, payload: Mapping[str, Any]) -> None:
        run_id, actor = UUID(str(payload["run_id"])), job_actor(CARRY_OUT_JOB)
        until = monotonic_seconds() + _BUDGET_SECONDS
        try:
            while await _destroy(scope, run_id):
                if monotonic_seconds() > until:
                    await enqueue(session, scope, CARRY_OUT_JOB, dict(payload))
                    return
        except (RunUnknown, PlanNotApproved) as error:
            _log.error("retention.not_carried_out", tenant=scope.slug, error_code=error.code)
            return
        except PlanStale as error:
            # What is gone is certified; the rest is for a plan of today.
            _log.error("retention.not_carried_out", tenant=scope.slug, error_code=error.code)
        await retention.certify_run(session, scope, run_id, actor=actor, origin=Origin())

    async def _destroy(scope: TenantScope, run_id: UUID) -> bool:
        async with database.transaction(scope) as session:
            actor = job_actor(CARRY_OUT_JOB)
            return await retention.destroy_batch(
                session, scope, run_id, utc_now(), actor=actor, origin=Origin(), most=batch_rows
            )

    return (Job(CARRY_OUT_JOB, carry_out, "retention.record.delete", timeout_seconds=_TIMEOUT_SECONDS),)
