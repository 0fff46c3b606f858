"""The exactly-once model of one player's wallet: what each call must be answered, whatever was lost or came twice.

It is written from the protocol and shares no code with the platform, so that the two can disagree.
"""

from __future__ import annotations

import msgspec

from pitboss.cli.simulate.calls import (
    BAD_REQUEST,
    INSUFFICIENT,
    INTERNAL,
    ROLLED_BACK,
    Answer,
    Call,
    Leg,
    to_decimal,
)


class Expected(msgspec.Struct, frozen=True):
    """An answer as far as the protocol fixes it: `booked` says of each transaction whether it has an id of ours."""

    api_code: str
    balance_minor: int
    booked: tuple[bool, ...] = ()

    @property
    def status(self) -> int:
        """Whether the code is a yes, a no for good, or one to come again, as an answer's `status` says it."""
        if not self.api_code:
            return 200
        return 500 if self.api_code == INTERNAL else 400


class Round(msgspec.Struct):
    """What a round has come to."""

    bet_minor: int = 0
    win_minor: int = 0
    bets: int = 0
    state: str = "open"
    references: list[str] = msgspec.field(default_factory=list[str])


class _Known(msgspec.Struct):
    leg: Leg | None
    round: str
    api_code: str
    answered_minor: int
    booked: bool = False
    d_real: int = 0
    d_debt: int = 0
    reversed: bool = False


class _Refused(Exception):
    def __init__(self, api_code: str, *, balance_minor: int | None = None, sticky: Leg | None = None) -> None:
        super().__init__(api_code)
        self.api_code = api_code
        self.balance_minor = balance_minor
        self.sticky = sticky


