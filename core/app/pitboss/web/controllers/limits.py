"""The API of the limits room: what players may not exceed, and for how long they do not want to play."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.games import service as games
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.ledger import service as ledger
from pitboss.limits import service as limits
from pitboss.limits.contracts import Exclusion, ExclusionKind, Limit, LimitKind, Period, PlayerLimit, PlayTimeLimit
from pitboss.limits.service import MAX_TIME_OUT_DAYS
from pitboss.platform.db import Database
from pitboss.policy.contracts import EffectivePolicy
from pitboss.policy.runtime import Policies
from pitboss.web.controllers.choices import Kind, LimitChoice, PlayTimeChoice, Window
from pitboss.web.controllers.games import get_player_wallet
from pitboss.web.controllers.players import BEARER, get_player_and_law, problems
from pitboss.web.reading import Reading

CurrencyCode = Annotated[str, Meta(max_length=16, description="Empty: the account's own")]
Currency = Annotated[str, QueryParameter(max_length=16, description="Empty: the account's own")]
Days = Annotated[int, Meta(ge=1, le=MAX_TIME_OUT_DAYS)]
Months = Annotated[int, Meta(ge=1, le=1200)]


class LimitView(msgspec.Struct, frozen=True):
    """A limit of one wallet; days, weeks and months are those of `time_zone`, weeks begin on Monday.

    From `next_from` on it is `next_minor`, or gone where that is null.
    """

    currency: str
    kind: Kind
    period: Window
    amount_minor: int
    next_minor: int | None
    next_from: datetime | None
    time_zone: str


class PlayTimeView(msgspec.Struct, frozen=True):
    """For how many minutes of a day, week or month of `time_zone` games may be open.

    From `next_from` on it is `next_minutes`, or any number where that is null.
    """

    period: Window
    minutes: int
    next_minutes: int | None
    next_from: datetime | None
    time_zone: str


class LimitsView(msgspec.Struct, frozen=True):
    """The limits of a player, and the kinds of which the licence demands one; of `session_time`, of play time."""

    limits: list[LimitView]
    play_time_limits: list[PlayTimeView]
    mandatory: list[str]


class LimitRequest(LimitChoice, frozen=True, forbid_unknown_fields=True):
    """A limit from now on; a looser one, or none, waits for as long as the licence says."""

    currency: CurrencyCode = ""


class ExclusionView(msgspec.Struct, frozen=True):
    """A time-out or an exclusion; `stands_until` null is for ever."""

    exclusion_id: UUID
    kind: Literal["time_out", "self_exclusion"]
    starts_at: datetime
    ends_at: datetime | None
    lifted_from: datetime | None
    stands_until: datetime | None
    reason: str


class ExclusionsView(msgspec.Struct, frozen=True):
    """The exclusions of a player, newest first."""

    exclusions: list[ExclusionView]


class TimeOutRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the player wants to pause."""

    days: Days


class SelfExclusionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the player wants not to play; without `months` it has no end."""

    months: Months | None = None


class ExclusionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An exclusion by an operator: of days, of months, or without an end."""

    reason: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}\Z", description="A code, such as `court_order`")]
    days: Days | None = None
    months: Months | None = None

    def __post_init__(self) -> None:
        """Refuse two terms at once."""
        if self.days is not None and self.months is not None:
            raise ValueError("give days or months, not both")


