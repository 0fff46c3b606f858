"""A ledger in memory that a lane posts to: it locks, loads, lets the real rules decide, commits, and misbehaves.

It has what a database gives at least (locks, one key once, all or nothing) and none of the guards beyond, so
that a wrong decision is seen and not repaired.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from random import Random
from typing import Any

import asyncpg
import msgspec

from pitboss.games.contracts import RoundFacts
from pitboss.games.runtime import RoundBook
from pitboss.ledger.contracts import KnownKey, Op, OpenAward, OpenHold, Outcome, PostingBatch, WalletState
from pitboss.limits.contracts import Limit
from pitboss.wallet.contracts import WalletRequest, WalletResult
from pitboss.wallet.rules import BatchFacts, BatchWalk, SpendOrder

TENANT = 1
TODAY = date(2026, 11, 20)
Triple = tuple[int, int, int]


class Poisoned(RuntimeError):
    """What the server raises on a request that it cannot carry out."""


@dataclass(frozen=True)
class Faults:
    """How often, of a hundred posts, something goes wrong."""

    drop_before: int = 0
    drop_after: int = 0
    deadlock: int = 0
    slow: int = 0


@dataclass
class MemoryLedger:
    """Committed state, and the log of what was committed in which order."""

    wallets: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    journal: dict[tuple[int, int], tuple[Any, ...]] = field(default_factory=dict[tuple[int, int], tuple[Any, ...]])
    keys: dict[tuple[int, int, bytes], tuple[Any, ...]] = field(default_factory=dict)
    holds: dict[Triple, OpenHold] = field(default_factory=dict[Triple, OpenHold])
    awards: dict[Triple, OpenAward] = field(default_factory=dict[Triple, OpenAward])
    award_entries: dict[Triple, list[tuple[int, int]]] = field(default_factory=dict)
    usage: dict[tuple[int, int, int, int, date], int] = field(default_factory=dict)
    house: dict[int, int] = field(default_factory=dict[int, int])
    rounds: dict[Any, RoundFacts] = field(default_factory=dict[Any, RoundFacts])
    limits: dict[tuple[int, int], list[Limit]] = field(default_factory=dict)
    blocked: set[int] = field(default_factory=set[int])
    spend_orders: dict[int, SpendOrder] = field(default_factory=dict[int, SpendOrder])
    reversed: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    log: list[tuple[WalletRequest, WalletResult]] = field(default_factory=list[tuple[WalletRequest, WalletResult]])
    locks: dict[int, asyncio.Lock] = field(default_factory=dict[int, asyncio.Lock])

    def load(self, requests: Sequence[WalletRequest]) -> BatchFacts:
        """Return what a lane reads once it holds the locks, as copies."""
        states: dict[tuple[int, int], WalletState] = {}
        for wallet in sorted({request.wallet_id for request in requests}):
            version, real, bonus, held, debt = self.wallets[wallet]
            has_awards = any(name[1] == wallet for name in self.awards)
            states[TENANT, wallet] = WalletState(
                TENANT, wallet, wallet, version, real, bonus, held, debt, version, has_awards
            )
        known: dict[tuple[int, int, bytes], KnownKey] = {}
        for request in requests:
            for leg in request.legs:
                for key in (leg.key, leg.reverses):
                    if key is not None and (TENANT, request.source_id, key) in self.keys:
                        known[TENANT, request.source_id, key] = self._known((TENANT, request.source_id, key))
        facts = BatchFacts(
            states,
            known,
            {(TENANT, wallet) for wallet in self.wallets if wallet not in self.blocked},
            TODAY,
            self._books(requests),
            spend_orders=self.spend_orders,
        )
        facts.limits = {pair: self.limits[pair] for pair in states if pair in self.limits}
        facts.usage = {name: used for name, used in self.usage.items() if name[:2] in facts.limits}
        facts.awards = {n: msgspec.structs.replace(award) for n, award in self.awards.items() if n[:2] in states}
        for key in known.values():
            name = (TENANT, key.wallet_id, key.version)
            if key.d_bonus and name in self.award_entries:
                facts.award_entries[name] = list(self.award_entries[name])
            if key.op == Op.HOLD:
                facts.holds[name] = msgspec.structs.replace(self.holds[name])
        return facts

    def _known(self, key: tuple[int, int, bytes]) -> KnownKey:
        wallet, content, outcome, refusal, version, told = self.keys[key]
        if outcome != Outcome.ACCEPTED:
            return KnownKey(wallet, content, outcome, refusal, version, told)
        row = self.journal[wallet, version]
        back = self.reversed.get((wallet, version), 0)
        d_real, d_bonus, d_held, d_debt = row[6:10]
        booked = (row[3], row[4], d_real, d_bonus, d_held, d_debt, row[14], back)
        return KnownKey(wallet, content, outcome, refusal, version, told, *booked)

    def _books(self, requests: Sequence[WalletRequest]) -> dict[Any, RoundBook]:
        mine: dict[Any, list[WalletRequest]] = {}
        for request in requests:
            if request.companion is not None:
                mine.setdefault(request.companion, []).append(request)
        return {companion: RoundBook(its, [self._round(request) for request in its]) for companion, its in mine.items()}

    def _round(self, request: WalletRequest) -> RoundFacts:
        stored = self.rounds.get((TENANT, request.round_id, request.wallet_id))
        facts = RoundFacts(True, True, 1, False) if stored is None else msgspec.structs.replace(stored, dirty=False)
        facts.game_ok = request.subject.game == "dice"
        return facts

    def commit(self, posting: PostingBatch, moved: Sequence[WalletState], books: Sequence[Any]) -> None:
        """Write a batch whole, or raise and write nothing."""
        for row in posting.keys:
            if row[:3] in self.keys:
                raise asyncpg.UniqueViolationError("call_key")
        for state in moved:
            if self.wallets[state.wallet_id][0] != state.version_before:
                raise Poisoned("a wallet moved while it was locked")
            self.wallets[state.wallet_id] = [state.version, state.real, state.bonus, state.held, state.debt]
        for row in posting.bookings:
            if (row[1], row[2]) in self.journal:
                raise AssertionError(f"journal row {row[1]}/{row[2]} twice")
            self.journal[row[1], row[2]] = row
            if row[16] is not None:
                self.reversed[row[1], row[16]] = row[2]
        for row in posting.keys:
            self.keys[row[:3]] = row[3:]
        for (_, account), delta in posting.house.items():
            self.house[account] = self.house.get(account, 0) + delta
        self._commit_rare(posting)
        for book in books:
            for name, (_, _, _, facts) in book._changed.items():
                self.rounds[name] = msgspec.structs.replace(facts)

    def _commit_rare(self, posting: PostingBatch) -> None:
        for tenant, wallet, version, amount, expires_at in posting.new_holds:
            self.holds[tenant, wallet, version] = OpenHold(version, amount, 0, 0, expires_at)
        for name, hold in posting.holds.items():
            stored = self.holds[name]
            stored.captured, stored.released = hold.captured, hold.released
        for tenant, wallet, version, granted in posting.new_awards:
            self.awards[tenant, wallet, version] = OpenAward(version, granted, 0)
        for name, award in posting.awards.items():
            stored_award = self.awards[name]
            stored_award.remaining, stored_award.wagered = award.remaining, award.wagered
        for tenant, wallet, version, granted, part in posting.award_entries:
            self.award_entries.setdefault((tenant, wallet, version), []).append((granted, part))
        for window, used in posting.usage.items():
            self.usage[window] = self.usage.get(window, 0) + used


class FaultyPoster:
    """One lane's way to the ledger in memory, over a line that breaks."""

    def __init__(
        self, ledger: MemoryLedger, rng: Random, faults: Faults, walk: Callable[[BatchFacts], Any] = BatchWalk
    ) -> None:
        self._ledger = ledger
        self._rng = rng
        self._faults = faults
        self._walk = walk
        self.calm = False

    def drop(self) -> None:
        """Nothing is kept between posts."""

    async def close(self) -> None:
        """Nothing is kept between posts."""

    async def post(self, requests: Sequence[WalletRequest]) -> list[WalletResult]:
        """Do what `DatabasePoster` does, in memory."""
        faults, drawn = self._faults, self._rng.randrange(100)
        if self.calm:
            drawn = 100
        await self._pause()
        if drawn < faults.drop_before:
            raise ConnectionResetError("before anything was sent")
        drawn -= faults.drop_before
        ledger = self._ledger
        held = [ledger.locks[wallet] for wallet in sorted({request.wallet_id for request in requests})]
        for lock in held:
            await lock.acquire()
        try:
            if drawn < faults.deadlock:
                raise asyncpg.DeadlockDetectedError("a deadlock")
            drawn -= faults.deadlock
            facts = ledger.load(requests)
            await self._pause()
            if any(leg.reference.startswith("poison") for request in requests for leg in request.legs):
                raise Poisoned("a value that the server does not take")
            walk = self._walk(facts)
            results = [walk.decide(request) for request in requests]
            await self._pause()
            ledger.commit(walk.posting, list(walk.touched.values()), list(facts.books.values()))
            ledger.log += [(request, _copy(result)) for request, result in zip(requests, results, strict=True)]
        finally:
            for lock in reversed(held):
                lock.release()
        if drawn < faults.drop_after:
            raise asyncpg.ConnectionDoesNotExistError("after the commit")
        return results

    async def _pause(self) -> None:
        if self._rng.randrange(100) < self._faults.slow:
            await asyncio.sleep(self._rng.randrange(1, 60) / 1000)


def _copy(result: WalletResult) -> WalletResult:
    return msgspec.structs.replace(result, legs=tuple(result.legs))
