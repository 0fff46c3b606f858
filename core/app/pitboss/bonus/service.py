"""Use cases of the bonus room: give an award by hand, cancel it, tell where awards stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_event
from pitboss.bonus import rules, store
from pitboss.bonus.contracts import Award, AwardOrder, AwardStanding, AwardState
from pitboss.bonus.errors import AwardNotFound, AwardOver, AwardReferenceMisused
from pitboss.bonus.rules import MAX_AWARD_MINOR, MAX_WAGERING_TIMES, compute_required_minor
from pitboss.bonus.store import ask_terms, list_claims, list_ended, tell_terms
from pitboss.kernel.clock import utc_now
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.paging import Page
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import AwardMoney, Wallet
from pitboss.policy.contracts import EffectivePolicy

__all__ = [
    "MAX_AWARD_MINOR",
    "MAX_WAGERING_TIMES",
    "SOURCE",
    "ask_terms",
    "award",
    "cancel",
    "close_settled",
    "compute_required_minor",
    "end_all",
    "get_award",
    "is_known",
    "list_awards",
    "list_claims",
    "list_ended",
    "tell_terms",
]

SOURCE = "bonus"
"""The maker of references under which awards are booked."""


async def award(
    session: AsyncSession,
    scope: TenantScope,
    wallet: Wallet,
    order: AwardOrder,
    *,
    policy: EffectivePolicy,
    actor: Actor,
    origin: Origin,
) -> Award:
    """Write down the terms of an award, who gives it and why; the edge commits and then has it booked.

    The same reference with the same content again returns the same award, whatever became of it. Raises
    `BonusForbidden`, `AwardTermsInvalid`, `WageringAboveCeiling`, `AwardReferenceMisused`, and `AwardOver` for a
    repetition of one that ended before it was booked.
    """
    now = utc_now()
    known = await store.find_by_reference(session, scope, order.reference)
    if known is None:
        rules.check_order(order, policy, now)
        award_id = new_uuid()
        if await store.insert_award(session, scope, award_id, wallet.wallet_id, order):
            changes = (
                Change("amount_minor", None, order.amount_minor),
                Change("currency", None, wallet.currency),
                Change("required_minor", None, order.required_minor),
                Change("expires_at", None, order.expires_at.isoformat()),
                Change("reference", None, order.reference),
            )
            event = AuditEvent("award.ordered", actor, origin, "award", str(award_id), changes, reason=order.reason)
            await record_event(session, scope, event)
            return Award(award_id, wallet.wallet_id, order, now)
        known = await store.find_by_reference(session, scope, order.reference)
    if known is None or (known.wallet_id, known.order) != (wallet.wallet_id, order):
        raise AwardReferenceMisused("the reference was used before with other content")
    has_ended = known.cancelled_at is not None or known.order.expires_at <= now
    if has_ended and not await ledger.find_award_money(session, scope, SOURCE, [known.booking_reference]):
        raise AwardOver("the award of this reference ended before it was booked")
    return known


async def end_all(
    session: AsyncSession, scope: TenantScope, wallet_ids: Sequence[int], *, reason: str, actor: Actor, origin: Origin
) -> None:
    """End every award of wallets that goes on; what is left of them is taken back when a lane looks at the wallets."""
    for found in await store.list_going_on(session, scope, wallet_ids):
        with suppress(AwardOver):
            await cancel(session, scope, found.award_id, wallet_ids, reason=reason, actor=actor, origin=origin)


async def is_known(session: AsyncSession, scope: TenantScope, reference: str) -> bool:
    """Return whether an award was ordered under the caller's reference before."""
    return await store.find_by_reference(session, scope, reference) is not None


async def cancel(
    session: AsyncSession,
    scope: TenantScope,
    award_id: UUID,
    wallet_ids: Sequence[int],
    *,
    reason: str,
    actor: Actor,
    origin: Origin,
) -> Award:
    """End an award of one of the wallets from this moment on; the edge then has taken back what is left of it.

    Nothing that was decided on the award before gets through afterwards. Again it changes nothing. Raises
    `AwardNotFound`, and `AwardOver` for one that ended by its time or its requirement.
    """
    before = await store.find_award(session, scope, award_id)
    if before is None or before.wallet_id not in wallet_ids:
        raise AwardNotFound("the player has no such award")
    # The claim makes decisions on the wallet take turns with this one: what they left is read after it.
    await ledger.change_terms(session, scope, before.wallet_id)
    found = await store.find_award(session, scope, award_id) or before
    if found.cancelled_at is not None:
        return found
    money = await ledger.find_award_money(session, scope, SOURCE, [found.booking_reference])
    state = _stand(found, money).state
    if state in {AwardState.COMPLETED, AwardState.EXPIRED}:
        raise AwardOver(f"the award is {state.value}")
    now = utc_now()
    await store.write_cancellation(session, scope, award_id, now, reason)
    changes = (Change("cancelled_at", None, now.isoformat()),)
    event = AuditEvent("award.cancelled", actor, origin, "award", str(award_id), changes, reason=reason)
    await record_event(session, scope, event)
    return Award(award_id, found.wallet_id, found.order, found.ordered_at, now, reason)


async def get_award(session: AsyncSession, scope: TenantScope, award_id: UUID) -> AwardStanding:
    """Return an award with what is left of it; raise `AwardNotFound`."""
    found = await store.find_award(session, scope, award_id)
    if found is None:
        raise AwardNotFound("there is no such award")
    return _stand(found, await ledger.find_award_money(session, scope, SOURCE, [found.booking_reference]))


async def list_awards(
    session: AsyncSession, scope: TenantScope, wallet_ids: Sequence[int], *, cursor: str | None, page_size: int
) -> Page[AwardStanding]:
    """Return the awards of wallets with what is left of them, newest first."""
    page = await store.list_awards(session, scope, wallet_ids, cursor=cursor, page_size=page_size)
    references = [found.booking_reference for found in page.items]
    money = await ledger.find_award_money(session, scope, SOURCE, references)
    return Page([_stand(found, money) for found in page.items], page.next_cursor)


def _stand(found: Award, money: Mapping[str, AwardMoney]) -> AwardStanding:
    its = money.get(found.booking_reference)
    remaining_minor = None if its is None else its.remaining_minor
    wagered_minor = 0 if its is None else its.wagered_minor
    state = rules.decide_state(found, remaining_minor, wagered_minor, utc_now())
    return AwardStanding(found, remaining_minor or 0, wagered_minor, state)


async def close_settled(session: AsyncSession, scope: TenantScope, ended: Sequence[Award]) -> int:
    """Note of which ended awards nothing is left, and return of how many; those never booked are closed in time."""
    money = await ledger.find_award_money(session, scope, SOURCE, [found.booking_reference for found in ended])
    unbooked = [found.award_id for found in ended if found.booking_reference not in money]
    empty = [
        found.award_id
        for found in ended
        if found.booking_reference in money and not money[found.booking_reference].remaining_minor
    ]
    await store.write_settled(session, scope, empty, unbooked)
    return len(empty)