class OwnLimitController(Controller):
    """What players set for themselves."""

    path = "/me"
    tags = ("Players",)
    security = BEARER

    @get("/limits", permission="limits.own_limit.view", responses=problems(401, 503))
    async def list_own_limits(
        self,
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        database: NamedDependency[Database],
        policies: NamedDependency[Policies],
    ) -> LimitsView:
        """Show the own limits, with the changes that wait."""
        async with database.transaction(tenant) as session:
            _, policy = await get_player_and_law(session, tenant, UUID(actor.name), policies)
            return await _view_limits(session, tenant, UUID(actor.name), policy)

    @put("/limits", permission="limits.own_limit.edit", responses=problems(401, 404, 422, 503))
    async def set_own_limit(
        self,
        data: JSONBody[LimitRequest],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        policies: NamedDependency[Policies],
    ) -> LimitView:
        """Set or change an own limit: a stricter one binds from the next call on, a looser one after the wait."""
        async with database.transaction(tenant) as session:
            _, policy = await get_player_and_law(session, tenant, UUID(actor.name), policies)
            return await _set_limit(session, tenant, UUID(actor.name), data, policy, actor, origin)

    @delete("/limits", permission="limits.own_limit.edit", status_code=200, responses=problems(401, 404, 422, 503))
    async def remove_own_limit(
        self,
        kind: Annotated[Kind, QueryParameter()],
        period: Annotated[Window, QueryParameter()],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        policies: NamedDependency[Policies],
        currency: Currency = "",
    ) -> LimitsView:
        """Ask for an own limit to end; it does after the wait, and not where the licence demands one of its kind."""
        async with database.transaction(tenant) as session:
            _, policy = await get_player_and_law(session, tenant, UUID(actor.name), policies)
            await _remove_limit(session, tenant, UUID(actor.name), kind, period, currency, policy, actor, origin)
            return await _view_limits(session, tenant, UUID(actor.name), policy)

    @put("/play-time-limits", permission="limits.own_limit.edit", responses=problems(401, 422, 503))
    async def set_own_play_time(
        self,
        data: JSONBody[PlayTimeChoice],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        policies: NamedDependency[Policies],
    ) -> LimitsView:
        """Set or change for how long games may be open: fewer minutes bind open games too, more come after the wait."""
        async with database.transaction(tenant) as session:
            _, policy = await get_player_and_law(session, tenant, UUID(actor.name), policies)
            its = data.period, data.minutes
            return await _change_play_time(session, tenant, UUID(actor.name), *its, policy, actor, origin)

    @delete("/play-time-limits", permission="limits.own_limit.edit", status_code=200, responses=problems(401, 422, 503))
    async def remove_own_play_time(
        self,
        period: Annotated[Window, QueryParameter()],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        policies: NamedDependency[Policies],
    ) -> LimitsView:
        """Ask for an own limit of play time to end; it does after the wait, unless the licence demands it."""
        async with database.transaction(tenant) as session:
            _, policy = await get_player_and_law(session, tenant, UUID(actor.name), policies)
            return await _change_play_time(session, tenant, UUID(actor.name), period, None, policy, actor, origin)

    @get("/exclusions", permission="limits.own_limit.view", responses=problems(401))
    async def list_own_exclusions(
        self, tenant: NamedDependency[TenantScope], actor: NamedDependency[Actor], database: NamedDependency[Database]
    ) -> ExclusionsView:
        """Show the own time-outs and exclusions."""
        async with database.transaction(tenant) as session:
            return await _view_exclusions(session, tenant, UUID(actor.name))

    @post("/time-outs", permission="limits.own_limit.edit", responses=problems(401, 422, 503))
    async def take_time_out(
        self,
        data: JSONBody[TimeOutRequest],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        policies: NamedDependency[Policies],
    ) -> ExclusionView:
        """Pause for some days: no stake and no deposit is taken until they are over."""
        async with database.transaction(tenant) as session:
            player, policy = await get_player_and_law(session, tenant, UUID(actor.name), policies)
            found = await limits.exclude(
                session, tenant, player.player_id, days=data.days, policy=policy, actor=actor, origin=origin
            )
        return _view_exclusion(found)

    @post("/self-exclusions", permission="limits.own_limit.edit", responses=problems(401, 422, 503))
    async def exclude_oneself(
        self,
        data: JSONBody[SelfExclusionRequest],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        policies: NamedDependency[Policies],
    ) -> ExclusionView:
        """Exclude oneself for months or without an end; what is owed is paid, and withdrawals stay open."""
        async with database.transaction(tenant) as session:
            player, policy = await get_player_and_law(session, tenant, UUID(actor.name), policies)
            found = await limits.exclude(
                session, tenant, player.player_id, months=data.months, policy=policy, actor=actor, origin=origin
            )
        return _view_exclusion(found)

    @post(
        "/exclusions/{exclusion_id:uuid}/lift-requests",
        permission="limits.own_limit.edit",
        responses=problems(401, 404, 409, 503),
    )
    async def ask_for_end(
        self,
        exclusion_id: FromPath[UUID],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        policies: NamedDependency[Policies],
    ) -> ExclusionView:
        """Ask for the early end of an own exclusion, where the licence allows one."""
        async with database.transaction(tenant) as session:
            player, policy = await get_player_and_law(session, tenant, UUID(actor.name), policies)
            found = await limits.lift_exclusion(
                session, tenant, player.player_id, exclusion_id, policy=policy, actor=actor, origin=origin
            )
        return _view_exclusion(found)


