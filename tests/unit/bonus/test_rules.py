"""What an award may be, and what becomes of its money, on the day before, on and after each boundary."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from tests.factories.packs import load

from pitboss.bonus.contracts import Award, AwardOrder, AwardState, Fate, Terms
from pitboss.bonus.errors import AwardTermsInvalid, BonusForbidden, WageringAboveCeiling
from pitboss.bonus.rules import (
    MAX_AWARD_MINOR,
    MAX_WAGERING_TIMES,
    check_order,
    compute_required_minor,
    decide_fate,
    decide_state,
    is_over,
)
from pitboss.policy.contracts import EffectivePolicy, SpendOrder, TenantPolicy
from pitboss.policy.service import resolve_policy
from pitboss_sdk.errors import PitbossError

NOW = datetime(2028, 2, 28, 12, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(microseconds=1)
ORDER = AwardOrder("ref", 1000, 10_000, NOW + DAY, "welcome")


def policy(**figures: Any) -> EffectivePolicy:
    return resolve_policy(TenantPolicy(**figures), None, date(2028, 2, 28))


def refusal(order: AwardOrder = ORDER, rules: EffectivePolicy | None = None, **changes: Any) -> type | None:
    try:
        check_order(msgspec.structs.replace(order, **changes), rules or policy(), NOW)
    except PitbossError as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, None),
        ({"amount_minor": 1, "required_minor": 1}, None),
        ({"amount_minor": 0}, AwardTermsInvalid),
        ({"amount_minor": -1}, AwardTermsInvalid),
        ({"amount_minor": MAX_AWARD_MINOR}, None),
        ({"amount_minor": MAX_AWARD_MINOR + 1}, AwardTermsInvalid),
        ({"required_minor": 0}, AwardTermsInvalid),
        ({"required_minor": -5}, AwardTermsInvalid),
        ({"required_minor": 1000 * MAX_WAGERING_TIMES}, None),
        ({"required_minor": 1000 * MAX_WAGERING_TIMES + 1}, AwardTermsInvalid),
        ({"expires_at": NOW - DAY}, AwardTermsInvalid),
        ({"expires_at": NOW}, AwardTermsInvalid),
        ({"expires_at": NOW + timedelta(minutes=5) - SECOND}, AwardTermsInvalid),
        ({"expires_at": NOW + timedelta(minutes=5)}, None),
        ({"expires_at": NOW + timedelta(days=3660)}, None),
        ({"expires_at": NOW + timedelta(days=3660) + SECOND}, AwardTermsInvalid),
    ],
)
def test_an_award_makes_sense_or_is_refused(changes: dict[str, Any], wanted: type | None) -> None:
    assert refusal(**changes) is wanted


@pytest.mark.parametrize(("required_minor", "wanted"), [(9_999, None), (10_000, None), (10_001, WageringAboveCeiling)])
def test_no_more_wagering_is_demanded_than_the_policy_allows(required_minor: int, wanted: type | None) -> None:
    assert refusal(rules=policy(bonus_wagering_maximum_times=10), required_minor=required_minor) is wanted
    assert refusal(rules=policy(), required_minor=required_minor) is None


def test_where_bonus_is_forbidden_no_award_is_given() -> None:
    assert refusal(rules=policy(bonus_allowed=False)) is BonusForbidden
    brazil = load("br_spa").pack
    for day, wanted in ((19, None), (20, BonusForbidden), (21, BonusForbidden)):
        assert refusal(rules=resolve_policy(TenantPolicy(), brazil, date(2026, 11, day))) is wanted


def test_a_requirement_is_a_multiple_or_an_amount() -> None:
    assert compute_required_minor(250, times=4, minor=None) == 1000
    assert compute_required_minor(250, times=None, minor=7) == 7
    for times, minor in ((None, None), (4, 7)):
        with pytest.raises(AwardTermsInvalid):
            compute_required_minor(250, times=times, minor=minor)


END = 1_000_000
TERMS = Terms(100, END)


@pytest.mark.parametrize(
    ("terms", "wagered", "now_us", "fate"),
    [
        (TERMS, 0, END - 1, Fate.STAYS),
        (TERMS, 0, END, Fate.IS_TAKEN_BACK),
        (TERMS, 0, END + 1, Fate.IS_TAKEN_BACK),
        (TERMS, 99, END - 1, Fate.STAYS),
        (TERMS, 100, END - 1, Fate.BECOMES_REAL),
        (TERMS, 101, END - 1, Fate.BECOMES_REAL),
        (TERMS, 99, END, Fate.IS_TAKEN_BACK),
        (TERMS, 100, END, Fate.BECOMES_REAL),
        (Terms(100, 0), 99, 1, Fate.IS_TAKEN_BACK),
        (None, 10**9, 10**18, Fate.STAYS),
    ],
)
def test_money_stays_becomes_real_or_is_taken_back(terms: Terms | None, wagered: int, now_us: int, fate: Fate) -> None:
    assert decide_fate(terms, wagered, now_us) is fate
    assert not (fate is Fate.IS_TAKEN_BACK and not is_over(terms, now_us))


@pytest.mark.parametrize(
    ("remaining", "wagered", "now", "cancelled", "state"),
    [
        (None, 0, NOW, False, AwardState.ORDERED),
        (None, 0, NOW + DAY, False, AwardState.EXPIRED),
        (1000, 0, NOW + DAY - SECOND, False, AwardState.ACTIVE),
        (1000, 0, NOW + DAY, False, AwardState.EXPIRED),
        (0, 9_999, NOW, False, AwardState.USED_UP),
        (0, 10_000, NOW, False, AwardState.COMPLETED),
        (0, 10_000, NOW + 2 * DAY, False, AwardState.COMPLETED),
        (0, 9_999, NOW + DAY, False, AwardState.EXPIRED),
        (0, 0, NOW, True, AwardState.CANCELLED),
    ],
)
def test_people_are_told_where_an_award_stands(
    remaining: int | None, wagered: int, now: datetime, cancelled: bool, state: AwardState
) -> None:
    award = Award(UUID(int=1), 7, ORDER, NOW, NOW if cancelled else None)
    assert decide_state(award, remaining, wagered, now) is state


def test_the_order_of_spending_is_the_tenants_and_real_money_goes_first_by_default() -> None:
    assert policy().spend_order is SpendOrder.REAL_FIRST
    chosen = policy(real_money_spent_first=False)
    assert chosen.spend_order is SpendOrder.BONUS_FIRST
    (claim,) = chosen.figures["real_money_spent_first"].deciding
    assert (claim.who, claim.mark, claim.value) == ("policy.toml", "tenant", False)
