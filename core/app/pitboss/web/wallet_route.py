"""The short way of wallet calls: `POST /wallet/<tenant>/<plugin>/<operation>`, beside the framework.

Read, verify, parse, find the wallet, queue, render. Whatever is refused before work is refused in the
dialect's shape; only a path that names no plugin gets a plain problem document.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from litestar.types import Receive, Scope, Send

from pitboss.directory.contracts import TenantState
from pitboss.directory.runtime import Directory
from pitboss.games.contracts import Endpoint, Holder
from pitboss.games.runtime import Endpoints, Holders
from pitboss.games.service import build_answer, build_request
from pitboss.kernel.clock import epoch_microseconds, monotonic_seconds
from pitboss.platform.db import Database
from pitboss.platform.telemetry import Metrics
from pitboss.policy.runtime import Policies
from pitboss.wallet.contracts import WalletRequest, WalletResult
from pitboss.wallet.runtime import Lanes
from pitboss_sdk.errors import ErrorKind, PitbossError
from pitboss_sdk.games import (
    DialectRefusal,
    DialectResponse,
    RawCall,
    Refusal,
    WalletAnswer,
    WalletCall,
)
from pitboss_sdk.jurisdiction import LimitKind

PREFIX: Final = "/wallet/"
MAX_BODY_BYTES: Final = 256 * 1024
"""Nothing larger is read to its end; each dialect has a lower limit of its own."""
AWAY_SECONDS: Final = 30
"""When a call may come again whose plugin this process lacks: it is there when somebody has put it right."""
_PARTS: Final = 3
_LOG = structlog.get_logger("pitboss.wallet_route")
_TOO_LARGE: Final = "body too large"


async def renew_endpoints(endpoints: Endpoints, policies: Policies, database: Database, directory: Directory) -> None:
    """Bring endpoints and laws of all tenants that are served to what they have enabled and applied now."""
    served = {TenantState.ACTIVE, TenantState.SUSPENDED}
    scopes = [directory.scope_of(tenant) for tenant in directory.tenants() if tenant.state in served]
    for scope in scopes:
        async with database.transaction(scope) as session:
            known = await policies.renew(session, scope)
            # Play time is kept by sessions: where it is demanded, or nobody can tell, no bet goes without one.
            free = [policy.licence for policy in known if LimitKind.SESSION_TIME not in policy.mandatory_limits]
            await endpoints.renew(session, scope, sessionless=frozenset(free))
    endpoints.keep_only({scope.slug for scope in scopes})
    policies.keep_only({scope.tenant_id for scope in scopes})


Respond = Callable[[DialectResponse], None]


class RawHeaders(Mapping[str, str]):
    """The headers of a call as they came, looked through when asked: a dialect reads one or two of them."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = raw

    def get(self, name: str, default: Any = None) -> Any:
        """Return the first header of that name, in lower case, or `default`."""
        wanted = name.encode("latin-1")
        for key, value in self._raw:
            if key == wanted or key.lower() == wanted:
                return value.decode("latin-1")
        return default

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([key.decode("latin-1").lower() for key, _ in self._raw]))

    def __len__(self) -> int:
        return len(set(self))


class _Begun(NamedTuple):
    """A call on its way: who is asked, who waits for the answer, and since when."""

    endpoint: Endpoint
    respond: Respond
    began: float


