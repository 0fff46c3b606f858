"""The operators' API on player accounts: look, suspend or close, deposit by hand."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Request, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from pitboss.accounts import service as accounts
from pitboss.accounts.contracts import PlayerStatus, StatusReason
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import WalletStatus
from pitboss.platform.db import Database
from pitboss.wallet import service as wallets
from pitboss.wallet.runtime import Lanes
from pitboss.web.controllers.players import (
    BEARER,
    BalanceView,
    PlayerView,
    close_account,
    problems,
    view_balance,
    view_player,
)
from pitboss.web.reading import Reading
from pitboss_sdk.errors import ErrorKind, PitbossError


class AmountNotWhole(PitbossError):
    code = "web.amount_not_whole"
    kind = ErrorKind.INVALID


async def require_whole(request: Request[Any, Any, Any], *names: str) -> None:
    """Raise `AmountNotWhole` unless each of these fields of the body that is there was sent as a whole number.

    The framework would take "100" and 100.0 for one; money is asked to be one.
    """
    raw: dict[str, Any] = await request.json()
    for name in names:
        if raw.get(name) is not None and type(raw[name]) is not int:
            raise AmountNotWhole(f"{name}: a whole number is needed")


class StatusRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an account becomes, and why. Closing is final and refused while there is money."""

    status: Literal["active", "suspended", "closed"]
    reason: StatusReason


class CreditRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A deposit by hand. The same reference with the same content again moves nothing and answers the same."""

    amount_minor: Annotated[int, Meta(gt=0, le=wallets.MAX_CREDIT_MINOR)]
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3,6}\Z")]
    reference: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}\Z", description="Idempotency key")]
    reason: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}\Z", description="A code, such as `goodwill`")]


class PlayerDetailView(msgspec.Struct, frozen=True):
    """An account and its wallets, without personal data."""

    account: PlayerView
    balances: list[BalanceView]


class CreditView(msgspec.Struct, frozen=True):
    """The booking of a deposit by hand; `replayed` when it was booked before.

    `playable_after_minor` is what could be played with then, `balance` how the wallet stands now.
    """

    transaction: str
    currency: str
    amount_minor: int
    playable_after_minor: int
    replayed: bool
    balance: BalanceView


class OperatorController(Controller):
    """What an operator does with a player account of the tenant behind the host name."""

    path = "/operator/players"
    tags = ("Operators",)
    security = BEARER

    @get(
        "/{player_id:uuid}",
        permission="accounts.player.view",
        reads="subject_key account money",
        responses=problems(401, 403, 404),
    )
    async def get_player(
        self,
        player_id: FromPath[UUID],
        tenant: NamedDependency[TenantScope],
        database: NamedDependency[Database],
        reading: NamedDependency[Reading],
    ) -> PlayerDetailView:
        """Show an account and its wallets."""
        async with database.transaction(tenant) as session:
            player = await accounts.get_player(session, tenant, player_id)
            found = await ledger.list_wallets(session, tenant, player.player_id)
            await reading.record(session, tenant, "player.viewed", str(player_id), [str(player_id)])
        return PlayerDetailView(view_player(player), [view_balance(wallet) for wallet in found])

    @patch("/{player_id:uuid}", permission="accounts.player.edit", responses=problems(401, 403, 404, 409, 422))
    async def change_status(
        self,
        player_id: FromPath[UUID],
        data: JSONBody[StatusRequest],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
    ) -> PlayerView:
        """Suspend an account, make it active again, or close it; the same status again changes nothing."""
        change: dict[str, Any] = {"reason": data.reason, "actor": actor, "origin": origin}
        async with database.transaction(tenant) as session:
            if data.status == "closed":
                player = await close_account(session, tenant, player_id, **change)
            else:
                status = PlayerStatus[data.status.upper()]
                player = await accounts.change_status(session, tenant, player_id, status=status, **change)
                wallets = WalletStatus.OPEN if player.status is PlayerStatus.ACTIVE else WalletStatus.BLOCKED
                await ledger.set_wallet_status(session, tenant, player.player_id, wallets)
        return view_player(player)

    @post(
        "/{player_id:uuid}/credits",
        permission="wallet.credit.edit",
        responses=problems(401, 403, 404, 409, 422, 503),
    )
    async def credit(
        self,
        player_id: FromPath[UUID],
        data: JSONBody[CreditRequest],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        lanes: NamedDependency[Lanes],
        request: Request[Any, Any, Any],
    ) -> CreditView:
        """Deposit by hand, held against the player's limits, through the wallet like all money."""
        await require_whole(request, "amount_minor")
        async with database.transaction(tenant) as session:
            order = await wallets.order_credit(
                session,
                tenant,
                player_id=player_id,
                currency=data.currency,
                amount_minor=data.amount_minor,
                reference=data.reference,
                reason=data.reason,
                actor=actor,
                origin=origin,
            )
        result = await wallets.post_credit(lanes, tenant, order)
        booked = result.legs[0]
        async with database.transaction(tenant) as session:
            player = await accounts.get_player(session, tenant, player_id)
            wallet = await ledger.get_wallet(session, tenant, player.player_id, order.currency)
        return CreditView(
            transaction=booked.transaction,
            currency=order.currency,
            amount_minor=data.amount_minor,
            playable_after_minor=result.balance_minor or 0,
            replayed=booked.replayed,
            balance=view_balance(wallet),
        )
