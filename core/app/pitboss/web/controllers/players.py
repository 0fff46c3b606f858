"""The players' API: register, sign in, see one's money, choose a new password, close the account."""

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Request, delete, get, post
from litestar.di import NamedDependency, Provide
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.accounts.contracts import (
    MAX_EMAIL_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_PASSWORD_CHARACTERS,
    BrandTerms,
    Player,
    Registration,
    SignInFailure,
    StatusReason,
)
from pitboss.accounts.errors import AccountNotActive, CredentialsRefused
from pitboss.accounts.runtime import Passwords
from pitboss.bonus import service as bonus
from pitboss.directory.runtime import Directory
from pitboss.kernel.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.keys.runtime import KeyRing
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Booking, Wallet, WalletStatus
from pitboss.platform.db import Database
from pitboss.policy.contracts import EffectivePolicy
from pitboss.policy.runtime import Policies
from pitboss.web.controllers.choices import LimitChoice, PlayTimeChoice, check_choices, write_choices
from pitboss.web.errors import Problem, UnknownHost
from pitboss.web.security import bearer_token, host_name
from pitboss_sdk.money import get_currency

BEARER: Final[list[dict[str, list[str]]]] = [{"bearer": []}]
_MAX_CHOICE: Final = 16
_MAX_CURSOR: Final = 200

Email = Annotated[str, Meta(min_length=3, max_length=MAX_EMAIL_CHARACTERS, description="E-mail address")]
NewPassword = Annotated[
    str, Meta(min_length=1, max_length=MAX_PASSWORD_CHARACTERS, description="Any characters, spaces too")
]
Token = Annotated[str, Meta(min_length=1, max_length=200)]
Cursor = Annotated[
    str | None,
    QueryParameter(max_length=_MAX_CURSOR, description="`next_cursor` of the page before; none for the newest"),
]
PageSize = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE_SIZE)]


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Return the description of the refusals that an operation answers with."""
    return {
        status: ResponseSpec(Problem, description=_REFUSALS[status], generate_examples=False) for status in statuses
    }


_REFUSALS: Final = {
    400: "The body is not JSON",
    401: "Nobody is signed in with this token, or the credentials are not right",
    403: "The token's holder may not do this",
    404: "There is no such thing here",
    409: "The state does not allow it; `code` says why",
    422: "The request is not valid; `detail` and `errors` say where",
    429: "Too many attempts; `Retry-After` says when to come back",
    503: "Try the same call again later",
}


class RegisterRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What opens an account."""

    email: Email
    password: NewPassword
    first_name: Annotated[str, Meta(max_length=MAX_NAME_CHARACTERS)]
    last_name: Annotated[str, Meta(max_length=MAX_NAME_CHARACTERS)]
    birth_date: date
    country: Annotated[str, Meta(max_length=2, description="ISO 3166-1 alpha-2")]
    phone: Annotated[str, Meta(max_length=_MAX_CHOICE, description="E.164, such as +35621234567")] = ""
    language: Annotated[str, Meta(max_length=_MAX_CHOICE, description="Empty: the brand's default")] = ""
    currency: Annotated[str, Meta(max_length=_MAX_CHOICE, description="Empty: the brand's first")] = ""
    limits: Annotated[
        list[LimitChoice], Meta(max_length=9, description="At least one of each kind that the licence demands")
    ] = []
    play_time_limits: Annotated[
        list[PlayTimeChoice], Meta(max_length=3, description="At least one where the licence demands session time")
    ] = []

    def __repr__(self) -> str:
        return "RegisterRequest(…)"


class SignInRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What opens a session."""

    email: Annotated[str, Meta(max_length=MAX_EMAIL_CHARACTERS)]
    password: Annotated[str, Meta(max_length=MAX_PASSWORD_CHARACTERS)]

    def __repr__(self) -> str:
        return "SignInRequest(…)"


class PasswordResetRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose password was forgotten."""

    email: Annotated[str, Meta(max_length=MAX_EMAIL_CHARACTERS)]

    def __repr__(self) -> str:
        return "PasswordResetRequest(…)"