class WalletRoute:
    """Wallet calls, each answered by calling back: at once where it is refused, else when its batch is committed."""

    def __init__(
        self, endpoints: Endpoints, holders: Holders, lanes: Lanes, directory: Directory, metrics: Metrics
    ) -> None:
        self._endpoints = endpoints
        self._holders = holders
        self._lanes = lanes
        self._directory = directory
        self._metrics = metrics
        self._looking_up: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one wallet call that came through the web of the cell."""
        request: Any = scope
        try:
            body = await _read_body(receive)
        except DialectRefusal:
            body = None
        answer: asyncio.Future[DialectResponse] = asyncio.get_running_loop().create_future()

        def respond(response: DialectResponse) -> None:
            if not answer.done():
                answer.set_result(response)

        headers = RawHeaders([(bytes(key), bytes(value)) for key, value in request["headers"]])
        self.begin(request["method"], request["path"], headers, body, respond)
        await _send(send, await answer)

    def begin(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, respond: Respond) -> None:
        """Answer one wallet call through `respond`; `body` is None when it was larger than any dialect takes."""
        began = monotonic_seconds()
        parts = path[len(PREFIX) :].split("/")
        if len(parts) != _PARTS or method != "POST" or not path.startswith(PREFIX):
            respond(problem(404, "there is nothing here"))
            return
        tenant, plugin, operation = parts
        endpoint = self._endpoints.find(tenant, plugin)
        if endpoint is None:
            response, outcome = self._find_lacking(tenant, plugin) or self._refuse_stranger(tenant, plugin)
            names = (tenant, plugin) if response.retry_after_seconds else ("unknown", "unknown")
            self._metrics.record_wallet_call(*names, outcome, monotonic_seconds() - began)
            respond(response)
            return
        begun = _Begun(endpoint, respond, began)
        dialect = endpoint.dialect
        try:
            if operation not in dialect.operations:
                raise DialectRefusal(Refusal.OPERATION_UNKNOWN)
            if body is None or len(body) > dialect.max_body_bytes:
                raise DialectRefusal(Refusal.MALFORMED, _TOO_LARGE)
            raw = RawCall(operation, headers, body, epoch_microseconds())
            dialect.verify(raw)
            call = dialect.parse(raw)
        except DialectRefusal as refused:
            self._answer(begun, refused.refusal.value, partial(dialect.render_refusal, refused.refusal, refused.detail))
            return
        except Exception as error:  # noqa: BLE001 - a fault of the dialect's is an answer too
            self._fail(begun, error)
            return
        self._seat(begun, call)

    def _find_lacking(self, tenant: str, plugin: str) -> tuple[DialectResponse, str] | None:
        """Return the answer to a call of a plugin that the tenant has and this process could not load, or None.

        Its dialect is not there to say it, and "there is nothing here" would be taken for a final no.
        """
        found = self._directory.find_tenant_by_slug(tenant)
        if found is None or found.state is TenantState.CLOSED or self._endpoints.find_plugin(plugin) is not None:
            return None
        enabled = self._endpoints.find_enabled(tenant)
        if plugin not in (found.plugins if enabled is None else enabled):
            return None
        response = problem(503, "this plugin is not in service here; try again", retry_after_seconds=AWAY_SECONDS)
        return response, Refusal.UNAVAILABLE.value

    def _refuse_stranger(self, tenant: str, plugin_slug: str) -> tuple[DialectResponse, str]:
        elsewhere = self._directory.find_elsewhere_by_slug(tenant)
        if elsewhere is not None:
            _LOG.warning("wallet.foreign_tenant", tenant=tenant)
            return problem(421, f"this tenant is served at {elsewhere.address}"), "misdirected"
        plugin = self._endpoints.find_plugin(plugin_slug)
        if plugin is None:
            return problem(404, "there is nothing here"), "tenant_unknown"
        # A cell that has not read its directory, or a new tenant's addresses, yet: a final answer would be a wrong one.
        found = self._directory.find_tenant_by_slug(tenant)
        away = found is not None and found.state is not TenantState.CLOSED and not self._endpoints.is_settled(tenant)
        refusal = Refusal.UNAVAILABLE if away or not self._directory.is_loaded else Refusal.TENANT_UNKNOWN
        return plugin.driver.render_refusal(refusal), refusal.value

    def _seat(self, begun: _Begun, call: WalletCall) -> None:
        """Find the wallet that is meant, from memory or on the side."""
        endpoint = begun.endpoint
        if call.legs and call.currency not in endpoint.revenue_accounts:
            self._render(begun, call, WalletAnswer(Refusal.CURRENCY_MISMATCH, None))
            return
        holder = self._holders.find_known(endpoint.scope.tenant_id, call.account, call.currency)
        if holder is not None:
            self._queue(begun, call, holder)
            return
        task = asyncio.get_running_loop().create_task(self._look_up(begun, call))
        self._looking_up.add(task)
        task.add_done_callback(self._looking_up.discard)

    async def _look_up(self, begun: _Begun, call: WalletCall) -> None:
        try:
            found = await self._holders.find(begun.endpoint.scope.tenant_id, call.account, call.currency)
        except Exception as error:  # noqa: BLE001 - whatever it is, the call gets an answer in its shape
            self._render(begun, call, _say(error))
            return
        if isinstance(found, Refusal):
            self._render(begun, call, WalletAnswer(found, None))
        else:
            self._queue(begun, call, found)

    def _queue(self, begun: _Begun, call: WalletCall, holder: Holder) -> None:
        endpoint = begun.endpoint
        try:
            takes_bets = self._directory.tenant(endpoint.scope).state is TenantState.ACTIVE
            request = build_request(endpoint, call, holder, takes_bets=takes_bets)
            told = partial(self._tell, begun, call, request)
            self._lanes.queue(request, told, patience_ms=endpoint.patience_ms)
        except Exception as error:  # noqa: BLE001 - whatever it is, the call gets an answer in its shape
            self._render(begun, call, _say(error))

    def _tell(self, begun: _Begun, call: WalletCall, request: WalletRequest, result: WalletResult | None) -> None:
        answer = WalletAnswer(Refusal.UNAVAILABLE, None) if result is None else build_answer(request, result)
        self._render(begun, call, answer)

    def _render(self, begun: _Begun, call: WalletCall, answer: WalletAnswer) -> None:
        outcome = "accepted" if answer.refusal is None else answer.refusal.value
        self._answer(begun, outcome, partial(begun.endpoint.dialect.render, call, answer))

    def _answer(self, begun: _Begun, outcome: str, make: Callable[[], DialectResponse]) -> None:
        try:
            response = make()
        except Exception as error:  # noqa: BLE001 - who waits for it must not wait for ever
            self._fail(begun, error)
            return
        self._finish(begun, response, outcome)

    def _fail(self, begun: _Begun, error: Exception) -> None:
        """Answer a call on which the dialect itself broke; the caller sends it again, and keys make that safe."""
        _LOG.error("wallet.dialect_failed", plugin=begun.endpoint.plugin, error_type=type(error).__name__)
        self._finish(begun, problem(500, "this call could not be answered"), Refusal.INTERNAL.value)

    def _finish(self, begun: _Begun, response: DialectResponse, outcome: str) -> None:
        endpoint = begun.endpoint
        took = monotonic_seconds() - begun.began
        self._metrics.record_wallet_call(endpoint.scope.slug, endpoint.plugin, outcome, took)
        begun.respond(response)


def _say(error: Exception) -> WalletAnswer:
    """Return how a fault of ours is told: a fault has a shape that the caller knows."""
    if isinstance(error, PitbossError):
        away = error.kind is ErrorKind.UNAVAILABLE
        return WalletAnswer(Refusal.UNAVAILABLE if away else Refusal.INTERNAL, None)
    _LOG.error("wallet.call_failed", error_type=type(error).__name__, exc_info=error)
    return WalletAnswer(Refusal.INTERNAL, None)


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
    if response.retry_after_seconds:
        headers.append((b"retry-after", str(response.retry_after_seconds).encode()))
    start: Any = {"type": "http.response.start", "status": response.status, "headers": headers}
    await send(start)
    end: Any = {"type": "http.response.body", "body": response.body, "more_body": False}
    await send(end)


def problem(status: int, detail: str, *, retry_after_seconds: int = 0) -> DialectResponse:
    """Return a problem document for a call that names no plugin whose shape it could have."""
    body = msgspec.json.encode({"type": "about:blank", "status": status, "detail": detail})
    return DialectResponse(status, body, "application/problem+json", retry_after_seconds)
