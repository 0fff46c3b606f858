"""What carries a lane's batches to the database and back.

It reads what it does not remember, lets `rules` decide and writes in one statement, which is the transaction. The
statement fails where a decision was overtaken: where a wallet no longer stands at the version it was decided on, or a
key or round is there already; then the batch is decided again from what is read anew (ADR 0010).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final, Protocol

from pitboss.bonus import service as bonus
from pitboss.kernel.clock import epoch_microseconds, from_microseconds, to_microseconds, utc_now
from pitboss.kernel.statements import ReadPart, WritePart
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import KnownKey, Op, Outcome, WalletState
from pitboss.ledger.errors import WalletNotFound
from pitboss.limits import service as limits
from pitboss.platform.memory import Memory
from pitboss.policy.contracts import LicenceKey, PlayLaw
from pitboss.policy.service import compute_day_start, compute_local_day
from pitboss.wallet.contracts import Companion, RoomMemory, WalletRequest, WalletResult
from pitboss.wallet.rules import BatchFacts, BatchWalk
from pitboss.wallet.runtime.decisions import Decision, Overtaken, Pair

BLOCK: Final = 1000
"""Batch ids that one number of the sequence stands for."""
REMEMBERED: Final = 65_536
"""Wallets, and keys, that a lane remembers at least."""
WARY_BATCHES: Final = 32
"""How long a lane reads what others may have changed, after a decision from memory was overtaken."""

_RESOLVING: Final = (Op.CAPTURE, Op.VOID)
_UNDOABLE: Final = (Op.BET, Op.WIN)
Key = tuple[int, int, bytes]


class LaneStore(Protocol):
    """A lane's way to the database; `platform.db.LaneConnections` is it."""

    async def read(self, tenant_ids: frozenset[int], parts: Sequence[ReadPart]) -> list[str]:
        """Read several parts of these tenants at one moment, also while something is written."""
        ...

    async def write(self, tenant_ids: frozenset[int], parts: Sequence[WritePart]) -> None:
        """Write several parts of these tenants, all or nothing; without parts nothing happens."""
        ...

    def drop(self) -> None:
        """Let go of a connection that broke."""
        ...

    async def close(self) -> None:
        """Let go of the connection in order."""
        ...


