"""What a set of roles gets wrong, who reaches a permission, and what a change of roles gives or takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pitboss.permissions.contracts import (
    EVERYWHERE,
    ActorRole,
    Difference,
    DutyRule,
    Effect,
    Family,
    Finding,
    Grant,
    Permission,
    Role,
)
from pitboss.permissions.rules.scopes import covers

STAFF = frozenset({ActorRole.OPERATOR, ActorRole.DEPLOYMENT})
"""Whose permissions are people's work, and so belong into a role for staff."""
_MAKING = ("edit", "delete", "configure", "export")
_LOOKING = ("view", "export")


def held_permissions(role: Role) -> frozenset[str]:
    """Return what `role` lets somebody do somewhere: all that it allows but for what it denies everywhere."""
    denied = {grant.permission for grant in role.grants if grant.effect is Effect.DENY and grant.scope == EVERYWHERE}
    return frozenset(grant.permission for grant in role.grants if grant.effect is Effect.ALLOW) - denied


def list_holders(roles: Iterable[Role], permission: str) -> list[tuple[Role, tuple[Grant, ...]]]:
    """Return every role that can reach `permission`, with the grants that say how far."""
    return [
        (role, tuple(grant for grant in role.grants if grant.permission == permission))
        for role in roles
        if permission in held_permissions(role)
    ]


def find_faults(
    roles: Mapping[str, Role], permissions: Mapping[str, Permission], rules: Iterable[DutyRule]
) -> list[Finding]:
    """Return what is wrong with `roles` of staff: collisions, approving what one makes, regulators who write."""
    rules = list(rules)
    found: list[Finding] = []
    for role in roles.values():
        held = held_permissions(role)
        found += (Finding("duties", role.key, line) for line in find_collisions(held, rules))
        found += (Finding("approves_own", role.key, noun) for noun in _find_own_approvals(held))
        if role.family is Family.REGULATOR:
            found += (
                Finding("regulator_writes", role.key, key)
                for key in sorted(held)
                if key.rpartition(".")[2] not in _LOOKING
            )
    return found + [Finding("nobody_holds", "", key) for key in _find_unheld(roles, permissions)]


def find_collisions(held: frozenset[str], rules: Iterable[DutyRule]) -> Iterator[str]:
    """Yield what of `held` one person may not hold together, be it by one role or by several."""
    for rule in rules:
        first, second = held & rule.first, held & rule.second
        if first and second:
            yield f"{rule.key}: {', '.join(sorted(first))} with {', '.join(sorted(second))}; {rule.why}"


def _find_own_approvals(held: frozenset[str]) -> Iterator[str]:
    for key in sorted(held):
        noun, _, action = key.rpartition(".")
        if action == "approve" and any(f"{noun}.{making}" in held for making in _MAKING):
            yield noun


def _find_unheld(roles: Mapping[str, Role], permissions: Mapping[str, Permission]) -> Iterator[str]:
    """Yield permissions that no actor holds, and those of people that no role for staff holds."""
    held = {key for role in roles.values() for key in held_permissions(role)}
    for key, permission in permissions.items():
        if not permission.roles or (permission.roles & STAFF and key not in held):
            yield key


def compare_roles(before: Mapping[str, Role], after: Mapping[str, Role]) -> list[Difference]:
    """Return what a change gives or takes, by role and permission; where that is not plain, both."""
    found: list[Difference] = []
    for key in sorted(before.keys() | after.keys()):
        old = before[key].grants if key in before else ()
        new = after[key].grants if key in after else ()
        for permission in sorted({grant.permission for grant in (*old, *new)}):
            was = tuple(grant for grant in old if grant.permission == permission)
            now = tuple(grant for grant in new if grant.permission == permission)
            gives = _exceeds(now, was, Effect.ALLOW) or _exceeds(was, now, Effect.DENY)
            takes = _exceeds(was, now, Effect.ALLOW) or _exceeds(now, was, Effect.DENY)
            if gives or takes:
                found.append(Difference(key, permission, gives, takes, was, now))
    return found


def _exceeds(grants: tuple[Grant, ...], others: tuple[Grant, ...], effect: Effect) -> bool:
    """Say whether a grant of this effect reaches where none of the others surely does."""
    scopes = [other.scope for other in others if other.effect is effect]
    return any(grant.effect is effect and not any(covers(scope, grant.scope) for scope in scopes) for grant in grants)
