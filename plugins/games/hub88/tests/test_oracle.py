"""What others expect of an operator, over a small ledger: the cases of a published suite, and the published schema.

The cases are those with which the open-source aggregator Valkyrie examines a Caleta wallet from outside
(`provider/caleta/test`): what is called, and the status and balance that it wants to see. Where this wallet
answers otherwise on purpose, the case stands in `OTHERWISE` with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pitboss_plugins.games.hub88.driver import Hub88Dialect
from pitboss_sdk.games import (
    CallKind,
    DialectRefusal,
    DialectResponse,
    LegAnswer,
    LegKind,
    RawCall,
    Refusal,
    WalletAnswer,
    WalletCall,
)

CASH = 100_000
"""What each player has at the beginning, in minor units; the wire says 100000000."""
STATUSES = frozenset(
    f"RS_ERROR_{name}"
    for name in (
        "UNKNOWN TIMEOUT INVALID_TOKEN INVALID_GAME WRONG_CURRENCY NOT_ENOUGH_MONEY USER_DISABLED INVALID_SIGNATURE "
        "TOKEN_EXPIRED WRONG_SYNTAX WRONG_TYPES DUPLICATE_TRANSACTION TRANSACTION_DOES_NOT_EXIST "
        "TRANSACTION_ROLLED_BACK BET_LIMIT_EXCEEDED"
    ).split()
) | {"RS_OK"}
"""Every status of Caleta's document."""


class TinyLedger:
    """The host's rules in a few lines: replay, tombstone, rounds, sessions, blocked players."""

    def __init__(self) -> None:
        self.real = {"player-1": CASH, "player-2": CASH}
        self.over: set[str] = set()
        self.blocked: set[str] = set()
        self.known: dict[str, tuple[tuple[Any, ...], int, int]] = {}
        self.tombstones: set[str] = set()
        self.reversed: set[str] = set()
        self.rounds: dict[str, int] = {}

    def decide(self, call: WalletCall) -> WalletAnswer:
        if call.account not in self.real:
            return WalletAnswer(Refusal.PLAYER_UNKNOWN, None)
        if call.currency != "USD":
            return WalletAnswer(Refusal.CURRENCY_MISMATCH, None)
        if not call.legs:
            return WalletAnswer(None, self.real[call.account])
        (leg,) = call.legs
        content = (leg.kind, call.account, leg.amount_minor, call.round, leg.reverses)
        if leg.reference in self.tombstones:
            return WalletAnswer(Refusal.ROLLED_BACK, self.real[call.account])
        if leg.reference in self.known:
            stored, _, told = self.known[leg.reference]
            same = stored == content
            return WalletAnswer(None, told) if same else WalletAnswer(Refusal.REFERENCE_MISUSED, told)
        refusal = self._apply(call)
        balance = self.real[call.account]
        if refusal is not None:
            return WalletAnswer(refusal, balance)
        self.known[leg.reference] = (content, leg.amount_minor, balance)
        return WalletAnswer(None, balance, call.round, (LegAnswer(leg.reference, "t"),))

    def _apply(self, call: WalletCall) -> Refusal | None:
        (leg,) = call.legs
        if leg.kind is LegKind.BET:
            if call.account in self.blocked:
                return Refusal.PLAYER_BLOCKED
            if call.session in self.over:
                return Refusal.SESSION_INVALID
            if call.game != "game":
                return Refusal.GAME_FORBIDDEN
            if leg.amount_minor > self.real[call.account]:
                return Refusal.INSUFFICIENT_FUNDS
            self.real[call.account] -= leg.amount_minor
            self.rounds[call.round] = self.rounds.get(call.round, 0) + 1
        elif leg.kind is LegKind.WIN:
            bets = self.rounds.get(call.round)
            if not bets and not call.free_spin:
                return Refusal.UNKNOWN_REFERENCE if bets is None else Refusal.ROLLED_BACK
            self.real[call.account] += leg.amount_minor
        elif leg.reverses not in self.known:
            self.tombstones.add(leg.reverses)
        elif leg.reverses not in self.reversed:
            self.reversed.add(leg.reverses)
            self.real[call.account] += self.known[leg.reverses][1]
            self.rounds[call.round] -= 1
        return None


