"""The model that answers are held against, by hand-made sequences, and that it notices a wrong answer."""

from __future__ import annotations

import pytest

from pitboss.cli.simulate.calls import Answer, Call, Holder, Leg, to_decimal
from pitboss.cli.simulate.model import Expected, Wallet, differ
from pitboss.cli.simulate.softswiss import decode, encode


@pytest.fixture
def wallet() -> Wallet:
    found = Wallet()
    assert found.deposit(1000) == 1000
    return found


def bet(reference: str, amount_minor: int = 100) -> Leg:
    return Leg("bet", reference, amount_minor)


def win(reference: str, amount_minor: int = 50) -> Leg:
    return Leg("win", reference, amount_minor)


def back(reference: str, original: str) -> Leg:
    return Leg("rollback", reference, 0, original)


def test_a_repetition_gets_the_first_answer(wallet: Wallet) -> None:
    first = Call("betwin", "r", (bet("b"),))
    assert wallet.expect(first) == Expected("", 900, (True,))
    assert wallet.expect(Call("betwin", "r", (win("w"),))) == Expected("", 950, (True,))
    assert wallet.expect(first) == Expected("", 900, (True,))
    assert wallet.expect(Call("betwin", "r", (bet("b", 101),))).api_code == "400"
    assert wallet.real == 950


def test_a_call_that_grew_books_what_is_new(wallet: Wallet) -> None:
    wallet.expect(Call("betwin", "r", (bet("b"),)))
    assert wallet.expect(Call("betwin", "r", (bet("b"), win("w")))) == Expected("", 950, (True, True))


def test_a_refused_call_changes_nothing_and_stays_refused(wallet: Wallet) -> None:
    both = Call("betwin", "r", (bet("b", 600), bet("c", 600)))
    assert wallet.expect(both) == Expected("100", 1000)
    assert (wallet.real, wallet.count_bookings("r")) == (1000, 0)
    wallet.deposit(5000)
    assert wallet.expect(Call("betwin", "r", (bet("c", 600),))) == Expected("100", 1000)


def test_a_win_before_its_bet_comes_back_later(wallet: Wallet) -> None:
    early = Call("betwin", "r", (win("w"),))
    assert wallet.expect(early).status == 500
    wallet.expect(Call("betwin", "r", (bet("b"),)))
    assert wallet.expect(early) == Expected("", 950, (True,))


def test_a_late_bet_is_refused_and_a_voided_round_pays_nothing(wallet: Wallet) -> None:
    assert wallet.expect(Call("rollback", "r", (back("x", "b"),))) == Expected("", 1000, (False,))
    assert wallet.expect(Call("betwin", "r", (bet("b"),))).api_code == "409"
    wallet.expect(Call("betwin", "s", (bet("c"),)))
    assert wallet.expect(Call("rollback", "s", (back("y", "c"),))) == Expected("", 1000, (True,))
    assert wallet.rounds["s"].state == "voided"
    assert wallet.expect(Call("betwin", "s", (win("w"),))).api_code == "409"
    assert wallet.expect(Call("betwin", "s", (bet("d"),))).api_code == "400"


def test_a_spent_win_becomes_debt_that_the_next_credit_repays(wallet: Wallet) -> None:
    wallet.expect(Call("betwin", "r", (bet("b", 1000), win("w", 300))))
    wallet.expect(Call("betwin", "r", (bet("c", 300),)))
    assert wallet.expect(Call("rollback", "r", (back("x", "w"),))) == Expected("", 0, (True,))
    assert (wallet.real, wallet.debt) == (0, 300)
    assert wallet.deposit(500) == 200
    assert wallet.debt == 0


def test_a_refused_rollback_takes_back_none_of_its_transactions(wallet: Wallet) -> None:
    wallet.expect(Call("betwin", "r", (bet("b"), bet("c"))))
    wallet.expect(Call("rollback", "r", (back("x", "b"),)))
    assert wallet.expect(Call("rollback", "r", (back("y", "c"), back("z", "x")))).api_code == "409"
    assert wallet.real == 900
    assert wallet.expect(Call("rollback", "r", (back("u", "c"),))) == Expected("", 1000, (True,))


def test_a_forgotten_round_leaves_the_balance(wallet: Wallet) -> None:
    wallet.expect(Call("betwin", "r", (bet("b"),)))
    wallet.forget("r")
    assert (wallet.real, wallet.rounds) == (900, {})


@pytest.mark.parametrize(
    ("answer", "difference"),
    [
        (Answer(200, "", "9.00", ("1-2",), b""), ""),
        (Answer(200, "", "9.01", ("1-2",), b""), "balance 9.01, expected 9.00"),
        (Answer(200, "", "9.00", ("",), b""), "transactions booked (False,), expected (True,)"),
        (Answer(200, "", "9.00", (), b""), "transactions booked (), expected (True,)"),
        (Answer(400, "100", "9.00", (), b""), "answered 400 100, expected 200"),
    ],
)
def test_a_difference_is_told(answer: Answer, difference: str) -> None:
    assert differ(answer, Expected("", 900, (True,)), 2) == difference


def test_bodies_are_stable_and_answers_are_read_strictly() -> None:
    holder = Holder("account", "EUR", 2, "game", "session")
    call = Call("betwin", "r", (bet("b", 1234),))
    assert encode(call, holder) == encode(call, holder)
    assert b'"amount":"12.34"' in encode(call, holder)
    assert (to_decimal(7, 0), to_decimal(7, 3), to_decimal(123456789, 8)) == ("7", "0.007", "1.23456789")
    assert decode(502, b"<html>") is None
    assert decode(200, b'{"meta":{"api_code":"100"}}') is None
    assert decode(500, b'{"balance":"1.00"}') is None
