"""What a round takes and refuses, and what it says after each call."""

from __future__ import annotations

import pytest

from pitboss.games.contracts import GameFacts, RoundFacts, RoundMode, RoundState, RoundSubject, SessionFacts
from pitboss.games.rules import apply_call, compute_round_id, decide_admission, decide_basis
from pitboss.ledger.contracts import Op
from pitboss.wallet.contracts import LegResult
from pitboss_sdk.games import Refusal


def subject(**changes: object) -> RoundSubject:
    values: dict[str, object] = {
        "player_id": 1,
        "currency": "EUR",
        "plugin": "softswiss",
        "game": "dice",
        "session": "",
        "session_malformed": False,
        "round_reference": "r",
        "finished": False,
        "free_spin": False,
        "jackpots": {},
        "jackpot_pool": "",
    }
    return RoundSubject(**{**values, **changes})  # type: ignore[arg-type]


NOW = 1_000_000
GAME, SWITCHED_OFF = GameFacts(enabled=True, version_id=4), GameFacts(enabled=False, version_id=4)
MINE, HERS, OVER = SessionFacts(1, NOW + 1), SessionFacts(2, NOW + 1), SessionFacts(1, NOW)


def fresh(**changes: object) -> RoundFacts:
    facts = RoundFacts()
    for name, value in changes.items():
        setattr(facts, name, value)
    return facts


def result(
    op: Op, version: int, real: int, bonus: int = 0, moved: int | None = None, *, replayed: bool = False
) -> LegResult:
    return LegResult("ref", 1, version, int(op), real, bonus, real + bonus if moved is None else moved, replayed)


@pytest.mark.parametrize(
    ("asked", "session", "game", "facts", "refusal"),
    [
        (subject(), None, GAME, None, None),
        (subject(session="s"), MINE, GAME, None, None),
        (subject(session="s"), None, GAME, None, Refusal.SESSION_INVALID),
        (subject(session="s"), HERS, GAME, None, Refusal.SESSION_INVALID),
        (subject(session="s"), OVER, GAME, None, Refusal.SESSION_INVALID),
        (subject(session_malformed=True), MINE, GAME, None, Refusal.SESSION_INVALID),
        (subject(), None, None, None, Refusal.GAME_FORBIDDEN),
        (subject(), None, SWITCHED_OFF, None, Refusal.GAME_FORBIDDEN),
        (subject(session="s"), None, SWITCHED_OFF, None, Refusal.SESSION_INVALID),
        (subject(), None, GAME, fresh(), None),
        (subject(), None, GAME, fresh(state=int(RoundState.FINISHED)), None),
        (subject(), None, GAME, fresh(exists=True), None),
        (subject(), None, GAME, fresh(exists=True, state=int(RoundState.FINISHED)), Refusal.ROUND_CLOSED),
        (subject(), None, GAME, fresh(exists=True, state=int(RoundState.VOIDED)), Refusal.ROUND_CLOSED),
    ],
)
def test_who_may_bet(
    asked: RoundSubject,
    session: SessionFacts | None,
    game: GameFacts | None,
    facts: RoundFacts | None,
    refusal: Refusal | None,
) -> None:
    assert decide_admission(asked, session, game, facts, NOW) is refusal


@pytest.mark.parametrize(
    ("facts", "asked", "basis"),
    [
        (None, subject(), Refusal.UNKNOWN_REFERENCE),
        (None, subject(free_spin=True), (0, 0)),
        (fresh(), subject(), Refusal.UNKNOWN_REFERENCE),
        (fresh(), subject(free_spin=True), (0, 0)),
        (fresh(exists=True), subject(), Refusal.UNKNOWN_REFERENCE),
        (fresh(exists=True, bets=1, bet_real=3, bet_bonus=4), subject(), (3, 4)),
        (fresh(exists=True, bets=1, bet_real=3, state=int(RoundState.FINISHED)), subject(), (3, 0)),
        (fresh(exists=True, bets=0, state=int(RoundState.VOIDED)), subject(), Refusal.ROLLED_BACK),
    ],
)
def test_what_a_win_belongs_to(facts: RoundFacts | None, asked: RoundSubject, basis: tuple[int, int] | Refusal) -> None:
    assert decide_basis(facts, asked) == basis


