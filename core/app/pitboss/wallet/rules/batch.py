"""Walk a batch: replay, misuse, refusal by precedence, tombstone, or acceptance with its split."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pitboss.ledger.contracts import (
    KnownKey,
    Op,
    OpenHold,
    Outcome,
    PostingBatch,
    WalletState,
)
from pitboss.limits.contracts import LimitKind
from pitboss.limits.rules import compute_usage, decide_limits, name_window
from pitboss.policy.contracts import PlayLaw, SpendOrder
from pitboss.wallet.contracts import BatchBook, LegRequest, LegResult, WalletRequest, WalletResult
from pitboss.wallet.rules.awards import move_awards, settle_awards
from pitboss.wallet.rules.draft import BatchFacts, Draft, FullKey, Pair
from pitboss.wallet.rules.movements import (
    Deltas,
    compute_credit,
    compute_movement,
    compute_rollback,
    compute_win,
    decide_bet,
    decide_hold,
)
from pitboss_sdk.games import STICKY, Refusal
from pitboss_sdk.money import MAX_MINOR

__all__ = ["BatchFacts", "BatchWalk"]

REFUSAL_NUMBERS: Mapping[Refusal, int] = {
    Refusal.INSUFFICIENT_FUNDS: 1,
    Refusal.LIMIT_REACHED: 2,
    Refusal.PLAYER_BLOCKED: 3,
    Refusal.GAME_FORBIDDEN: 4,
    Refusal.ROLLED_BACK: 5,
    Refusal.ALREADY_REVERSED: 6,
    Refusal.ROUND_CLOSED: 7,
}
"""How sticky refusals are stored; numbers are never reused."""
_REFUSALS = {number: refusal for refusal, number in REFUSAL_NUMBERS.items()}


class _Refused(Exception):
    def __init__(self, refusal: Refusal, leg: LegRequest | None = None, detail: str = "") -> None:
        super().__init__(refusal)
        self.refusal = refusal
        self.leg = leg
        self.detail = detail


class BatchWalk:
    """Decides requests one after the other; each sees what those before it did.

    `posting` collects what to write, `touched` the wallets that moved. Nothing here does I/O or reads a clock.
    """

    def __init__(self, facts: BatchFacts) -> None:
        self.facts = facts
        self.posting = PostingBatch()
        self.touched: dict[Pair, WalletState] = {}

    def decide(self, request: WalletRequest) -> WalletResult:
        """Return the answer to `request` and note what it writes."""
        wallet = self.facts.wallets.get((request.tenant_id, request.wallet_id))
        if wallet is None:
            return WalletResult(Refusal.PLAYER_UNKNOWN, None)
        if request.legs and wallet.has_limits and (wallet.tenant_id, wallet.licence) not in self.facts.days:
            # What counts against its limits cannot be told here yet; the same call may succeed later.
            return WalletResult(Refusal.UNAVAILABLE, None)
        if wallet.has_awards:
            self._look_at_awards(wallet)
        before = wallet.playable
        book = self.facts.books[request.companion] if request.companion is not None else None
        if not request.legs:
            if book is not None:
                book.applied(request, (), before, wallet)
            return WalletResult(None, before)
        first_booking = len(self.posting.bookings)
        undo = (wallet.version, wallet.real, wallet.bonus, wallet.held, wallet.debt)
        draft = Draft()
        told = before
        try:
            for leg in request.legs:
                known = self._find((request.tenant_id, request.source_id, leg.key), draft)
                if known is not None:
                    draft.results.append(self._replay(leg, known, wallet))
                    told = known.answered_minor
                else:
                    self._apply(request, leg, wallet, book, draft)
        except _Refused as refused:
            wallet.version, wallet.real, wallet.bonus, wallet.held, wallet.debt = undo
            del self.posting.bookings[first_booking:]
            return self._refuse(request, refused, before)
        if not draft.known:
            return WalletResult(None, told, draft.results)
        self._accept(wallet, draft, first_booking)
        if book is not None:
            book.applied(request, draft.results, before, wallet)
        return WalletResult(None, wallet.playable, draft.results)

    def _find(self, key: FullKey, draft: Draft) -> KnownKey | None:
        return draft.known.get(key) or self.facts.known.get(key)

    def _replay(self, leg: LegRequest, known: KnownKey, wallet: WalletState) -> LegResult:
        if known.outcome == Outcome.TOMBSTONE:
            if known.wallet_id != wallet.wallet_id:
                raise _Refused(Refusal.ROLLED_BACK)
            raise _StoredRefusal(Refusal.ROLLED_BACK, known.answered_minor)
        if known.content_hash != leg.content_hash or known.wallet_id != wallet.wallet_id:
            raise _Refused(Refusal.REFERENCE_MISUSED, detail="the reference was used before with other content")
        if known.outcome == Outcome.REFUSED:
            raise _StoredRefusal(_REFUSALS[known.refusal], known.answered_minor)
        moved_minor = known.d_real + known.d_bonus + known.d_held - known.d_debt
        return LegResult(
            leg.reference, wallet.wallet_id, known.version, known.op, known.d_real, known.d_bonus, moved_minor, True
        )

    def _refuse(self, request: WalletRequest, refused: _Refused, before: int) -> WalletResult:
        if isinstance(refused, _StoredRefusal):
            return WalletResult(refused.refusal, refused.answered_minor)
        leg = refused.leg
        if leg is not None and refused.refusal in STICKY:
            number = REFUSAL_NUMBERS[refused.refusal]
            known = KnownKey(request.wallet_id, leg.content_hash, Outcome.REFUSED, number, 0, before)
            self._remember((request.tenant_id, request.source_id, leg.key), known)
        return WalletResult(refused.refusal, before, detail=refused.detail)

    def _remember(self, key: FullKey, known: KnownKey) -> None:
        self.facts.known[key] = known
        self.posting.keys.append(
            (
                *key,
                known.wallet_id,
                known.content_hash,
                int(known.outcome),
                known.refusal,
                known.version,
                known.answered_minor,
            )
        )

    def _apply(
        self, request: WalletRequest, leg: LegRequest, wallet: WalletState, book: BatchBook | None, draft: Draft
    ) -> None:
        op = leg.op
        if (leg.amount_minor <= 0 and op not in _UNBOUND) or (op is Op.ADJUSTMENT and not leg.amount_minor):
            raise _Refused(Refusal.MALFORMED, detail="an amount is above zero")
        if op is Op.BET:
            self._admit(request, leg, wallet, book)
            deltas = self._stake(leg, wallet, draft)
            draft.staked = (draft.staked[0] - deltas.real, draft.staked[1] - deltas.bonus)
            self._book(request, leg, op, deltas, wallet, draft)
        elif op is Op.WIN:
            deltas = self._win(request, leg, wallet, book, draft)
            self._book(request, leg, op, deltas, wallet, draft)
        elif op in (Op.BET_ROLLBACK, Op.WIN_ROLLBACK):
            self._roll_back(request, leg, wallet, draft)
        elif op in (Op.CAPTURE, Op.VOID):
            self._resolve_hold(request, leg, wallet, draft)
        else:
            self._book(request, leg, op, self._other(leg, wallet, draft), wallet, draft)

    def _admit(self, request: WalletRequest, leg: LegRequest, wallet: WalletState, book: BatchBook | None) -> None:
        if not request.takes_bets:
            # Not for good: the same bet may come again when the tenant is back.
            raise _Refused(Refusal.GAME_FORBIDDEN, detail="no new bets are taken")
        if not wallet.is_open or wallet.closed_until_us > self.facts.now_us:
            raise _Refused(Refusal.PLAYER_BLOCKED, leg)
        refusal = book.admit(request) if book is not None else None
        if refusal is not None:
            raise _Refused(refusal, leg)

    def _stake(self, leg: LegRequest, wallet: WalletState, draft: Draft) -> Deltas:
        law = self._demand_law(wallet)
        deltas = decide_bet(wallet, leg.amount_minor, SpendOrder.REAL_FIRST if law is None else law.spend_order)
        stake = {LimitKind.STAKE: leg.amount_minor, LimitKind.LOSS: leg.amount_minor}
        self._check_limits(leg, wallet, stake, draft)
        if deltas is None:
            raise _Refused(Refusal.INSUFFICIENT_FUNDS, leg)
        return deltas

    def _demand_law(self, wallet: WalletState) -> PlayLaw | None:
        """Return the law of a wallet, None where nobody gave any; under an unknown one nobody stakes or deposits."""
        laws = self.facts.laws
        if laws is None:
            return None
        law = laws.get((wallet.tenant_id, wallet.licence))
        if law is None:
            # Not for good: the same call may succeed when the law is known again.
            raise _Refused(Refusal.UNAVAILABLE)
        return law

    def _win(
        self, request: WalletRequest, leg: LegRequest, wallet: WalletState, book: BatchBook | None, draft: Draft
    ) -> Deltas:
        real, bonus = draft.staked
        basis = book.basis(request) if book is not None else (0, 0)
        if isinstance(basis, Refusal):
            if not real + bonus:
                raise _Refused(basis, leg)
            basis = (0, 0)
        return compute_win(wallet, leg.amount_minor, real + basis[0], bonus + basis[1])

    def _other(self, leg: LegRequest, wallet: WalletState, draft: Draft) -> Deltas:
        deltas: Deltas | None
        if leg.op is Op.DEPOSIT:
            if not wallet.is_open or wallet.closed_until_us > self.facts.now_us:
                raise _Refused(Refusal.PLAYER_BLOCKED, leg)
            self._demand_law(wallet)
            self._check_limits(leg, wallet, {LimitKind.DEPOSIT: leg.amount_minor}, draft)
            return compute_credit(wallet, leg.amount_minor)
        if leg.op is Op.HOLD:
            if not wallet.is_open:
                raise _Refused(Refusal.PLAYER_BLOCKED, leg)
            deltas = decide_hold(wallet, leg.amount_minor)
        elif leg.op is Op.ADJUSTMENT and leg.amount_minor < 0:
            deltas = Deltas(leg.amount_minor, 0, 0, 0) if wallet.real + leg.amount_minor >= 0 else None
        elif leg.op is Op.ADJUSTMENT:
            deltas = compute_credit(wallet, leg.amount_minor)
        elif leg.op is Op.AWARD_FORFEIT:
            deltas = Deltas(0, -leg.amount_minor, 0, 0) if wallet.bonus >= leg.amount_minor else None
        else:
            if not wallet.is_open or wallet.closed_until_us > self.facts.now_us:
                raise _Refused(Refusal.PLAYER_BLOCKED, leg)
            deltas = Deltas(0, leg.amount_minor, 0, 0)
        if deltas is None:
            raise _Refused(Refusal.INSUFFICIENT_FUNDS, leg)
        return deltas

    def _check_limits(
        self, leg: LegRequest, wallet: WalletState, movement: Mapping[LimitKind, int], draft: Draft
    ) -> None:
        limits = self.facts.limits.get((wallet.tenant_id, wallet.wallet_id))
        if not limits:
            return
        today, usage = self.facts.days[wallet.tenant_id, wallet.licence], self.facts.usage
        windows = [name_window(limit, today) for limit in limits]
        used = {window: usage.get((wallet.tenant_id, wallet.wallet_id, *window), 0) for window in windows}
        total = {kind: minor + max(0, draft.movement.get(kind, 0)) for kind, minor in movement.items()}
        exceeded = decide_limits(limits, used, total, today)
        if exceeded is not None:
            raise _Refused(Refusal.LIMIT_REACHED, leg, f"{exceeded.kind.name}_{exceeded.period.name}".lower())

    def _roll_back(self, request: WalletRequest, leg: LegRequest, wallet: WalletState, draft: Draft) -> None:
        if leg.reverses is None:
            raise _Refused(Refusal.MALFORMED)
        target = (request.tenant_id, request.source_id, leg.reverses)
        original = self._find(target, draft)
        if original is not None and original.wallet_id != wallet.wallet_id:
            raise _Refused(Refusal.REFERENCE_MISUSED, detail="the reference belongs to another wallet")
        if original is not None and original.version and original.round_id != request.round_id:
            raise _Refused(Refusal.REFERENCE_MISUSED, detail="the reference belongs to another round")
        if original is None or original.outcome != Outcome.ACCEPTED or original.reversed_by:
            if original is None:
                tombstone = KnownKey(wallet.wallet_id, 0, Outcome.TOMBSTONE, 0, 0, wallet.playable)
                draft.known[target] = tombstone
            nothing = KnownKey(wallet.wallet_id, leg.content_hash, Outcome.NOTHING_TO_DO, 0, 0, wallet.playable)
            draft.known[(request.tenant_id, request.source_id, leg.key)] = nothing
            draft.results.append(LegResult(leg.reference, wallet.wallet_id, 0, int(leg.op), 0, 0, 0, False))
            return
        if original.op not in (Op.BET, Op.WIN):
            raise _Refused(Refusal.ALREADY_REVERSED, leg, "only a bet or a win can be rolled back")
        booked = Deltas(original.d_real, original.d_bonus, original.d_held, original.d_debt)
        op = Op.BET_ROLLBACK if original.op == Op.BET else Op.WIN_ROLLBACK
        self._book(request, leg, op, compute_rollback(wallet, booked), wallet, draft, original)
        draft.known[target] = msgspec.structs.replace(original, reversed_by=draft.results[-1].version)

    def _resolve_hold(self, request: WalletRequest, leg: LegRequest, wallet: WalletState, draft: Draft) -> None:
        if leg.reverses is None:
            raise _Refused(Refusal.MALFORMED)
        opened = self._find((request.tenant_id, request.source_id, leg.reverses), draft)
        if opened is None or opened.op != Op.HOLD or opened.wallet_id != wallet.wallet_id:
            raise _Refused(Refusal.UNKNOWN_REFERENCE, detail="no such hold")
        name = (wallet.tenant_id, wallet.wallet_id, opened.version)
        hold = draft.holds.get(name) or self.facts.holds.get(name)
        if hold is None:
            raise _Refused(Refusal.UNKNOWN_REFERENCE, detail="no such hold")
        open_minor = hold.amount_minor - hold.captured - hold.released
        amount_minor = open_minor if leg.op is Op.VOID else leg.amount_minor
        if open_minor <= 0 or amount_minor > open_minor:
            raise _Refused(Refusal.ALREADY_REVERSED, leg, "the hold is resolved, or less is left of it")
        draft.holds[name] = hold = msgspec.structs.replace(hold)
        if leg.op is Op.CAPTURE:
            hold.captured += amount_minor
            deltas = Deltas(0, 0, -amount_minor, 0)
        else:
            hold.released += amount_minor
            deltas = Deltas(amount_minor, 0, -amount_minor, 0)
        self._book(request, leg, leg.op, deltas, wallet, draft)

    def _book(
        self,
        request: WalletRequest,
        leg: LegRequest,
        op: Op,
        deltas: Deltas,
        wallet: WalletState,
        draft: Draft,
        original: KnownKey | None = None,
    ) -> None:
        wallet.version += 1
        wallet.real += deltas.real
        wallet.bonus += deltas.bonus
        wallet.held += deltas.held
        wallet.debt += deltas.debt
        playable = wallet.real + wallet.bonus
        if playable > MAX_MINOR or wallet.held > MAX_MINOR or wallet.debt > MAX_MINOR:
            raise _Refused(Refusal.MALFORMED, detail="more than a wallet can hold")
        version = wallet.version
        account_id = original.account_id if original is not None else leg.account_id
        self.posting.bookings.append(
            (
                wallet.tenant_id,
                wallet.wallet_id,
                version,
                int(op),
                account_id,
                request.source_id,
                *deltas,
                wallet.real,
                wallet.bonus,
                wallet.held,
                wallet.debt,
                request.round_id,
                leg.reference,
                original.version if original is not None else None,
            )
        )
        if deltas.bonus:
            move_awards(self.facts, self.posting, op, deltas.bonus, wallet, draft, original)
            settle_awards(self.facts, self.posting, wallet, draft)
        elif op is Op.HOLD:
            self._open_hold(leg, wallet, draft)
        draft.known[(request.tenant_id, request.source_id, leg.key)] = KnownKey(
            wallet.wallet_id,
            leg.content_hash,
            Outcome.ACCEPTED,
            0,
            version,
            wallet.playable,
            op,
            account_id,
            *deltas,
            request.round_id,
        )
        draft.results.append(
            LegResult(
                leg.reference,
                wallet.wallet_id,
                version,
                int(op),
                deltas.real,
                deltas.bonus,
                deltas.real + deltas.bonus + deltas.held - deltas.debt,
                False,
            )
        )
        self._count(op, deltas, wallet, draft, original)

    def _count(self, op: Op, deltas: Deltas, wallet: WalletState, draft: Draft, original: KnownKey | None) -> None:
        if op in _UNCOUNTED or (wallet.tenant_id, wallet.wallet_id) not in self.facts.limits:
            return
        counted = compute_movement(deltas, deposit=op is Op.DEPOSIT, stake=op in (Op.BET, Op.BET_ROLLBACK))
        version = original.version if original is not None else 0
        day = self.facts.counted_on.get((wallet.tenant_id, wallet.wallet_id, version))
        if day is not None:
            draft.undone.append((day, counted))
            return
        for kind, minor in counted.items():
            draft.movement[kind] = draft.movement.get(kind, 0) + minor

    def _open_hold(self, leg: LegRequest, wallet: WalletState, draft: Draft) -> None:
        if leg.expires_at is None:
            raise ValueError("a hold needs an end")
        name = (wallet.tenant_id, wallet.wallet_id, wallet.version)
        draft.new_holds.append((*name, leg.amount_minor, leg.expires_at))
        draft.holds[name] = OpenHold(wallet.version, leg.amount_minor, 0, 0, leg.expires_at)

    def _look_at_awards(self, wallet: WalletState) -> None:
        """Settle what has ended since the wallet was looked at last, whatever becomes of the request."""
        draft, first_booking = Draft(), len(self.posting.bookings)
        settle_awards(self.facts, self.posting, wallet, draft)
        if len(self.posting.bookings) > first_booking:
            self._accept(wallet, draft, first_booking)

    def _accept(self, wallet: WalletState, draft: Draft, first_booking: int) -> None:
        pair = (wallet.tenant_id, wallet.wallet_id)
        house = self.posting.house
        booked = self.posting.bookings[first_booking:]
        for row in booked:
            counter = row[9] - row[6] - row[7] - row[8]
            if counter:
                account = (wallet.tenant_id, row[4])
                house[account] = house.get(account, 0) + counter
        for key, known in draft.known.items():
            if key in self.facts.known:
                self.facts.known[key] = known
            else:
                self._remember(key, known)
        if booked:
            self.touched[pair] = wallet
        if draft.new_holds or draft.holds or draft.awards or draft.movement or draft.undone:
            self._accept_rare(pair, draft)

    def _accept_rare(self, pair: Pair, draft: Draft) -> None:
        posting = self.posting
        posting.new_holds += draft.new_holds
        for name, hold in draft.holds.items():
            self.facts.holds[name] = posting.holds[name] = hold
        posting.new_awards += draft.new_awards
        for name, award in draft.awards.items():
            self.facts.awards[name] = award
            posting.awards[name] = award
        posting.award_entries += draft.entries
        for tenant_id, wallet_id, version, granted, part in draft.entries:
            self.facts.award_entries.setdefault((tenant_id, wallet_id, version), []).append((granted, part))
        limits = self.facts.limits.get(pair)
        if not limits or not (draft.movement or draft.undone):
            return
        law = (pair[0], self.facts.wallets[pair].licence)
        today, ends_us = self.facts.days[law], self.facts.day_ends_us[law]
        # It counts for the day that it is written on: past midnight it is decided again.
        posting.right_before_us = min(ends_us, posting.right_before_us or ends_us)
        for day, movement in ((today, draft.movement), *draft.undone):
            for window, minor in compute_usage(limits, movement, today, day).items():
                full = (*pair, *window)
                self.facts.usage[full] = self.facts.usage.get(full, 0) + minor
                posting.usage[full] = posting.usage.get(full, 0) + minor


_UNBOUND = (Op.BET_ROLLBACK, Op.WIN_ROLLBACK, Op.VOID, Op.ADJUSTMENT)
"""Operations whose amount is what they refer to, or may be negative."""
_UNCOUNTED = (Op.HOLD, Op.CAPTURE, Op.VOID, Op.AWARD, Op.AWARD_FORFEIT, Op.ADJUSTMENT)


class _StoredRefusal(_Refused):
    def __init__(self, refusal: Refusal, answered_minor: int) -> None:
        super().__init__(refusal)
        self.answered_minor = answered_minor
