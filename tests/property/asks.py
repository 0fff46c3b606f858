"""Between the model's words and the wallet's: requests out of asks, answers out of results."""

from __future__ import annotations

from datetime import timedelta

from tests.property.model import Answer, Ask

from pitboss.games.contracts import RoundSubject
from pitboss.games.rules import compute_round_id
from pitboss.games.runtime import Rounds
from pitboss.kernel.clock import utc_now
from pitboss.ledger.contracts import Op
from pitboss.wallet.contracts import Companion, WalletRequest, WalletResult
from pitboss.wallet.service import make_leg

GAME = "dice"
OPS = {"rollback": Op.BET_ROLLBACK} | {op.name.lower(): op for op in Op if op not in {Op.BET_ROLLBACK, Op.WIN_ROLLBACK}}
ROUNDS = Rounds()
_LATER = utc_now() + timedelta(days=30)


def make_request(
    ask: Ask,
    *,
    tenant_id: int,
    account_id: int,
    wallet_id: int,
    source_id: int,
    player_id: int,
    session: str = "",
    currency: str = "EUR",
    companion: Companion = ROUNDS,
) -> WalletRequest:
    """Return the request that `ask` stands for; only asks with a round concern the games room.

    `session` is the one that is meant where the ask names none.
    """
    legs = [
        make_leg(
            OPS[step.op],
            wallet_id,
            step.ref,
            step.amount,
            account_id,
            context=ask.round,
            reverses=step.target,
            expires_at=_LATER if step.op == "hold" else None,
        )
        for step in ask.steps
    ]
    if not ask.round:
        return WalletRequest(tenant_id, wallet_id, source_id, legs)
    round_id = compute_round_id(source_id, ask.round)
    subject = RoundSubject(
        player_id=player_id,
        currency=currency,
        plugin="softswiss",
        game=ask.game,
        session=ask.session or session,
        session_malformed=not ask.session_ok,
        round_reference=ask.round,
        finished=ask.finished,
        free_spin=False,
        jackpots={},
        jackpot_pool="",
    )
    return WalletRequest(tenant_id, wallet_id, source_id, legs, round_id, companion, subject)


def read_answer(result: WalletResult) -> Answer:
    """Return what a client is told."""
    refusal = None if result.refusal is None else result.refusal.value
    return Answer(refusal, result.balance_minor, tuple(leg.version for leg in result.legs))
