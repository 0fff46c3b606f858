"""The aggregator's own wallet server, over an equal ledger, answers each call like the dialect."""

from __future__ import annotations

import json
from typing import Any

from beexar import (
    BalanceResult,
    BetWinResult,
    BetWinTransactionResult,
    FinishResult,
    Money,
    RollbackResult,
    RollbackTransactionResult,
    WalletError,
    WalletServer,
)
from hypothesis import given
from hypothesis import strategies as st

from pitboss_plugins.games.softswiss.driver import SoftswissDialect
from pitboss_sdk.games import (
    CallKind,
    DialectRefusal,
    DialectResponse,
    Leg,
    LegAnswer,
    LegKind,
    RawCall,
    Refusal,
    WalletAnswer,
    WalletCall,
)

BETS, LIMIT = 1_000, "limited"


class Refused(Exception):
    def __init__(self, refusal: Refusal, balance_minor: int | None = None) -> None:
        super().__init__(refusal)
        self.refusal = refusal
        self.balance_minor = balance_minor


class TinyLedger:
    """The rules of a wallet in a few lines: replay, tombstone, all or nothing, a debt instead of a clamp."""

    def __init__(self) -> None:
        self.real = {"p-1": 10_000, "p-2": 0, LIMIT: 5_000}
        self.debt: dict[str, int] = {}
        self.known: dict[str, tuple[str, int, str, int]] = {}
        self.reversed: set[str] = set()
        self.tombstones: set[str] = set()
        self.rounds: set[str] = set()
        self.posted = 0

    def apply(self, account: str, round_id: str, legs: list[Leg]) -> tuple[list[LegAnswer], int]:
        if account not in self.real:
            raise Refused(Refusal.PLAYER_UNKNOWN)
        before = (dict(self.real), dict(self.debt), dict(self.known), set(self.reversed), set(self.tombstones))
        balance_before = self.real[account]
        rounds, posted = set(self.rounds), self.posted
        answers: list[LegAnswer] = []
        told, fresh = balance_before, False
        try:
            for leg in legs:
                known = self.known.get(leg.reference)
                if known is not None:
                    answers.append(LegAnswer(leg.reference, known[0]))
                    told = told if fresh else known[1]
                    continue
                if leg.reference in self.tombstones:
                    raise Refused(Refusal.ROLLED_BACK, balance_before)
                fresh = True
                answers.append(LegAnswer(leg.reference, self._post(account, round_id, leg, balance_before)))
                told = self.real[account]
                self.known[leg.reference] = (answers[-1].transaction, told, leg.kind.name, leg.amount_minor)
        except Refused:
            self.real, self.debt, self.known, self.reversed, self.tombstones = before
            self.rounds, self.posted = rounds, posted
            raise
        return answers, told

    def _post(self, account: str, round_id: str, leg: Leg, balance_before: int) -> str:
        if leg.kind is LegKind.BET:
            if account == LIMIT and leg.amount_minor > BETS:
                raise Refused(Refusal.LIMIT_REACHED, balance_before)
            if leg.amount_minor > self.real[account]:
                raise Refused(Refusal.INSUFFICIENT_FUNDS, balance_before)
            self.real[account] -= leg.amount_minor
            self.rounds.add(round_id)
        elif leg.kind is LegKind.WIN:
            if round_id not in self.rounds:
                raise Refused(Refusal.UNKNOWN_REFERENCE, balance_before)
            self._credit(account, leg.amount_minor)
        else:
            original = self.known.get(leg.reverses)
            if original is None or original[2] == "ROLLBACK" or leg.reverses in self.reversed:
                self.tombstones.add(leg.reverses)
                return ""
            self.reversed.add(leg.reverses)
            if original[2] == "BET":
                self._credit(account, original[3])
            else:
                taken = min(original[3], self.real[account])
                self.real[account] -= taken
                self.debt[account] = self.debt.get(account, 0) + original[3] - taken
        self.posted += 1
        return f"tx-{self.posted}"

    def _credit(self, account: str, amount_minor: int) -> None:
        repaid = min(amount_minor, self.debt.get(account, 0))
        self.debt[account] = self.debt.get(account, 0) - repaid
        self.real[account] += amount_minor - repaid


def answer_with_dialect(dialect: SoftswissDialect, ledger: TinyLedger, raw: RawCall) -> DialectResponse:
    try:
        dialect.verify(raw)
        call = dialect.parse(raw)
    except DialectRefusal as refused:
        return dialect.render_refusal(refused.refusal, refused.detail)
    return dialect.render(call, decide(ledger, call))


def decide(ledger: TinyLedger, call: WalletCall) -> WalletAnswer:
    round_text = f"our-{call.round}"
    try:
        answers, balance_minor = ledger.apply(call.account, call.round, list(call.legs))
    except Refused as refused:
        return WalletAnswer(refused.refusal, refused.balance_minor, round_text)
    return WalletAnswer(None, balance_minor, round_text, tuple(answers))


