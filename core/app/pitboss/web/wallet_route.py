"""The short way of wallet calls: `POST /wallet/<tenant>/<plugin>/<operation>`, beside the framework.

Read, verify, parse, find the wallet, queue, render. Whatever is refused before work is refused in the
dialect's shape; only a path that names no plugin gets a plain problem document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
import structlog
from litestar.types import Receive, Scope, Send

from pitboss.directory.contracts import TenantState
from pitboss.directory.runtime import Directory
from pitboss.games.contracts import Endpoint
from pitboss.games.runtime import Endpoints, Holders
from pitboss.games.service import build_answer, build_request
from pitboss.kernel.clock import monotonic_seconds
from pitboss.platform.db import Database
from pitboss.platform.telemetry import Metrics
from pitboss.wallet.runtime import Lanes
from pitboss_sdk.errors import ErrorKind, PitbossError
from pitboss_sdk.games import (
    DialectRefusal,
    DialectResponse,
    LegKind,
    RawCall,
    Refusal,
    WalletAnswer,
    WalletCall,
)

PREFIX: Final = "/wallet/"
MAX_BODY_BYTES: Final = 256 * 1024
"""Nothing larger is read to its end; each dialect has a lower limit of its own."""
_PARTS: Final = 3
_LOG = structlog.get_logger("pitboss.wallet_route")
_TOO_LARGE: Final = "body too large"


async def renew_endpoints(endpoints: Endpoints, database: Database, directory: Directory) -> None:
    """Bring the endpoints of all tenants that are served to what they have enabled now."""
    served = {TenantState.ACTIVE, TenantState.SUSPENDED}
    scopes = [directory.scope_of(tenant) for tenant in directory.tenants() if tenant.state in served]
    for scope in scopes:
        async with database.transaction(scope) as session:
            await endpoints.renew(session, scope)
    endpoints.keep_only({scope.slug for scope in scopes})


class _Headers(Mapping[str, str]):
    """The headers of a call, decoded when asked for: a dialect reads one or two of them."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        wanted = name.encode("latin-1")
        for key, value in self._raw:
            if key == wanted:
                return bytes(value).decode("latin-1")
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter([bytes(key).decode("latin-1") for key, _ in self._raw])

    def __len__(self) -> int:
        return len(self._raw)


class WalletRoute:
    """An ASGI application for one kind of request."""

    def __init__(
        self, endpoints: Endpoints, holders: Holders, lanes: Lanes, directory: Directory, metrics: Metrics
    ) -> None:
        self._endpoints = endpoints
        self._holders = holders
        self._lanes = lanes
        self._directory = directory
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one wallet call that came through the web of the cell."""
        request: Any = scope
        try:
            body = await _read_body(receive)
        except DialectRefusal:
            body = None
        response = await self.answer(request["method"], request["path"], _Headers(request["headers"]), body)
        await _send(send, response)

    async def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> DialectResponse:
        """Answer one wallet call; `body` is None when it was larger than any dialect takes."""
        began = monotonic_seconds()
        parts = path[len(PREFIX) :].split("/")
        if len(parts) != _PARTS or method != "POST" or not path.startswith(PREFIX):
            return problem(404, "there is nothing here")
        tenant, plugin, operation = parts
        endpoint = self._endpoints.find(tenant, plugin)
        if endpoint is None:
            response, outcome = self._refuse_stranger(tenant, plugin), "tenant_unknown"
            tenant = plugin = "unknown"
        else:
            response, outcome = await self._answer(endpoint, operation, headers, body)
        self._metrics.record_wallet_call(tenant, plugin, outcome, monotonic_seconds() - began)
        return response

    def _refuse_stranger(self, tenant: str, plugin_slug: str) -> DialectResponse:
        elsewhere = self._directory.find_elsewhere_by_slug(tenant)
        if elsewhere is not None:
            _LOG.warning("wallet.foreign_tenant", tenant=tenant)
            return problem(421, f"this tenant is served at {elsewhere.address}")
        plugin = self._endpoints.find_plugin(plugin_slug)
        if plugin is None:
            return problem(404, "there is nothing here")
        return plugin.driver.render_refusal(Refusal.TENANT_UNKNOWN)

    async def _answer(
        self, endpoint: Endpoint, operation: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[DialectResponse, str]:
        dialect = endpoint.dialect
        try:
            if operation not in dialect.operations:
                raise DialectRefusal(Refusal.OPERATION_UNKNOWN)
            if body is None or len(body) > dialect.max_body_bytes:
                raise DialectRefusal(Refusal.MALFORMED, _TOO_LARGE)
            raw = RawCall(operation, headers, body)
            dialect.verify(raw)
            call = dialect.parse(raw)
        except DialectRefusal as refused:
            return dialect.render_refusal(refused.refusal, refused.detail), refused.refusal.value
        try:
            answer = await self._decide(endpoint, call)
        except PitbossError as error:
            away = error.kind is ErrorKind.UNAVAILABLE
            answer = WalletAnswer(Refusal.UNAVAILABLE if away else Refusal.INTERNAL, None)
        except Exception as error:  # noqa: BLE001 - a fault of ours still has a shape that the caller knows
            _LOG.exception("wallet.call_failed", error_type=type(error).__name__)
            answer = WalletAnswer(Refusal.INTERNAL, None)
        outcome = "accepted" if answer.refusal is None else answer.refusal.value
        return dialect.render(call, answer), outcome

    async def _decide(self, endpoint: Endpoint, call: WalletCall) -> WalletAnswer:
        tenant_id = endpoint.scope.tenant_id
        if call.legs and call.currency not in endpoint.revenue_accounts:
            return WalletAnswer(Refusal.CURRENCY_MISMATCH, None)
        holder = self._holders.find_known(tenant_id, call.account, call.currency)
        if holder is None:
            found = await self._holders.find(tenant_id, call.account, call.currency)
            if isinstance(found, Refusal):
                return WalletAnswer(found, None)
            holder = found
        state = self._directory.tenant(endpoint.scope).state
        if state is not TenantState.ACTIVE and any(leg.kind is LegKind.BET for leg in call.legs):
            return WalletAnswer(Refusal.GAME_FORBIDDEN, None, detail="no new bets are taken")
        request = build_request(endpoint, call, holder)
        return build_answer(request, await self._lanes.submit(request, patience_ms=endpoint.patience_ms))


async def _read_body(receive: Receive) -> bytes:
    message: Any = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    chunks, size = [body], len(body)
    while message.get("more_body"):
        if size > MAX_BODY_BYTES:
            raise DialectRefusal(Refusal.MALFORMED, _TOO_LARGE)
        message = await receive()
        chunk = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


async def _send(send: Send, response: DialectResponse) -> None:
    headers = [
        (b"content-type", response.content_type.encode()),
        (b"content-length", str(len(response.body)).encode()),
    ]
    start: Any = {"type": "http.response.start", "status": response.status, "headers": headers}
    await send(start)
    end: Any = {"type": "http.response.body", "body": response.body, "more_body": False}
    await send(end)


def problem(status: int, detail: str) -> DialectResponse:
    """Return a problem document for a call that names no plugin whose shape it could have."""
    body = msgspec.json.encode({"type": "about:blank", "status": status, "detail": detail})
    return DialectResponse(status, body, "application/problem+json")
