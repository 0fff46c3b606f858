"""What a case is, and the cases that need no web: pgbench, postings through lanes, one row a call."""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import Awaitable, Sequence
from time import perf_counter, process_time
from typing import Final, NamedTuple, Protocol

from tests.bench.load import Calls
from tests.bench.measure import quantile
from tests.bench.stage import TPCB_SCALE, Stage

from pitboss.platform.db import parse_url
from pitboss.platform.embedded import wheel_binaries
from pitboss.wallet.contracts import WalletRequest, WalletResult
from pitboss.wallet.runtime import Lane

LANES: Final = 2
UNDER_WAY: Final = 2
TPCB_DATABASE: Final = "bench_tpcb"
_BUILT_PER_SECOND: Final = 40_000


class Sample(NamedTuple):
    """One round of a case. CPU of the client is that of whoever asks, here or in a process of its own."""

    calls: int
    seconds: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    client_cpu_seconds: float = 0.0
    web_cpu_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Return the calls a second."""
        return self.calls / self.seconds


class CaseFailed(Exception):
    """The case cannot run, or ran and was answered wrongly; the message says how."""


class Case(Protocol):
    """Something that is measured, round after round, until it is closed."""

    name: str
    title: str

    async def run(self, seconds: float) -> Sample:
        """Load for `seconds` and return what was seen; raise `CaseFailed`."""
        ...

    async def close(self) -> None:
        """Let go of connections and processes."""
        ...


async def gather_counts(driven: Sequence[Awaitable[int]]) -> list[int]:
    """Await all drivers, so that none goes on into the next case, and raise what the first of them raised."""
    counts: list[int] = []
    for outcome in await asyncio.gather(*driven, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
        counts.append(outcome)
    return counts


class Pgbench:
    """TPC-B of PostgreSQL's own tool: prepared, 16 clients, 2 threads."""

    name = "pgbench"
    title = f"pgbench TPC-B, scale {TPCB_SCALE}, 16 clients"

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def prepare(self) -> None:
        """Fill the tables of the benchmark."""
        await self._stage.administer(f"create database {TPCB_DATABASE}", "postgres")
        await self._call("-i", "-q", "-s", str(TPCB_SCALE))

    async def run(self, seconds: float) -> Sample:
        """Run for whole seconds, as pgbench counts."""
        output = await self._call("-n", "-M", "prepared", "-c", "16", "-j", "2", "-T", str(max(1, round(seconds))))
        found = re.search(r"actually processed: (\d+)", output), re.search(r"^tps = ([\d.]+)", output, re.MULTILINE)
        if found[0] is None or found[1] is None:
            raise CaseFailed(f"pgbench said {output[-300:]!r}")
        calls = int(found[0][1])
        return Sample(calls, calls / float(found[1][1]))

    async def close(self) -> None:
        """Nothing is kept between rounds."""

    async def _call(self, *arguments: str) -> str:
        url = parse_url(self._stage.postgres.admin_url(TPCB_DATABASE))
        child = await asyncio.create_subprocess_exec(
            str(wheel_binaries() / "pgbench"),
            *arguments,
            *("-h", str(url.host), "-p", str(url.port), "-U", str(url.username), str(url.database)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PGPASSWORD": str(url.password)},
        )
        output, errors = await child.communicate()
        if child.returncode:
            raise CaseFailed(f"pgbench ended with {child.returncode}: {errors.decode()[-300:]}")
        return output.decode()


class LanePool:
    """The lanes that all postings in process share, so that every batch size meets the same connections."""

    def __init__(self, stage: Stage, count: int = LANES) -> None:
        self._stage = stage
        self._count = count
        self.lanes: list[Lane] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to serve, on the running event loop, once the servers run."""
        self.lanes = [self._stage.make_lane(number) for number in range(self._count)]
        self._tasks = [asyncio.create_task(lane.run()) for lane in self.lanes]

    async def close(self) -> None:
        """End the lanes."""
        for lane in self.lanes:
            lane.close()
        await asyncio.gather(*self._tasks)


class LaneCase:
    """Postings in process: each lane is handed `batch_size` requests, and others when these are answered.

    Two such handfuls are under way in each lane, so that one can be decided while the other is written; what asks is
    called back, as the listener is.

    `calls` has one series for each lane that takes part. Time and CPU include the building of the requests,
    unless they are `built_before`.
    """

    def __init__(
        self,
        name: str,
        title: str,
        pool: LanePool,
        calls: Sequence[Calls],
        batch_size: int,
        *,
        built_before: bool = False,
    ) -> None:
        self.name = name
        self.title = title
        self._pool = pool
        self._calls = calls
        self._batch_size = batch_size
        self._built_before = built_before
        self._ready: list[deque[list[WalletRequest]]] = [deque() for _ in calls]

    async def run(self, seconds: float) -> Sample:
        """Drive every lane at once."""
        if self._built_before:
            wanted = int(seconds * _BUILT_PER_SECOND / self._batch_size / len(self._calls)) + 1
            for calls, ready in zip(self._calls, self._ready, strict=True):
                # What an earlier round left over comes first: later requests name it.
                ready.extend([self._build(calls) for _ in range(wanted - len(ready))])
        latencies: list[float] = []
        began, cpu_began = perf_counter(), process_time()
        driven = [
            self._drive(number, began + seconds, latencies, later)
            for number in range(len(self._calls))
            for later in range(UNDER_WAY)
        ]
        counts = await gather_counts(driven)
        took, cpu = perf_counter() - began, process_time() - cpu_began
        latencies.sort()
        return Sample(sum(counts), took, quantile(latencies, 0.5) * 1000, quantile(latencies, 0.99) * 1000, cpu)

    def _build(self, calls: Calls) -> list[WalletRequest]:
        return [calls.build() for _ in range(self._batch_size)]

    async def _drive(self, number: int, until: float, latencies: list[float], later: int) -> int:
        lane, calls, ready = self._pool.lanes[number], self._calls[number], self._ready[number]
        # Handfuls that come at the same moment would be one batch for ever.
        await asyncio.sleep(later / 1000)
        count = 0
        while perf_counter() < until and (ready or not self._built_before):
            batch = ready.popleft() if self._built_before else self._build(calls)
            asked = perf_counter()
            handful = _Handful(len(batch))
            for request in batch:
                lane.queue(request, handful.told)
            await handful.answered.wait()
            if handful.refused:
                raise CaseFailed(f"a call was refused: {handful.refused[0]}")
            latencies.append(perf_counter() - asked)
            count += len(batch)
        return count

    async def close(self) -> None:
        """The lanes are the pool's."""


class _Handful:
    """Requests that were handed to a lane together."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.answered = asyncio.Event()
        self.refused: list[str] = []

    def told(self, result: WalletResult | None) -> None:
        """Take an answer."""
        if result is None or result.refusal is not None:
            self.refused.append("it was not carried out" if result is None else f"{result.refusal} {result.detail}")
        self._left -= 1
        if not self._left:
            self.answered.set()
