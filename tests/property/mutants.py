"""Wrong versions of our own rules, made by changing one line: a suite that cannot see them proves nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.property.lane_simulator import Parts

import pitboss.wallet.runtime
from pitboss.wallet.rules import batch, movements

_FILES = {"batch": batch, "movements": movements, "lane": pitboss.wallet.runtime}


@dataclass(frozen=True)
class Mutant:
    """One line of one file, as it is and as it must not be."""

    name: str
    file: str
    old: str
    new: str

    def parts(self) -> Parts:
        """Return what to simulate with the change made."""
        changed = _change(_FILES[self.file], self.old, self.new)
        if self.file == "lane":
            return Parts(lane=changed["Lane"])
        if self.file == "batch":
            return Parts(walk=changed["BatchWalk"])
        mixed = _change(batch, "", "")
        mixed |= {name: value for name, value in changed.items() if name in mixed and callable(value)}
        return Parts(walk=mixed["BatchWalk"])


def _change(module: ModuleType, old: str, new: str) -> dict[str, Any]:
    assert module.__file__ is not None
    source = Path(module.__file__).read_text()
    assert not old or source.count(old) == 1, f"{old!r} stands {source.count(old)} times in {module.__name__}"
    names: dict[str, Any] = {"__name__": module.__name__}
    exec(compile(source.replace(old, new) if old else source, module.__file__, "exec"), names)  # noqa: S102
    return names


MUTANTS = (
    Mutant("content is not compared", "batch", "known.content_hash != leg.content_hash or ", ""),
    Mutant("a refusal is not remembered", "batch", "refused.refusal in STICKY", "False"),
    Mutant(
        "every refusal is remembered",
        "batch",
        "        if leg is not None and refused.refusal in STICKY:\n"
        "            number = REFUSAL_NUMBERS[refused.refusal]\n",
        "        if leg is not None:\n            number = REFUSAL_NUMBERS.get(refused.refusal, 1)\n",
    ),
    Mutant("no tombstone", "batch", "draft.known[target] = tombstone", "pass"),
    Mutant("a tombstone is taken for a booking", "batch", "if known.outcome == Outcome.TOMBSTONE:", "if False:"),
    Mutant(
        "a refused request keeps its bookings", "batch", "            del self.posting.bookings[first_booking:]\n", ""
    ),
    Mutant(
        "a refused request keeps its balance",
        "batch",
        "            wallet.version, wallet.real, wallet.bonus, wallet.held, wallet.debt = undo\n",
        "            wallet.version = undo[0]\n",
    ),
    Mutant("reversed twice", "batch", " or original.reversed_by:", ":"),
    Mutant(
        "reversed twice in one batch",
        "batch",
        "        draft.known[target] = msgspec.structs.replace(original, reversed_by=wallet.version)\n",
        "",
    ),
    Mutant("another round's bet is rolled back", "batch", "original.round_id != request.round_id", "False"),
    Mutant(
        "a capture leaves held as it is",
        "batch",
        "deltas = Deltas(0, 0, -amount_minor, 0)",
        "deltas = Deltas(0, 0, 0, 0)",
    ),
    Mutant("a hold is captured above its amount", "batch", " or amount_minor > open_minor:", ":"),
    Mutant("a void takes what was asked, not what is left", "batch", "open_minor if leg.op is Op.VOID else ", ""),
    Mutant("the house does not see it", "batch", "house.get(account, 0) + counter", "house.get(account, 0)"),
    Mutant(
        "blocked players bet",
        "batch",
        "not in self.facts.active_players:\n            raise _Refused(Refusal.PLAYER_BLOCKED, leg)\n        refusal",
        "in ():\n            raise _Refused(Refusal.PLAYER_BLOCKED, leg)\n        refusal",
    ),
    Mutant(
        "limits forget the batch", "batch", "self.facts.usage[full] = self.facts.usage.get(full, 0) + minor", "pass"
    ),
    Mutant("limits forget the request", "batch", "minor + max(0, draft.movement.get(kind, 0))", "minor"),
    Mutant("a rolled-back bet stays wagered", "batch", "if op in (Op.BET, Op.BET_ROLLBACK):", "if op is Op.BET:"),
    Mutant(
        "a bonus goes back to another award",
        "batch",
        "parts = [(number, -part) for number, part in entries]",
        "parts = [(max(mine), bonus)]",
    ),
    Mutant("a repeat tells today's balance", "batch", "told = known.answered_minor", "told = before"),
    Mutant("a repeat moves the round", "batch", "        if not draft.known:\n", "        if False:\n"),
    Mutant(
        "a bet spends what is held",
        "movements",
        "wallet.real + wallet.bonus < amount_minor",
        "wallet.real + wallet.bonus + wallet.held < amount_minor",
    ),
    Mutant("bonus is spent first by all", "movements", "if order is SpendOrder.REAL_FIRST:", "if False:"),
    Mutant("a credit does not repay debt", "movements", "repaid = min(wallet.debt, amount_minor)", "repaid = 0"),
    Mutant(
        "a win is split the other way round",
        "movements",
        "amount_minor * staked_bonus // staked",
        "amount_minor * staked_real // staked",
    ),
    Mutant(
        "the odd unit of a win is bonus",
        "movements",
        "amount_minor * staked_bonus // staked",
        "-(-amount_minor * staked_bonus // staked)",
    ),
    Mutant("a rolled-back win makes no debt", "movements", "debt + lacking)", "debt)"),
    Mutant("a rolled-back win digs below zero", "movements", "lacking = max(0, -(wallet.real + real))", "lacking = 0"),
    Mutant(
        "a hold sets nothing aside",
        "movements",
        "Deltas(-amount_minor, 0, amount_minor, 0)",
        "Deltas(-amount_minor, 0, 0, 0)",
    ),
    Mutant("an award pays more than it has", "movements", "part = min(remaining, amount_minor)", "part = amount_minor"),
    Mutant(
        "answers go to the wrong calls",
        "lane",
        "zip(batch, results, strict=True)",
        "zip(batch, reversed(results), strict=True)",
    ),
    Mutant("half of a broken batch is forgotten", "lane", "                await self._serve(batch[middle:])\n", ""),
    Mutant(
        "a batch is posted once more",
        "lane",
        "return await self._poster.post(requests)",
        "await self._poster.post(requests)\n                for leg in [leg for request in requests for leg in request.legs]:\n                    leg.key = leg.key[::-1]\n                return await self._poster.post(requests)",
    ),
    Mutant(
        "a lost connection counts as done",
        "lane",
        "                self._poster.drop()\n",
        "                self._poster.drop()\n                return [WalletResult(None, 0) for _ in requests]\n",
    ),
)