class LimitController(Controller):
    """What operators see and set of a player's limits and exclusions."""

    path = "/operator/players/{player_id:uuid}"
    tags = ("Operators",)
    security = BEARER

    @get("/limits", permission="limits.limit.view", reads="protection", responses=problems(401, 403, 404, 503))
    async def list_limits(
        self,
        player_id: FromPath[UUID],
        tenant: NamedDependency[TenantScope],
        database: NamedDependency[Database],
        reading: NamedDependency[Reading],
        policies: NamedDependency[Policies],
    ) -> LimitsView:
        """Show the limits of all wallets of a player."""
        async with database.transaction(tenant) as session:
            await reading.record(session, tenant, "player.viewed", str(player_id), [str(player_id)])
            _, policy = await get_player_and_law(session, tenant, player_id, policies)
            return await _view_limits(session, tenant, player_id, policy)

    @put("/limits", permission="limits.limit.edit", responses=problems(401, 403, 404, 422, 503))
    async def set_limit(
        self,
        player_id: FromPath[UUID],
        data: JSONBody[LimitRequest],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        policies: NamedDependency[Policies],
    ) -> LimitView:
        """Set or change one limit; as for the player, a stricter one binds at once and a looser one waits."""
        async with database.transaction(tenant) as session:
            _, policy = await get_player_and_law(session, tenant, player_id, policies)
            return await _set_limit(session, tenant, player_id, data, policy, actor, origin)

    @delete("/limits", permission="limits.limit.edit", status_code=200, responses=problems(401, 403, 404, 422, 503))
    async def remove_limit(
        self,
        player_id: FromPath[UUID],
        kind: Annotated[Kind, QueryParameter()],
        period: Annotated[Window, QueryParameter()],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        policies: NamedDependency[Policies],
        currency: Currency = "",
    ) -> LimitsView:
        """Let one limit end, after the wait; one that is not there is gone already."""
        async with database.transaction(tenant) as session:
            _, policy = await get_player_and_law(session, tenant, player_id, policies)
            await _remove_limit(session, tenant, player_id, kind, period, currency, policy, actor, origin)
            return await _view_limits(session, tenant, player_id, policy)

    @put("/play-time-limits", permission="limits.limit.edit", responses=problems(401, 403, 404, 422, 503))
    async def set_play_time(
        self,
        player_id: FromPath[UUID],
        data: JSONBody[PlayTimeChoice],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        policies: NamedDependency[Policies],
    ) -> LimitsView:
        """Set or change for how long a player has games open; as for the player, fewer minutes bind at once."""
        async with database.transaction(tenant) as session:
            _, policy = await get_player_and_law(session, tenant, player_id, policies)
            return await _change_play_time(session, tenant, player_id, data.period, data.minutes, policy, actor, origin)

    @get(
        "/exclusions",
        permission="limits.exclusion.view",
        reads="protection opaque",
        responses=problems(401, 403, 404),
    )
    async def list_exclusions(
        self,
        player_id: FromPath[UUID],
        tenant: NamedDependency[TenantScope],
        database: NamedDependency[Database],
        reading: NamedDependency[Reading],
    ) -> ExclusionsView:
        """Show the time-outs and exclusions of a player."""
        async with database.transaction(tenant) as session:
            await reading.record(session, tenant, "player.viewed", str(player_id), [str(player_id)])
            return await _view_exclusions(session, tenant, player_id)

    @post("/exclusions", permission="limits.exclusion.edit", responses=problems(401, 403, 404, 422, 503))
    async def exclude(
        self,
        player_id: FromPath[UUID],
        data: JSONBody[ExclusionRequest],
        tenant: NamedDependency[TenantScope],
        actor: NamedDependency[Actor],
        origin: NamedDependency[Origin],
        database: NamedDependency[Database],
        policies: NamedDependency[Policies],
    ) -> ExclusionView:
        """Exclude a player, with the reason; it binds from the next call on."""
        async with database.transaction(tenant) as session:
            player, policy = await get_player_and_law(session, tenant, player_id, policies)
            found = await limits.exclude(
                session,
                tenant,
                player.player_id,
                days=data.days,
                months=data.months,
                policy=policy,
                actor=actor,
                origin=origin,
                reason=data.reason,
            )
        return _view_exclusion(found)


