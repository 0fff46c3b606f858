"""What a scope may say, how scopes narrow one another, and whether one holds all that another holds."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pitboss.permissions.contracts import (
    Assignment,
    Cap,
    Conditions,
    Effect,
    Role,
    Scope,
    Source,
    Strength,
    Window,
)
from pitboss.permissions.errors import InvalidAssignment, InvalidRole, UnknownPermission

MOST_MINOR: Final = 2**63 - 1
MINUTES_OF_A_DAY: Final = 24 * 60
LONGEST: Final = {Source.JIT: timedelta(hours=12), Source.BREAK_GLASS: timedelta(hours=1)}
"""How long a role lasts that was not given for good."""
ATTRIBUTE_OF: Final = {
    "localities": "locality",
    "brands": "brand",
    "jurisdictions": "jurisdiction",
    "segments": "segment",
    "markets": "market",
}
"""The sets of a scope, and what of a resource each speaks of."""


def check_role(role: Role, known: Collection[str]) -> None:
    """Raise `UnknownPermission` or `InvalidRole` where `role` says something that has no meaning."""
    if not role.key:
        raise InvalidRole("a role has a key")
    if role.version < 1:
        raise InvalidRole(f"{role.key}: versions begin with 1")
    for grant in role.grants:
        if grant.permission not in known:
            raise UnknownPermission(f"{role.key}: permission {grant.permission!r} is not registered")
        check_scope(grant.scope, grant.effect)


def check_assignment(assignment: Assignment) -> None:
    """Raise `InvalidAssignment` where a role lasts longer than its source allows, or no time at all."""
    check_scope(assignment.scope, Effect.ALLOW)
    begin, end = assignment.valid_from, assignment.valid_to
    if any(moment is not None and moment.tzinfo is None for moment in (begin, end)):
        raise InvalidAssignment(f"{assignment.role}: moments have a time zone")
    if begin is not None and end is not None and end <= begin:
        raise InvalidAssignment(f"{assignment.role}: it ends before it begins")
    longest = LONGEST.get(assignment.source)
    if longest is not None and (begin is None or end is None or end - begin > longest):
        raise InvalidAssignment(f"{assignment.role}: {assignment.source} lasts at most {longest}")


def check_scope(scope: Scope, effect: Effect) -> None:
    """Raise `InvalidRole` where a scope says something that has no meaning."""
    for name in (*ATTRIBUTE_OF, "fields", "networks"):
        for value in getattr(scope, name) or ():
            _check_word(name, value)
    if scope.max_amount_minor is None and scope.currency:
        raise InvalidRole("a currency stands beside an amount")
    if scope.max_amount_minor is not None:
        _check_word("currency", scope.currency)
        if not 0 <= scope.max_amount_minor <= MOST_MINOR:
            raise InvalidRole("max_amount_minor is out of range")
    if scope.window is not None:
        _check_window(scope.window)
    for network in scope.networks or ():
        _read_network(network)
    if scope.min_acr not in {0, *Strength}:
        raise InvalidRole(f"min_acr is 0 or one of {', '.join(str(each.value) for each in Strength)}")
    if scope.max_auth_age_seconds is not None and scope.max_auth_age_seconds <= 0:
        raise InvalidRole("max_auth_age_seconds is more than 0")
    if effect is Effect.DENY and (
        scope.max_amount_minor is not None
        or scope.min_acr
        or scope.max_auth_age_seconds is not None
        or scope.fields is not None
    ):
        raise InvalidRole("a deny has no amount, sign-in or fields: up to an amount, it would forbid the small ones")


def _check_word(name: str, value: str) -> None:
    if not value or "\0" in value or not value.isprintable() or any("\ud800" <= each <= "\udfff" for each in value):
        raise InvalidRole(f"{name}: {value!r} is no name")


def _check_window(window: Window) -> None:
    try:
        get_zone(window.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidRole(f"time zone {window.zone!r} is not known") from None
    if not window.weekdays or not window.weekdays <= set(range(1, 8)):
        raise InvalidRole("weekdays are numbers from 1 (Monday) to 7")
    if not 0 <= window.from_minute < window.to_minute <= MINUTES_OF_A_DAY:
        raise InvalidRole("a window begins before it ends, within one day; two grants reach over midnight")


@lru_cache(maxsize=256)
def get_zone(name: str) -> ZoneInfo:
    """Return a time zone."""
    return ZoneInfo(name)


@lru_cache(maxsize=4096)
def _read_network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        raise InvalidRole(f"{text!r} is no network") from None


def lay_over(*scopes: Scope) -> Conditions:
    """Return all that `scopes` say together: what each of them lets through, and no more."""
    sets: list[tuple[str, frozenset[str]]] = []
    for name, attribute in ATTRIBUTE_OF.items():
        said: list[frozenset[str]] = [each for scope in scopes if (each := getattr(scope, name)) is not None]
        if said:
            sets.append((attribute, _intersect(said)))
    masks = [scope.fields for scope in scopes if scope.fields is not None]
    ages = [scope.max_auth_age_seconds for scope in scopes if scope.max_auth_age_seconds is not None]
    return Conditions(
        sets=tuple(sets),
        own_only=any(scope.own_only for scope in scopes),
        caps=tuple(
            Cap(scope.currency, scope.max_amount_minor) for scope in scopes if scope.max_amount_minor is not None
        ),
        fields=_intersect(masks) if masks else None,
        windows=tuple(scope.window for scope in scopes if scope.window is not None),
        networks=tuple(
            tuple(map(_read_network, sorted(scope.networks))) for scope in scopes if scope.networks is not None
        ),
        min_acr=max(scope.min_acr for scope in scopes),
        max_auth_age_seconds=min(ages) if ages else None,
    )


def _intersect(sets: list[frozenset[str]]) -> frozenset[str]:
    common = sets[0]
    for each in sets[1:]:
        common &= each
    return common


def covers(wide: Scope, narrow: Scope) -> bool:
    """Return whether `wide` surely lets through all that `narrow` does; False where that is not plain."""
    for name in (*ATTRIBUTE_OF, "fields"):
        outer, inner = getattr(wide, name), getattr(narrow, name)
        if outer is not None and (inner is None or not inner <= outer):
            return False
    if wide.own_only and not narrow.own_only:
        return False
    if wide.max_amount_minor is not None and (
        narrow.max_amount_minor is None
        or narrow.currency != wide.currency
        or narrow.max_amount_minor > wide.max_amount_minor
    ):
        return False
    if wide.max_auth_age_seconds is not None and (
        narrow.max_auth_age_seconds is None or narrow.max_auth_age_seconds > wide.max_auth_age_seconds
    ):
        return False
    return (
        wide.min_acr <= narrow.min_acr
        and _covers_window(wide.window, narrow.window)
        and _covers_networks(wide.networks, narrow.networks)
    )


def _covers_window(wide: Window | None, narrow: Window | None) -> bool:
    if wide is None:
        return True
    return (
        narrow is not None
        and narrow.zone == wide.zone
        and narrow.weekdays <= wide.weekdays
        and wide.from_minute <= narrow.from_minute
        and narrow.to_minute <= wide.to_minute
    )


def _covers_networks(wide: frozenset[str] | None, narrow: frozenset[str] | None) -> bool:
    if wide is None:
        return True
    if narrow is None:
        return False
    outer = [_read_network(each) for each in wide]
    return all(any(_is_inside(_read_network(each), around) for around in outer) for each in narrow)


def _is_inside(network: IPv4Network | IPv6Network, around: IPv4Network | IPv6Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(around, IPv4Network) and network.subnet_of(around)
    return isinstance(around, IPv6Network) and network.subnet_of(around)


def describe_scope(scope: Scope) -> str:
    """Return what a scope says in words; empty where it says nothing."""
    said = [
        f"{name} {', '.join(sorted(values)) or 'none'}"
        for name in (*ATTRIBUTE_OF, "networks", "fields")
        if (values := getattr(scope, name)) is not None
    ]
    if scope.own_only:
        said.append("own only")
    if scope.max_amount_minor is not None:
        said.append(f"at most {scope.max_amount_minor} minor units of {scope.currency}")
    if scope.window is not None:
        days = "".join(str(day) for day in sorted(scope.window.weekdays))
        begin, end = (f"{each // 60:02}:{each % 60:02}" for each in (scope.window.from_minute, scope.window.to_minute))
        said.append(f"on days {days} from {begin} to {end} of {scope.window.zone}")
    if scope.min_acr:
        said.append(Strength(scope.min_acr).name.lower().replace("_", "-"))
    if scope.max_auth_age_seconds is not None:
        said.append(f"signed in within {scope.max_auth_age_seconds} s")
    return "; ".join(said)
