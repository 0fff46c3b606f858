"""The jobs of captured changes: hold them against the audit log, and tell what that found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.captures import service as captures
from pitboss.kernel.scope import TenantScope
from pitboss.platform.telemetry import Metrics
from pitboss.worker.jobs import Job, job_actor

RECONCILE_JOB: Final = "captures.reconcile"
_RECONCILE_SECONDS: Final = 3600
_RECONCILE_TIMEOUT_SECONDS: Final = 240
"""Below the life of the job's signed context."""
_TELL_SECONDS: Final = 60

_log = structlog.get_logger(__name__)


def capture_jobs(metrics: Metrics, scopes: Callable[[], Sequence[TenantScope]]) -> tuple[Job, ...]:
    """Return the jobs of captured changes; metrics tell of the tenants of `scopes` alone."""
    told: set[str] = set()

    def forget_closed() -> None:
        for slug in told - {scope.slug for scope in scopes()}:
            metrics.capture_findings.remove(slug)
            metrics.capture_reconciled_at.remove(slug)
            told.remove(slug)

    async def reconcile(session: AsyncSession, scope: TenantScope, _payload: Mapping[str, Any]) -> None:
        kept = await captures.keep(session, scope, job_actor(RECONCILE_JOB))
        if kept.findings:
            _log.error("captures.findings", tenant=scope.slug, count=kept.findings)
        await tell(session, scope, {})

    async def tell(session: AsyncSession, scope: TenantScope, _payload: Mapping[str, Any]) -> None:
        # From the books, not from memory: a worker that was started since has not seen what was found.
        state = await captures.fetch_state(session, scope)
        if state is not None:
            metrics.capture_findings.labels(scope.slug).set(state.findings)
            metrics.capture_reconciled_at.labels(scope.slug).set(state.at.timestamp())
            told.add(scope.slug)

    metrics.before_render(forget_closed)
    permission = "captures.finding.edit"
    return (
        Job(RECONCILE_JOB, reconcile, permission, _RECONCILE_SECONDS, _RECONCILE_TIMEOUT_SECONDS),
        Job("captures.tell_findings", tell, "captures.finding.view", _TELL_SECONDS),
    )
