"""Lanes: the edge that combines concurrent requests into one decided, posted and committed batch.

A lane owns one connection. It takes whatever waits (no timer), reads what it does not remember, lets `rules` decide
and writes in one statement, which is the transaction. The statement fails where a decision was overtaken: where a
wallet no longer stands at the version it was decided on, or a key or round is there already; then the batch is
decided again from what is read anew (ADR 0010). An answer leaves only after the commit. When the connection breaks
and the outcome is unknown, the same batch goes again: keys make it safe.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Final, Protocol

import asyncpg
import structlog

from pitboss.bonus import service as bonus
from pitboss.kernel.clock import epoch_microseconds, monotonic_seconds, utc_now
from pitboss.kernel.statements import ReadPart, WritePart
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import KnownKey, Op, Outcome, WalletState
from pitboss.ledger.errors import WalletNotFound
from pitboss.limits import service as limits
from pitboss.platform.memory import Memory
from pitboss.policy.service import compute_local_day
from pitboss.wallet.contracts import Companion, RoomMemory, WalletRequest, WalletResult
from pitboss.wallet.errors import LanesBusy
from pitboss.wallet.rules import BatchFacts, BatchWalk, SpendOrder

MAX_BATCH: Final = 128
"""The knee of the cost curve lies at 64 to 128 requests a commit."""
MAX_QUEUE: Final = 4096
BLOCK: Final = 1000
"""Batch ids that one number of the sequence stands for."""
ATTEMPTS: Final = 4
OVERTAKEN_ATTEMPTS: Final = 24
"""How often a batch is decided again after others were faster; each of them got through meanwhile."""
REMEMBERED: Final = 16_384
"""Wallets, and keys, that a lane remembers at least."""
WARY_BATCHES: Final = 32
"""How long a lane reads what others may have changed, after a decision from memory was overtaken."""

_LOG = structlog.get_logger("pitboss.wallet")
_CONNECTION_LOST = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, TimeoutError)
_SHUTTING_DOWN = (asyncpg.CannotConnectNowError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError)


class _Overtaken(Exception):
    """What was read at different moments does not fit together, so that nothing could be decided on it."""


_OVERTAKEN = (asyncpg.DeadlockDetectedError, asyncpg.UniqueViolationError, asyncpg.SerializationError, _Overtaken)

_RESOLVING: Final = (Op.CAPTURE, Op.VOID)
Pair = tuple[int, int]
Key = tuple[int, int, bytes]
Told = Callable[[WalletResult | None], None]
"""Is called once with the decision; None says that the request could not be carried out and may be sent again."""
_Waiting = tuple[WalletRequest, Told, float]


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

    def queue(self, request: WalletRequest, told: Told) -> None:
        """Queue a request; raise `LanesBusy` when the queue is full or the lane is closing."""
        if self._closing or len(self._queue) >= MAX_QUEUE:
            raise LanesBusy("too many calls are waiting")
        self._queue.append((request, told, monotonic_seconds()))
        if not self._wake.is_set():
            self._wake.set()

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
        results: Sequence[WalletResult | None]
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
            results = [None] * len(batch)
        # The next batch leaves for the server first: answers are written while it works.
        asyncio.get_running_loop().call_soon(_tell, batch, results)

    async def _post_surely(self, requests: Sequence[WalletRequest]) -> list[WalletResult]:
        """Post until the outcome is known, over as many connections as it takes."""
        lost = overtaken = 0
        while True:
            try:
                return await self._poster.post(requests)
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


def _tell(batch: Sequence[_Waiting], results: Sequence[WalletResult | None]) -> None:
    for (_, told, _), result in zip(batch, results, strict=True):
        try:
            told(result)
        except Exception as error:  # noqa: BLE001 - one listener's fault is not its neighbours'
            _LOG.exception("wallet.answer_failed", error_type=type(error).__name__)


class LaneStore(Protocol):
    """A lane's way to the database; `platform.db.LaneConnection` is it."""

    async def prepare(self, tenant_ids: frozenset[int]) -> None:
        """Be ready to read and write under these tenants."""
        ...

    async def read(self, parts: Sequence[ReadPart]) -> list[str]:
        """Read several parts at one moment."""
        ...

    async def write(self, parts: Sequence[WritePart]) -> None:
        """Write several parts, all or nothing."""
        ...

    def drop(self) -> None:
        """Let go of a connection that broke."""
        ...

    async def close(self) -> None:
        """Let go of the connection in order."""
        ...