class PasswordReset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token from the mail, and the password from now on."""

    token: Token
    new_password: NewPassword

    def __repr__(self) -> str:
        return "PasswordReset(…)"


class PlayerView(msgspec.Struct, frozen=True):
    """An account as the API shows it, without personal data."""

    player_id: UUID
    brand: str
    status: str
    status_reason: str
    language: str
    currency: str
    registered_at: datetime
    closed_at: datetime | None
    licence: Annotated[str, Meta(description="The pack under which the account was opened; it stays")]


class SessionView(msgspec.Struct, frozen=True):
    """A fresh session; the token goes into `Authorization: Bearer …` and is shown only here."""

    token: str
    expires_at: datetime
    player_id: UUID

    def __repr__(self) -> str:
        return "SessionView(…)"


class OwnAccountView(msgspec.Struct, frozen=True):
    """One's own account with one's own data."""

    account: PlayerView
    email: str
    first_name: str
    last_name: str
    birth_date: date
    country: str
    phone: str

    def __repr__(self) -> str:
        return "OwnAccountView(…)"


class AcceptedView(msgspec.Struct, frozen=True):
    """The request was taken; what becomes of it is not told here."""

    status: Literal["accepted"] = "accepted"


class BalanceView(msgspec.Struct, frozen=True):
    """A wallet in minor units of its currency; `playable_minor` is real + bonus."""

    currency: str
    decimals: int
    real_minor: int
    bonus_minor: int
    held_minor: int
    debt_minor: int
    playable_minor: int


class BalancesView(msgspec.Struct, frozen=True):
    """All wallets of a player."""

    balances: list[BalanceView]


class BookingView(msgspec.Struct, frozen=True):
    """One line of the history: what moved of which money, and what was there afterwards, in minor units."""

    transaction: str
    kind: str
    booked_at: datetime
    amount_minor: int
    real_minor: int
    bonus_minor: int
    playable_after_minor: int
    real_after_minor: int
    bonus_after_minor: int
    round_id: UUID | None


class HistoryView(msgspec.Struct, frozen=True):
    """Some lines of the history, newest first."""

    currency: str
    items: list[BookingView]
    next_cursor: str | None


class Site(msgspec.Struct, frozen=True):
    """The brand behind the request's host name."""

    domain: str
    terms: BrandTerms


def provide_site(request: Request[Any, Any, Any], tenant: NamedDependency[TenantScope]) -> Site:
    """Return the brand behind the host name, and what it lets players choose."""
    directory: Directory = request.app.state.directory
    domain = host_name(request)
    brand = directory.find_brand_by_domain(domain)
    if brand is None:
        raise UnknownHost
    its = directory.tenant(tenant)
    licence = its.licence_of(brand)
    return Site(domain, BrandTerms(brand.slug, brand.languages, brand.default_language, its.currencies, licence))


def view_player(player: Player) -> PlayerView:
    """Return an account as the API shows it."""
    return PlayerView(
        player_id=player.public_id,
        brand=player.brand,
        status=player.status.name.lower(),
        status_reason=player.status_reason,
        language=player.language,
        currency=player.currency,
        registered_at=player.registered_at,
        closed_at=player.closed_at,
        licence=player.licence,
    )


async def get_player_and_law(
    session: AsyncSession, tenant: TenantScope, public_id: UUID, policies: Policies
) -> tuple[Player, EffectivePolicy]:
    """Return a player, and what applies now under the player's own licence, whichever brand's host name was used."""
    player = await accounts.get_player(session, tenant, public_id)
    return player, await policies.get(session, tenant, player.licence)


def view_balance(wallet: Wallet) -> BalanceView:
    """Return a wallet as the API shows it."""
    balance = wallet.balance
    return BalanceView(
        currency=wallet.currency,
        decimals=get_currency(wallet.currency).decimals,
        real_minor=balance.real_minor,
        bonus_minor=balance.bonus_minor,
        held_minor=balance.held_minor,
        debt_minor=balance.debt_minor,
        playable_minor=balance.playable_minor,
    )


def view_booking(booking: Booking) -> BookingView:
    """Return a journal row as the API shows it; a debt that is repaid counts as money that came in."""
    return BookingView(
        transaction=f"{booking.wallet_id}-{booking.version}",
        kind=booking.op.name.lower(),
        booked_at=booking.created_at,
        amount_minor=booking.d_real + booking.d_bonus + booking.d_held - booking.d_debt,
        real_minor=booking.d_real,
        bonus_minor=booking.d_bonus,
        playable_after_minor=booking.after.playable_minor,
        real_after_minor=booking.after.real_minor,
        bonus_after_minor=booking.after.bonus_minor,
        round_id=booking.round_id,
    )


