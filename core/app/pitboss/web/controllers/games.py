"""The API of the games room: what players may open and have played, and what operators see of rounds."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.accounts.contracts import Player, PlayerStatus
from pitboss.accounts.errors import AccountNotActive
from pitboss.games import service as games
from pitboss.games.contracts import Game, Round, RoundSummary
from pitboss.kernel.paging import DEFAULT_PAGE_SIZE
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.keys.runtime import KeyRing
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Booking, Wallet
from pitboss.limits import service as limits
from pitboss.platform.db import Database
from pitboss.plughost.runtime import Drivers
from pitboss.policy.runtime import Policies
from pitboss.web.controllers.players import BEARER, Cursor, PageSize, problems
from pitboss.web.reading import Reading
from pitboss_sdk.games import MAX_REFERENCE_LENGTH, LaunchRequest
from pitboss_sdk.money import get_currency

GameCode = Annotated[str, Meta(max_length=MAX_REFERENCE_LENGTH)]
Reference = Annotated[str, QueryParameter(min_length=1, max_length=MAX_REFERENCE_LENGTH)]
CurrencyCode = Annotated[str, Meta(max_length=16, description="Empty: the account's own")]


class GameView(msgspec.Struct, frozen=True):
    """A game that the brand offers; return to player in hundredths of a percent, where the provider tells it."""

    code: str
    title: str
    provider: str
    category: str
    rtp_basis_points: int | None
    enabled: bool
    """Whether it is in play."""
    suspended: bool
    """Whether its provider has taken it out of play, whatever the operator switched on."""


class GamesView(msgspec.Struct, frozen=True):
    """Some of the catalogue, by code."""

    items: list[GameView]
    next_cursor: str | None


class LaunchGameRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a game is to be opened."""

    currency: CurrencyCode = ""
    mobile: bool = False


class LaunchView(msgspec.Struct, frozen=True):
    """Where the browser goes, and the session that wallet calls of this game name."""

    session_id: UUID
    url: str


class RoundView(msgspec.Struct, frozen=True):
    """A player's part in a round; amounts in minor units, times in UTC."""

    round_id: UUID
    game: str
    game_version_hash: str
    currency: str
    mode: str
    state: str
    bet_minor: int
    win_minor: int
    jackpot_minor: int
    jackpot_pool: str
    balance_before_minor: int
    balance_after_minor: int
    started_at: datetime
    updated_at: datetime


class RoundsView(msgspec.Struct, frozen=True):
    """Some rounds, newest first."""

    items: list[RoundView]
    next_cursor: str | None


class OperatorRoundView(msgspec.Struct, frozen=True):
    """A player's part in a round as operators see it: with whose it is and the provider's names."""

    player_id: UUID
    plugin: str
    provider_round: str
    session_id: UUID | None
    round: RoundView


class OperatorRoundsView(msgspec.Struct, frozen=True):
    """Some rounds of the tenant, newest first."""

    items: list[OperatorRoundView]
    next_cursor: str | None


class RoundBookingView(msgspec.Struct, frozen=True):
    """One booking of a round: the player's change by bucket, and the buckets after it, in minor units.

    `reverses` is the transaction that a rollback took back.
    """

    transaction: str
    kind: str
    source: str
    reference: str
    booked_at: datetime
    batch_id: int
    real_minor: int
    bonus_minor: int
    held_minor: int
    debt_minor: int
    real_after_minor: int
    bonus_after_minor: int
    held_after_minor: int
    debt_after_minor: int
    reverses: str


class RoundPartView(msgspec.Struct, frozen=True):
    """A player's part in a round with every booking, oldest first."""

    part: OperatorRoundView
    bookings: list[RoundBookingView]


class RoundDetailView(msgspec.Struct, frozen=True):
    """A round with everything that belongs to it."""

    round_id: UUID
    parts: list[RoundPartView]


class EnabledRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether bets on the game are taken."""

    enabled: bool


def view_game(game: Game) -> GameView:
    """Return a game as the API shows it."""
    return GameView(
        code=game.code,
        title=game.title,
        provider=game.provider,
        category=game.category,
        rtp_basis_points=game.rtp_basis_points,
        enabled=game.enabled,
        suspended=game.suspended,
    )


def view_round(found: RoundSummary) -> RoundView:
    """Return a round as its player sees it."""
    return RoundView(
        round_id=found.round,
        game=found.game,
        game_version_hash=found.game_version_hash,
        currency=found.currency,
        mode=found.mode.name.lower(),
        state=found.state.name.lower(),
        bet_minor=found.bet_minor,
        win_minor=found.win_minor,
        jackpot_minor=found.jackpot_minor,
        jackpot_pool=found.jackpot_pool,
        balance_before_minor=found.balance_before_minor,
        balance_after_minor=found.balance_after_minor,
        started_at=found.started_at,
        updated_at=found.updated_at,
    )


def view_operator_round(found: RoundSummary, player_id: UUID) -> OperatorRoundView:
    """Return a round as operators see it."""
    return OperatorRoundView(
        player_id=player_id,
        plugin=found.plugin,
        provider_round=found.provider_round,
        session_id=found.session,
        round=view_round(found),
    )


def view_round_booking(booking: Booking) -> RoundBookingView:
    """Return a journal row with all its buckets."""
    reversed_version = booking.reverses_version
    return RoundBookingView(
        transaction=f"{booking.wallet_id}-{booking.version}",
        kind=booking.op.name.lower(),
        source=booking.source,
        reference=booking.reference,
        booked_at=booking.created_at,
        batch_id=booking.batch_id,
        real_minor=booking.d_real,
        bonus_minor=booking.d_bonus,
        held_minor=booking.d_held,
        debt_minor=booking.d_debt,
        real_after_minor=booking.after.real_minor,
        bonus_after_minor=booking.after.bonus_minor,
        held_after_minor=booking.after.held_minor,
        debt_after_minor=booking.after.debt_minor,
        reverses="" if reversed_version is None else f"{booking.wallet_id}-{reversed_version}",
    )


async def show_rounds(session: AsyncSession, tenant: TenantScope, found: Iterable[Round]) -> RoundDetailView:
    """Return the parts of one round with the public ids of their players."""
    parts = list(found)
    names = await accounts.list_public_ids(session, tenant, {part.summary.player_id for part in parts})
    return RoundDetailView(
        parts[0].summary.round,
        [
            RoundPartView(
                view_operator_round(part.summary, names[part.summary.player_id]),
                [view_round_booking(booking) for booking in part.bookings],
            )
            for part in parts
        ],
    )


async def get_player_wallet(
    session: AsyncSession, tenant: TenantScope, player_id: UUID, currency: str
) -> tuple[Player, Wallet]:
    """Return a player with the wallet in `currency`, the account's own where that is empty."""
    player = await accounts.get_player(session, tenant, player_id)
    chosen = get_currency(currency or player.currency).code
    return player, await ledger.get_wallet(session, tenant, player.player_id, chosen)


class GameController(Controller):
    """What players do with games."""

    tags = ("Games",)

    @get("/games", permission="games.game.view", responses=problems(422))
    async def list_games(
        self,
        tenant: NamedDependency[TenantScope],
        database: NamedDependency[Database],
        cursor: Cursor = None,
        page_size: PageSize = DEFAULT_PAGE_SIZE,
    ) -> GamesView:
        """List the games that can be played here."""
        async with database.transaction(tenant) as session:
            page = await games.list_game_page(session, tenant, enabled_only=True, cursor=cursor, page_size=page_size)
        return GamesView([view_game(game) for game in page.items], page.next_cursor)

    @post(
        "/games/{code:str}/sessions",
        permission="games.own_session.edit",
        security=BEARER,
        responses=problems(401, 404, 409, 422, 503),
    )
    async def launch(
        self,
        code: FromPath[GameCode],
        data: JSONBody[LaunchGameRequest],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        drivers: NamedDependency[Drivers],
        policies: NamedDependency[Policies],
        keys: NamedDependency[KeyRing],
    ) -> LaunchView:
        """Open a game: the aggregator answers with the address that the browser goes to.

        Bets are taken for as long as the own limits of play time leave, and nothing opens when none is left.
        """
        async with database.transaction(tenant) as session:
            player, wallet = await get_player_wallet(session, tenant, UUID(actor.name), data.currency)
            if player.status is not PlayerStatus.ACTIVE:
                raise AccountNotActive("the account is not active")
            await limits.require_play(session, tenant, player.player_id)
            game = await games.get_game(session, tenant, code)
            driver = await drivers.get(session, tenant, game.plugin)
            identity = await accounts.get_identity(session, tenant, keys, player)
            session_id = await games.open_session(
                session,
                tenant,
                player_id=player.player_id,
                wallet_id=wallet.wallet_id,
                game=game,
                policy=await policies.get(session, tenant, player.licence),
                actor=actor,
                origin=origin,
            )
        request = LaunchRequest(
            account=str(player.public_id),
            session=str(session_id),
            game=game.code,
            currency=wallet.currency,
            language=player.language,
            country=identity.country,
            ip=origin.ip,
            mobile=data.mobile,
        )
        url = ""
        try:
            url = (await games.request_launch(driver, request)).url
        finally:
            async with database.transaction(tenant) as session:
                await games.finish_launch(session, tenant, session_id, opened=bool(url))
        return LaunchView(session_id, url)

    @delete(
        "/me/game-sessions/{session_id:uuid}",
        permission="games.own_session.edit",
        security=BEARER,
        responses=problems(401, 404),
    )
    async def close(
        self,
        session_id: FromPath[UUID],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
    ) -> None:
        """End a game: no more bets of it are taken, its wins are paid, and play time runs no longer for it."""
        async with database.transaction(tenant) as session:
            player = await accounts.get_player(session, tenant, UUID(actor.name))
            await games.close_session(session, tenant, player.player_id, session_id, actor=actor, origin=origin)

    @get("/me/rounds", permission="games.own_round.view", security=BEARER, responses=problems(401, 404, 422))
    async def list_own_rounds(
        self,
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        database: NamedDependency[Database],
        currency: Annotated[str, QueryParameter(max_length=16, description="Empty: the account's own")] = "",
        cursor: Cursor = None,
        page_size: PageSize = DEFAULT_PAGE_SIZE,
    ) -> RoundsView:
        """List the rounds played with one wallet, newest first."""
        async with database.transaction(tenant) as session:
            _, wallet = await get_player_wallet(session, tenant, UUID(actor.name), currency)
            page = await games.list_rounds(
                session, tenant, wallet_id=wallet.wallet_id, cursor=cursor, page_size=page_size
            )
        return RoundsView([view_round(found) for found in page.items], page.next_cursor)


