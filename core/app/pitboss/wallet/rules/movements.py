"""How a movement changes the four buckets of a wallet: arithmetic only, decided once and readable."""

from __future__ import annotations

from typing import NamedTuple

from pitboss.ledger.contracts import WalletState
from pitboss.limits.contracts import LimitKind
from pitboss.policy.contracts import SpendOrder


class Deltas(NamedTuple):
    """Changes of real, bonus, held and debt in minor units."""

    real: int
    bonus: int
    held: int
    debt: int


def decide_bet(wallet: WalletState, amount_minor: int, order: SpendOrder) -> Deltas | None:
    """Return the split of a stake, or None when the wallet does not hold it."""
    if wallet.real + wallet.bonus < amount_minor:
        return None
    if order is SpendOrder.REAL_FIRST:
        real = min(wallet.real, amount_minor)
        return Deltas(-real, real - amount_minor, 0, 0)
    bonus = min(wallet.bonus, amount_minor)
    return Deltas(bonus - amount_minor, -bonus, 0, 0)


def compute_credit(wallet: WalletState, amount_minor: int) -> Deltas:
    """Return what a credit of real money does: debt is repaid first."""
    repaid = min(wallet.debt, amount_minor)
    return Deltas(amount_minor - repaid, 0, 0, -repaid)


def compute_win(wallet: WalletState, amount_minor: int, staked_real: int, staked_bonus: int) -> Deltas:
    """Return a win's split in the proportion of the stakes it belongs to; the odd unit is real."""
    staked = staked_real + staked_bonus
    bonus = amount_minor * staked_bonus // staked if staked else 0
    credit = compute_credit(wallet, amount_minor - bonus)
    return Deltas(credit.real, bonus, 0, credit.debt)


def compute_rollback(wallet: WalletState, booked: Deltas) -> Deltas:
    """Return the negation of a booking; what the balance no longer holds becomes debt, never a negative bucket."""
    real, bonus, debt = -booked.real, -booked.bonus, -booked.debt
    lacking = max(0, -(wallet.bonus + bonus))
    bonus += lacking
    real -= lacking
    lacking = max(0, -(wallet.real + real))
    real += lacking
    return Deltas(real, bonus, -booked.held, debt + lacking)


def decide_hold(wallet: WalletState, amount_minor: int) -> Deltas | None:
    """Return the move of real money aside, or None when there is not enough."""
    if wallet.real < amount_minor:
        return None
    return Deltas(-amount_minor, 0, amount_minor, 0)


def compute_movement(deltas: Deltas, *, deposit: bool, stake: bool) -> dict[LimitKind, int]:
    """Return what a movement counts for limits: deposits as money in, play as stake and as loss."""
    if deposit:
        return {LimitKind.DEPOSIT: deltas.real - deltas.debt}
    change = deltas.real + deltas.bonus - deltas.debt
    if stake:
        return {LimitKind.STAKE: -change, LimitKind.LOSS: -change}
    return {LimitKind.LOSS: -change}


def split_over_awards(awards: list[tuple[int, int]], amount_minor: int) -> list[tuple[int, int]]:
    """Return (award, amount) pairs that take `amount_minor` from `awards` (award, remaining), oldest first."""
    parts: list[tuple[int, int]] = []
    for award, remaining in awards:
        if amount_minor == 0:
            break
        part = min(remaining, amount_minor)
        if part:
            parts.append((award, part))
            amount_minor -= part
    return parts
