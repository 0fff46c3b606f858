"""One lane's way to the ledger in memory, over a line that breaks; and who decided what, for the log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random
from typing import Any

import asyncpg
import msgspec
from tests.property.memory_ledger import TENANT, Entry, MemoryLedger, key_rows, round_names, table

from pitboss.games.store import rounds as rounds_store
from pitboss.kernel.statements import ReadPart, WritePart
from pitboss.ledger.store import posting
from pitboss.wallet.contracts import WalletRequest, WalletResult

_DECIDING: ContextVar[MemoryStore] = ContextVar("deciding")


@dataclass
class Decided:
    """What was read and decided for one batch, and when."""

    answers: list[tuple[WalletRequest, WalletResult]] = field(default_factory=list[tuple[WalletRequest, WalletResult]])
    at: int = 0
    seen_at: dict[int, int] = field(default_factory=dict[int, int])


@dataclass(frozen=True)
class Faults:
    """How often, of a hundred journeys, something goes wrong."""

    drop_before: int = 0
    drop_after: int = 0
    deadlock: int = 0
    slow: int = 0


def witness(walk: Any) -> Any:
    """Return a walk that tells the lane's store what it decided."""

    class Witnessed(walk):  # type: ignore[misc, valid-type]
        def decide(self, request: WalletRequest) -> WalletResult:
            try:
                result = super().decide(request)
            except BaseException:
                _DECIDING.get().forget()
                raise
            _DECIDING.get().note(request, result)
            return result

    return Witnessed


class MemoryStore:
    """A `LaneStore` that misbehaves."""

    def __init__(self, ledger: MemoryLedger, rng: Random, faults: Faults) -> None:
        self._ledger = ledger
        self._rng = rng
        self._faults = faults
        self._decided = Decided()
        self.calm = False
        self.refused = 0
        """How often the ledger would not take what was decided."""
        self.mishaps: list[Exception] = []
        """What happens to the next writes, before they reach the ledger."""

    def note(self, request: WalletRequest, result: WalletResult) -> None:
        """Take note of a decision."""
        if not self._decided.answers:
            self._decided.at = self._ledger.moment()
        self._decided.answers.append((request, msgspec.structs.replace(result, legs=tuple(result.legs))))

    def forget(self) -> None:
        """Forget what was decided in a batch that will not be written."""
        self._decided = Decided()

    def slow_down(self) -> None:
        """Take time over each journey from now on."""
        self._faults = Faults(slow=100)

    def read_clock(self) -> int:
        """Return the time of the ledger, in microseconds since 1970."""
        return self._ledger.now_us

    async def run(self, lane: Any) -> None:
        """Run the lane whose store this is."""
        _DECIDING.set(self)
        await lane.run()

    async def read(self, tenant_ids: frozenset[int], parts: Sequence[ReadPart]) -> list[str]:
        assert tenant_ids == {TENANT}
        fate = self._draw()
        await self._pause()
        self._lose(fate, self._faults.drop_before, "before anything was read")
        moment = self._ledger.moment()
        texts = [self._ledger.answer(part) for part in parts]
        for part in parts:
            if part.sql == posting._READ_WALLETS:
                self._decided.seen_at |= {wallet: moment for _, wallet in table(part.args, 2)}
        await self._pause()
        self._lose(fate - self._faults.drop_before, self._faults.drop_after, "after it was read")
        return texts

    async def write(self, tenant_ids: frozenset[int], parts: Sequence[WritePart]) -> None:
        """Check first and write later, as a statement does that waits for a lock in between.

        What was decided without writing anything took effect when it was read.
        """
        assert tenant_ids == {TENANT}
        decided, self._decided = self._decided, Decided()
        if not parts:
            self._settle(decided, [], -1, -1)
            return
        if self.mishaps:
            raise self.mishaps.pop()
        fate = self._draw()
        await self._pause()
        self._lose(fate, self._faults.drop_before, "before anything was written")
        fate -= self._faults.drop_before
        try:
            began = await self._carry_out(parts, fate)
        except (asyncpg.SerializationError, asyncpg.UniqueViolationError):
            self.refused += 1
            raise
        self._settle(decided, parts, began, self._ledger.moment())
        await self._pause()
        self._lose(fate - self._faults.deadlock, self._faults.drop_after, "after the commit")

    async def _carry_out(self, parts: Sequence[WritePart], fate: int) -> int:
        """Return the moment of the checks; everything else happens at once, a little later."""
        began = self._ledger.moment()
        if not all(self._ledger.holds_true(part) for part in parts if part.check):
            raise asyncpg.SerializationError("overtaken")
        await self._pause()
        # A game that is switched off in the very moment, or an award that ends in it, still counts in PostgreSQL; here
        # nobody can be that late.
        late = {rounds_store._GAMES_STAND, posting._NOT_ENDED}
        if not all(self._ledger.holds_true(part) for part in parts if part.check in late):
            raise asyncpg.SerializationError("overtaken")
        if 0 <= fate < self._faults.deadlock:
            raise asyncpg.DeadlockDetectedError("a deadlock")
        self._ledger.write(parts)
        return began

    def drop(self) -> None:
        self._decided = Decided()

    async def close(self) -> None:
        assert not self._decided.answers

    def _settle(self, decided: Decided, parts: Sequence[WritePart], began: int, committed: int) -> None:
        """Log what was decided at the moment at which it took effect.

        An answer on a wallet that moved, or in a round that changed, belongs to the commit; one on a wallet that was
        read for it belongs to that moment; one on a wallet that was remembered belongs to the check that it stands.
        """
        args = {part.sql or part.check: part.args for part in parts}
        moved = {wallet for _, wallet in table(args[posting._BOOK], 2)} if posting._BOOK in args else set[int]()
        checked = {row[1] for part in parts if part.check == posting._STILL_STANDS for row in table(part.args, 2)}
        changed = {name for part in parts for name in round_names(part)}
        owners = dict[tuple[int, int, bytes], int]()
        if kept := args.get(posting._KEEP_KEYS):
            owners = dict(zip(key_rows(kept), [row[0] for row in table(kept[3:], 1)], strict=True))
        for request, result in decided.answers:
            wallet, tenant = request.wallet_id, request.tenant_id
            keys = [(tenant, request.source_id, leg.key) for leg in request.legs]
            keys += [(tenant, request.source_id, leg.reverses) for leg in request.legs if leg.reverses is not None]
            strange = any(owners.get(key, wallet) != wallet for key in keys)
            if wallet in moved:
                at, loose = committed, False
            elif strange or (tenant, request.round_id, wallet) in changed:
                at, loose = committed, True
            else:
                at, loose = decided.seen_at.get(wallet, began if wallet in checked else decided.at), False
            self._ledger.log[at].append(Entry(request, result, loose=loose))
            if at < committed:
                self._ledger.in_flight += [(key, at, committed) for key in keys if key in owners]

    def _draw(self) -> int:
        drawn = self._rng.randrange(100)
        return 100 if self.calm else drawn

    @staticmethod
    def _lose(fate: int, share: int, when: str) -> None:
        if 0 <= fate < share:
            raise ConnectionResetError(when)

    async def _pause(self) -> None:
        if self._rng.randrange(100) < self._faults.slow:
            await asyncio.sleep(self._rng.randrange(1, 60) / 1000)