def test_a_round_sums_up_its_calls() -> None:
    facts = fresh()
    apply_call(facts, subject(session="s"), 4, [result(Op.BET, 3, -10)], 100, 90)
    assert (facts.exists, facts.first_version, facts.last_version, facts.bets) == (True, 3, 3, 1)
    assert (facts.balance_before, facts.balance_after, facts.round_version_id, facts.session) == (100, 90, 4, "s")
    assert facts.mode == RoundMode.CASH
    apply_call(facts, subject(), 4, [result(Op.BET, 5, -1, -4), result(Op.WIN, 6, 7, 0, 9)], 90, 92)
    assert (facts.bet_real, facts.bet_bonus, facts.win_minor, facts.bets) == (11, 4, 9, 2)
    assert (facts.first_version, facts.last_version, facts.balance_before, facts.balance_after) == (3, 6, 100, 92)
    assert facts.mode == RoundMode.MIXED
    apply_call(facts, subject(), 4, [result(Op.WIN_ROLLBACK, 7, -2, 0, -9)], 92, 90)
    assert facts.win_minor == 0
    apply_call(facts, subject(finished=True), 4, [], 90, 90)
    assert facts.state == RoundState.FINISHED


def test_replayed_legs_are_in_the_round_already() -> None:
    facts = fresh(exists=True, bets=1, bet_real=10, first_version=3, last_version=3)
    apply_call(facts, subject(), 4, [result(Op.BET, 3, -10, replayed=True)], 100, 100)
    assert (facts.bet_real, facts.bets, facts.dirty) == (10, 1, False)


def test_a_round_without_live_bets_is_void() -> None:
    facts = fresh()
    apply_call(facts, subject(), 4, [result(Op.BET, 1, -10), result(Op.BET, 2, -5)], 100, 85)
    apply_call(facts, subject(), 4, [result(Op.BET_ROLLBACK, 3, 10)], 85, 95)
    assert facts.state == RoundState.OPEN
    apply_call(facts, subject(finished=True), 4, [result(Op.BET_ROLLBACK, 4, 5)], 95, 100)
    assert facts.state == RoundState.VOIDED
    assert (facts.bet_real, facts.bets) == (0, 0)


def test_nothing_happened_in_a_round_that_never_was() -> None:
    facts = fresh()
    apply_call(facts, subject(finished=True), 4, [result(Op.BET_ROLLBACK, 0, 0)], 5, 5)
    assert (facts.exists, facts.dirty) == (False, False)


def test_free_spins_and_bonus_money_name_the_mode() -> None:
    spun, bonus = fresh(), fresh()
    apply_call(spun, subject(free_spin=True), 4, [result(Op.WIN, 1, 5)], 0, 5)
    apply_call(bonus, subject(), 4, [result(Op.BET, 1, 0, -5)], 5, 0)
    assert (spun.mode, bonus.mode) == (RoundMode.FREE_SPIN, RoundMode.BONUS)


def test_a_round_id_is_the_same_everywhere_and_no_other_round_has_it() -> None:
    assert compute_round_id(1, "r") == compute_round_id(1, "r")
    assert len({compute_round_id(source, name) for source in (1, 2) for name in ("r", "1|r", "2|r")}) == 6


def test_a_jackpot_counts_once_however_often_its_leg_comes() -> None:
    facts = fresh()
    first = subject(jackpots={"b": 7}, jackpot_pool="mega")
    apply_call(facts, first, 4, [LegResult("b", 1, 1, int(Op.BET), -100, 0, -100, replayed=False)], 1000, 900)
    legs = [
        LegResult("b", 1, 1, int(Op.BET), -100, 0, -100, replayed=True),
        LegResult("w", 1, 2, int(Op.WIN), 50, 0, 50, replayed=False),
    ]
    apply_call(facts, subject(jackpots={"b": 7, "w": 5}), 4, legs, 900, 950)
    assert (facts.jackpot_minor, facts.jackpot_pool) == (12, "mega")
