"""What an award may be, and what becomes of the money that is left of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from pitboss.bonus.contracts import Award, AwardOrder, AwardState, Fate, Terms
from pitboss.bonus.errors import AwardTermsInvalid, BonusForbidden, WageringAboveCeiling
from pitboss.policy.contracts import EffectivePolicy

MAX_AWARD_MINOR: Final = 10**15
"""As far from 64 bits as what is deposited by hand, so that sums of balances stay exact."""
MAX_WAGERING_TIMES: Final = 1000
MIN_TERM: Final = timedelta(minutes=5)
MAX_TERM: Final = timedelta(days=3660)


def compute_required_minor(amount_minor: int, *, times: int | None, minor: int | None) -> int:
    """Return how much is to be staked, out of a multiple of the award or an amount; raise `AwardTermsInvalid`."""
    if (times is None) == (minor is None):
        raise AwardTermsInvalid("wagering: give a multiple or an amount, one of them")
    return minor if minor is not None else amount_minor * (times or 0)


def check_order(order: AwardOrder, policy: EffectivePolicy, now: datetime) -> None:
    """Raise why an award may not be given: `BonusForbidden`, `AwardTermsInvalid` or `WageringAboveCeiling`."""
    if not policy.bonus_allowed:
        raise BonusForbidden("no bonus is allowed here")
    amount_minor, required_minor = order.amount_minor, order.required_minor
    if not 0 < amount_minor <= MAX_AWARD_MINOR:
        raise AwardTermsInvalid(f"amount: from 1 to {MAX_AWARD_MINOR} minor units")
    if not 0 < required_minor <= amount_minor * MAX_WAGERING_TIMES:
        raise AwardTermsInvalid(f"wagering: from 1 minor unit to {MAX_WAGERING_TIMES} times the award")
    if not now + MIN_TERM <= order.expires_at <= now + MAX_TERM:
        raise AwardTermsInvalid("expiry: from five minutes to ten years from now")
    ceiling = policy.bonus_wagering_maximum_times
    if ceiling is not None and required_minor > amount_minor * ceiling:
        raise WageringAboveCeiling(f"at most {ceiling} times the award may be demanded")


def is_over(terms: Terms | None, now_us: int) -> bool:
    """Return whether an award has ended; one without terms never does."""
    return terms is not None and terms.ends_at_us <= now_us


def decide_fate(terms: Terms | None, wagered_minor: int, now_us: int) -> Fate:
    """Return what happens to the money that is left: a requirement that was met in time is met for good."""
    if terms is None:
        return Fate.STAYS
    if wagered_minor >= terms.required_minor:
        return Fate.BECOMES_REAL
    return Fate.IS_TAKEN_BACK if is_over(terms, now_us) else Fate.STAYS


def decide_state(award: Award, remaining_minor: int | None, wagered_minor: int, now: datetime) -> AwardState:
    """Return where an award stands; `remaining_minor` is None where the ledger has no booking of it."""
    if award.cancelled_at is not None:
        return AwardState.CANCELLED
    if remaining_minor is None:
        return AwardState.ORDERED if now < award.order.expires_at else AwardState.EXPIRED
    if wagered_minor >= award.order.required_minor:
        return AwardState.COMPLETED
    if now >= award.order.expires_at:
        return AwardState.EXPIRED
    return AwardState.ACTIVE if remaining_minor else AwardState.USED_UP
