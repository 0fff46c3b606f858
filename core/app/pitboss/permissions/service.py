"""The permission check, what it decides by, and how commands name the permission that they need."""

from __future__ import annotations

import os
import pwd
import tomllib
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

import msgspec
from sqlalchemy import ColumnElement

from pitboss.kernel.scope import Actor, ActorKind
from pitboss.permissions import rules
from pitboss.permissions.contracts import (
    EVERYWHERE,
    NOTHING_KNOWN,
    PERMISSIONS,
    ActorRole,
    Assignment,
    Context,
    Difference,
    DutyRule,
    Effect,
    Family,
    Finding,
    Grant,
    GrantTable,
    Outcome,
    Permission,
    Role,
    Scope,
    find_role,
)
from pitboss.permissions.errors import Forbidden, InvalidRole, UnknownPermission
from pitboss.permissions.rules import BUILT_IN, compile_grants, decide, describe_scope
from pitboss.permissions.store import is_nowhere, write_predicate

__all__ = [
    "build_predicate",
    "compare_roles",
    "compile_grants",
    "decide",
    "deployment_actor",
    "deployment_command",
    "describe_scope",
    "find_faults",
    "find_permission",
    "get_permission",
    "is_granted",
    "is_nowhere",
    "list_duty_rules",
    "list_holders",
    "list_roles",
    "read_roles",
    "require",
]

P = ParamSpec("P")
R = TypeVar("R")

_MARK = "__pitboss_permission__"
_TABLES: Final[dict[ActorRole, GrantTable]] = {
    role: compile_grants(PERMISSIONS, BUILT_IN, (Assignment(role.value),)) for role in ActorRole
}
"""What each kind of actor holds."""
_NOBODY_KNOWN: Final = Context()


def get_permission(key: str) -> Permission:
    """Return the registered permission of `key`; raise `UnknownPermission`."""
    try:
        return PERMISSIONS[key]
    except KeyError:
        raise UnknownPermission(f"permission {key!r} is not registered") from None


def is_granted(actor: Actor, key: str) -> bool:
    """Return whether `actor` holds the permission `key`; raise `UnknownPermission`."""
    permission = get_permission(key)
    decision = decide(_TABLES[find_role(actor)], permission.key, NOTHING_KNOWN, _NOBODY_KNOWN)
    return decision.outcome is Outcome.ALLOW


def require(actor: Actor, key: str) -> None:
    """Let `actor` pass when it holds the permission `key`; raise `Forbidden` otherwise."""
    if not is_granted(actor, key):
        raise Forbidden(f"{key} is not granted")


def deployment_actor() -> Actor:
    """Return the operating-system user who runs this process, as the actor of a command."""
    uid = os.getuid()
    try:
        return Actor(ActorKind.DEPLOYMENT, pwd.getpwuid(uid).pw_name)
    except KeyError:
        return Actor(ActorKind.DEPLOYMENT, f"uid-{uid}")


def deployment_command(key: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for the function of a command: it names the permission `key` and checks it on each run.

    It stands right above the function, below the options of the command.
    """
    get_permission(key)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            require(deployment_actor(), key)
            return function(*args, **kwargs)

        setattr(checked, _MARK, key)
        return checked

    return decorate


def find_permission(function: object) -> str | None:
    """Return the permission that a command's function names, or None."""
    found = getattr(function, _MARK, None)
    return found if isinstance(found, str) else None


def build_predicate(
    table: GrantTable, permission: str, context: Context, columns: Mapping[str, ColumnElement[Any]]
) -> ColumnElement[bool]:
    """Return the rows on which `decide` would allow `permission`, as a predicate over `columns`.

    `columns` goes by the names of `Resource`. What `is_nowhere` calls so need not be sent. Raises
    `InexpressibleScope` where a column's type would compare otherwise than Python.
    """
    allows, denies = rules.list_live(table, permission, context)
    return write_predicate(
        [held.conditions for held in allows], [held.conditions for held in denies], context.principal, columns
    )


def list_roles(*families: Family) -> dict[str, Role]:
    """Return the roles that come with this release, of all families or of some, by key."""
    return {
        key: role
        for key, role in {**rules.BUILT_IN, **rules.TEMPLATES}.items()
        if not families or role.family in families
    }


def list_duty_rules() -> tuple[DutyRule, ...]:
    """Return what one person may not do both."""
    return rules.DUTY_RULES


def list_holders(roles: Mapping[str, Role], key: str) -> list[tuple[Role, tuple[Grant, ...]]]:
    """Return every one of `roles` that can reach `key`, with its grants; raise `UnknownPermission`."""
    return rules.list_holders(roles.values(), get_permission(key).key)


def find_faults(roles: Mapping[str, Role]) -> list[Finding]:
    """Return what is wrong with a set of roles for staff, taken by itself."""
    return rules.find_faults(roles, PERMISSIONS, rules.DUTY_RULES)


def compare_roles(before: Mapping[str, Role], after: Mapping[str, Role]) -> list[Difference]:
    """Return what a change gives or takes, by role and permission."""
    return rules.compare_roles(before, after)


class _GrantEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    permissions: frozenset[str]
    effect: Effect = Effect.ALLOW
    scope: Scope = EVERYWHERE


class _RoleEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    family: Family
    version: int = 1
    template: str = ""
    grant: tuple[_GrantEntry, ...] = ()


class _RoleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: tuple[_RoleEntry, ...] = ()


def read_roles(text: str) -> dict[str, Role]:
    """Return the roles of a role file (TOML, `[[role]]` with `[[role.grant]]`); raise `InvalidRole`."""
    try:
        file = msgspec.convert(tomllib.loads(text), _RoleFile)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidRole(str(error)) from None
    found: dict[str, Role] = {}
    for entry in file.role:
        grants = tuple(
            Grant(key, grant.effect, grant.scope) for grant in entry.grant for key in sorted(grant.permissions)
        )
        role = Role(entry.key, entry.family, grants, entry.version, template_ref=entry.template)
        rules.check_role(role, PERMISSIONS)
        if role.key in found or role.key in BUILT_IN or role.key in rules.TEMPLATES or role.family is Family.BUILT_IN:
            raise InvalidRole(f"role {role.key!r} is there already")
        if role.template_ref and role.template_ref not in rules.TEMPLATES:
            raise InvalidRole(f"{role.key}: there is no template {role.template_ref!r}")
        found[role.key] = role
    return found
