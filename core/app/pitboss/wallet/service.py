"""Use cases of the wallet: legs for rooms above, and movements that operators ask for by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.accounts.contracts import PlayerStatus
from pitboss.accounts.errors import AccountNotActive
from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_event
from pitboss.bonus import service as bonus
from pitboss.bonus.contracts import AwardOrder
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import AccountKind, Op
from pitboss.limits import service as limits
from pitboss.policy.contracts import EffectivePolicy
from pitboss.wallet.contracts import LegRequest, MovementOrder, WalletRequest, WalletResult
from pitboss.wallet.errors import LanesBusy, MovementRefused
from pitboss.wallet.runtime import Lanes
from pitboss_sdk.games import Refusal

_LOG = structlog.get_logger("pitboss.wallet")
MANUAL_SOURCE = "manual"
"""The maker of references that operators type."""
MANUAL_PATIENCE_MS = 2_000
PAGE: Final = 100
PAGES_A_RUN: Final = 20
MAX_CREDIT_MINOR: Final = 10**15
"""Far above any deposit by hand, and far enough below 64 bits that sums of balances stay exact."""


def make_leg(
    op: Op,
    wallet_id: int,
    reference: str,
    amount_minor: int,
    account_id: int,
    *,
    context: str = "",
    reverses: str = "",
    expires_at: datetime | None = None,
) -> LegRequest:
    """Return a leg with its key and content hash; `context` is what else must be the same in a repetition."""
    return LegRequest(
        op,
        reference,
        ledger.compute_key(reference),
        ledger.compute_content_hash(op, wallet_id, amount_minor, context, reverses),
        amount_minor,
        account_id,
        ledger.compute_key(reverses) if reverses else None,
        expires_at,
    )


async def post_movement(
    lanes: Lanes, scope: TenantScope, *, source_id: int, leg: LegRequest, wallet_id: int
) -> WalletResult:
    """Post one leg through a lane; raise `MovementRefused` when it is refused, `LanesBusy` when it is for now.

    The same reference with the same content again gives the first answer.
    """
    request = WalletRequest(scope.tenant_id, wallet_id, source_id, (leg,))
    result = await lanes.submit(request, patience_ms=MANUAL_PATIENCE_MS)
    if result.refusal is Refusal.UNAVAILABLE:
        raise LanesBusy("what applies to the player is not known yet; try again")
    if result.refusal is not None:
        raise MovementRefused(result.refusal, result.detail)
    return result


async def expire_holds(lanes: Lanes, scope: TenantScope, holds: Sequence[tuple[int, int, int, str]]) -> int:
    """Give back what open holds kept aside (wallet id, opened version, source id, reference); return how many were voided.

    The key is derived from the hold, so that doing it again moves nothing; one that was captured meanwhile stays so.
    A hold that is refused for another reason does not keep the others aside; it is raised when they are done.
    """
    voided = 0
    failed: MovementRefused | None = None
    for wallet_id, version, source_id, reference in holds:
        leg = make_leg(Op.VOID, wallet_id, f"expiry:{wallet_id}-{version}", 0, 0, reverses=reference)
        try:
            await post_movement(lanes, scope, source_id=source_id, leg=leg, wallet_id=wallet_id)
        except MovementRefused as refused:
            if refused.refusal is not Refusal.ALREADY_REVERSED:
                failed = refused
        else:
            voided += 1
    if failed is not None:
        raise failed
    return voided


async def order_credit(
    session: AsyncSession,
    scope: TenantScope,
    *,
    player_id: UUID,
    currency: str,
    amount_minor: int,
    reference: str,
    reason: str,
    actor: Actor,
    origin: Origin,
) -> MovementOrder:
    """Write down who deposits by hand and why; an empty currency is the account's own.

    The edge commits and then hands the order to `post_credit`: no money moves by hand without this record,
    and the journal row of the same reference tells whether it moved. `player_id` is the public id.

    Raises `PlayerNotFound`, `WalletNotFound`.
    """
    player = await accounts.get_player(session, scope, player_id)
    wallet = await ledger.get_wallet(session, scope, player.player_id, currency or player.currency)
    source_id = await ledger.ensure_source(session, scope, MANUAL_SOURCE)
    account_id = await ledger.get_house_account(session, scope, AccountKind.CLEARING, wallet.currency, MANUAL_SOURCE)
    changes = (
        Change("amount_minor", None, amount_minor),
        Change("currency", None, wallet.currency),
        Change("reference", None, reference),
    )
    target_id = str(player.public_id)
    event = AuditEvent("player.credit_ordered", actor, origin, "player", target_id, changes, reason=reason)
    await record_event(session, scope, event)
    leg = make_leg(Op.DEPOSIT, wallet.wallet_id, reference, amount_minor, account_id)
    return MovementOrder(source_id, wallet.wallet_id, wallet.currency, leg)


async def post_credit(lanes: Lanes, scope: TenantScope, order: MovementOrder) -> WalletResult:
    """Post what `order_credit` wrote down; raise `MovementRefused`. The same reference again moves nothing."""
    return await post_movement(lanes, scope, source_id=order.source_id, leg=order.leg, wallet_id=order.wallet_id)


async def order_award(
    session: AsyncSession,
    scope: TenantScope,
    order: AwardOrder,
    *,
    player_id: UUID,
    currency: str,
    policy: EffectivePolicy,
    actor: Actor,
    origin: Origin,
) -> MovementOrder:
    """Write down an award by hand; an empty currency is the account's own. The edge commits and calls `post_award`.

    Raises `PlayerNotFound`, `AccountNotActive`, `PlayerExcluded`, `WalletNotFound` and what `bonus.award` raises.
    """
    player = await accounts.get_player(session, scope, player_id)
    if not await bonus.is_known(session, scope, order.reference):
        if player.status is not PlayerStatus.ACTIVE:
            raise AccountNotActive("the account is not active")
        await limits.require_play(session, scope, player.player_id)
    wallet = await ledger.get_wallet(session, scope, player.player_id, currency or player.currency)
    source_id = await ledger.ensure_source(session, scope, bonus.SOURCE)
    account_id = await ledger.get_house_account(session, scope, AccountKind.BONUS_COST, wallet.currency, "")
    found = await bonus.award(session, scope, wallet, order, policy=policy, actor=actor, origin=origin)
    leg = make_leg(Op.AWARD, wallet.wallet_id, found.booking_reference, order.amount_minor, account_id)
    return MovementOrder(source_id, wallet.wallet_id, wallet.currency, leg)


async def post_award(lanes: Lanes, scope: TenantScope, order: MovementOrder) -> WalletResult:
    """Book what `order_award` wrote down; raise `MovementRefused`. The same award again moves nothing."""
    return await post_movement(lanes, scope, source_id=order.source_id, leg=order.leg, wallet_id=order.wallet_id)


async def settle_awards(lanes: Lanes, scope: TenantScope, wallet_ids: Iterable[int]) -> None:
    """Have what is left of awards that have ended taken back, and what was wagered become real.

    Lanes do so before they decide anything on a wallet; asking for its balance is enough. Again it moves nothing.
    All are tried; then the first `LanesBusy` is raised.
    """
    busy: BaseException | None = None
    asked: list[asyncio.Future[WalletResult]] = []
    for wallet_id in sorted(set(wallet_ids)):
        try:
            request = WalletRequest(scope.tenant_id, wallet_id, 0, ())
            asked.append(lanes.submit(request, patience_ms=MANUAL_PATIENCE_MS))
        except LanesBusy as error:
            busy = busy or error
    for outcome in await asyncio.gather(*asked, return_exceptions=True):
        busy = busy or (outcome if isinstance(outcome, BaseException) else None)
    if busy is not None:
        raise busy


async def settle_ended_awards(
    session: AsyncSession, lanes: Lanes, scope: TenantScope, *, page_size: int = PAGE, pages: int = PAGES_A_RUN
) -> int:
    """Settle the wallets of awards that have ended and were not looked at since; return of how many nothing is left.

    They are done in pages, and no more of them than a job has time for. One whose money is still there stays to be
    looked at, and so does, for a day, one that was ordered and never booked: its booking may be under way.
    """
    after: UUID | None = None
    count = 0
    for _ in range(pages):
        page = await bonus.list_ended(session, scope, after, page_size)
        if not page:
            break
        try:
            await settle_awards(lanes, scope, [found.wallet_id for found in page])
        except LanesBusy as error:
            # What was not settled stays to be looked at, and keeps no other from it.
            _LOG.warning("bonus.settling_put_off", tenant=scope.slug, error_code=error.code)
        count += await bonus.close_settled(session, scope, page)
        after = page[-1].award_id
    return count
