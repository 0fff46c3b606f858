"""The API of the bonus room: awards that players have, and what operators give and cancel."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.bonus import service as bonus
from pitboss.bonus.contracts import AwardOrder, AwardStanding
from pitboss.kernel.paging import DEFAULT_PAGE_SIZE
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.ledger import service as ledger
from pitboss.platform.db import Database
from pitboss.policy.runtime import Policies
from pitboss.subjects import service as subjects
from pitboss.wallet import service as wallets
from pitboss.wallet.runtime import Lanes
from pitboss.web.controllers.operators import require_whole
from pitboss.web.controllers.players import BEARER, Cursor, PageSize, get_player_and_law, problems
from pitboss.web.reading import Reading

Reason = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}\Z", description="A code, such as `welcome`")]


class AwardRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bonus money by hand. The same reference with the same content again gives nothing more and answers the same.

    What is to be staked of it is a multiple of the award or an amount, one of them.
    """

    amount_minor: Annotated[int, Meta(gt=0, le=bonus.MAX_AWARD_MINOR)]
    reference: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}\Z", description="Idempotency key")]
    reason: Reason
    expires_at: Annotated[datetime, Meta(tz=True, description="The moment from which nothing of it can be staked")]
    currency: Annotated[str, Meta(max_length=16, description="Empty: the account's own")] = ""
    wagering_times: Annotated[int, Meta(ge=1, le=bonus.MAX_WAGERING_TIMES)] | None = None
    wagering_minor: Annotated[int, Meta(ge=1, le=bonus.MAX_AWARD_MINOR * bonus.MAX_WAGERING_TIMES)] | None = None


class CancelAwardRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why an award is ended."""

    reason: Reason


class AwardView(msgspec.Struct, frozen=True):
    """An award in minor units of its currency; `wagered_minor` of `required_minor` of it were staked."""

    award_id: UUID
    currency: str
    granted_minor: int
    remaining_minor: int
    wagered_minor: int
    required_minor: int
    ordered_at: datetime
    expires_at: datetime
    state: Literal["ordered", "active", "completed", "used_up", "expired", "cancelled"]


class AwardDetailView(AwardView, frozen=True):
    """An award as operators see it."""

    reference: str
    reason: str
    cancelled_at: datetime | None
    cancel_reason: str


class AwardsView(msgspec.Struct, frozen=True):
    """Some awards of a player, newest first."""

    items: list[AwardView]
    next_cursor: str | None


class AwardDetailsView(msgspec.Struct, frozen=True):
    """Some awards of a player, newest first."""

    items: list[AwardDetailView]
    next_cursor: str | None


class OwnAwardController(Controller):
    """What players see of their bonus money."""

    path = "/me/awards"
    tags = ("Players",)
    security = BEARER

    @get(permission="bonus.own_award.view", responses=problems(401, 422))
    async def list_own_awards(
        self,
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        database: NamedDependency[Database],
        cursor: Cursor = None,
        page_size: PageSize = DEFAULT_PAGE_SIZE,
    ) -> AwardsView:
        """Show the own awards with what is left of them and what is still to be staked."""
        async with database.transaction(tenant) as session:
            found = await _list(session, tenant, UUID(actor.name), cursor, page_size)
        return AwardsView([AwardView(**_describe(each, currency)) for each, currency in found[0]], found[1])


class AwardController(Controller):
    """What operators do with a player's bonus money."""

    path = "/operator/players/{player_id:uuid}/awards"
    tags = ("Operators",)
    security = BEARER

    @get(permission="bonus.award.view", reads="subject_key money opaque", responses=problems(401, 403, 404, 422))
    async def list_awards(
        self,
        player_id: FromPath[UUID],
        tenant: NamedDependency[TenantScope],
        database: NamedDependency[Database],
        reading: NamedDependency[Reading],
        cursor: Cursor = None,
        page_size: PageSize = DEFAULT_PAGE_SIZE,
    ) -> AwardDetailsView:
        """Show the awards of a player, those that were not booked too."""
        async with database.transaction(tenant) as session:
            found = await _list(session, tenant, player_id, cursor, page_size)
            ids = [str(each.award.award_id) for each, _ in found[0]]
            await reading.record(session, tenant, "player.viewed", str(player_id), ids)
        return AwardDetailsView([_detail(each, currency) for each, currency in found[0]], found[1])

    @post(permission="bonus.award.edit", responses=problems(401, 403, 404, 409, 422, 503))
    async def award(
        self,
        player_id: FromPath[UUID],
        data: JSONBody[AwardRequest],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        policies: NamedDependency[Policies],
        lanes: NamedDependency[Lanes],
        request: Request[Any, Any, Any],
    ) -> AwardDetailView:
        """Give bonus money by hand, where the licence allows it, through the wallet like all money."""
        await require_whole(request, "amount_minor", "wagering_times", "wagering_minor")
        required_minor = bonus.compute_required_minor(
            data.amount_minor, times=data.wagering_times, minor=data.wagering_minor
        )
        wanted = AwardOrder(data.reference, data.amount_minor, required_minor, data.expires_at, data.reason)
        async with database.transaction(tenant) as session:
            _, policy = await get_player_and_law(session, tenant, player_id, policies)
            await subjects.demand_unrestricted(session, tenant, player_id)
            order = await wallets.order_award(
                session,
                tenant,
                wanted,
                player_id=player_id,
                currency=data.currency,
                policy=policy,
                actor=actor,
                origin=origin,
            )
        await wallets.post_award(lanes, tenant, order)
        return await _show(database, tenant, UUID(order.leg.reference), order.currency)

    @post(
        "/{award_id:uuid}/cancellations",
        permission="bonus.award.edit",
        status_code=200,
        responses=problems(401, 403, 404, 409, 422, 503),
    )
    async def cancel_award(
        self,
        player_id: FromPath[UUID],
        award_id: FromPath[UUID],
        data: JSONBody[CancelAwardRequest],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        lanes: NamedDependency[Lanes],
    ) -> AwardDetailView:
        """End an award and take back what is left of it; again it changes nothing."""
        async with database.transaction(tenant) as session:
            player = await accounts.get_player(session, tenant, player_id)
            currencies = {
                wallet.wallet_id: wallet.currency
                for wallet in await ledger.list_wallets(session, tenant, player.player_id)
            }
            found = await bonus.cancel(
                session, tenant, award_id, list(currencies), reason=data.reason, actor=actor, origin=origin
            )
        await wallets.settle_awards(lanes, tenant, [found.wallet_id])
        return await _show(database, tenant, award_id, currencies[found.wallet_id])


async def _list(
    session: AsyncSession, tenant: TenantScope, player_id: UUID, cursor: str | None, page_size: int
) -> tuple[list[tuple[AwardStanding, str]], str | None]:
    player = await accounts.get_player(session, tenant, player_id)
    found = await ledger.list_wallets(session, tenant, player.player_id)
    currencies = {wallet.wallet_id: wallet.currency for wallet in found}
    page = await bonus.list_awards(session, tenant, list(currencies), cursor=cursor, page_size=page_size)
    return [(each, currencies[each.award.wallet_id]) for each in page.items], page.next_cursor


async def _show(database: Database, tenant: TenantScope, award_id: UUID, currency: str) -> AwardDetailView:
    async with database.transaction(tenant) as session:
        return _detail(await bonus.get_award(session, tenant, award_id), currency)


def _describe(found: AwardStanding, currency: str) -> dict[str, Any]:
    award = found.award
    return {
        "award_id": award.award_id,
        "currency": currency,
        "granted_minor": award.order.amount_minor,
        "remaining_minor": found.remaining_minor,
        "wagered_minor": found.wagered_minor,
        "required_minor": award.order.required_minor,
        "ordered_at": award.ordered_at,
        "expires_at": award.order.expires_at,
        "state": found.state.value,
    }


def _detail(found: AwardStanding, currency: str) -> AwardDetailView:
    award = found.award
    return AwardDetailView(
        **_describe(found, currency),
        reference=award.order.reference,
        reason=award.order.reason,
        cancelled_at=award.cancelled_at,
        cancel_reason=award.cancel_reason,
    )