async def close_account(
    session: AsyncSession, tenant: TenantScope, public_id: UUID, *, reason: StatusReason, actor: Actor, origin: Origin
) -> Player:
    """Close an account with its wallets blocked first, so that no lane moves money between look and decision.

    Bonus money does not keep it open: the awards end with the account.
    """
    player = await accounts.get_player(session, tenant, public_id)
    # The player before the wallets, as everywhere: a change of play time at the same moment waits.
    await accounts.claim_player(session, tenant, player.player_id)
    await ledger.set_wallet_status(session, tenant, player.player_id, WalletStatus.BLOCKED)
    wallets = await ledger.list_wallets(session, tenant, player.player_id)
    holds_money = any(
        wallet.balance.real_minor or wallet.balance.held_minor or wallet.balance.debt_minor for wallet in wallets
    )
    closed = await accounts.close(
        session, tenant, public_id, holds_money=holds_money, reason=reason, actor=actor, origin=origin
    )
    numbers = [wallet.wallet_id for wallet in wallets]
    await bonus.end_all(session, tenant, numbers, reason="account_closed", actor=actor, origin=origin)
    return closed


_PASSWORDS: Final = Passwords()


def provide_passwords() -> Passwords:
    """Return the one object of this process that hashes."""
    return _PASSWORDS


class VisitorController(Controller):
    """What somebody does before being signed in."""

    tags = ("Players",)
    dependencies = {  # noqa: RUF012 - the framework reads it from the class
        "site": Provide(provide_site, sync_to_thread=False),
        "passwords": Provide(provide_passwords, sync_to_thread=False),
    }

    @post("/players", permission="accounts.registration.edit", responses=problems(409, 422, 503))
    async def register(
        self,
        data: JSONBody[RegisterRequest],
        site: NamedDependency[Site],
        tenant: NamedDependency[TenantScope],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        passwords: NamedDependency[Passwords],
        policies: NamedDependency[Policies],
        keys: NamedDependency[KeyRing],
    ) -> PlayerView:
        """Open a player account with an empty wallet in its currency, and the limits that the player chose."""
        async with database.transaction(tenant) as session:
            policy = await policies.get(session, tenant, site.terms.licence)
        given = {name: value for name, value in msgspec.structs.asdict(data).items() if not name.endswith("limits")}
        prepared = accounts.prepare_registration(
            msgspec.convert(given, Registration), site.terms, policy.on, minimum_age_years=policy.minimum_age_years
        )
        chosen = check_choices(data.limits, data.play_time_limits, policy)
        password_hash = await passwords.hash(data.password)
        async with database.transaction(tenant) as session:
            player = await accounts.register(session, tenant, keys, prepared, password_hash, origin)
            await ledger.open_wallet(session, tenant, player.player_id, player.currency, player.licence)
            wallet = await ledger.get_wallet(session, tenant, player.player_id, player.currency)
            actor = Actor(ActorKind.PLAYER, str(player.public_id))
            await write_choices(
                session, tenant, wallet, chosen, data.play_time_limits, policy=policy, actor=actor, origin=origin
            )
        return view_player(player)

    @post("/sessions", permission="accounts.session.edit", responses=problems(401, 409, 422, 429))
    async def sign_in(
        self,
        data: JSONBody[SignInRequest],
        site: NamedDependency[Site],
        tenant: NamedDependency[TenantScope],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        passwords: NamedDependency[Passwords],
        keys: NamedDependency[KeyRing],
    ) -> SessionView:
        """Sign in; an unknown address and a wrong password get the same answer in the same time."""
        async with database.transaction(tenant) as session:
            attempt = await accounts.begin_sign_in(
                session, tenant, keys, brand=site.terms.brand, email=data.email, origin=origin
            )
        fits = await passwords.verify(attempt.password_hash, data.password)
        async with database.transaction(tenant) as session:
            result = await accounts.finish_sign_in(session, tenant, attempt, fits=fits, origin=origin)
        if result is SignInFailure.NOT_ACTIVE:
            raise AccountNotActive("the account is not active")
        if isinstance(result, SignInFailure):
            raise CredentialsRefused("address or password is not right")
        return SessionView(result.token, result.expires_at, result.player.public_id)

    @post(
        "/password-reset-requests",
        permission="accounts.password_reset.edit",
        status_code=202,
        responses=problems(422, 429),
    )
    async def request_password_reset(
        self,
        data: JSONBody[PasswordResetRequest],
        site: NamedDependency[Site],
        tenant: NamedDependency[TenantScope],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        keys: NamedDependency[KeyRing],
    ) -> AcceptedView:
        """Ask for a mail with a reset token; the answer does not tell whether the account exists."""
        async with database.transaction(tenant) as session:
            await accounts.request_password_reset(
                session, tenant, keys, brand=site.terms.brand, domain=site.domain, email=data.email, origin=origin
            )
        return AcceptedView()

    @post("/password-resets", permission="accounts.password_reset.edit", status_code=204, responses=problems(422))
    async def reset_password(
        self,
        data: JSONBody[PasswordReset],
        tenant: NamedDependency[TenantScope],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        passwords: NamedDependency[Passwords],
    ) -> None:
        """Replace the password through a token, once; all sessions of the account end."""
        accounts.check_password(data.new_password)
        async with database.transaction(tenant) as session:
            await accounts.check_reset_token(session, tenant, data.token)
        password_hash = await passwords.hash(data.new_password)
        async with database.transaction(tenant) as session:
            await accounts.reset_password(session, tenant, token=data.token, password_hash=password_hash, origin=origin)