class OracleWallet:
    """The same ledger behind the aggregator's server, in its types and with its errors."""

    def __init__(self, ledger: TinyLedger) -> None:
        self._ledger = ledger

    def _apply(self, account: str, round_id: str, legs: list[Leg]) -> tuple[list[LegAnswer], Money]:
        try:
            answers, balance_minor = self._ledger.apply(account, round_id, legs)
        except Refused as refused:
            balance = Money.from_minor_units(refused.balance_minor or 0, 2)
            raise {
                Refusal.PLAYER_UNKNOWN: WalletError.invalid_player(),
                Refusal.INSUFFICIENT_FUNDS: WalletError.insufficient_funds(balance),
                Refusal.LIMIT_REACHED: WalletError.bet_limit_reached(balance),
                Refusal.ROLLED_BACK: WalletError.already_rolled_back(),
                Refusal.UNKNOWN_REFERENCE: WalletError.internal(),
            }[refused.refusal] from None
        return answers, Money.from_minor_units(balance_minor, 2)

    def balance(self, request: Any, _context: Any) -> BalanceResult:
        return BalanceResult(balance=self._apply(request.account_id, "", [])[1])

    def finish(self, request: Any, _context: Any) -> FinishResult:
        return FinishResult(balance=self._apply(request.account_id, request.round_id, [])[1])

    def bet_win(self, request: Any, _context: Any) -> BetWinResult:
        legs = [
            Leg(LegKind[one.type.upper()], one.id_provider, int(Money.parse(one.amount.format(2)).minor_units()))
            for one in request.transactions
        ]
        answers, balance = self._apply(request.account_id, request.round_id, legs)
        results = [BetWinTransactionResult(one.reference, one.transaction) for one in answers]
        return BetWinResult(round_id=f"our-{request.round_id}", balance=balance, transactions=results)

    def rollback(self, request: Any, _context: Any) -> RollbackResult:
        legs = [Leg(LegKind.ROLLBACK, one.id_provider, 0, one.original_id_provider) for one in request.transactions]
        answers, balance = self._apply(request.account_id, request.round_id_provider, legs)
        results = [RollbackTransactionResult(one.reference, one.transaction) for one in answers]
        return RollbackResult(balance=balance, round_id=f"our-{request.round_id_provider}", transactions=results)


def comparable(status: int, body: bytes) -> tuple[int, Any]:
    """Return an answer without the texts of errors, which are each side's own words."""
    told = json.loads(body)
    if status != 200:
        assert told.pop("msg") == told["meta"].pop("api_message")
    return status, told


accounts = st.sampled_from(["p-1", "p-1", "p-1", "p-2", LIMIT, "nobody"])
round_ids = st.sampled_from(["r-1", "r-2", "r-3"])
amounts = st.integers(1, 12_000).map(lambda minor: f"{minor // 100}.{minor % 100:02}")
references = st.integers(0, 12)
base = {"account_id": accounts, "currency": st.just("EUR"), "game_id": st.just("book")}
movements = st.lists(
    st.fixed_dictionaries(
        {"id_provider": references.map("m-{}".format), "type": st.sampled_from(["bet", "win"]), "amount": amounts}
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda one: one["id_provider"],
)
reversals = st.lists(
    st.fixed_dictionaries(
        {
            "id_provider": references.map("k-{}".format),
            "type": st.just("rollback"),
            "original_id_provider": references.map("m-{}".format),
        }
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda one: one["id_provider"],
)
flags = {"finished": st.booleans(), "unknown": st.none() | st.integers()}
calls = st.one_of(
    st.tuples(st.just("balance"), st.fixed_dictionaries(base)),
    st.tuples(
        st.just("betwin"), st.fixed_dictionaries({**base, **flags, "round_id": round_ids, "transactions": movements})
    ),
    st.tuples(
        st.just("rollback"),
        st.fixed_dictionaries({**base, **flags, "round_id_provider": round_ids, "transactions": reversals}),
    ),
    st.tuples(st.just("finish"), st.fixed_dictionaries({**base, "round_id": round_ids})),
)


@given(sequence=st.lists(st.tuples(calls, st.integers(0, 9)), min_size=1, max_size=30))
def test_dialect_and_the_aggregators_server_give_the_same_answers(
    dialect: SoftswissDialect, sign: Any, secret: str, sequence: list[tuple[tuple[str, dict[str, Any]], int]]
) -> None:
    ours, theirs = TinyLedger(), TinyLedger()
    server = WalletServer(OracleWallet(theirs), secret)
    for (operation, body), luck in sequence:
        raw = sign(operation, body, secret if luck else "forged")
        told = answer_with_dialect(dialect, ours, raw)
        expected = server.dispatch(f"/{operation}", raw.body, raw.headers["x-request-sign"])
        assert comparable(told.status, told.body) == comparable(expected.status, expected.body)
        assert told.content_type == expected.headers["content-type"]
    assert vars(ours) == vars(theirs)


def test_limits_of_size_are_the_same(dialect: SoftswissDialect) -> None:
    from beexar import MAX_BODY_BYTES, ROUTES

    assert dialect.max_body_bytes == MAX_BODY_BYTES
    assert {f"/{operation}" for operation in dialect.operations} == set(ROUTES)


def test_a_finish_is_understood(dialect: SoftswissDialect, sign: Any) -> None:
    body = {"account_id": "p-1", "currency": "EUR", "round_id": "r-9"}
    call = dialect.parse(sign("finish", body))
    assert call.kind is CallKind.FINISH
