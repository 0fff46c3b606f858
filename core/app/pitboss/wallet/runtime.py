"""Lanes: the edge that combines concurrent requests into one decided, posted and committed batch.

A lane owns one connection. It takes whatever waits (no timer), locks the wallets in order, reads the rest in
later statements, lets `rules` decide, posts in one statement and commits. An answer leaves only after the
commit. When the connection breaks and the outcome is unknown, the same batch goes again: keys make it safe.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import asyncpg
import structlog

from pitboss.kernel.clock import monotonic_seconds, utc_now
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Op, OpenAward, OpenHold, Outcome
from pitboss.ledger.errors import WalletNotFound
from pitboss.limits import service as limits
from pitboss.platform.db import LaneConnection
from pitboss.wallet.contracts import BatchBook, Companion, WalletRequest, WalletResult
from pitboss.wallet.errors import LanesBusy
from pitboss.wallet.rules import BatchFacts, BatchWalk, SpendOrder

MAX_BATCH: Final = 128
"""The knee of the cost curve lies at 64 to 128 requests a commit."""
MAX_QUEUE: Final = 4096
BLOCK: Final = 1000
"""Batch ids that one number of the sequence stands for."""
ATTEMPTS: Final = 4

_LOG = structlog.get_logger("pitboss.wallet")
_CONNECTION_LOST = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, TimeoutError)
_SHUTTING_DOWN = (asyncpg.CannotConnectNowError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError)

_Waiting = tuple[WalletRequest, "asyncio.Future[WalletResult]", float]


class Poster(Protocol):
    """Where a lane's batches go: one call is one transaction."""

    async def post(self, requests: Sequence[WalletRequest]) -> list[WalletResult]:
        """Decide, write and commit a batch; raise when it did not happen, or when nobody can tell."""
        ...

    def drop(self) -> None:
        """Let go of a connection that broke; the next batch opens another."""
        ...

    async def close(self) -> None:
        """Let go of the connection in order."""
        ...


