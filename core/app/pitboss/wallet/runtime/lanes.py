"""Lanes: the edge that combines concurrent requests into one decided, posted and committed batch.

A lane takes whatever waits (no timer) and has it decided and written in one transaction. An answer leaves only after
the commit. When a connection breaks and the outcome is unknown, the same batch goes again: keys make it safe.

While one batch is written the next is decided, on what the first will leave behind. It is written once the first is
committed, and decided again when that was not (ADR 0010).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Final, Protocol

import asyncpg
import structlog

from pitboss.kernel.clock import monotonic_seconds
from pitboss.wallet.contracts import WalletRequest, WalletResult
from pitboss.wallet.errors import LanesBusy
from pitboss.wallet.runtime.decisions import Decision, Overtaken

MAX_BATCH: Final = 128
"""The knee of the cost curve lies at 64 to 128 requests a commit."""
MAX_QUEUE: Final = 4096
ATTEMPTS: Final = 4
OVERTAKEN_ATTEMPTS: Final = 24
"""How often a batch is decided again after others were faster; each of them got through meanwhile."""
AHEAD: Final = 24
"""Requests that must wait, at least, before a batch is decided while another is written; fewer let more come."""
AHEAD_TENTHS: Final = 7
"""Tenths of the batch being written that must wait as well: with all of it, one closed loop of callers would never
fill the second batch while the first is away, and with few, small batches would pay for as many journeys."""

_LOG = structlog.get_logger("pitboss.wallet")
_CONNECTION_LOST = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, TimeoutError)
_SHUTTING_DOWN = (asyncpg.CannotConnectNowError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError)
_OVERTAKEN = (asyncpg.DeadlockDetectedError, asyncpg.UniqueViolationError, asyncpg.SerializationError, Overtaken)

Told = Callable[[WalletResult | None], None]
"""Is called once with the decision; None says that the request could not be carried out and may be sent again."""
_Waiting = tuple[WalletRequest, Told, float]


class Poster(Protocol):
    """Where a lane's batches go: each is decided, written in one transaction, and only then answered."""

    async def decide(self, requests: Sequence[WalletRequest]) -> Decision:
        """Decide a batch, on what the decisions before it will leave behind."""
        ...

    async def write(self, decision: Decision) -> None:
        """Write and commit a batch; raise when it did not happen, or when nobody can tell.

        Then nothing counts that was decided after it and is not written.
        """
        ...

    def forget(self, decision: Decision) -> None:
        """Let go of a decision that will not be written."""
        ...

    def drop(self) -> None:
        """Let go of a connection that broke; the next batch opens another."""
        ...

    async def close(self) -> None:
        """Let go of the connection in order."""
        ...


_Decided = tuple[Sequence[_Waiting], Decision | None]
"""A batch, and what was decided on it unless that failed."""


