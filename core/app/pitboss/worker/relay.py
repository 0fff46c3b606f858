"""The relay: leases due jobs of the outbox and hands them to the broker; the only part that sends.

Any number of relays may run: a lease is taken by one of them, and a periodic job has one dedupe key a slot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from dramatiq.brokers.redis import RedisBroker
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.directory.runtime import Directory
from pitboss.kernel.clock import epoch_seconds, monotonic_seconds
from pitboss.kernel.scope import TenantScope
from pitboss.platform.broker import send_job
from pitboss.platform.db import Database
from pitboss.platform.leading import batched_scopes
from pitboss.platform.outbox import LeasedJob, count_open, enqueue, lease_due, list_open, postpone
from pitboss.platform.telemetry import Metrics
from pitboss.platform.traces import SpanName, span
from pitboss.worker.jobs import Period

IDLE_SECONDS: Final = 0.25
FAILURE_SECONDS: Final = 2.0
BATCH_SIZE: Final = 200
DEPTH_EVERY_SECONDS: Final = 5.0
UNSENT_RETRY_SECONDS: Final = 5

_log = structlog.get_logger(__name__)


class Relay:
    """The loop of one relay process."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        broker: RedisBroker,
        periods: Sequence[Period],
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._directory = directory
        self._broker = broker
        self._periods = tuple(periods)
        self._metrics = metrics
        self._scheduled: dict[tuple[int, str], int] = {}
        self._measured_at = 0.0

    async def run(self, stopping: asyncio.Event) -> None:
        """Relay until `stopping` is set; a database or broker that is away is tried again."""
        while not stopping.is_set():
            pause_seconds = IDLE_SECONDS
            try:
                if await self.step():
                    continue
            except Exception as error:  # noqa: BLE001 - nothing may end the relay but its own stop
                _log.warning("relay.failed", exc_info=error)
                pause_seconds = FAILURE_SECONDS
            try:
                async with asyncio.timeout(pause_seconds):
                    await stopping.wait()
            except TimeoutError:
                continue

    async def step(self) -> int:
        """Schedule what is periodic, lease and send what is due; return how many jobs were sent."""
        sent = 0
        for scopes in batched_scopes(self._directory.scopes()):
            by_id = {scope.tenant_id: scope for scope in scopes}
            async with self._database.tenants_transaction(by_id) as session:
                await self._schedule(session, scopes)
                leased = await lease_due(session, BATCH_SIZE)
            if leased:
                sent += await self._send(by_id, leased)
        if monotonic_seconds() - self._measured_at >= DEPTH_EVERY_SECONDS:
            await self._measure()
        return sent

    async def _schedule(self, session: AsyncSession, scopes: Sequence[TenantScope]) -> None:
        now = epoch_seconds()
        wanted = [
            (scope, period, now // period.every_seconds)
            for scope in scopes
            for period in self._periods
            if self._scheduled.get((scope.tenant_id, period.name)) != now // period.every_seconds
        ]
        if not wanted:
            return
        # One that is still open stands for all slots that passed meanwhile: no heap grows while workers are away.
        still_open = await list_open(session, {period.name for _, period, _ in wanted})
        for scope, period, slot in wanted:
            if (scope.tenant_id, period.name) not in still_open:
                await enqueue(session, scope, period.name, {}, dedupe_key=f"slot-{slot}")
            self._scheduled[scope.tenant_id, period.name] = slot

    async def _send(self, by_id: dict[int, TenantScope], leased: list[LeasedJob]) -> int:
        sent = await asyncio.to_thread(self._send_all, leased)
        for job in leased[:sent]:
            self._metrics.outbox_sent.labels(job.job).inc()
        if sent < len(leased):
            await self._give_back(by_id, leased[sent:])
        return sent

    def _send_all(self, leased: list[LeasedJob]) -> int:
        for position, job in enumerate(leased):
            try:
                with span(SpanName.JOB_SEND, parent=job.trace, job=job.job, attempts=job.attempts):
                    send_job(self._broker, job.tenant_id, job.job_id)
            except Exception as error:  # noqa: BLE001 - the broker is away; the outbox keeps what was not sent
                _log.warning("relay.broker_unavailable", count=len(leased) - position, exc_info=error)
                return position
        return len(leased)

    async def _give_back(self, by_id: dict[int, TenantScope], unsent: list[LeasedJob]) -> None:
        async with self._database.tenants_transaction(by_id) as session:
            for job in unsent:
                await postpone(session, by_id[job.tenant_id], job.job_id, UNSENT_RETRY_SECONDS)

    async def _measure(self) -> None:
        depth, oldest_seconds = 0, 0.0
        for scopes in batched_scopes(self._directory.scopes()):
            async with self._database.tenants_transaction([scope.tenant_id for scope in scopes]) as session:
                count, age_seconds = await count_open(session)
            depth, oldest_seconds = depth + count, max(oldest_seconds, age_seconds)
        self._metrics.outbox_open_jobs.set(depth)
        self._metrics.outbox_oldest_seconds.set(oldest_seconds)
        self._measured_at = monotonic_seconds()
