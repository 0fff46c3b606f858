"""Who asks, from where, for whose data: resolved once per request, before any handler runs.

Guards do the work in this order: the host name names the tenant, the bearer token names the actor, the
handler's permission is checked. Handlers get the results by name, see `API_DEPENDENCIES`.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Any, Final, cast
from urllib.parse import urlsplit

import structlog
from litestar import Litestar, Request
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.types import HTTPScope

from pitboss.accounts.service import find_session, player_actor
from pitboss.directory.contracts import TenantState
from pitboss.directory.errors import TenantMoving
from pitboss.directory.runtime import Directory
from pitboss.kernel.clock import epoch_seconds
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.permissions.contracts import VISITOR
from pitboss.permissions.service import get_permission, is_granted, require
from pitboss.platform.db import Database
from pitboss.web.errors import DirectoryNotRead, Misdirected, Unauthenticated, UnknownHost

Connection = ASGIConnection[Any, Any, Any, Any]

LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_LOOPBACK_ADDRESSES: Final = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})
_FORWARDING_HEADERS: Final = ("forwarded", "x-forwarded-for", "x-real-ip")
_BEARER: Final = "bearer "
_MAX_TOKEN_CHARACTERS: Final = 512
COOKIE: Final = "__Host-pitboss-operator"
"""Of whoever is on the pages of operators."""
_LOG = structlog.get_logger("pitboss.web")

OPERATOR: Final = Actor(ActorKind.OPERATOR, "operator")
"""Whoever holds the operator's token."""
AT_THE_MACHINE: Final = Actor(ActorKind.DEPLOYMENT, "loopback")
"""Whoever looks at the platform's own pages from the machine itself."""


def host_name(connection: Connection) -> str:
    """Return the Host header in lower case, without port and trailing dot."""
    host = connection.headers.get("host", "").strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def is_loopback(connection: Connection) -> bool:
    """Return whether the client sits on this machine and no proxy brought it here."""
    client = connection.client
    if client is None or client.host not in _LOOPBACK_ADDRESSES:
        return False
    return not any(name in connection.headers for name in _FORWARDING_HEADERS)


def bearer_token(connection: Connection) -> str:
    """Return the bearer token, empty where there is none."""
    value = connection.headers.get("authorization", "")
    if len(value) > _MAX_TOKEN_CHARACTERS or not value.lower().startswith(_BEARER):
        return ""
    return value[len(_BEARER) :].strip()


def holds_operator_token(connection: Connection) -> bool:
    """Return whether the bearer token is the operator's; compared in constant time."""
    expected = cast("str", connection.app.state.operator_token)
    given = bearer_token(connection)
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


