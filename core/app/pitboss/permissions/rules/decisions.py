"""How grants are compiled and a request is decided: deny wins, what is unknown is denied, scopes only narrow."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from pitboss.permissions.contracts import (
    EVERYWHERE,
    Assignment,
    Conditions,
    Context,
    Decision,
    Effect,
    GrantTable,
    HeldGrant,
    Outcome,
    Reason,
    Resource,
    Role,
    Scope,
    Window,
)
from pitboss.permissions.rules.scopes import check_assignment, check_scope, get_zone, lay_over

_NO_GRANT: Final = Decision(Outcome.DENY, Reason.NO_GRANT)
_OUT_OF_SCOPE: Final = Decision(Outcome.DENY, Reason.OUT_OF_SCOPE)
_UNKNOWN: Final = Decision(Outcome.DENY, Reason.UNKNOWN_PERMISSION)


def compile_grants(
    known: Collection[str],
    roles: Mapping[str, Role],
    assignments: Iterable[Assignment],
    session: Scope = EVERYWHERE,
) -> GrantTable:
    """Return what `assignments` of `roles` give, within what the session narrows it to.

    What narrows an assignment or a session narrows what is allowed and leaves what is denied, so that narrowing never
    gives. A role that is not there gives nothing, nor does a grant of a permission that is not `known`. Raises
    `InvalidRole` and `InvalidAssignment`: nothing is decided by what is not understood.
    """
    check_scope(session, Effect.ALLOW)
    allows: dict[str, list[HeldGrant]] = {}
    denies: dict[str, list[HeldGrant]] = {}
    for assignment in assignments:
        check_assignment(assignment)
        role = roles.get(assignment.role)
        for number, grant in enumerate(role.grants if role is not None else ()):
            check_scope(grant.scope, grant.effect)
            if role is None or grant.permission not in known:
                continue
            allowed = grant.effect is Effect.ALLOW
            held = HeldGrant(
                f"{role.key}.v{role.version}#{number}",
                lay_over(grant.scope, assignment.scope, session) if allowed else lay_over(grant.scope),
                assignment.valid_from,
                assignment.valid_to,
            )
            (allows if allowed else denies).setdefault(grant.permission, []).append(held)
    return GrantTable(
        frozenset(known),
        {key: tuple(held) for key, held in allows.items()},
        {key: tuple(held) for key, held in denies.items()},
    )


def decide(table: GrantTable, permission: str, resource: Resource, context: Context) -> Decision:
    """Decide whether `permission` may be used on `resource`.

    An attribute that is unknown never satisfies an allow and always matches a deny. Of several allows each opens its
    own fields.
    """
    if permission not in table.known:
        return _UNKNOWN
    denies = table.denies.get(permission)
    if denies is not None:
        hits = [held.grant_id for held in denies if _hits(held, resource, context)]
        if hits:
            return Decision(Outcome.DENY, Reason.DENIED, tuple(hits))
    allows = table.allows.get(permission)
    if allows is None:
        return _NO_GRANT
    strong: list[HeldGrant] = []
    weak: list[HeldGrant] = []
    for held in allows:
        if _reaches(held.conditions, resource, context.principal) and _is_open(held, context):
            if _is_sure(held.conditions, context):
                strong.append(held)
            elif context.db_now is not None or held.conditions.max_auth_age_seconds is None:
                weak.append(held)  # at an unknown time no sign-in is a fresh one
    if strong:
        return Decision(Outcome.ALLOW, Reason.GRANTED, tuple([held.grant_id for held in strong]), _join_fields(strong))
    if weak:
        return Decision(Outcome.NEEDS_STEP_UP, Reason.SIGN_IN_AGAIN, tuple([held.grant_id for held in weak]))
    return _OUT_OF_SCOPE


def list_live(
    table: GrantTable, permission: str, context: Context
) -> tuple[tuple[HeldGrant, ...], tuple[HeldGrant, ...]]:
    """Return the allows and the denies that are left to be held against rows, when all but rows is decided."""
    if permission not in table.known:
        return (), ()
    allows = tuple(
        held
        for held in table.allows.get(permission, ())
        if _is_open(held, context) and _is_sure(held.conditions, context)
    )
    return allows, tuple(held for held in table.denies.get(permission, ()) if _may_hit(held, context))


def _join_fields(grants: list[HeldGrant]) -> frozenset[str] | None:
    joined: frozenset[str] = frozenset()
    for held in grants:
        if held.conditions.fields is None:
            return None
        joined |= held.conditions.fields
    return joined


def _is_open(held: HeldGrant, context: Context) -> bool:
    """Say whether an allow is in force at this time, from this place."""
    now = context.db_now
    if (held.valid_from is not None and (now is None or now < held.valid_from)) or (
        held.valid_to is not None and (now is None or now >= held.valid_to)
    ):
        return False
    conditions = held.conditions
    if conditions.windows and (now is None or not all(_is_within(now, window) for window in conditions.windows)):
        return False
    return not conditions.networks or (context.network is not None and _is_from(context.network, conditions))


def _may_hit(held: HeldGrant, context: Context) -> bool:
    """Say whether a deny is in force at this time, from this place; what is unknown is so."""
    now = context.db_now
    if now is not None and (
        (held.valid_from is not None and now < held.valid_from)
        or (held.valid_to is not None and now >= held.valid_to)
        or not all(_is_within(now, window) for window in held.conditions.windows)
    ):
        return False
    return context.network is None or not held.conditions.networks or _is_from(context.network, held.conditions)


def _reaches(conditions: Conditions, resource: Resource, principal: str | None) -> bool:
    """Say whether an allow reaches `resource`: all that it speaks of is known and within."""
    for attribute, allowed in conditions.sets:
        value = getattr(resource, attribute)
        if value is None or value not in allowed:
            return False
    if conditions.own_only and (resource.owner is None or resource.owner != principal):
        return False
    for cap in conditions.caps:
        if (
            resource.amount_minor is None
            or not 0 <= resource.amount_minor <= cap.max_amount_minor
            or resource.currency != cap.currency
        ):
            return False
    return True


def _hits(held: HeldGrant, resource: Resource, context: Context) -> bool:
    """Say whether a deny matches: nothing that it speaks of is known to be outside."""
    for attribute, denied in held.conditions.sets:
        value = getattr(resource, attribute)
        if value is not None and value not in denied:
            return False
    own = held.conditions.own_only
    if own and resource.owner is not None and context.principal is not None and resource.owner != context.principal:
        return False
    return _may_hit(held, context)


def _is_sure(conditions: Conditions, context: Context) -> bool:
    """Say whether somebody signed in surely enough, and not too long ago."""
    if conditions.min_acr and (context.acr is None or context.acr < conditions.min_acr):
        return False
    if conditions.max_auth_age_seconds is None:
        return True
    if context.db_now is None or context.auth_time is None:
        return False
    return timedelta(0) <= context.db_now - context.auth_time <= timedelta(seconds=conditions.max_auth_age_seconds)


def _is_within(now: datetime, window: Window) -> bool:
    local = now.astimezone(get_zone(window.zone))
    minute = local.hour * 60 + local.minute
    return local.isoweekday() in window.weekdays and window.from_minute <= minute < window.to_minute


def _is_from(address: IPv4Address | IPv6Address, conditions: Conditions) -> bool:
    """Say whether an address is in each list of networks; an IPv4 address inside IPv6 is the IPv4 address."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return all(any(address in network for network in networks) for networks in conditions.networks)
