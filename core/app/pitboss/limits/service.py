"""Use cases of the limits: what players may not exceed, and for how long they do not want to play."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.audit import contracts as audit
from pitboss.audit.contracts import AuditEvent
from pitboss.audit.service import record_event
from pitboss.kernel.clock import utc_now
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.kernel.statements import ReadPart
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Op, Wallet
from pitboss.limits import store
from pitboss.limits.contracts import Exclusion, ExclusionKind, Limit, LimitKind, Period, PlayerLimit, PlayTimeLimit
from pitboss.limits.errors import (
    ExclusionNotFound,
    ExclusionStands,
    ExclusionTooShort,
    LimitAboveCeiling,
    LimitMandatory,
    PlayerExcluded,
    PlayTimeUsedUp,
)
from pitboss.limits.rules import (
    compute_closed_until,
    compute_earliest_window,
    compute_first_needed,
    compute_play_time_left,
    decide_change,
    decide_play_time,
    mature,
    mature_play_time,
)
from pitboss.limits.store import list_exclusions, list_limited_wallets, tell_limits
from pitboss.policy.contracts import EffectivePolicy
from pitboss.policy.service import compute_exclusion_end, compute_window
from pitboss_sdk import jurisdiction

__all__ = [
    "ask_limits",
    "change_limit",
    "change_play_time",
    "check_mandatory",
    "compute_earliest_window",
    "exclude",
    "find_play_time_left",
    "lift_exclusion",
    "list_exclusions",
    "list_limited_wallets",
    "list_limits",
    "list_play_time",
    "prune_usage",
    "remove_limit",
    "require_play",
    "require_play_time",
    "set_limit",
    "tell_limits",
]

NEVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""Stands for the end of an exclusion that has none."""
MAX_TIME_OUT_DAYS: Final = 42
_PLAY = (Op.BET, Op.BET_ROLLBACK, Op.WIN, Op.WIN_ROLLBACK)
_COUNTED: dict[LimitKind, tuple[tuple[Op, ...], int]] = {
    LimitKind.DEPOSIT: ((Op.DEPOSIT,), 1),
    LimitKind.STAKE: ((Op.BET, Op.BET_ROLLBACK), -1),
    LimitKind.LOSS: (_PLAY, -1),
}
"""Bookings that use a limit up, and the sign of the player's change in them; as the lanes count them."""


def ask_limits(pairs: Sequence[tuple[int, int]]) -> ReadPart:
    """Return the part that reads the limits of wallets as they are now, by the clock that changes wait by."""
    return store.ask_limits(pairs, utc_now())


async def change_limit(
    session: AsyncSession,
    scope: TenantScope,
    wallet: Wallet,
    kind: LimitKind,
    period: Period,
    amount_minor: int | None,
    *,
    policy: EffectivePolicy,
    actor: Actor,
    origin: Origin,
) -> PlayerLimit | None:
    """Set, change or (with None) take away a limit as the policy lets it: stricter at once, looser after its wait.

    Returns the limit as it is now, with the change that waits. Raises `LimitAboveCeiling` and `LimitMandatory`.
    """
    now = utc_now()
    if amount_minor is not None:
        law = (jurisdiction.LimitKind[kind.name], jurisdiction.LimitPeriod[period.name])
        ceiling_minor = policy.find_limit_ceiling_minor(*law, wallet.currency)
        if ceiling_minor is not None and amount_minor > ceiling_minor:
            raise LimitAboveCeiling(f"at most {ceiling_minor} minor units are allowed")
    # The claim makes changes of one wallet take turns: the second sees what the first left.
    await ledger.change_terms(session, scope, wallet.wallet_id)
    limits = await list_limits(session, scope, wallet.wallet_id, now)
    found = next((each for each in limits if (each.limit.kind, each.limit.period) == (kind, period)), None)
    if amount_minor is None and _is_last_mandatory(limits, kind, period, policy):
        raise LimitMandatory(f"a limit of kind {kind.name.lower()} is demanded here")
    wanted = decide_change(found, kind, period, amount_minor, now, policy.limit_increase_wait)
    if wanted == found:
        return found
    if wanted is None:
        await remove_limit(session, scope, wallet, kind, period, actor, origin)
    elif found is not None and wanted.limit == found.limit:
        await _write_waiting(session, scope, wallet, wanted, actor, origin)
    else:
        await set_limit(session, scope, wallet, wanted.limit, actor, origin, time_zone=policy.time_zone)
    return wanted