class RoundController(Controller):
    """What operators see and decide of games and rounds."""

    path = "/operator"
    tags = ("Operators",)
    security = BEARER

    @get("/games", permission="games.game.edit", responses=problems(401, 403, 422))
    async def list_all_games(
        self,
        tenant: NamedDependency[TenantScope],
        database: NamedDependency[Database],
        cursor: Cursor = None,
        page_size: PageSize = DEFAULT_PAGE_SIZE,
    ) -> GamesView:
        """List the catalogue with the games that are switched off."""
        async with database.transaction(tenant) as session:
            page = await games.list_game_page(session, tenant, enabled_only=False, cursor=cursor, page_size=page_size)
        return GamesView([view_game(game) for game in page.items], page.next_cursor)

    @put("/games/{code:str}/enabled", permission="games.game.edit", responses=problems(401, 403, 404, 422))
    async def enable_game(
        self,
        code: FromPath[GameCode],
        data: JSONBody[EnabledRequest],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
    ) -> GameView:
        """Switch a game on or off; what is under way is still paid, new bets are refused."""
        async with database.transaction(tenant) as session:
            game = await games.set_game_enabled(session, tenant, code, enabled=data.enabled, actor=actor, origin=origin)
        return view_game(game)

    @get("/rounds", permission="games.round.view", reads="subject_key play money", responses=problems(401, 403, 422))
    async def list_rounds(
        self,
        tenant: NamedDependency[TenantScope],
        database: NamedDependency[Database],
        reading: NamedDependency[Reading],
        cursor: Cursor = None,
        page_size: PageSize = DEFAULT_PAGE_SIZE,
    ) -> OperatorRoundsView:
        """List the rounds of all players, newest first."""
        async with database.transaction(tenant) as session:
            page = await games.list_rounds(session, tenant, cursor=cursor, page_size=page_size)
            names = await accounts.list_public_ids(session, tenant, {found.player_id for found in page.items})
            ids = [f"{found.round}:{names[found.player_id]}" for found in page.items]
            await reading.record(session, tenant, "round.listed", "", ids)
        items = [view_operator_round(found, names[found.player_id]) for found in page.items]
        return OperatorRoundsView(items, page.next_cursor)

    @get(
        "/rounds/lookup",
        permission="games.round.view",
        reads="subject_key play money",
        responses=problems(401, 403, 404, 422),
    )
    async def find_round(
        self,
        plugin: Reference,
        provider_round: Reference,
        tenant: NamedDependency[TenantScope],
        database: NamedDependency[Database],
        reading: NamedDependency[Reading],
    ) -> RoundDetailView:
        """Show a round by the id that the provider gave it, with all bookings."""
        async with database.transaction(tenant) as session:
            found = await games.get_provider_round(session, tenant, plugin, provider_round)
            round_id = str(found[0].summary.round)
            await reading.record(session, tenant, "round.viewed", round_id, [round_id])
            return await show_rounds(session, tenant, found)

    @get(
        "/rounds/{round_id:uuid}",
        permission="games.round.view",
        reads="subject_key play money",
        responses=problems(401, 403, 404),
    )
    async def get_round(
        self,
        round_id: FromPath[UUID],
        tenant: NamedDependency[TenantScope],
        database: NamedDependency[Database],
        reading: NamedDependency[Reading],
    ) -> RoundDetailView:
        """Show a round with all bookings."""
        async with database.transaction(tenant) as session:
            found = await games.get_round(session, tenant, round_id)
            await reading.record(session, tenant, "round.viewed", str(round_id), [str(round_id)])
            return await show_rounds(session, tenant, found)
