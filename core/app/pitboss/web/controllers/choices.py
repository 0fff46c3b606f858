"""What a player may choose as limits, at registration and later."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.ledger.contracts import Wallet
from pitboss.limits import service as limits
from pitboss.limits.contracts import LimitKind, Period
from pitboss.policy.contracts import EffectivePolicy
from pitboss_sdk.money import MAX_MINOR

Kind = Literal["deposit", "stake", "loss"]
Window = Literal["day", "week", "month"]
MAX_PLAY_MINUTES: Final = 31 * 24 * 60


class LimitChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A limit of a kind and period, in minor units of the wallet's currency."""

    kind: Kind
    period: Window
    amount_minor: Annotated[int, Meta(ge=0, le=MAX_MINOR)]


class PlayTimeChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how many minutes of a period games may be open."""

    period: Window
    minutes: Annotated[int, Meta(ge=0, le=MAX_PLAY_MINUTES)]


Money = Mapping[tuple[LimitKind, Period], LimitChoice]


def check_choices(money: Sequence[LimitChoice], play_time: Sequence[PlayTimeChoice], policy: EffectivePolicy) -> Money:
    """Return the limits of money by kind and period, the last of each; raise `LimitMandatory` when one is missing."""
    chosen = {(LimitKind[each.kind.upper()], Period[each.period.upper()]): each for each in money}
    limits.check_mandatory({kind for kind, _ in chosen}, policy, play_time=bool(play_time))
    return chosen


async def write_choices(
    session: AsyncSession,
    tenant: TenantScope,
    wallet: Wallet,
    money: Money,
    play_time: Sequence[PlayTimeChoice],
    *,
    policy: EffectivePolicy,
    actor: Actor,
    origin: Origin,
) -> None:
    """Set the limits that a new player chose."""
    for (kind, period), each in money.items():
        await limits.change_limit(
            session, tenant, wallet, kind, period, each.amount_minor, policy=policy, actor=actor, origin=origin
        )
    for time in play_time:
        period = Period[time.period.upper()]
        await limits.change_play_time(
            session, tenant, wallet.player_id, period, time.minutes, policy=policy, actor=actor, origin=origin
        )