def _is_last_mandatory(limits: Sequence[PlayerLimit], kind: LimitKind, period: Period, policy: EffectivePolicy) -> bool:
    if jurisdiction.LimitKind[kind.name] not in policy.mandatory_limits:
        return False
    stays = [
        each
        for each in limits
        if each.limit.kind == kind
        and each.limit.period != period
        and (each.waiting is None or each.waiting.amount_minor is not None)
    ]
    return not stays


async def _write_waiting(
    session: AsyncSession, scope: TenantScope, wallet: Wallet, wanted: PlayerLimit, actor: Actor, origin: Origin
) -> None:
    await store.write_limit(session, scope, wallet.wallet_id, wanted)
    limit, waiting = wanted.limit, wanted.waiting
    changes = (
        audit.Change("next_minor", limit.amount_minor, None if waiting is None else waiting.amount_minor),
        audit.Change("next_from", None, None if waiting is None else waiting.at.isoformat()),
    )
    event = _event("limit.change_asked", wallet, limit.kind, limit.period, changes, actor, origin)
    await record_event(session, scope, event)


def check_mandatory(chosen: Collection[LimitKind], policy: EffectivePolicy, *, play_time: bool) -> None:
    """Raise `LimitMandatory` when a kind of limit that is demanded at registration was not chosen.

    `play_time` says whether a limit of play time was.
    """
    kinds = {jurisdiction.LimitKind[kind.name] for kind in chosen}
    if play_time:
        kinds.add(jurisdiction.LimitKind.SESSION_TIME)
    missing = sorted(kind.value for kind in policy.mandatory_limits - kinds)
    if missing:
        raise LimitMandatory(f"choose a limit of each of these kinds: {', '.join(missing)}")


async def set_limit(
    session: AsyncSession,
    scope: TenantScope,
    wallet: Wallet,
    limit: Limit,
    actor: Actor,
    origin: Origin,
    *,
    time_zone: str = "UTC",
) -> None:
    """Make a limit be in force at once; what was used of the current window before counts from the journal.

    The wallet is claimed until the transaction ends, so no posting falls between the sum and the limit.
    """
    ops, sign = _COUNTED[limit.kind]
    now = utc_now()
    window = compute_window(jurisdiction.LimitPeriod[limit.period.name], now, time_zone)
    await ledger.seed_usage(
        session,
        scope,
        wallet.wallet_id,
        kind=limit.kind,
        period=limit.period,
        window_start=window.first_day,
        since=window.starts_at,
        ops=ops,
        sign=sign,
    )
    found = await _find(session, scope, wallet, limit.kind, limit.period, now)
    if found == PlayerLimit(limit):
        return
    await store.write_limit(session, scope, wallet.wallet_id, PlayerLimit(limit))
    before_minor = None if found is None else found.limit.amount_minor
    changes = (audit.Change("amount_minor", before_minor, limit.amount_minor),)
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
    """Take a limit of a wallet away at once; False when there was none."""
    found = await _find(session, scope, wallet, kind, period, utc_now())
    if found is None:
        return False
    await ledger.change_terms(session, scope, wallet.wallet_id)
    await store.delete_limit(session, scope, wallet.wallet_id, kind, period)
    changes = (audit.Change("amount_minor", found.limit.amount_minor, None),)
    await record_event(session, scope, _event("limit.removed", wallet, kind, period, changes, actor, origin))
    return True


async def prune_usage(session: AsyncSession, scope: TenantScope) -> int:
    """Remove some of what was counted in windows that nobody can count in any more; return how much."""
    return await ledger.prune_usage(session, scope, compute_first_needed(utc_now().date()))


async def list_limits(session: AsyncSession, scope: TenantScope, wallet_id: int, now: datetime) -> list[PlayerLimit]:
    """Return the limits of one wallet as they are at `now`."""
    written = await store.list_limits(session, scope, wallet_id)
    return [found for found in (mature(each, now) for each in written) if found is not None]