class Suite:
    """The aggregator's side: each call has its own ids, and returns status and balance in minor units."""

    def __init__(self, dialect: Hub88Dialect, sign: Any, stranger: Any) -> None:
        self._dialect = dialect
        self._sign = sign
        self._stranger = stranger
        self._made = 0
        self.ledger = TinyLedger()
        self.account = "player-1"
        self.token = "session-1.player-1.USD"

    def id(self) -> str:
        self._made += 1
        return f"00000000-0000-4000-8000-{self._made:012}"

    def call(self, operation: str, *, forged: bool = False, **fields: Any) -> tuple[str, int | None]:
        request_uuid = self.id()
        body = {"token": self.token, "request_uuid": request_uuid, "game_code": "game", "supplier_user": "x", **fields}
        raw = self._sign(operation, body, self._stranger if forged else None, flavour="caleta")
        response = self._answer(raw)
        told = json.loads(response.body)
        assert (response.status, response.content_type) == (200, "application/json")
        assert told["status"] in STATUSES
        assert told.get("request_uuid") == (None if forged else request_uuid)
        if told["status"] not in {"RS_OK", "RS_ERROR_NOT_ENOUGH_MONEY"}:
            assert told.keys() <= {"status", "request_uuid"}
            return told["status"], None
        assert (told["user"], told["currency"]) == (self.account, "USD")
        assert type(told["balance"]) is int
        assert told["balance"] % 1_000 == 0
        return told["status"], told["balance"] // 1_000

    def _answer(self, raw: RawCall) -> DialectResponse:
        try:
            self._dialect.verify(raw)
            call = self._dialect.parse(raw)
        except DialectRefusal as refused:
            return self._dialect.render_refusal(refused.refusal, refused.detail)
        return self._dialect.render(call, self.ledger.decide(call))

    def _move(self, operation: str, amount: int, fields: dict[str, Any]) -> tuple[str, int | None]:
        given = {
            "transaction_uuid": self.id(),
            "round": self.id(),
            "round_closed": False,
            "is_free": False,
            "currency": "USD",
            "amount": fields.pop("wire", amount * 1_000),
        }
        return self.call(operation, **{**given, **fields})

    def bet(self, amount: int = 100, **fields: Any) -> tuple[str, int | None]:
        return self._move("bet", amount, fields)

    def win(self, amount: int = 100, **fields: Any) -> tuple[str, int | None]:
        return self._move("win", amount, {"reference_transaction_uuid": self.id(), **fields})

    def rollback(self, **fields: Any) -> tuple[str, int | None]:
        given = {
            "transaction_uuid": self.id(),
            "reference_transaction_uuid": self.id(),
            "round": self.id(),
            "round_closed": True,
        }
        return self.call("rollback", **{**given, **fields})


@pytest.fixture
def suite(caleta: Hub88Dialect, sign: Any, keys: Any) -> Suite:
    return Suite(caleta, sign, keys.other_tenant)


def ok(balance_minor: int) -> tuple[str, int]:
    return "RS_OK", balance_minor


def error(name: str) -> tuple[str, None]:
    return f"RS_ERROR_{name}", None


def lose_session(suite: Suite) -> None:
    suite.token = "invalid-session"


def switch_player(suite: Suite) -> None:
    suite.account, suite.token = "player-2", "session-2.player-2.USD"


def several_bets(suite: Suite) -> tuple[str, int | None]:
    for _ in range(2):
        assert suite.bet(round="r")[0] == "RS_OK"
    return suite.bet(round="r")


def bet_then(step: Callable[[Suite], tuple[str, int | None]], **fields: Any) -> Callable[[Suite], Any]:
    def play(suite: Suite) -> tuple[str, int | None]:
        assert suite.bet(transaction_uuid="b", round="r", **fields)[0] == "RS_OK"
        return step(suite)

    return play


def without_session(step: Callable[[Suite], Any]) -> Callable[[Suite], Any]:
    def play(suite: Suite) -> Any:
        lose_session(suite)
        return step(suite)

    return play


