"""The worker: takes jobs from the broker and runs each in one transaction with the mark that it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, cast

import dramatiq
import structlog
from dramatiq.brokers.redis import RedisBroker

from pitboss.directory.runtime import Directory
from pitboss.kernel.clock import monotonic_seconds
from pitboss.kernel.scope import TenantScope
from pitboss.permissions.service import require
from pitboss.platform.broker import ACTOR, QUEUE
from pitboss.platform.db import Database
from pitboss.platform.outbox import LeasedJob, complete, postpone, take
from pitboss.platform.telemetry import Metrics
from pitboss.platform.traces import SpanName, span
from pitboss.worker.jobs import JobRegistry, job_actor

WORKER_THREADS: Final = 8
"""Jobs that one worker runs at a time; each waits in a thread for the event loop."""
MAX_BACKOFF_SECONDS: Final = 600
_STOP_TIMEOUT_MS: Final = 20_000

_log = structlog.get_logger(__name__)


class JobRunner:
    """Runs jobs of one cell; the outbox says what is to be done, the message only which row to look at."""

    def __init__(self, database: Database, directory: Directory, jobs: JobRegistry, metrics: Metrics) -> None:
        self._database = database
        self._directory = directory
        self._jobs = jobs
        self._metrics = metrics

    async def run(self, tenant_id: int, job_id: int) -> str:
        """Run one job and return what became of it; a failure is given back to the outbox, never raised."""
        scope = next((scope for scope in self._directory.scopes() if scope.tenant_id == tenant_id), None)
        if scope is None:
            # Its lease ends and it comes again, when the directory may know the tenant.
            _log.warning("job.tenant_unknown", tenant_id=tenant_id, job_id=job_id)
            return "tenant_unknown"
        began = monotonic_seconds()
        taken: list[LeasedJob] = []
        try:
            outcome = await self._run_in_transaction(scope, job_id, taken)
        except Exception as error:  # noqa: BLE001 - whatever a handler throws, the job comes again later
            outcome = "failed"
            await self._give_back(scope, job_id, taken, error)
        name = taken[0].job if taken else "none"
        self._metrics.jobs.labels(name, outcome).inc()
        _log.info(
            "job.ended",
            job=name,
            job_id=job_id,
            tenant=scope.slug,
            outcome=outcome,
            duration_ms=int((monotonic_seconds() - began) * 1000),
        )
        return outcome

    async def _run_in_transaction(self, scope: TenantScope, job_id: int, taken: list[LeasedJob]) -> str:
        async with self._database.transaction(scope) as session:
            leased = await take(session, scope, job_id)
            if leased is None:
                return "skipped"
            taken.append(leased)
            job = self._jobs.get(leased.job)
            require(job_actor(job.name), job.permission)
            with span(SpanName.JOB_RUN, parent=leased.trace, job=job.name, job_id=job_id) as traced:
                traced.note(tenant=scope.slug, attempts=leased.attempts)
                async with asyncio.timeout(job.timeout_seconds):
                    await job.handler(session, scope, leased.payload)
                await complete(session, scope, job_id)
        return "done"

    async def _give_back(self, scope: TenantScope, job_id: int, taken: list[LeasedJob], error: Exception) -> None:
        attempts = taken[0].attempts if taken else 1
        seconds = compute_backoff_seconds(attempts)
        _log.warning(
            "job.failed",
            job=taken[0].job if taken else "none",
            job_id=job_id,
            tenant=scope.slug,
            attempts=attempts,
            retry_in_seconds=seconds,
            exc_info=error,
        )
        try:
            async with self._database.transaction(scope) as session:
                await postpone(session, scope, job_id, seconds)
        except Exception as second:  # noqa: BLE001 - with the database away too, the end of the lease brings it back
            _log.warning("job.not_given_back", job_id=job_id, tenant=scope.slug, exc_info=second)


def compute_backoff_seconds(attempts: int) -> int:
    """Return how long a job waits after its `attempts`-th failure: 2, 4, 8 … up to ten minutes."""
    return min(2 ** min(attempts, 16), MAX_BACKOFF_SECONDS)


class JobWorker:
    """The threads that consume from the broker and hand jobs to the event loop they were made in."""

    def __init__(self, broker: RedisBroker, runner: JobRunner, loop: asyncio.AbstractEventLoop) -> None:
        def run_job(tenant_id: int, job_id: int) -> None:
            work: Coroutine[Any, Any, str] = runner.run(tenant_id, job_id)
            asyncio.run_coroutine_threadsafe(work, loop).result()

        cast("Any", dramatiq).actor(run_job, actor_name=ACTOR, queue_name=QUEUE, broker=broker)
        self._worker = dramatiq.Worker(broker, worker_threads=WORKER_THREADS)

    def start(self) -> None:
        """Start to consume."""
        self._worker.start()

    async def stop(self) -> None:
        """Finish what runs, give back what waits; the loop goes on meanwhile, since the jobs need it."""
        await asyncio.to_thread(self._worker.stop, _STOP_TIMEOUT_MS)

    async def find_problem(self) -> str:
        """Return why jobs may stay where they are; empty while every thread that consumes is alive."""
        consumers = list(cast("dict[str, Any]", self._worker.consumers).values())
        if consumers and all(consumer.is_alive() for consumer in consumers):
            return ""
        return "no job is taken from the broker"
