"""What a round becomes by a call, decided from its row and the results of its legs."""

from __future__ import annotations

from collections.abc import Sequence

from pitboss.games.contracts import GameFacts, RoundFacts, RoundMode, RoundState, RoundSubject, SessionFacts
from pitboss.kernel.ids import derive_uuid_text
from pitboss.ledger.contracts import Op
from pitboss.wallet.contracts import LegResult
from pitboss_sdk.games import Refusal

FREE_SPIN = int(RoundMode.FREE_SPIN)


def decide_admission(
    subject: RoundSubject,
    session: SessionFacts | None,
    game: GameFacts | None,
    facts: RoundFacts | None,
    now_us: int,
) -> Refusal | None:
    """Return why a bet may not be booked, or None; wins and rollbacks are never held against session or game."""
    if subject.session_malformed or (subject.session and not is_session_good(subject, session, now_us)):
        return Refusal.SESSION_INVALID
    if game is None or not game.enabled:
        return Refusal.GAME_FORBIDDEN
    if facts is not None and facts.exists and facts.state != RoundState.OPEN:
        return Refusal.ROUND_CLOSED
    return None


def is_session_good(subject: RoundSubject, session: SessionFacts | None, now_us: int) -> bool:
    """Return whether a session of the wallet is this player's and not over."""
    return session is not None and session.player_id == subject.player_id and session.ends_at_us > now_us


def decide_basis(facts: RoundFacts | None, subject: RoundSubject) -> tuple[int, int] | Refusal:
    """Return the stakes that a win returns to; free spins need none."""
    if subject.free_spin:
        return (0, 0)
    if facts is None:
        return Refusal.UNKNOWN_REFERENCE
    if facts.state == RoundState.VOIDED:
        return Refusal.ROLLED_BACK
    if not facts.exists or not facts.bets:
        return Refusal.UNKNOWN_REFERENCE
    return (facts.bet_real, facts.bet_bonus)


def apply_call(
    facts: RoundFacts,
    subject: RoundSubject,
    version_id: int,
    legs: Sequence[LegResult],
    before_minor: int,
    after_minor: int,
) -> None:
    """Take the legs of an accepted call into the round; replayed ones are in it already."""
    fresh = [leg for leg in legs if leg.version and not leg.replayed]
    rolled_back = False
    for leg in fresh:
        if leg.op == Op.BET:
            facts.bet_real -= leg.d_real
            facts.bet_bonus -= leg.d_bonus
            facts.bets += 1
        elif leg.op == Op.BET_ROLLBACK:
            facts.bet_real -= leg.d_real
            facts.bet_bonus -= leg.d_bonus
            facts.bets -= 1
            rolled_back = True
        else:
            facts.win_minor += leg.moved_minor
    if fresh:
        if not facts.exists:
            facts.balance_before = before_minor
            facts.first_version = fresh[0].version
            facts.round_version_id = version_id
            facts.session = subject.session or None
        facts.exists = True
        facts.last_version = fresh[-1].version
        facts.balance_after = after_minor
        if subject.jackpots:
            facts.jackpot_minor += sum(subject.jackpots.get(leg.reference, 0) for leg in fresh)
        facts.jackpot_pool = subject.jackpot_pool or facts.jackpot_pool
        facts.dirty = True
        facts.mode = int(_mode(facts, subject))
        if rolled_back and not facts.bets:
            facts.state = int(RoundState.VOIDED)
    if subject.finished and facts.exists and facts.state == RoundState.OPEN:
        facts.state = int(RoundState.FINISHED)
        facts.dirty = True


def _mode(facts: RoundFacts, subject: RoundSubject) -> RoundMode:
    if subject.free_spin or facts.mode == FREE_SPIN:
        return RoundMode.FREE_SPIN
    if not facts.bet_bonus:
        return RoundMode.CASH
    return RoundMode.MIXED if facts.bet_real else RoundMode.BONUS


def compute_round_id(source_id: int, provider_round: str) -> str:
    """Return our id of a provider's round: the same for every call of it, without a look-up."""
    return derive_uuid_text(f"round|{source_id}|{provider_round}")