class Lane:
    """One queue, one connection, one batch at a time."""

    def __init__(self, poster: Poster, *, observe_batch: Callable[[int], None] = lambda _size: None) -> None:
        self._poster = poster
        self._observe_batch = observe_batch
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._closing = False

    def oldest_wait_ms(self) -> float:
        """Return how long the oldest queued request has waited."""
        return (monotonic_seconds() - self._queue[0][2]) * 1000 if self._queue else 0.0

    def submit(self, request: WalletRequest) -> asyncio.Future[WalletResult]:
        """Queue a request; raise `LanesBusy` when the queue is full or the lane is closing."""
        if self._closing or len(self._queue) >= MAX_QUEUE:
            raise LanesBusy("too many calls are waiting")
        future: asyncio.Future[WalletResult] = asyncio.get_running_loop().create_future()
        self._queue.append((request, future, monotonic_seconds()))
        self._wake.set()
        return future

    async def run(self) -> None:
        """Serve until closed and empty."""
        while not (self._closing and not self._queue):
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = [self._queue.popleft() for _ in range(min(MAX_BATCH, len(self._queue)))]
            self._observe_batch(len(batch))
            await self._serve(batch)
        await self._poster.close()

    def close(self) -> None:
        """Take nothing new; `run` ends when all that waits is answered."""
        self._closing = True
        self._wake.set()

    async def _serve(self, batch: Sequence[_Waiting]) -> None:
        """Answer a batch; one that raises is bisected, so that one bad request cannot fail its neighbours."""
        try:
            results = await self._post_surely([request for request, _, _ in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, every waiting call gets its answer
            away = isinstance(error, (*_CONNECTION_LOST, *_SHUTTING_DOWN))
            if len(batch) > 1 and not away:
                middle = len(batch) // 2
                await self._serve(batch[:middle])
                await self._serve(batch[middle:])
                return
            _LOG.error("wallet.batch_failed", error_type=type(error).__name__)
            for _, future, _ in batch:
                if not future.done():
                    future.set_exception(LanesBusy("the call could not be carried out; try again"))
            return
        for (_, future, _), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)

    async def _post_surely(self, requests: Sequence[WalletRequest]) -> list[WalletResult]:
        """Post until the outcome is known, over as many connections as it takes."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._poster.post(requests)
            except (*_CONNECTION_LOST, *_SHUTTING_DOWN) as error:
                self._poster.drop()
                _LOG.warning("wallet.connection_lost", error_type=type(error).__name__, count=attempt)
                if attempt == ATTEMPTS:
                    raise
                await asyncio.sleep(0.05 * 4**attempt)
            except (asyncpg.DeadlockDetectedError, asyncpg.UniqueViolationError, asyncpg.SerializationError):
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")


class DatabasePoster:
    """Posts batches to PostgreSQL on a connection of its own."""

    def __init__(
        self, number: int, connection: LaneConnection, *, spend_orders: Mapping[int, SpendOrder] | None = None
    ) -> None:
        self._number = number
        self._connection = connection
        self._spend_orders: Mapping[int, SpendOrder] = spend_orders or {}
        self._next_batch_id = 0
        self._block_end = 0

    def drop(self) -> None:
        """Let go of a connection that broke."""
        self._connection.drop()

    async def close(self) -> None:
        """Let go of the connection in order."""
        await self._connection.close()

    async def post(self, requests: Sequence[WalletRequest]) -> list[WalletResult]:
        """Lock, read, decide, write and commit."""
        connection = await self._connection.ready(frozenset([request.tenant_id for request in requests]))
        batch_id = await self._take_batch_id(connection)
        async with connection.transaction():
            facts = await load_facts(connection, requests, self._spend_orders)
            walk = BatchWalk(facts)
            results = [walk.decide(request) for request in requests]
            if walk.posting.keys:
                await ledger.post(connection, batch_id, self._number, walk.posting)
            for book in facts.books.values():
                await book.save(connection)
        return results

    async def _take_batch_id(self, connection: asyncpg.Connection) -> int:
        if self._next_batch_id == self._block_end:
            block = await ledger.next_batch_block(connection)
            self._next_batch_id, self._block_end = block * BLOCK, (block + 1) * BLOCK
        self._next_batch_id += 1
        return self._next_batch_id - 1


async def load_facts(
    connection: asyncpg.Connection, requests: Sequence[WalletRequest], spend_orders: Mapping[int, SpendOrder]
) -> BatchFacts:
    """Lock the wallets of `requests`, then read everything their decisions need."""
    pairs = sorted({(request.tenant_id, request.wallet_id) for request in requests})
    wallets = await ledger.lock_wallets(connection, pairs)
    if len(wallets) != len(pairs):
        # Wallets never vanish; what hides one must not become a final answer.
        raise WalletNotFound(f"{len(pairs) - len(wallets)} of {len(pairs)} wallets are not to be seen")
    keys: set[tuple[int, int, bytes]] = set()
    for request in requests:
        tenant_id, source_id = request.tenant_id, request.source_id
        for leg in request.legs:
            keys.add((tenant_id, source_id, leg.key))
            if leg.reverses is not None:
                keys.add((tenant_id, source_id, leg.reverses))
    known = await ledger.read_keys(connection, list(keys)) if keys else {}
    active = {(wallet.tenant_id, wallet.player_id) for wallet in wallets.values() if wallet.is_open}
    by_companion: dict[Companion, list[WalletRequest]] = {}
    for request in requests:
        if request.companion is not None:
            by_companion.setdefault(request.companion, []).append(request)
    books: dict[Companion, BatchBook] = {
        companion: await companion.load(connection, its) for companion, its in by_companion.items()
    }
    facts = BatchFacts(wallets, known, active, utc_now().date(), books, spend_orders=spend_orders)
    if keys:
        limited = [pair for pair, wallet in wallets.items() if wallet.has_limits]
        facts.limits = await limits.read_limits(connection, limited) if limited else {}
        await _load_rare(connection, facts)
    return facts


async def _load_rare(connection: asyncpg.Connection, facts: BatchFacts) -> None:
    if facts.limits:
        since = limits.compute_earliest_window(facts.today)
        facts.usage = await ledger.read_usage(connection, sorted(facts.limits), since)
    with_awards = sorted(pair for pair, wallet in facts.wallets.items() if wallet.has_awards)
    facts.awards = await ledger.read_awards(connection, with_awards) if with_awards else dict[_Name, OpenAward]()
    booked = [(key[0], known) for key, known in facts.known.items() if known.outcome == Outcome.ACCEPTED]
    moved = [(tenant, known.wallet_id, known.version) for tenant, known in booked if known.d_bonus]
    facts.award_entries = (
        await ledger.read_award_entries(connection, moved) if moved else dict[_Name, list[tuple[int, int]]]()
    )
    held = [(tenant, known.wallet_id, known.version) for tenant, known in booked if known.op == Op.HOLD]
    facts.holds = await ledger.read_holds(connection, held) if held else dict[_Name, OpenHold]()


_Name = tuple[int, int, int]


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

    def submit(self, request: WalletRequest, *, patience_ms: int) -> asyncio.Future[WalletResult]:
        """Queue a request; raise `LanesBusy` when an answer within `patience_ms` is not to be expected."""
        lane = self._lanes[(request.tenant_id * 1_000_003 + request.wallet_id) % len(self._lanes)]
        if lane.oldest_wait_ms() > patience_ms:
            raise LanesBusy("the queue is not moving")
        return lane.submit(request)