async def change_play_time(
    session: AsyncSession,
    scope: TenantScope,
    player_id: int,
    period: Period,
    minutes: int | None,
    *,
    policy: EffectivePolicy,
    actor: Actor,
    origin: Origin,
) -> PlayTimeLimit | None:
    """Set, change or (with None) take away a limit of play time: stricter at once, looser after its wait.

    Returns the limit as it is now; raises `LimitMandatory`. Games that are open end by `games.service.keep_play_time`.
    """
    await accounts.claim_player(session, scope, player_id)
    now = utc_now()
    limits = await list_play_time(session, scope, player_id, now)
    found = next((each for each in limits if each.period is period), None)
    if minutes is None and jurisdiction.LimitKind.SESSION_TIME in policy.mandatory_limits:
        stays = [
            each
            for each in limits
            if each.period is not period and (each.next_from is None or each.next_minutes is not None)
        ]
        if not stays:
            raise LimitMandatory("a limit of play time is demanded here")
    wanted = decide_play_time(found, period, minutes, now, policy.limit_increase_wait)
    if wanted == found:
        return found
    before_minutes = None if found is None else found.minutes
    if wanted is None:
        event_type, changes = "limit.removed", (audit.Change("minutes", before_minutes, None),)
        await store.delete_play_time(session, scope, player_id, period)
    else:
        event_type, changes = "limit.set", (audit.Change("minutes", before_minutes, wanted.minutes),)
        if wanted.next_from is not None:
            event_type = "limit.change_asked"
            changes = (
                audit.Change("next_minutes", wanted.minutes, wanted.next_minutes),
                audit.Change("next_from", None, wanted.next_from.isoformat()),
            )
        await store.write_play_time(session, scope, player_id, wanted)
    target_id = f"{player_id}:play_time:{period.name.lower()}"
    await record_event(session, scope, AuditEvent(event_type, actor, origin, "limit", target_id, changes))
    return wanted


async def list_play_time(
    session: AsyncSession, scope: TenantScope, player_id: int, now: datetime
) -> list[PlayTimeLimit]:
    """Return the limits of a player's play time as they are at `now`."""
    written = await store.list_play_time(session, scope, player_id)
    return [found for found in (mature_play_time(each, now) for each in written) if found is not None]


async def find_play_time_left(
    session: AsyncSession,
    scope: TenantScope,
    player_id: int,
    spans: Sequence[tuple[datetime, datetime]],
    *,
    policy: EffectivePolicy,
    now: datetime,
) -> timedelta | None:
    """Return for how long games may be open from now on; None where nothing bounds it.

    `spans` are from when to when games were or are open, as far back as `LONGEST_WINDOW`.
    """
    limits = await list_play_time(session, scope, player_id, now)
    return compute_play_time_left(limits, spans, now, policy.time_zone)


async def require_play_time(
    session: AsyncSession,
    scope: TenantScope,
    player_id: int,
    spans: Sequence[tuple[datetime, datetime]],
    *,
    policy: EffectivePolicy,
    now: datetime,
) -> timedelta | None:
    """Return what `find_play_time_left` does, for a game that is to be opened.

    Raises `PlayTimeUsedUp`, and `LimitMandatory` for a player without the limit that the policy demands.
    """
    left = await find_play_time_left(session, scope, player_id, spans, policy=policy, now=now)
    if left is None and jurisdiction.LimitKind.SESSION_TIME in policy.mandatory_limits:
        raise LimitMandatory("set a limit of play time before games are opened")
    if left is not None and not left:
        raise PlayTimeUsedUp("the time for games is used up")
    return left


async def _find(
    session: AsyncSession, scope: TenantScope, wallet: Wallet, kind: LimitKind, period: Period, now: datetime
) -> PlayerLimit | None:
    for found in await list_limits(session, scope, wallet.wallet_id, now):
        if (found.limit.kind, found.limit.period) == (kind, period):
            return found
    return None


def _event(
    event_type: str,
    wallet: Wallet,
    kind: LimitKind,
    period: Period,
    changes: tuple[audit.Change, ...],
    actor: Actor,
    origin: Origin,
) -> AuditEvent:
    target_id = f"{wallet.wallet_id}:{kind.name.lower()}:{period.name.lower()}"
    return AuditEvent(event_type, actor, origin, "limit", target_id, changes)


