"""Each movement conserves money, leaves no bucket below zero, and is undone exactly or as debt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.ledger.contracts import WalletState
from pitboss.limits.contracts import LimitKind
from pitboss.wallet.rules.movements import (
    Deltas,
    SpendOrder,
    compute_credit,
    compute_movement,
    compute_rollback,
    compute_win,
    decide_bet,
    decide_hold,
    split_over_awards,
)
from pitboss_sdk.money import CURRENCIES, minor_from_decimal

MINOR = st.integers(0, 10**17)
AMOUNT = st.integers(1, 10**17)
WALLETS = st.builds(
    lambda real, bonus, held, debt: WalletState(1, 1, 1, 5, real, bonus, held, debt, has_awards=True),
    MINOR,
    MINOR,
    MINOR,
    MINOR,
)


def wallet(real: int = 0, bonus: int = 0, held: int = 0, debt: int = 0) -> WalletState:
    return WalletState(1, 1, 1, 5, real, bonus, held, debt, has_awards=bool(bonus))


def after(state: WalletState, *movements: Deltas) -> WalletState:
    real = state.real + sum(deltas.real for deltas in movements)
    bonus = state.bonus + sum(deltas.bonus for deltas in movements)
    held = state.held + sum(deltas.held for deltas in movements)
    return WalletState(1, 1, 1, 5, real, bonus, held, state.debt + sum(d.debt for d in movements), has_awards=True)


def is_sound(state: WalletState) -> bool:
    return min(state.real, state.bonus, state.held, state.debt) >= 0


def claim(deltas: Deltas) -> int:
    return deltas.real + deltas.bonus + deltas.held - deltas.debt


@given(WALLETS, AMOUNT, st.sampled_from(SpendOrder))
def test_a_bet_takes_exactly_its_amount_or_is_refused(state: WalletState, amount: int, order: SpendOrder) -> None:
    deltas = decide_bet(state, amount, order)
    if deltas is None:
        assert state.playable < amount
        return
    assert claim(deltas) == -amount
    assert deltas.held == deltas.debt == 0
    assert max(deltas.real, deltas.bonus) <= 0
    assert is_sound(after(state, deltas))
    first, second = (deltas.real, deltas.bonus) if order is SpendOrder.REAL_FIRST else (deltas.bonus, deltas.real)
    purse = state.real if order is SpendOrder.REAL_FIRST else state.bonus
    assert second == 0 or first == -purse


@given(WALLETS, AMOUNT)
def test_a_credit_repays_debt_first(state: WalletState, amount: int) -> None:
    deltas = compute_credit(state, amount)
    assert claim(deltas) == amount
    assert deltas.debt == -min(state.debt, amount)
    assert is_sound(after(state, deltas))


@given(WALLETS, AMOUNT, MINOR, MINOR)
def test_a_win_is_split_as_its_stakes_were(state: WalletState, amount: int, real: int, bonus: int) -> None:
    deltas = compute_win(state, amount, real, bonus)
    assert claim(deltas) == amount
    assert is_sound(after(state, deltas))
    assert deltas.debt <= 0
    if not real + bonus:
        assert deltas.bonus == 0
    else:
        assert 0 <= amount * bonus - deltas.bonus * (real + bonus) < real + bonus


@pytest.mark.parametrize(
    ("amount", "real", "bonus", "expected"),
    [(10, 1, 1, (5, 5)), (11, 1, 1, (6, 5)), (1, 1, 2, (1, 0)), (100, 0, 3, (0, 100)), (100, 3, 0, (100, 0))],
)
def test_the_odd_unit_of_a_win_is_real(amount: int, real: int, bonus: int, expected: tuple[int, int]) -> None:
    assert compute_win(wallet(), amount, real, bonus)[:2] == expected


@given(WALLETS, AMOUNT, st.sampled_from(SpendOrder))
def test_a_rolled_back_bet_is_its_exact_negation(state: WalletState, amount: int, order: SpendOrder) -> None:
    bet = decide_bet(state, amount, order)
    if bet is not None:
        assert compute_rollback(after(state, bet), bet) == tuple(-delta for delta in bet)


@given(WALLETS, AMOUNT, MINOR, MINOR, AMOUNT, st.sampled_from(SpendOrder))
def test_a_rolled_back_win_takes_it_all_back_as_debt_where_it_is_spent(
    state: WalletState, amount: int, real: int, bonus: int, spent: int, order: SpendOrder
) -> None:
    win = compute_win(state, amount, real, bonus)
    rich = after(state, win)
    bet = decide_bet(rich, spent, order)
    poorer = after(rich, bet) if bet is not None else rich
    back = compute_rollback(poorer, win)
    assert claim(back) == -claim(win)
    assert is_sound(after(poorer, back))
    if poorer.bonus >= win.bonus and poorer.real >= win.real:
        assert back == tuple(-delta for delta in win)


def test_a_spent_win_becomes_debt_and_never_a_negative_bucket() -> None:
    assert compute_rollback(wallet(real=30), Deltas(100, 0, 0, 0)) == (-30, 0, 0, 70)
    assert compute_rollback(wallet(real=30, bonus=10), Deltas(0, 50, 0, 0)) == (-30, -10, 0, 10)
    assert compute_rollback(wallet(), Deltas(5, 0, 0, -20)) == (0, 0, 0, 25)


@given(WALLETS, AMOUNT)
def test_a_hold_moves_real_money_aside(state: WalletState, amount: int) -> None:
    deltas = decide_hold(state, amount)
    assert (deltas is None) == (state.real < amount)
    if deltas is not None:
        assert deltas == (-amount, 0, amount, 0)
        assert is_sound(after(state, deltas))


@given(st.lists(st.tuples(st.integers(1, 99), MINOR), unique_by=lambda award: award[0]), st.data())
def test_a_stake_is_taken_from_the_oldest_awards(awards: list[tuple[int, int]], data: st.DataObject) -> None:
    amount = data.draw(st.integers(0, sum(left for _, left in awards)))
    parts = split_over_awards(awards, amount)
    assert sum(part for _, part in parts) == amount
    left = dict(awards)
    assert all(0 < part <= left[award] for award, part in parts)
    touched = [award for award, remaining in awards if remaining][: len(parts)]
    assert [award for award, _ in parts] == touched
    assert all(part == left[award] for award, part in parts[:-1])


def test_what_a_movement_counts_for_limits() -> None:
    assert compute_movement(Deltas(60, 0, 0, -40), deposit=True, stake=False) == {LimitKind.DEPOSIT: 100}
    bet = compute_movement(Deltas(-30, -5, 0, 0), deposit=False, stake=True)
    assert bet == {LimitKind.STAKE: 35, LimitKind.LOSS: 35}
    assert compute_movement(Deltas(10, 2, 0, -8), deposit=False, stake=False) == {LimitKind.LOSS: -20}


@pytest.mark.parametrize("code", ["JPY", "EUR", "KWD", "BTC"])
def test_amounts_are_exact_whatever_the_decimals(code: str) -> None:
    decimals = CURRENCIES[code].decimals
    assert decimals == {"JPY": 0, "EUR": 2, "KWD": 3, "BTC": 8}[code]
    stake = minor_from_decimal("1" + ("." + "0" * (decimals - 1) + "1" if decimals else ""), decimals)
    assert stake == 10**decimals + (1 if decimals else 0)
    bet = decide_bet(wallet(real=stake // 2, bonus=stake), stake, SpendOrder.REAL_FIRST)
    assert bet == (-(stake // 2), stake // 2 - stake, 0, 0)
    assert bet is not None
    win = compute_win(wallet(), 3 * stake, -bet.real, -bet.bonus)
    assert (win.real, win.bonus) == (3 * stake - 3 * stake * -bet.bonus // stake, 3 * stake * -bet.bonus // stake)