async def _set_limit(
    session: AsyncSession,
    tenant: TenantScope,
    player_id: UUID,
    data: LimitRequest,
    policy: EffectivePolicy,
    actor: Actor,
    origin: Origin,
) -> LimitView:
    _, wallet = await get_player_wallet(session, tenant, player_id, data.currency)
    kind, period = LimitKind[data.kind.upper()], Period[data.period.upper()]
    found = await limits.change_limit(
        session, tenant, wallet, kind, period, data.amount_minor, policy=policy, actor=actor, origin=origin
    )
    return _view_limit(wallet.currency, found or PlayerLimit(Limit(kind, period, data.amount_minor)), policy)


async def _remove_limit(
    session: AsyncSession,
    tenant: TenantScope,
    player_id: UUID,
    kind: Kind,
    period: Window,
    currency: str,
    policy: EffectivePolicy,
    actor: Actor,
    origin: Origin,
) -> None:
    _, wallet = await get_player_wallet(session, tenant, player_id, currency)
    its = LimitKind[kind.upper()], Period[period.upper()]
    await limits.change_limit(session, tenant, wallet, *its, None, policy=policy, actor=actor, origin=origin)


async def _change_play_time(
    session: AsyncSession,
    tenant: TenantScope,
    player_id: UUID,
    period: Window,
    minutes: int | None,
    policy: EffectivePolicy,
    actor: Actor,
    origin: Origin,
) -> LimitsView:
    player = await accounts.get_player(session, tenant, player_id)
    its = player.player_id, Period[period.upper()], minutes
    await limits.change_play_time(session, tenant, *its, policy=policy, actor=actor, origin=origin)
    await games.keep_play_time(session, tenant, player.player_id, policy=policy)
    return await _view_limits(session, tenant, player_id, policy)


async def _view_limits(
    session: AsyncSession, tenant: TenantScope, player_id: UUID, policy: EffectivePolicy
) -> LimitsView:
    player = await accounts.get_player(session, tenant, player_id)
    views: list[LimitView] = []
    for wallet in await ledger.list_wallets(session, tenant, player.player_id):
        found = await limits.list_limits(session, tenant, wallet.wallet_id, utc_now())
        views += [_view_limit(wallet.currency, each, policy) for each in found]
    times = await limits.list_play_time(session, tenant, player.player_id, utc_now())
    return LimitsView(
        views, [_view_play_time(each, policy) for each in times], sorted(kind.value for kind in policy.mandatory_limits)
    )


def _view_play_time(found: PlayTimeLimit, policy: EffectivePolicy) -> PlayTimeView:
    return PlayTimeView(_WINDOWS[found.period], found.minutes, found.next_minutes, found.next_from, policy.time_zone)


_KINDS: dict[LimitKind, Kind] = {LimitKind.DEPOSIT: "deposit", LimitKind.STAKE: "stake", LimitKind.LOSS: "loss"}
_WINDOWS: dict[Period, Window] = {Period.DAY: "day", Period.WEEK: "week", Period.MONTH: "month"}


def _view_limit(currency: str, found: PlayerLimit, policy: EffectivePolicy) -> LimitView:
    limit, waiting = found.limit, found.waiting
    return LimitView(
        currency,
        _KINDS[limit.kind],
        _WINDOWS[limit.period],
        limit.amount_minor,
        None if waiting is None else waiting.amount_minor,
        None if waiting is None else waiting.at,
        policy.time_zone,
    )


async def _view_exclusions(session: AsyncSession, tenant: TenantScope, player_id: UUID) -> ExclusionsView:
    player = await accounts.get_player(session, tenant, player_id)
    found = await limits.list_exclusions(session, tenant, player.player_id)
    return ExclusionsView([_view_exclusion(each) for each in found])


def _view_exclusion(found: Exclusion) -> ExclusionView:
    kind: Literal["time_out", "self_exclusion"] = (
        "time_out" if found.kind is ExclusionKind.TIME_OUT else "self_exclusion"
    )
    return ExclusionView(
        found.exclusion_id, kind, found.starts_at, found.ends_at, found.lifted_from, found.stands_until, found.reason
    )