async def exclude(
    session: AsyncSession,
    scope: TenantScope,
    player_id: int,
    *,
    days: int | None = None,
    months: int | None = None,
    policy: EffectivePolicy,
    actor: Actor,
    origin: Origin,
    reason: str = "",
) -> Exclusion:
    """Keep a player from staking and depositing from this moment on; it can make an exclusion longer, never shorter.

    With `days` it is a time-out, with `months` an exclusion, with neither one without an end. What is owed to the
    player is paid, and withdrawals stay open. Raises `ExclusionTooShort`.
    """
    # The claim makes exclusions of one player take turns: each sees what the one before it left.
    await ledger.claim_wallets(session, scope, player_id)
    now = utc_now()
    if days is not None:
        kind, ends_at = ExclusionKind.TIME_OUT, now + timedelta(days=days)
    elif months is None:
        kind, ends_at = ExclusionKind.SELF_EXCLUSION, None
    else:
        if months < policy.exclusion_minimum_months:
            raise ExclusionTooShort(f"an exclusion lasts at least {policy.exclusion_minimum_months} months")
        kind, ends_at = ExclusionKind.SELF_EXCLUSION, compute_exclusion_end(now, months, policy.time_zone)
    exclusion = Exclusion(new_uuid(), kind, now, ends_at, None, reason)
    await store.insert_exclusion(session, scope, player_id, exclusion)
    await _close(session, scope, player_id, now)
    changes = (audit.Change("ends_at", None, None if ends_at is None else ends_at.isoformat()),)
    event = AuditEvent("exclusion.set", actor, origin, "exclusion", str(exclusion.exclusion_id), changes, reason=reason)
    await record_event(session, scope, event)
    return exclusion


async def lift_exclusion(
    session: AsyncSession,
    scope: TenantScope,
    player_id: int,
    exclusion_id: UUID,
    *,
    policy: EffectivePolicy,
    actor: Actor,
    origin: Origin,
) -> Exclusion:
    """Ask for the early end of an exclusion; it comes after the policy's wait, not before the least term is over.

    Raises `ExclusionNotFound`, and `ExclusionStands` for a time-out and where the policy allows no early end.
    """
    await ledger.claim_wallets(session, scope, player_id)
    now = utc_now()
    exclusions = await store.list_exclusions(session, scope, player_id)
    found = next((each for each in exclusions if each.exclusion_id == exclusion_id), None)
    if found is None:
        raise ExclusionNotFound("the player has no such exclusion")
    if found.lifted_from is not None:
        return found
    endless = found.ends_at is None
    if found.kind is ExclusionKind.TIME_OUT or not (endless or policy.exclusion_early_end_allowed):
        raise ExclusionStands("it ends at its time and not before")
    earliest = compute_exclusion_end(found.starts_at, policy.exclusion_minimum_months, policy.time_zone)
    lifted_from = max(now + policy.exclusion_lift_wait, earliest)
    await store.write_lift(session, scope, exclusion_id, lifted_from)
    await _close(session, scope, player_id, now)
    changes = (audit.Change("lifted_from", None, lifted_from.isoformat()),)
    event = AuditEvent("exclusion.lift_asked", actor, origin, "exclusion", str(exclusion_id), changes)
    await record_event(session, scope, event)
    return Exclusion(exclusion_id, found.kind, found.starts_at, found.ends_at, lifted_from, found.reason)


async def _close(session: AsyncSession, scope: TenantScope, player_id: int, now: datetime) -> None:
    exclusions = await store.list_exclusions(session, scope, player_id)
    await ledger.close_wallets(session, scope, player_id, compute_closed_until(exclusions, now, NEVER))


async def require_play(session: AsyncSession, scope: TenantScope, player_id: int) -> None:
    """Raise `PlayerExcluded` while an exclusion or a time-out stands."""
    exclusions = await store.list_exclusions(session, scope, player_id)
    until = compute_closed_until(exclusions, utc_now(), NEVER)
    if until is not None:
        raise PlayerExcluded("for ever" if until == NEVER else f"until {until.isoformat()}")