class Wallet:
    """Real money and debt of one player, with every transaction id that was ever answered for good."""

    def __init__(self) -> None:
        self.real = 0
        self.debt = 0
        self.rounds: dict[str, Round] = {}
        self._known: dict[str, _Known] = {}

    def deposit(self, amount_minor: int) -> int:
        """Take a deposit and return the balance after it; debt is repaid first."""
        self._credit(amount_minor)
        return self.real

    def expect(self, call: Call) -> Expected:
        """Return what `call` must be answered, and take what it does into the model."""
        if call.operation == "balance":
            return Expected("", self.real)
        if call.operation == "finish":
            self._finish(call.round)
            return Expected("", self.real)
        before, saved = self.real, (self.real, self.debt)
        fresh: dict[str, _Known] = {}
        results: list[_Known] = []
        try:
            for leg in call.legs:
                known = fresh.get(leg.reference) or self._known.get(leg.reference)
                if known is None:
                    self._apply(call, leg, fresh)
                    results.append(fresh[leg.reference])
                else:
                    results.append(self._replay(leg, call, known))
        except _Refused as refused:
            self.real, self.debt = saved
            for known in fresh.values():
                if known.booked and known.leg is not None and known.leg.original:
                    self._known[known.leg.original].reversed = False
            if refused.sticky is not None:
                code = refused.api_code
                self._known[refused.sticky.reference] = _Known(refused.sticky, call.round, code, before)
                self._remember(call.round, refused.sticky.reference)
            return Expected(refused.api_code, before if refused.balance_minor is None else refused.balance_minor)
        told = self.real if fresh else results[-1].answered_minor
        self._accept(call, fresh)
        return Expected("", told, tuple(known.booked for known in results))

    def forget(self, round_name: str) -> None:
        """Let go of a round that will not be asked about again."""
        for reference in self.rounds.pop(round_name).references:
            del self._known[reference]

    def count_bookings(self, round_name: str) -> int:
        """Return how many transactions of a round moved money."""
        return sum(self._known[reference].booked for reference in self.rounds[round_name].references)

    def _credit(self, amount_minor: int) -> tuple[int, int]:
        repaid = min(self.debt, amount_minor)
        self.debt -= repaid
        self.real += amount_minor - repaid
        return amount_minor - repaid, -repaid

    def _replay(self, leg: Leg, call: Call, known: _Known) -> _Known:
        if known.leg is None:
            raise _Refused(ROLLED_BACK)
        if (known.leg, known.round) != (leg, call.round):
            raise _Refused(BAD_REQUEST)
        if known.api_code:
            raise _Refused(known.api_code, balance_minor=known.answered_minor)
        return known

    def _apply(self, call: Call, leg: Leg, fresh: dict[str, _Known]) -> None:
        if leg.kind == "bet":
            found = self.rounds.get(call.round)
            if found is not None and found.state != "open":
                raise _Refused(BAD_REQUEST, sticky=leg)
            if leg.amount_minor > self.real:
                raise _Refused(INSUFFICIENT, sticky=leg)
            self.real -= leg.amount_minor
            change = (-leg.amount_minor, 0)
        elif leg.kind == "win":
            found = self.rounds.get(call.round)
            staked = any(known.leg is not None and known.leg.kind == "bet" for known in fresh.values())
            if not staked and found is not None and found.state == "voided":
                raise _Refused(ROLLED_BACK, sticky=leg)
            if not staked and (found is None or not found.bets):
                raise _Refused(INTERNAL)
            change = self._credit(leg.amount_minor)
        else:
            self._roll_back(call, leg, fresh)
            return
        fresh[leg.reference] = _Known(leg, call.round, "", self.real, True, *change)

    def _roll_back(self, call: Call, leg: Leg, fresh: dict[str, _Known]) -> None:
        original = fresh.get(leg.original) or self._known.get(leg.original)
        if original is None:
            fresh[leg.original] = _Known(None, call.round, ROLLED_BACK, self.real)
        if original is None or not original.booked or original.reversed:
            fresh[leg.reference] = _Known(leg, call.round, "", self.real)
            return
        if original.leg is None or original.leg.kind == "rollback":
            raise _Refused(ROLLED_BACK, sticky=leg)
        before = (self.real, self.debt)
        self.real -= original.d_real
        self.debt -= original.d_debt
        if self.real < 0:
            self.debt -= self.real
            self.real = 0
        original.reversed = True
        change = (self.real - before[0], self.debt - before[1])
        fresh[leg.reference] = _Known(leg, call.round, "", self.real, True, *change)

    def _accept(self, call: Call, fresh: dict[str, _Known]) -> None:
        if not fresh:
            return
        found = self.rounds.setdefault(call.round, Round())
        for reference, known in fresh.items():
            self._known[reference] = known
            found.references.append(reference)
            if not known.booked or known.leg is None:
                continue
            change = known.d_real - known.d_debt
            of_bet = known.leg.kind == "bet" or self._reverses_bet(known.leg)
            if of_bet:
                found.bet_minor -= change
                found.bets += 1 if known.leg.kind == "bet" else -1
                found.state = "voided" if not found.bets else found.state
            else:
                found.win_minor += change
        if call.finished:
            self._finish(call.round)

    def _reverses_bet(self, leg: Leg) -> bool:
        original = self._known.get(leg.original)
        return original is not None and original.leg is not None and original.leg.kind == "bet"

    def _remember(self, round_name: str, reference: str) -> None:
        self.rounds.setdefault(round_name, Round()).references.append(reference)

    def _finish(self, round_name: str) -> None:
        found = self.rounds.get(round_name)
        if found is not None and found.state == "open" and self.count_bookings(round_name):
            found.state = "finished"


def differ(answer: Answer, expected: Expected, decimals: int) -> str:
    """Return how an answer differs from what it must be; empty where it does not."""
    if (answer.status, answer.api_code) != (expected.status, expected.api_code):
        return f"answered {answer.status} {answer.api_code}, expected {expected.status} {expected.api_code}".strip()
    balance = to_decimal(expected.balance_minor, decimals)
    told = not expected.api_code or expected.api_code == INSUFFICIENT
    if told and answer.balance != balance:
        return f"balance {answer.balance}, expected {balance}"
    booked = expected.booked if answer.transactions is None else tuple(map(bool, answer.transactions))
    if not expected.api_code and booked != expected.booked:
        return f"transactions booked {booked}, expected {expected.booked}"
    return ""
