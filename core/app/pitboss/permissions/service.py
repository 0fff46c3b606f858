"""The permission check, and how commands name the permission that they need."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from pitboss.kernel.scope import Actor, ActorKind
from pitboss.permissions.contracts import PERMISSIONS, Permission, find_role
from pitboss.permissions.errors import Forbidden, UnknownPermission

P = ParamSpec("P")
R = TypeVar("R")

_MARK = "__pitboss_permission__"


def get_permission(key: str) -> Permission:
    """Return the registered permission of `key`; raise `UnknownPermission`."""
    try:
        return PERMISSIONS[key]
    except KeyError:
        raise UnknownPermission(f"permission {key!r} is not registered") from None


def require(actor: Actor, key: str) -> None:
    """Let `actor` pass when its role holds the permission `key`; raise `Forbidden` otherwise."""
    if find_role(actor) not in get_permission(key).roles:
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
