"""Wrong versions of our own rules, made by changing one line: a suite that cannot see them proves nothing."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tests.property.lane_simulator import Parts, execute

from pitboss.games import runtime as games_runtime
from pitboss.wallet.rules import awards, batch, movements
from pitboss.wallet.runtime import lanes, poster

_FILES = {
    "awards": awards,
    "batch": batch,
    "movements": movements,
    "lane": lanes,
    "poster": poster,
    "rounds": games_runtime,
}


@dataclass(frozen=True)
class Mutant:
    """One place of one file, as it is and as it must not be."""

    name: str
    file: str
    old: str
    new: str

    def parts(self) -> Parts:
        """Return what to simulate with the change made."""
        changed = execute(_FILES[self.file], self.old, self.new)
        if self.file == "lane":
            return Parts(lanes=changed)
        if self.file == "poster":
            return Parts(poster=changed)
        if self.file == "rounds":
            return Parts(rounds=changed)
        if self.file == "batch":
            return Parts(walk=changed["BatchWalk"])
        # Its classes stay the ones that everybody else has: a second enumeration is equal to nothing.
        changed |= {name: vars(_FILES[self.file])[name] for name, value in changed.items() if isinstance(value, type)}
        if self.file == "movements":
            changed |= _mix(awards, changed)
        return Parts(walk=_mix(batch, changed)["BatchWalk"])


def _mix(module: ModuleType, changed: dict[str, Any]) -> dict[str, Any]:
    """Return the names of a module that was run once more and calls the changed functions."""
    mixed = execute(module)
    mixed |= {name: value for name, value in changed.items() if name in mixed and callable(value)}
    return mixed


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
        "        draft.known[target] = msgspec.structs.replace(original, reversed_by=draft.results[-1].version)\n",
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
        "        if not wallet.is_open or wallet.closed_until_us > self.facts.now_us:\n"
        "            raise _Refused(Refusal.PLAYER_BLOCKED, leg)\n        refusal",
        "        if wallet.closed_until_us > self.facts.now_us:\n"
        "            raise _Refused(Refusal.PLAYER_BLOCKED, leg)\n        refusal",
    ),
    Mutant(
        "limits forget the batch", "batch", "self.facts.usage[full] = self.facts.usage.get(full, 0) + minor", "pass"
    ),
    Mutant("limits forget the request", "batch", "minor + max(0, draft.movement.get(kind, 0))", "minor"),
    Mutant("a rolled-back bet stays wagered", "awards", "if op in (Op.BET, Op.BET_ROLLBACK):", "if op is Op.BET:"),
    Mutant(
        "a bonus goes back to another award",
        "awards",
        "parts = [(number, -part) for number, part in entries]",
        "parts = [(max(mine), bonus)]",
    ),
    Mutant(
        "money of an award that has ended is there",
        "batch",
        "        if wallet.has_awards:\n            self._look_at_awards(wallet)\n",
        "",
    ),
    Mutant(
        "what was decided before the end of an award is booked after it",
        "awards",
        "posting.right_before_us = min(terms.ends_at_us, posting.right_before_us or terms.ends_at_us)",
        "pass",
    ),
    Mutant("what was wagered stays bonus money", "awards", "if fate is Fate.BECOMES_REAL:", "if False:"),
    Mutant("what is left of an award is kept for ever", "awards", "elif fate is Fate.IS_TAKEN_BACK:", "elif False:"),
    Mutant(
        "money comes back to an award that has ended",
        "batch",
        "            settle_awards(self.facts, self.posting, wallet, draft)\n        elif",
        "            pass\n        elif",
    ),
    Mutant(
        "what becomes real does not repay debt",
        "awards",
        "compute_credit(wallet, award.remaining)._replace(bonus=-award.remaining)",
        "Deltas(award.remaining, -award.remaining, 0, 0)",
    ),
    Mutant("a win goes to an award that has ended", "awards", "max(going_on or mine)", "max(mine)"),
    Mutant("awards have no terms", "poster", "        facts.terms = bonus.tell_terms(terms)\n", ""),
    Mutant("an award that is given now has no terms", "poster", "awarded.add(pair)", "pass"),
    Mutant(
        "who is excluded gets an award",
        "batch",
        "            if not wallet.is_open or wallet.closed_until_us > self.facts.now_us:\n"
        "                raise _Refused(Refusal.PLAYER_BLOCKED, leg)\n            deltas = Deltas(0, leg.amount_minor, 0, 0)",
        "            deltas = Deltas(0, leg.amount_minor, 0, 0)",
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
    Mutant(
        "half of a broken batch is forgotten", "lane", "                await self._serve_alone(batch[middle:])\n", ""
    ),
    Mutant(
        "a batch is posted once more",
        "lane",
        "return await self._post(requests)",
        "await self._post(requests)\n                for leg in [leg for request in requests for leg in request.legs]:\n                    leg.key = leg.key[::-1]\n                return await self._post(requests)",
    ),
    Mutant(
        "a lost connection counts as done",
        "lane",
        "                self._poster.drop()\n",
        "                self._poster.drop()\n                return [WalletResult(None, 0) for _ in requests]\n",
    ),
    Mutant(
        "a hold cannot be resolved by the request that opens it",
        "batch",
        "        draft.holds[name] = OpenHold(wallet.version, leg.amount_minor, 0, 0, leg.expires_at)\n",
        "",
    ),
    Mutant("an award is not seen by the next batch", "awards", "        wallet.has_awards = True\n", ""),
    Mutant("wallets need not stand", "poster", "        if relied:\n", "        if False:\n"),
    Mutant(
        "keys of a failed batch are known",
        "poster",
        "        for book in facts.books.values() if facts is not None else ():\n",
        "        self._keys.put_all(facts.known if facts is not None else {})\n"
        "        for book in facts.books.values() if facts is not None else ():\n",
    ),
    Mutant(
        "sessions outlive a change of their wallet",
        "poster",
        "            facts.wallets.update(read)\n",
        "            for pair, wallet in read.items():\n"
        "                wallet.notes = self._notes.setdefault(pair, {}) if hasattr(self, '_notes') else wallet.notes\n"
        "                self._notes = getattr(self, '_notes', {pair: wallet.notes})\n"
        "            facts.wallets.update(read)\n",
    ),
    Mutant("nothing makes a lane wary", "poster", "self._wary_for = WARY_BATCHES", "self._wary_for = 0"),
    Mutant("a wary lane takes its keys for new", "poster", "elif not trusting:", "elif False:"),
    Mutant(
        "what refused requests took for new is not checked",
        "poster",
        "        if supposed:\n",
        "        if False:\n",
    ),
    Mutant(
        "wallets read at two moments need not stand",
        "poster",
        "for pair in marked if pair in missing]",
        "for pair in ()]",
    ),
    Mutant("a batch id is used twice", "poster", "            self._next_batch_id += 1\n", "            pass\n"),
    Mutant(
        "a batch that was not written is answered",
        "lane",
        "            await self._serve_again(batch, lost=isinstance(error, (*_CONNECTION_LOST, *_SHUTTING_DOWN)))\n",
        "            _tell_soon(batch, decision.results)\n",
    ),
    Mutant(
        "an answer leaves before the commit",
        "lane",
        "            await self._poster.write(decision)\n        except",
        "            _tell_soon(batch, decision.results)\n            await self._poster.write(decision)\n        except",
    ),
    Mutant(
        "a decision outlives the one it was made on",
        "lane",
        "            self._poster.forget(ahead[1])\n",
        "            pass\n",
    ),
    Mutant(
        "what was decided ahead is never served",
        "lane",
        "            await self._serve_alone(ahead[0])\n",
        "            pass\n",
    ),
    Mutant(
        "awards and limits are read while they change",
        "poster",
        "for pair, wallet in wallets.items() if wallet.has_awards or wallet.has_limits}\n            rare",
        "for pair in ()}\n            rare",
    ),
    Mutant(
        "stale keys are kept after a failure",
        "poster",
        "self._keys.forget((request.tenant_id, request.source_id, leg.reverses))",
        "pass",
    ),
    Mutant("games need not be as remembered", "rounds", "        if self._played:\n", "        if False:\n"),
    Mutant(
        "excluded players bet",
        "batch",
        "        if not wallet.is_open or wallet.closed_until_us > self.facts.now_us:\n"
        "            raise _Refused(Refusal.PLAYER_BLOCKED, leg)\n        refusal",
        "        if not wallet.is_open:\n            raise _Refused(Refusal.PLAYER_BLOCKED, leg)\n        refusal",
    ),
    Mutant(
        "rounds need not be as they were looked at",
        "rounds",
        "return [*parts, plan_seen(others)] if others else parts",
        "return parts",
    ),
)

IMPATIENT = (
    Mutant("holds are read while they change", "poster", "            rare.update(held.values())\n", ""),
    Mutant(
        "wallets are remembered after a failure",
        "poster",
        "            self._wallets.forget((request.tenant_id, request.wallet_id))\n",
        "",
    ),
    Mutant("rounds of a failed batch are remembered", "rounds", "if committed and facts.exists:", "if facts.exists:"),
    Mutant(
        "rounds are trusted after a failure",
        "rounds",
        "self._rounds.get(round_name) if trusting else None",
        "self._rounds.get(round_name)",
    ),
    Mutant(
        "wallets outlive a lost connection",
        "poster",
        "        self._store.drop()\n        self._wallets.clear()\n",
        "        self._store.drop()\n",
    ),
    Mutant(
        "wallets are trusted after a failure",
        "poster",
        "self._wallets.get(pair) if trusting else None",
        "self._wallets.get(pair)",
    ),
)
"""What only costs patience: the database refuses what follows from it, and somebody has to send it again."""