class DatabasePoster:
    """Posts batches to PostgreSQL on a connection of its own, and remembers what it wrote.

    What is remembered of a wallet is true as long as the wallet stands at the remembered version, and the statement
    that writes checks just that; keys never change but for being reversed, which takes a version as well.
    """

    def __init__(
        self,
        number: int,
        store: LaneStore,
        *,
        spend_orders: Mapping[int, SpendOrder] | None = None,
        zones: Mapping[int, str] | None = None,
    ) -> None:
        self._number = number
        self._store = store
        self._spend_orders: Mapping[int, SpendOrder] = {} if spend_orders is None else spend_orders
        self._zones = zones
        self._next_batch_id = 0
        self._block_end = 0
        self._wallets: Memory[Pair, WalletState] = Memory(REMEMBERED)
        self._keys: Memory[Key, KnownKey] = Memory(REMEMBERED)
        self._rooms: dict[Companion, RoomMemory] = {}
        self._wary_for = 0

    def drop(self) -> None:
        """Let go of a connection that broke, and of all that was learnt over it."""
        self._store.drop()
        self._wallets.clear()
        self._keys.clear()
        for room in self._rooms.values():
            room.clear()

    async def close(self) -> None:
        """Let go of the connection in order."""
        await self._store.close()

    async def post(self, requests: Sequence[WalletRequest]) -> list[WalletResult]:
        """Read, decide and write; raise when the batch did not happen, or when nobody can tell."""
        await self._store.prepare(frozenset([request.tenant_id for request in requests]))
        if self._next_batch_id == self._block_end:
            block = int((await self._store.read([ledger.NEXT_BLOCK]))[0])
            self._next_batch_id, self._block_end = block * BLOCK, (block + 1) * BLOCK
        facts: BatchFacts | None = None
        try:
            facts, remembered = await self._gather(requests)
            walk = BatchWalk(facts)
            try:
                results = [walk.decide(request) for request in requests]
            except Exception as error:
                raise (_Overtaken() if remembered else error) from error
            parts = ledger.plan_post(self._next_batch_id, self._number, walk.posting)
            for book in facts.books.values():
                parts += book.plan()
            relied = [pair for pair in remembered if pair not in walk.touched]
            if relied:
                parts.append(ledger.plan_standing([(*pair, facts.wallets[pair].version) for pair in relied]))
            supposed = [] if self._wary_for else _find_supposed(requests, results, facts)
            if supposed:
                parts.append(ledger.plan_new(supposed))
            if parts:
                self._next_batch_id += 1
                await self._store.write(parts)
        except BaseException:
            self._forget(requests, facts)
            raise
        self._remember(facts)
        return results

    async def _gather(self, requests: Sequence[WalletRequest]) -> tuple[BatchFacts, list[Pair]]:
        """Return what the decisions depend on, and which wallets among it may have moved since."""
        trusting = not self._wary_for
        wallets: dict[Pair, WalletState] = {}
        known: dict[Key, KnownKey] = {}
        missing: dict[Pair, None] = {}
        wanted: dict[Key, None] = {}
        held: dict[Key, None] = {}
        by_companion: dict[Companion, list[WalletRequest]] = {}
        awarded: set[Pair] = set()
        for request in requests:
            tenant_id, source_id = request.tenant_id, request.source_id
            pair = (tenant_id, request.wallet_id)
            if pair not in wallets and pair not in missing:
                state = self._wallets.get(pair) if trusting else None
                if state is None:
                    missing[pair] = None
                else:
                    wallets[pair] = state
            for leg in request.legs:
                key = (tenant_id, source_id, leg.key)
                found = self._keys.get(key)
                if found is not None:
                    known[key] = found
                elif not trusting:
                    wanted[key] = None
                if leg.reverses is not None:
                    key = (tenant_id, source_id, leg.reverses)
                    found = self._keys.get(key)
                    if found is not None:
                        known[key] = found
                    else:
                        wanted[key] = None
                    if leg.op in _RESOLVING:
                        held[key] = None
            if request.companion is not None:
                by_companion.setdefault(request.companion, []).append(request)
            elif any(leg.op is Op.AWARD for leg in request.legs):
                awarded.add(pair)
        remembered = list(wallets)
        facts = BatchFacts(wallets, known, epoch_microseconds(), {}, spend_orders=self._spend_orders)
        await self._read(facts, missing, list(wanted), list(held), by_companion)
        if marked := [
            pair for pair, wallet in facts.wallets.items() if wallet.has_awards or wallet.has_limits or pair in awarded
        ]:
            await self._read_rare(facts, marked)
            # They were read at two moments, and what is decided on them must be true at one.
            remembered += [pair for pair in marked if pair in missing]
        return facts, remembered

    async def _read(
        self,
        facts: BatchFacts,
        missing: Mapping[Pair, None],
        wanted: list[Key],
        held: list[Key],
        by_companion: Mapping[Companion, list[WalletRequest]],
    ) -> None:
        """Read what memory does not know, in one journey, and open the rooms' books."""
        parts: list[ReadPart] = []
        if missing:
            parts.append(ledger.ask_wallets(sorted(missing)))
        if wanted:
            parts.append(ledger.ask_keys(wanted))
        if held:
            parts.append(ledger.ask_holds(held))
        asked: list[tuple[Companion, RoomMemory, int]] = []
        for companion, its in by_companion.items():
            room = self._rooms.get(companion)
            if room is None:
                room = self._rooms[companion] = companion.make_memory()
            its_parts = room.ask(its, facts.wallets, trusting=not self._wary_for)
            asked.append((companion, room, len(its_parts)))
            parts += its_parts
        texts = await self._store.read(parts) if parts else []
        if missing:
            read = ledger.tell_wallets(texts.pop(0))
            if len(read) != len(missing):
                # Wallets never vanish; what hides one must not become a final answer.
                raise WalletNotFound(f"{len(missing) - len(read)} of {len(missing)} wallets are not to be seen")
            facts.wallets.update(read)
        if wanted:
            facts.known.update(ledger.tell_keys(wanted, texts.pop(0)))
        if held:
            facts.holds = ledger.tell_holds(texts.pop(0))
        for companion, room, count in asked:
            facts.books[companion] = room.open(by_companion[companion], facts.wallets, texts[:count])
            del texts[:count]

    async def _read_rare(self, facts: BatchFacts, marked: Sequence[Pair]) -> None:
        """Read awards and limits of the few wallets that are marked as having some."""
        pairs = sorted(marked)
        facts.days = self._find_days({pair[0] for pair in pairs})
        since = min(map(limits.compute_earliest_window, facts.days.values()), default=date.max)
        bookings = [
            (key[0], known.wallet_id, known.version)
            for key, known in facts.known.items()
            if known.outcome == Outcome.ACCEPTED and known.d_bonus
        ]
        awards, terms, entries, bounds, usage = await self._store.read(
            [
                ledger.ask_awards(pairs),
                bonus.ask_terms(pairs),
                ledger.ask_award_entries(bookings),
                limits.ask_limits(pairs),
                ledger.ask_usage(pairs, since),
            ]
        )
        facts.awards = ledger.tell_awards(awards)
        facts.terms = bonus.tell_terms(terms)
        facts.award_entries = ledger.tell_award_entries(entries)
        facts.limits = limits.tell_limits(bounds)
        facts.usage = ledger.tell_usage(usage)

    def _find_days(self, tenant_ids: set[int]) -> dict[int, date]:
        """Return the day that limits count in: of each tenant's licence, or of UTC where no zones were given at all."""
        now, zones = utc_now(), self._zones
        if zones is None:
            return dict.fromkeys(tenant_ids, now.date())
        return {tenant_id: compute_local_day(now, zones[tenant_id]) for tenant_id in tenant_ids if tenant_id in zones}

    def _remember(self, facts: BatchFacts) -> None:
        self._wallets.put_all(facts.wallets)
        self._keys.put_all(facts.known)
        for book in facts.books.values():
            book.settle(committed=True)
        if self._wary_for:
            self._wary_for -= 1

    def _forget(self, requests: Sequence[WalletRequest], facts: BatchFacts | None) -> None:
        """Remember nothing of a batch that failed, and trust little in the next ones: others may move these wallets."""
        for request in requests:
            self._wallets.forget((request.tenant_id, request.wallet_id))
            for leg in request.legs:
                self._keys.forget((request.tenant_id, request.source_id, leg.key))
                if leg.reverses is not None:
                    self._keys.forget((request.tenant_id, request.source_id, leg.reverses))
        for book in facts.books.values() if facts is not None else ():
            book.settle(committed=False)
        self._wary_for = WARY_BATCHES


def _find_supposed(requests: Sequence[WalletRequest], results: Sequence[WalletResult], facts: BatchFacts) -> list[Key]:
    """Return the keys of refused requests that were taken for new and are not written, which would prove it."""
    return [
        key
        for request, result in zip(requests, results, strict=True)
        if result.refusal is not None
        for leg in request.legs
        if (key := (request.tenant_id, request.source_id, leg.key)) not in facts.known
    ]


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