async def resolve_tenant(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Find the tenant behind the host name; unknown is 404, of another cell is 421, and 503 while nobody can tell."""
    directory = cast("Directory", connection.app.state.directory)
    host = host_name(connection)
    found = directory.find_tenant_by_domain(host)
    if found is not None and found.state is TenantState.ACTIVE:
        connection.scope["state"]["tenant"] = directory.scope_of(found)
        return
    if found is None:
        refuse_foreign(directory, host)
    elif found.state is TenantState.MOVING:
        raise TenantMoving("try again")
    raise UnknownHost


def refuse_foreign(directory: Directory | None, host: str) -> None:
    """Raise `Misdirected`, with the right cell's address and nothing else, for a domain of another cell's tenant.

    Raises `DirectoryNotRead` where nobody can tell whose domain it is: a final answer would be a wrong one.
    """
    elsewhere = directory.find_elsewhere(host) if directory is not None else None
    if elsewhere is not None:
        _LOG.warning("web.foreign_domain", tenant=elsewhere.slug)
        raise Misdirected(f"this domain is served at {elsewhere.address}")
    if directory is not None and not directory.is_loaded:
        raise DirectoryNotRead("try again")


async def check_api_permission(connection: Connection, handler: BaseRouteHandler) -> None:
    """Name the actor of an API call and check the permission that the handler names."""
    token = bearer_token(connection)
    if not token and "authorization" in connection.headers:
        raise Unauthenticated
    if not token:
        actor = VISITOR
    elif holds_operator_token(connection):
        actor = OPERATOR
    else:
        actor = await _sign_on(connection, token)
    check_actor(connection, handler, actor)


async def check_platform_permission(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let the platform's own pages be seen from the machine itself, or with the operator's token."""
    if holds_operator_token(connection):
        actor = OPERATOR
    elif host_name(connection) in LOOPBACK_HOSTS and is_loopback(connection):
        actor = AT_THE_MACHINE
    elif host_name(connection) in LOOPBACK_HOSTS or bearer_token(connection):
        raise Unauthenticated
    else:
        refuse_foreign(cast("Directory | None", connection.app.state.directory), host_name(connection))
        raise UnknownHost
    check_actor(connection, handler, actor)


async def check_known_host(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Let public pages be seen under the machine's own names and under the domains of this cell's tenants."""
    if host_name(connection) not in LOOPBACK_HOSTS:
        directory = cast("Directory | None", connection.app.state.directory)
        if directory is None or directory.find_tenant_by_domain(host_name(connection)) is None:
            refuse_foreign(directory, host_name(connection))
            raise UnknownHost


async def _sign_on(connection: Connection, token: str) -> Actor:
    tenant = cast("TenantScope", connection.scope["state"]["tenant"])
    database = cast("Database", connection.app.state.database)
    async with database.transaction(tenant) as session:
        found = await find_session(session, tenant, token)
    if found is None:
        raise Unauthenticated
    return player_actor(found.player)


def check_actor(connection: Connection, handler: BaseRouteHandler, actor: Actor) -> None:
    """Let `actor` pass where the handler's permission is granted; raise `Unauthenticated` or `Forbidden`."""
    permission = get_permission(str(handler.opt.get("permission", "")))
    if actor == VISITOR and not is_granted(actor, permission.key):
        raise Unauthenticated
    connection.scope["state"]["actor"] = actor
    require(actor, permission.key)


def sign_cookie(operator_token: str, tenant_id: int, expires_at: int) -> str:
    """Return the value of a cookie for one tenant's pages."""
    mac = hmac.digest(operator_token.encode(), f"operator-page.1|{tenant_id}|{expires_at}".encode(), "sha256")
    return f"{expires_at}.{mac.hex()}"


def holds_cookie(connection: Connection) -> bool:
    """Return whether the request carries a cookie of this tenant that is in force; compared in constant time."""
    token = cast("str", connection.app.state.operator_token)
    value = connection.cookies.get(COOKIE, "")
    expiry, _, _ = value.partition(".")
    if not token or not (expiry.isascii() and expiry.isdigit() and len(expiry) <= 12):
        return False
    tenant = cast("TenantScope", connection.scope["state"]["tenant"])
    expected = sign_cookie(token, tenant.tenant_id, int(expiry))
    return hmac.compare_digest(value.encode(), expected.encode()) and epoch_seconds() < int(expiry)


def is_from_here(connection: Connection) -> bool:
    """Return whether a form was sent by one of our own pages: what no browser says is not believed."""
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = urlsplit(connection.headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc == connection.headers.get("host", "")


async def check_own_form(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Refuse a form that another site's page sent."""
    if cast("HTTPScope", connection.scope)["method"] != "GET" and not is_from_here(connection):
        raise Unauthenticated


async def check_page_permission(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let whoever holds the cookie see a page or send its form, as far as operators may."""
    if not holds_cookie(connection):
        raise Unauthenticated
    check_actor(connection, handler, OPERATOR)


CHECKS: Final = (check_api_permission, check_platform_permission, check_page_permission)
"""The guards that check the permission which a handler names."""


def find_unguarded(app: Litestar) -> list[str]:
    """Return the handlers that neither name a permission and have it checked nor say why they are public."""
    unguarded: list[str] = []
    for route in app.routes:
        for handler in cast("list[BaseRouteHandler]", getattr(route, "route_handlers", [])):
            if isinstance(handler, HTTPRouteHandler) and set(handler.http_methods) == {"OPTIONS"}:
                continue
            guards = cast("list[object]", cast("Any", handler).resolve_guards())
            checks = any(check in guards for check in CHECKS)
            named = handler.opt.get("permission")
            if named:
                get_permission(str(named))
            if not (named and checks) and not handler.opt.get("public"):
                unguarded.append(f"{route.path} {handler}")
    return unguarded


def provide_tenant(request: Request[Any, Any, Any]) -> TenantScope:
    """Return the tenant behind the host name."""
    return cast("TenantScope", request.scope["state"]["tenant"])


def provide_actor(request: Request[Any, Any, Any]) -> Actor:
    """Return who asks."""
    return cast("Actor", request.scope["state"]["actor"])


def provide_origin(request: Request[Any, Any, Any]) -> Origin:
    """Return where the request came from. The id is always our own; the client's is not believed."""
    agent = request.headers.get("user-agent", "")
    return Origin(
        request_id=str(request.scope["state"]["request_id"]),
        ip=request.client.host if request.client else "",
        user_agent_hash=sha256(agent.encode()).hexdigest()[:16] if agent else "",
    )


def provide_database(request: Request[Any, Any, Any]) -> Database:
    """Return the cell's database; a handler opens its own transaction under `tenant`."""
    return cast("Database", request.app.state.database)


API_DEPENDENCIES: Final[dict[str, Provide]] = {
    "tenant": Provide(provide_tenant, sync_to_thread=False),
    "actor": Provide(provide_actor, sync_to_thread=False),
    "origin": Provide(provide_origin, sync_to_thread=False),
    "database": Provide(provide_database, sync_to_thread=False),
}
"""What every handler of the API can ask for by name."""
