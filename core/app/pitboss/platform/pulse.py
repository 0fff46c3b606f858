"""The pulse of a cell's process: every few seconds it looks at what it works with, and tells Redis and the metrics."""

from __future__ import annotations

import os

from pitboss.kernel.clock import epoch_seconds
from pitboss.platform.redis import CellRedis, ProcessNote
from pitboss.platform.telemetry import CallRate, Metrics, Readiness


class Pulse:
    """What one process tells of itself while it lives."""

    def __init__(
        self, process: str, *, redis: CellRedis, readiness: Readiness, rate: CallRate, metrics: Metrics
    ) -> None:
        self._process = process
        self._redis = redis
        self._readiness = readiness
        self._rate = rate
        self._metrics = metrics
        self._started_at = epoch_seconds()

    async def beat(self) -> None:
        """Tell once."""
        self._rate.sample()
        problems = await self._readiness.list_problems()
        for name in self._readiness.names():
            self._metrics.dependency_up.labels(name).set(name not in problems)
        if "redis" not in problems:
            note = ProcessNote(self._process, os.getpid(), self._started_at, epoch_seconds(), problems)
            await self._redis.announce(note)
            await self._redis.begin_memory()