def after_the_session(step: Callable[[Suite], Any]) -> Callable[[Suite], Any]:
    def play(suite: Suite) -> Any:
        suite.ledger.over.add("session-1")
        return step(suite)

    return play


def blocked(step: Callable[[Suite], Any]) -> Callable[[Suite], Any]:
    def play(suite: Suite) -> Any:
        suite.ledger.blocked.add("player-1")
        return step(suite)

    return play


def as_another_player(step: Callable[[Suite], Any]) -> Callable[[Suite], Any]:
    def play(suite: Suite) -> Any:
        switch_player(suite)
        return step(suite)

    return play


def win(amount: int = 100, **fields: Any) -> Callable[[Suite], Any]:
    return lambda suite: suite.win(amount, round="r", reference_transaction_uuid="b", **fields)


def take_back(suite: Suite) -> Any:
    return suite.rollback(round="r", reference_transaction_uuid="b", round_closed=False)


def take_back_one_of_two(suite: Suite) -> Any:
    assert suite.bet(transaction_uuid="b2", round="r")[0] == "RS_OK"
    assert take_back(suite) == ok(CASH - 100)
    return suite.win(100, round="r", reference_transaction_uuid="b2")


def take_back_then_win(suite: Suite, **fields: Any) -> Any:
    assert take_back(suite) == ok(CASH)
    return win(100, **fields)(suite)


CASES: dict[str, tuple[Callable[[Suite], Any], tuple[str, int | None]]] = {
    "balance": (lambda suite: suite.call("balance"), ok(CASH)),
    "balance, invalid session": (without_session(lambda suite: suite.call("balance")), error("INVALID_TOKEN")),
    "balance, invalid signature": (lambda suite: suite.call("balance", forged=True), error("INVALID_SIGNATURE")),
    "bet": (lambda suite: suite.bet(), ok(CASH - 100)),
    "bet of one cent": (lambda suite: suite.bet(1), ok(CASH - 1)),
    "several bets in a round": (several_bets, ok(CASH - 300)),
    "bet, invalid session": (without_session(lambda suite: suite.bet()), error("INVALID_TOKEN")),
    "bet, expired session": (after_the_session(lambda suite: suite.bet()), error("TOKEN_EXPIRED")),
    "bet, negative": (lambda suite: suite.bet(-100), error("WRONG_SYNTAX")),
    "bet, beyond the balance": (lambda suite: suite.bet(CASH + 1), ("RS_ERROR_NOT_ENOUGH_MONEY", CASH)),
    "bet, far beyond": (lambda suite: suite.bet(2**31), ("RS_ERROR_NOT_ENOUGH_MONEY", CASH)),
    "bet, invalid game": (lambda suite: suite.bet(game_code="invalid game"), error("INVALID_GAME")),
    "bet, wrong currency": (lambda suite: suite.bet(currency="EUR"), error("WRONG_CURRENCY")),
    "bet, invalid currency": (lambda suite: suite.bet(currency="schmeckles"), error("WRONG_CURRENCY")),
    "bet, invalid signature": (lambda suite: suite.bet(forged=True), error("INVALID_SIGNATURE")),
    "bet, same id, other round": (
        bet_then(lambda suite: suite.bet(transaction_uuid="b")),
        error("DUPLICATE_TRANSACTION"),
    ),
    "bet, same id, other user": (
        bet_then(as_another_player(lambda suite: suite.bet(transaction_uuid="b", round="r"))),
        error("DUPLICATE_TRANSACTION"),
    ),
    "bet again": (bet_then(lambda suite: suite.bet(transaction_uuid="b", round="r")), ok(CASH - 100)),
    "free bet": (lambda suite: suite.bet(is_free=True), ok(CASH)),
    "free bet, wrong currency": (lambda suite: suite.bet(is_free=True, currency="EUR"), error("WRONG_CURRENCY")),
    "win": (bet_then(win(200)), ok(CASH + 100)),
    "win, missing bet": (lambda suite: suite.win(), error("TRANSACTION_DOES_NOT_EXIST")),
    "win of one cent": (bet_then(win(1)), ok(CASH - 99)),
    "win, negative": (bet_then(win(-100)), error("WRONG_SYNTAX")),
    "win, wrong currency": (bet_then(win(currency="EUR")), error("WRONG_CURRENCY")),
    "win, invalid currency": (bet_then(win(currency="schmeckles")), error("WRONG_CURRENCY")),
    "win, invalid signature": (lambda suite: suite.win(forged=True), error("INVALID_SIGNATURE")),
    "win, id of the bet": (bet_then(win(transaction_uuid="b")), error("DUPLICATE_TRANSACTION")),
    "win, id of another's bet": (
        bet_then(as_another_player(win(transaction_uuid="b"))),
        error("DUPLICATE_TRANSACTION"),
    ),
    "win after the session": (bet_then(after_the_session(win(200))), ok(CASH + 100)),
    "free win, wrong currency": (bet_then(win(is_free=True, currency="EUR")), error("WRONG_CURRENCY")),
    "rollback": (bet_then(take_back), ok(CASH)),
    "rollback again": (bet_then(lambda suite: [take_back(suite), take_back(suite)][1]), ok(CASH)),
    "rollback of one bet of two": (bet_then(take_back_one_of_two), ok(CASH)),
    "rollback of nothing": (lambda suite: suite.rollback(), ok(CASH)),
    "rollback, then win": (bet_then(take_back_then_win), error("TRANSACTION_ROLLED_BACK")),
    "rollback of a free bet": (bet_then(take_back, is_free=True), ok(CASH)),
    "rollback of a free bet after the session": (bet_then(after_the_session(take_back), is_free=True), ok(CASH)),
    "bet, blocked": (blocked(lambda suite: suite.bet()), error("USER_DISABLED")),
    "win, blocked": (bet_then(blocked(win(200))), ok(CASH + 100)),
    "rollback, blocked": (bet_then(blocked(take_back)), ok(CASH)),
    "rollback of a free bet, blocked": (bet_then(blocked(take_back), is_free=True), ok(CASH)),
}