class Lane:
    """One queue; one batch is written while the next is decided."""

    def __init__(self, poster: Poster, *, observe_batch: Callable[[int], None] = lambda _size: None) -> None:
        self._poster = poster
        self._observe_batch = observe_batch
        self._queue: deque[_Waiting] = deque()
        self._writing = 0
        self._ahead: asyncio.Task[_Decided] | None = None
        self._context = copy_context()
        self._wake = asyncio.Event()
        self._closing = False

    def oldest_wait_ms(self) -> float:
        """Return how long the oldest queued request has waited."""
        return (monotonic_seconds() - self._queue[0][2]) * 1000 if self._queue else 0.0

    def queue(self, request: WalletRequest, told: Told) -> None:
        """Queue a request; raise `LanesBusy` when the queue is full or the lane is closing."""
        if self._closing or len(self._queue) >= MAX_QUEUE:
            raise LanesBusy("too many calls are waiting")
        self._queue.append((request, told, monotonic_seconds()))
        if not self._writing:
            if not self._wake.is_set():
                self._wake.set()
        elif len(self._queue) >= self._writing and self._ahead is None:
            self._decide_ahead()

    def submit(self, request: WalletRequest) -> asyncio.Future[WalletResult]:
        """Queue a request and return its decision to come; raise `LanesBusy`, now or from the future."""
        future: asyncio.Future[WalletResult] = asyncio.get_running_loop().create_future()

        def told(result: WalletResult | None) -> None:
            if future.done():
                return
            if result is None:
                future.set_exception(LanesBusy("the call could not be carried out; try again"))
            else:
                future.set_result(result)

        self.queue(request, told)
        return future

    async def run(self) -> None:
        """Serve until closed and empty."""
        self._context = copy_context()  # what is decided ahead is no part of the call that was the last to come
        while self._queue or self._ahead is not None or not self._closing:
            if self._queue or self._ahead is not None:
                await self._serve()
            else:
                self._wake.clear()
                await self._wake.wait()
        await self._poster.close()

    def close(self) -> None:
        """Take nothing new; `run` ends when all that waits is answered."""
        self._closing = True
        self._wake.set()

    async def _decide(self) -> _Decided:
        """Take what waits and decide it."""
        batch = [self._queue.popleft() for _ in range(min(MAX_BATCH, len(self._queue)))]
        self._observe_batch(len(batch))
        try:
            return batch, await self._poster.decide([request for request, _, _ in batch])
        except Exception:  # noqa: BLE001 - it is tried again, and then told
            return batch, None

    def _decide_ahead(self) -> None:
        self._ahead = asyncio.get_running_loop().create_task(self._decide(), context=self._context)

    async def _take_ahead(self) -> _Decided | None:
        """Return what was decided meanwhile, if anything was."""
        ahead, self._ahead = self._ahead, None
        return await ahead if ahead is not None else None

    async def _serve(self) -> None:
        """Decide a batch, unless that is done, and write it; what fails goes again by itself."""
        batch, decision = await self._take_ahead() or await self._decide()
        if decision is None:
            await self._serve_alone(batch)
            return
        self._writing = max(AHEAD, len(batch) * AHEAD_TENTHS // 10)
        if len(self._queue) >= self._writing:
            self._decide_ahead()
        try:
            await self._poster.write(decision)
        except Exception as error:  # noqa: BLE001 - it is tried again, and then told
            self._writing = 0
            await self._serve_again(batch, lost=isinstance(error, (*_CONNECTION_LOST, *_SHUTTING_DOWN)))
            return
        self._writing = 0
        _tell_soon(batch, decision.results)

    async def _serve_again(self, batch: Sequence[_Waiting], *, lost: bool) -> None:
        """Serve a batch that was not written, and then the one that was decided on what it would leave behind."""
        ahead = await self._take_ahead()
        if ahead is not None and ahead[1] is not None:
            self._poster.forget(ahead[1])
        if lost:
            self._poster.drop()
        await self._serve_alone(batch)
        if ahead is not None:
            await self._serve_alone(ahead[0])

    async def _serve_alone(self, batch: Sequence[_Waiting]) -> None:
        """Answer a batch with nothing else under way.

        One that raises is bisected, so that one bad request cannot fail its neighbours.
        """
        results: Sequence[WalletResult | None]
        try:
            results = await self._post_surely([request for request, _, _ in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, every waiting call gets its answer
            away = isinstance(error, (*_CONNECTION_LOST, *_SHUTTING_DOWN))
            if len(batch) > 1 and not away:
                middle = len(batch) // 2
                await self._serve_alone(batch[:middle])
                await self._serve_alone(batch[middle:])
                return
            _LOG.error("wallet.batch_failed", error_type=type(error).__name__)
            results = [None] * len(batch)
        _tell_soon(batch, results)

    async def _post(self, requests: Sequence[WalletRequest]) -> list[WalletResult]:
        decision = await self._poster.decide(requests)
        await self._poster.write(decision)
        return decision.results

    async def _post_surely(self, requests: Sequence[WalletRequest]) -> list[WalletResult]:
        """Post until the outcome is known, over as many connections as it takes."""
        lost = overtaken = 0
        while True:
            try:
                return await self._post(requests)
            except (*_CONNECTION_LOST, *_SHUTTING_DOWN) as error:
                self._poster.drop()
                lost += 1
                _LOG.warning("wallet.connection_lost", error_type=type(error).__name__, count=lost)
                if lost == ATTEMPTS:
                    raise
                await asyncio.sleep(0.05 * 4**lost)
            except _OVERTAKEN:
                overtaken += 1
                if overtaken == OVERTAKEN_ATTEMPTS:
                    raise
                await asyncio.sleep(0.0005 * overtaken)


def _tell_soon(batch: Sequence[_Waiting], results: Sequence[WalletResult | None]) -> None:
    """Answer in a turn of the loop's to come: what leaves for the server leaves as a turn ends, and goes first."""
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, _tell, batch, results)


def _tell(batch: Sequence[_Waiting], results: Sequence[WalletResult | None]) -> None:
    for (_, told, _), result in zip(batch, results, strict=True):
        try:
            told(result)
        except Exception as error:  # noqa: BLE001 - one listener's fault is not its neighbours'
            _LOG.exception("wallet.answer_failed", error_type=type(error).__name__)


class Lanes:
    """All lanes of a process; a wallet always has the same one."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to serve, on the running event loop."""
        self._tasks = [
            asyncio.create_task(lane.run(), name=f"lane-{number}") for number, lane in enumerate(self._lanes)
        ]

    async def close(self) -> None:
        """Answer all that waits, then end."""
        for lane in self._lanes:
            lane.close()
        await asyncio.gather(*self._tasks)

    def queue(self, request: WalletRequest, told: Told, *, patience_ms: int) -> None:
        """Queue a request; raise `LanesBusy` when an answer within `patience_ms` is not to be expected."""
        self._lane(request, patience_ms).queue(request, told)

    def submit(self, request: WalletRequest, *, patience_ms: int) -> asyncio.Future[WalletResult]:
        """Queue a request and return its decision to come; raise `LanesBusy` like `queue`."""
        return self._lane(request, patience_ms).submit(request)

    def _lane(self, request: WalletRequest, patience_ms: int) -> Lane:
        lane = self._lanes[(request.tenant_id * 1_000_003 + request.wallet_id) % len(self._lanes)]
        if lane.oldest_wait_ms() > patience_ms:
            raise LanesBusy("the queue is not moving")
        return lane
