"""Use cases of the limits."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_event
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Op, Wallet
from pitboss.limits import store
from pitboss.limits.contracts import Limit, LimitKind, Period
from pitboss.limits.rules import compute_earliest_window, compute_window_start
from pitboss.limits.store import ask_limits, list_limited_wallets, list_limits, tell_limits

__all__ = [
    "ask_limits",
    "compute_earliest_window",
    "list_limited_wallets",
    "list_limits",
    "remove_limit",
    "set_limit",
    "tell_limits",
]

_PLAY = (Op.BET, Op.BET_ROLLBACK, Op.WIN, Op.WIN_ROLLBACK)
_COUNTED: dict[LimitKind, tuple[tuple[Op, ...], int]] = {
    LimitKind.DEPOSIT: ((Op.DEPOSIT,), 1),
    LimitKind.STAKE: ((Op.BET, Op.BET_ROLLBACK), -1),
    LimitKind.LOSS: (_PLAY, -1),
}
"""Bookings that use a limit up, and the sign of the player's change in them; as the lanes count them."""


async def set_limit(
    session: AsyncSession, scope: TenantScope, wallet: Wallet, limit: Limit, actor: Actor, origin: Origin
) -> None:
    """Set or change a limit of a wallet; what was used of the current window before counts from the journal.

    The wallet is claimed until the transaction ends, so no posting falls between the sum and the limit.
    """
    ops, sign = _COUNTED[limit.kind]
    await ledger.seed_usage(
        session,
        scope,
        wallet.wallet_id,
        kind=limit.kind,
        period=limit.period,
        window_start=compute_window_start(limit.period, utc_now().date()),
        ops=ops,
        sign=sign,
    )
    before_minor = await _find_amount_minor(session, scope, wallet, limit.kind, limit.period)
    if before_minor == limit.amount_minor:
        return
    await store.write_limit(session, scope, wallet.wallet_id, limit)
    changes = (Change("amount_minor", before_minor, limit.amount_minor),)
    await record_event(session, scope, _event("limit.set", wallet, limit.kind, limit.period, changes, actor, origin))


async def remove_limit(
    session: AsyncSession,
    scope: TenantScope,
    wallet: Wallet,
    kind: LimitKind,
    period: Period,
    actor: Actor,
    origin: Origin,
) -> bool:
    """Take a limit of a wallet away; False when there was none."""
    before_minor = await _find_amount_minor(session, scope, wallet, kind, period)
    if before_minor is None:
        return False
    await ledger.change_terms(session, scope, wallet.wallet_id)
    await store.delete_limit(session, scope, wallet.wallet_id, kind, period)
    changes = (Change("amount_minor", before_minor, None),)
    await record_event(session, scope, _event("limit.removed", wallet, kind, period, changes, actor, origin))
    return True


async def _find_amount_minor(
    session: AsyncSession, scope: TenantScope, wallet: Wallet, kind: LimitKind, period: Period
) -> int | None:
    for found in await store.list_limits(session, scope, wallet.wallet_id):
        if (found.kind, found.period) == (kind, period):
            return found.amount_minor
    return None


def _event(
    event_type: str,
    wallet: Wallet,
    kind: LimitKind,
    period: Period,
    changes: tuple[Change, ...],
    actor: Actor,
    origin: Origin,
) -> AuditEvent:
    target_id = f"{wallet.wallet_id}:{kind.name.lower()}:{period.name.lower()}"
    return AuditEvent(event_type, actor, origin, "limit", target_id, changes)
