"""Single decisions of a batch walk that are easy to get wrong; the property suites hold the rest."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from pitboss.bonus.contracts import Terms
from pitboss.ledger.contracts import Op, OpenAward, WalletState
from pitboss.limits.contracts import Limit, LimitKind, Period
from pitboss.wallet.contracts import LegRequest, WalletRequest
from pitboss.wallet.rules import BatchFacts, BatchWalk
from pitboss.wallet.service import make_leg
from pitboss_sdk.games import Refusal
from pitboss_sdk.money import MAX_MINOR

NOW = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 1_000_000


def walk(real: int = 0, awards: tuple[int, ...] = (), held: int = 0) -> BatchWalk:
    state = WalletState(1, 1, 1, 9, real, sum(awards), held, 0, has_awards=bool(awards))
    facts = BatchFacts({(1, 1): state}, {}, NOW, {})
    facts.awards = {(1, 1, number): OpenAward(number, left, 0) for number, left in enumerate(awards, 1)}
    return BatchWalk(facts)


def ask(*legs: LegRequest) -> WalletRequest:
    return WalletRequest(1, 1, 7, legs)


def leg(op: Op, reference: str, amount: int, reverses: str = "") -> LegRequest:
    return make_leg(op, 1, reference, amount, 3, reverses=reverses)


def test_a_late_bet_is_told_the_balance_of_its_rollback() -> None:
    decided = walk(real=100)
    decided.decide(ask(leg(Op.BET_ROLLBACK, "back", 0, "bet")))
    decided.decide(ask(leg(Op.DEPOSIT, "more", 50)))
    late = [decided.decide(ask(leg(Op.BET, "bet", 10))) for _ in range(2)]
    assert [(answer.refusal, answer.balance_minor) for answer in late] == [(Refusal.ROLLED_BACK, 100)] * 2


def test_a_bet_and_its_rollback_in_one_request_leave_every_award_as_it_was() -> None:
    decided = walk(awards=(30, 70))
    answer = decided.decide(ask(leg(Op.BET, "bet", 50), leg(Op.BET_ROLLBACK, "back", 0, "bet")))
    assert answer.refusal is None
    left = {name[2]: (award.remaining, award.wagered) for name, award in decided.facts.awards.items()}
    assert left == {1: (30, 0), 2: (70, 0)}


def test_a_rolled_back_bet_was_not_wagered() -> None:
    decided = walk(awards=(30,))
    decided.decide(ask(leg(Op.BET, "bet", 20)))
    assert decided.facts.awards[1, 1, 1].wagered == 20
    decided.decide(ask(leg(Op.BET_ROLLBACK, "back", 0, "bet")))
    assert decided.facts.awards[1, 1, 1].wagered == 0


@pytest.mark.parametrize("op", [Op.BET, Op.WIN, Op.DEPOSIT, Op.HOLD, Op.AWARD, Op.AWARD_FORFEIT, Op.CAPTURE])
@pytest.mark.parametrize("amount", [0, -1, -MAX_MINOR])
def test_no_amount_below_one_moves_anything(op: Op, amount: int) -> None:
    decided = walk(real=100, awards=(30,))
    hold = make_leg(Op.HOLD, 1, "hold", 50, 3, expires_at=datetime(2026, 12, 1, tzinfo=UTC))
    assert decided.decide(ask(hold)).refusal is None
    before = len(decided.posting.bookings)
    answer = decided.decide(ask(leg(op, "odd", amount, "hold")))
    assert answer.refusal is Refusal.MALFORMED
    assert len(decided.posting.bookings) == before
    assert not decided.facts.known.get((1, 7, leg(op, "odd", amount).key))


def test_an_adjustment_goes_both_ways_and_never_by_nothing() -> None:
    decided = walk(real=100)
    answer = decided.decide(ask(leg(Op.ADJUSTMENT, "by nothing", 0)))
    assert (answer.refusal, decided.posting.bookings) == (Refusal.MALFORMED, [])
    assert not decided.facts.known.get((1, 7, leg(Op.ADJUSTMENT, "by nothing", 0).key))
    for reference, amount, balance in (("up", 7, 107), ("down", -7, 100)):
        answer = decided.decide(ask(leg(Op.ADJUSTMENT, reference, amount)))
        assert (answer.refusal, answer.balance_minor) == (None, balance)


def test_a_wallet_never_holds_more_than_64_bits_can_say() -> None:
    decided = walk(real=MAX_MINOR - 5)
    assert decided.decide(ask(leg(Op.WIN, "much", 6))).refusal is Refusal.MALFORMED
    answer = decided.decide(ask(leg(Op.WIN, "fits", 5)))
    assert (answer.refusal, answer.balance_minor) == (None, MAX_MINOR)


def test_a_forfeit_takes_bonus_money_and_no_more_than_there_is() -> None:
    decided = walk(real=10, awards=(30, 70))
    assert decided.decide(ask(leg(Op.AWARD_FORFEIT, "all of it", 101))).refusal is Refusal.INSUFFICIENT_FUNDS
    answer = decided.decide(ask(leg(Op.AWARD_FORFEIT, "some", 40)))
    assert answer.balance_minor == 70
    assert [award.remaining for award in decided.facts.awards.values()] == [0, 60]


@pytest.mark.parametrize(
    ("op", "allowed"), [(Op.BET, False), (Op.DEPOSIT, False), (Op.AWARD, False), (Op.HOLD, True), (Op.WIN, True)]
)
def test_who_is_excluded_stakes_and_deposits_nothing_and_gets_what_is_owed(op: Op, allowed: bool) -> None:
    for until, wanted in ((NOW + 1, allowed), (NOW, True), (NOW - 1, True)):
        decided = walk(real=100)
        decided.facts.wallets[1, 1].closed_until_us = until
        expires_at = datetime(2027, 1, 1, tzinfo=UTC) if op is Op.HOLD else None
        answer = decided.decide(ask(make_leg(op, 1, "one", 10, 3, expires_at=expires_at)))
        assert (answer.refusal is None) is wanted, (op, until)
        assert answer.refusal in {None, Refusal.PLAYER_BLOCKED}


END_OF_DAY = NOW + 12 * 3_600_000_000


@pytest.mark.parametrize("op", [Op.BET, Op.DEPOSIT])
@pytest.mark.parametrize("limited", [True, False])
def test_what_counts_for_a_day_is_written_before_it_ends(op: Op, *, limited: bool) -> None:
    decided = walk(real=100)
    if limited:
        decided.facts.wallets[1, 1].has_limits = True
        decided.facts.limits = {(1, 1): [Limit(kind, Period.DAY, 50) for kind in LimitKind]}
        decided.facts.days, decided.facts.day_ends_us = {(1, ""): date(2026, 11, 20)}, {(1, ""): END_OF_DAY}
    assert decided.decide(ask(leg(op, "one", 10))).refusal is None
    assert decided.posting.right_before_us == (END_OF_DAY if limited else None)


@pytest.mark.parametrize("first", ["mt_mga", "br_spa"])
def test_a_batch_of_two_licences_is_written_before_the_first_of_their_days_ends(first: str) -> None:
    ends = {(1, "mt_mga"): NOW + 7, (1, "br_spa"): NOW + 9}
    wallets = {
        (1, number): WalletState(1, number, number, 9, 100, 0, 0, 0, has_awards=False, has_limits=True, licence=licence)
        for number, licence in ((1, first), (2, "br_spa" if first == "mt_mga" else "mt_mga"))
    }
    facts = BatchFacts(wallets, {}, NOW, {}, days=dict.fromkeys(ends, date(2026, 11, 20)), day_ends_us=ends)
    facts.limits = {pair: [Limit(LimitKind.STAKE, Period.DAY, 50)] for pair in wallets}
    decided = BatchWalk(facts)
    for number in (1, 2):
        its = make_leg(Op.BET, number, f"bet {number}", 10, 3)
        assert decided.decide(WalletRequest(1, number, 7, (its,))).refusal is None
    assert decided.posting.right_before_us == NOW + 7


def test_a_balance_is_told_where_nobody_knows_the_day() -> None:
    decided = walk(real=100, awards=(30,))
    decided.facts.wallets[1, 1].has_limits = True
    decided.facts.limits = {(1, 1): [Limit(LimitKind.LOSS, Period.DAY, 50)]}
    decided.facts.awards = {(1, 1, 1): OpenAward(1, 30, 0, reference="given")}
    decided.facts.terms = {(1, 1, "given"): Terms(100, NOW - 1)}
    answer = decided.decide(ask())
    assert (answer.refusal, answer.balance_minor, len(decided.posting.bookings)) == (None, 100, 1)
    assert decided.decide(ask(leg(Op.BET, "bet", 10))).refusal is Refusal.UNAVAILABLE