OTHERWISE: dict[str, tuple[Callable[[Suite], Any], tuple[str, int | None], str]] = {
    "bet of a tenth of a cent": (
        lambda suite: suite.bet(wire=100),
        error("WRONG_SYNTAX"),
        "a dollar has two decimals here, and money is never rounded",
    ),
    "win of a tenth of a cent": (
        bet_then(win(wire=100)),
        error("WRONG_SYNTAX"),
        "the same; the aggregator sends it again until people have looked",
    ),
    "win, invalid game": (bet_then(win(game_code="invalid game")), ok(CASH), "money that comes back is not refused"),
    "free bet, blocked": (
        blocked(lambda suite: suite.bet(is_free=True)),
        ok(CASH),
        "nothing moves, so the host decides nothing",
    ),
    "free bet, expired session": (after_the_session(lambda suite: suite.bet(is_free=True)), ok(CASH), "the same"),
    "free win": (bet_then(win(200, is_free=True), is_free=True), ok(CASH + 200), "a free win is real money"),
    "free win, missing bet": (win(200, is_free=True), ok(CASH + 200), "the free bet left nothing to look for"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_aggregators_cases_are_answered_as_it_wants(suite: Suite, name: str) -> None:
    play, expected = CASES[name]
    assert play(suite) == expected


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_is_answered_otherwise_is_so_on_purpose(suite: Suite, name: str) -> None:
    play, expected, _ = OTHERWISE[name]
    assert play(suite) == expected


def test_every_kind_of_call_is_among_the_cases(suite: Suite, caleta: Hub88Dialect, unsigned: Any) -> None:
    closing = {"token": suite.token, "request_uuid": "u", "transaction_uuid": "w", "reference_transaction_uuid": "b"}
    closing |= {"round": "r", "game_code": "g", "currency": "USD", "amount": 0, "round_closed": True}
    assert caleta.parse(unsigned("win", closing)).kind is CallKind.FINISH
    assert len(CASES) + len(OTHERWISE) >= 45