class OwnAccountController(Controller):
    """What a signed-in player does with the own account."""

    tags = ("Players",)
    security = BEARER

    @delete("/sessions/current", permission="accounts.own_account.view", responses=problems(401))
    async def sign_out(
        self,
        request: Request[Any, Any, Any],
        tenant: NamedDependency[TenantScope],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
    ) -> None:
        """End the session that this call is made with."""
        async with database.transaction(tenant) as session:
            current = await accounts.get_session(session, tenant, bearer_token(request))
            await accounts.sign_out(session, tenant, current, origin)

    @get("/me", permission="accounts.own_account.view", responses=problems(401))
    async def get_me(
        self,
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        database: NamedDependency[Database],
        keys: NamedDependency[KeyRing],
    ) -> OwnAccountView:
        """Show the own account."""
        async with database.transaction(tenant) as session:
            player = await accounts.get_player(session, tenant, UUID(actor.name))
            identity = await accounts.get_identity(session, tenant, keys, player)
        return OwnAccountView(account=view_player(player), **msgspec.structs.asdict(identity))

    @delete("/me", permission="accounts.own_account.delete", responses=problems(401, 409))
    async def close(
        self,
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
    ) -> None:
        """Close the own account for good; refused while it has money, held money or debt."""
        async with database.transaction(tenant) as session:
            await close_account(
                session, tenant, UUID(actor.name), reason=StatusReason.PLAYER_REQUEST, actor=actor, origin=origin
            )

    @get("/me/balances", permission="ledger.own_wallet.view", responses=problems(401))
    async def list_balances(
        self, tenant: NamedDependency[TenantScope], actor: NamedDependency[Actor], database: NamedDependency[Database]
    ) -> BalancesView:
        """Show all own wallets."""
        async with database.transaction(tenant) as session:
            player = await accounts.get_player(session, tenant, UUID(actor.name))
            wallets = await ledger.list_wallets(session, tenant, player.player_id)
        return BalancesView([view_balance(wallet) for wallet in wallets])

    @get("/me/history", permission="ledger.own_wallet.view", responses=problems(401, 404, 422))
    async def list_history(
        self,
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        database: NamedDependency[Database],
        currency: Annotated[
            str | None, QueryParameter(max_length=_MAX_CHOICE, description="None: the account's")
        ] = None,
        cursor: Cursor = None,
        page_size: PageSize = DEFAULT_PAGE_SIZE,
    ) -> HistoryView:
        """Show what moved in one wallet, newest first."""
        async with database.transaction(tenant) as session:
            player = await accounts.get_player(session, tenant, UUID(actor.name))
            chosen = get_currency(currency or player.currency).code
            wallet = await ledger.get_wallet(session, tenant, player.player_id, chosen)
            page = await ledger.list_bookings(session, tenant, wallet.wallet_id, cursor=cursor, page_size=page_size)
        return HistoryView(chosen, [view_booking(booking) for booking in page.items], page.next_cursor)