class DatabasePoster:
    """Posts batches to PostgreSQL and remembers what it wrote, or is about to write.

    What is remembered of a wallet is true as long as the wallet stands at the remembered version, and the statement
    that writes checks just that; keys never change but for being reversed, which takes a version as well.
    """

    def __init__(
        self,
        number: int,
        store: LaneStore,
        *,
        laws: Mapping[LicenceKey, PlayLaw] | None = None,
    ) -> None:
        self._number = number
        self._store = store
        self._laws = laws
        self._next_batch_id = 0
        self._block_end = 0
        self._wallets: Memory[Pair, WalletState] = Memory(REMEMBERED)
        self._keys: Memory[Key, KnownKey] = Memory(REMEMBERED)
        self._rooms: dict[Companion, RoomMemory] = {}
        self._wary_for = 0
        self._ahead: list[Decision] = []
        self._forgotten = 0

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

    async def decide(self, requests: Sequence[WalletRequest]) -> Decision:
        """Read what is not remembered and decide; `write` is to come, in the order of decisions, or `forget`."""
        tenant_ids = frozenset([request.tenant_id for request in requests])
        if self._wary_for:
            await self._wait_for(self._ahead)
        forgotten = self._forgotten
        if self._next_batch_id == self._block_end:
            block = int((await self._store.read(tenant_ids, [ledger.NEXT_BLOCK]))[0])
            self._next_batch_id, self._block_end = block * BLOCK, (block + 1) * BLOCK
        facts: BatchFacts | None = None
        try:
            facts, remembered = await self._gather(tenant_ids, requests)
            if self._forgotten != forgotten:
                raise Overtaken  # what this was to be decided on did not come about
            walk = BatchWalk(facts)
            try:
                results = [walk.decide(request) for request in requests]
            except Exception as error:
                raise (Overtaken() if remembered else error) from error
            parts = self._plan(requests, facts, remembered, walk, results)
        except BaseException:
            self._forget(requests, facts)
            raise
        self._remember(facts)
        decision = Decision(tenant_ids, requests, facts, results, parts, walk.touched.keys())
        self._ahead.append(decision)
        return decision

    def _plan(
        self,
        requests: Sequence[WalletRequest],
        facts: BatchFacts,
        remembered: Sequence[Pair],
        walk: BatchWalk,
        results: Sequence[WalletResult],
    ) -> list[WritePart]:
        """Return the parts that write what was decided, and check what it was decided on."""
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
        return parts

    async def write(self, decision: Decision) -> None:
        """Write what was decided; raise when it did not happen, or when nobody can tell."""
        try:
            await self._store.write(decision.tenant_ids, decision.parts)
        except BaseException:
            self.forget(decision)
            raise
        self._ahead.remove(decision)
        decision.landed.set()

    def forget(self, decision: Decision) -> None:
        """Let go of a decision, and of all that is remembered because of it."""
        self._ahead.remove(decision)
        self._forget(decision.requests, decision.facts)
        decision.landed.set()

    async def _wait_for(self, ahead: Sequence[Decision]) -> None:
        """Wait until decisions are written, and raise `Overtaken` when one was not."""
        forgotten = self._forgotten
        for decision in tuple(ahead):
            await decision.landed.wait()
        if self._forgotten != forgotten:
            raise Overtaken

    async def _gather(
        self, tenant_ids: frozenset[int], requests: Sequence[WalletRequest]
    ) -> tuple[BatchFacts, list[Pair]]:
        """Return what the decisions depend on, and which wallets among it may have moved since."""
        trusting = not self._wary_for
        wallets: dict[Pair, WalletState] = {}
        known: dict[Key, KnownKey] = {}
        missing: dict[Pair, None] = {}
        wanted: dict[Key, None] = {}
        held: dict[Key, Pair] = {}
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
                        held[key] = pair
            if request.companion is not None:
                by_companion.setdefault(request.companion, []).append(request)
            elif any(leg.op is Op.AWARD for leg in request.legs):
                awarded.add(pair)
        remembered = list(wallets)
        if self._ahead:
            # Holds, awards and limits are not remembered: what a batch under way does to them must be there to read.
            rare = {pair for pair, wallet in wallets.items() if wallet.has_awards or wallet.has_limits}
            rare.update(held.values())
            if rare:
                await self._wait_for([decision for decision in self._ahead if not rare.isdisjoint(decision.moves)])
        facts = BatchFacts(wallets, known, epoch_microseconds(), {}, laws=self._laws)
        await self._read(tenant_ids, facts, missing, list(wanted), list(held), by_companion)
        if marked := [
            pair for pair, wallet in facts.wallets.items() if wallet.has_awards or wallet.has_limits or pair in awarded
        ]:
            await self._read_rare(tenant_ids, facts, marked)
            # They were read at two moments, and what is decided on them must be true at one.
            remembered += [pair for pair in marked if pair in missing]
        return facts, remembered

    async def _read(
        self,
        tenant_ids: frozenset[int],
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
        texts = await self._store.read(tenant_ids, parts) if parts else []
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

    async def _read_rare(self, tenant_ids: frozenset[int], facts: BatchFacts, marked: Sequence[Pair]) -> None:
        """Read awards and limits of the few wallets that are marked as having some."""
        pairs = sorted(marked)
        now = utc_now()
        licences = {(pair[0], facts.wallets[pair].licence) for pair in pairs}
        zones = {licence: zone for licence in licences if (zone := self._find_zone(licence)) is not None}
        facts.days = {licence: compute_local_day(now, zone) for licence, zone in zones.items()}
        facts.day_ends_us = {
            licence: to_microseconds(compute_day_start(day + timedelta(days=1), zones[licence]))
            for licence, day in facts.days.items()
        }
        since = min(map(limits.compute_earliest_window, facts.days.values()), default=date.max)
        bookings = [
            (key[0], known.wallet_id, known.version)
            for key, known in facts.known.items()
            if known.outcome == Outcome.ACCEPTED and known.d_bonus
        ]
        undoable = [
            (key[0], known.wallet_id, known.version)
            for key, known in facts.known.items()
            if known.outcome == Outcome.ACCEPTED
            and known.op in _UNDOABLE
            and (key[0], known.wallet_id) in facts.wallets
            and facts.wallets[key[0], known.wallet_id].has_limits
        ]
        awards, terms, entries, bounds, usage, times = await self._store.read(
            tenant_ids,
            [
                ledger.ask_awards(pairs),
                bonus.ask_terms(pairs),
                ledger.ask_award_entries(bookings),
                limits.ask_limits(pairs),
                ledger.ask_usage(pairs, since, min(facts.days.values(), default=date.max)),
                ledger.ask_times(undoable),
            ],
        )
        facts.awards = ledger.tell_awards(awards)
        facts.terms = bonus.tell_terms(terms)
        facts.award_entries = ledger.tell_award_entries(entries)
        facts.limits = limits.tell_limits(bounds)
        facts.usage = ledger.tell_usage(usage)
        facts.counted_on = {
            booking: compute_local_day(from_microseconds(moment_us), zone)
            for booking, moment_us in ledger.tell_times(times).items()
            if (zone := zones.get((booking[0], facts.wallets[booking[:2]].licence))) is not None
        }

    def _find_zone(self, licence: LicenceKey) -> str | None:
        """Return the time zone that limits count days in: of the player's licence, UTC where nobody gave laws."""
        if self._laws is None:
            return "UTC"
        law = self._laws.get(licence)
        return None if law is None else law.time_zone

    def _remember(self, facts: BatchFacts) -> None:
        self._wallets.put_all(facts.wallets)
        self._keys.put_all(facts.known)
        for book in facts.books.values():
            book.settle(stands=True)
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
            book.settle(stands=False)
        self._forgotten += 1
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
