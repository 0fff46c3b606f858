"""The web applications of a cell and of control, and the thin layer in front of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec
from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp, ControllerRouterHandler, Message, Receive, Scope, Send

from pitboss.directory.runtime import Directory
from pitboss.hosting.contracts import CALLS_PATH
from pitboss.kernel.clock import monotonic_seconds
from pitboss.kernel.ids import new_uuid
from pitboss.platform.db import Database
from pitboss.platform.telemetry import Metrics, Readiness, name_method
from pitboss.platform.traces import NO_SPAN, SpanName, span
from pitboss.web import (
    brand,
    docs,
    health,
    operator_pages,
    pages,
    quality_pages,
    retention_page,
    status,
    subject_pages,
)
from pitboss.web.calls import CallDesk, answer_call
from pitboss.web.errors import EXCEPTION_HANDLERS, Unauthenticated
from pitboss.web.reading import READING
from pitboss.web.refusals import Refusals, record_refusal
from pitboss.web.security import (
    API_DEPENDENCIES,
    check_api_permission,
    find_unguarded,
    resolve_tenant,
)
from pitboss.web.webhooks import WebhookDesk, take_webhook

MAX_BODY_BYTES: Final = 256 * 1024
WALLET_PREFIX: Final = "/wallet/"

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_ENCODED_HEADERS: Final = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

_UNTRACED: Final = frozenset({CALLS_PATH, "/healthz", "/readyz", "/metrics"})


class CellParts(msgspec.Struct, frozen=True):
    """What the web of a cell is made of; the composition root builds it.

    `resources` are further things that handlers may ask for by name, with what their parameter is called.
    """

    database: Database
    directory: Directory
    metrics: Metrics
    readiness: Readiness
    operator_token: str
    status_source: status.StatusSource
    call_desk: CallDesk
    webhook_desk: WebhookDesk
    controllers: tuple[Any, ...] = ()
    resources: Mapping[str, Any] = {}


class ControlParts(msgspec.Struct, frozen=True):
    """What the web of control is made of; the composition root builds it."""

    metrics: Metrics
    readiness: Readiness
    operator_token: str
    status_source: status.StatusSource


class UnguardedHandler(RuntimeError):
    """A handler neither names a permission nor says why it is public; the process refuses to start."""


def create_cell_app(parts: CellParts) -> Litestar:
    """Return the application that serves players, operators and probes of one cell."""
    resources = {name: Provide(_give(value), sync_to_thread=False) for name, value in parts.resources.items()}
    api = Router(
        "/api/v1",
        route_handlers=[cast("ControllerRouterHandler", controller) for controller in parts.controllers],
        guards=[resolve_tenant, check_api_permission],
        dependencies={**API_DEPENDENCIES, **READING, **resources},
    )
    front = Router("/", route_handlers=brand.HANDLERS, dependencies=resources)
    desk = Router(
        "/",
        route_handlers=[
            *operator_pages.HANDLERS,
            *subject_pages.HANDLERS,
            *retention_page.HANDLERS,
            *quality_pages.HANDLERS,
        ],
        dependencies={"database": API_DEPENDENCIES["database"], **READING, **resources},
        exception_handlers={Unauthenticated: operator_pages.lead_to_sign_in},
    )
    return _create_app(
        [api, answer_call, take_webhook, front, desk, pages.show_static, *health.HANDLERS],
        {
            "call_desk": parts.call_desk,
            "database": parts.database,
            "directory": parts.directory,
            "metrics": parts.metrics,
            "operator_token": parts.operator_token,
            "readiness": parts.readiness,
            "refusals": Refusals(),
            "status_source": parts.status_source,
            "webhook_desk": parts.webhook_desk,
        },
    )


def create_control_app(parts: ControlParts) -> Litestar:
    """Return the application of the control plane: probes, metrics and the status page."""
    return _create_app(
        [pages.show_static, *health.HANDLERS, *status.HANDLERS],
        {
            "directory": None,
            "metrics": parts.metrics,
            "operator_token": parts.operator_token,
            "readiness": parts.readiness,
            "status_source": parts.status_source,
        },
    )


def _create_app(handlers: Sequence[ControllerRouterHandler], state: dict[str, Any]) -> Litestar:
    app = Litestar(
        route_handlers=handlers,
        exception_handlers=EXCEPTION_HANDLERS,
        after_exception=[record_refusal],
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="Pitboss",
            version="1",
            description="Players sign in for a bearer token; operators use theirs. Amounts are integers in minor units.",
            path="/api",
            render_plugins=[docs.OperationsPage()],
            openapi_router=docs.create_router(),
            components=Components(
                security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")},
            ),
            use_handler_docstrings=True,
        ),
        request_max_body_size=MAX_BODY_BYTES,
        state=State(state),
    )
    unguarded = find_unguarded(app)
    if unguarded:
        raise UnguardedHandler("; ".join(unguarded))
    docs.describe_refusals(app)
    return app


def _give(value: object) -> Callable[[], Any]:
    def provide() -> Any:
        return value

    return provide


class Front:
    """The outermost layer: wallet calls take the short way, everything else gets an id, headers and a count."""

    def __init__(self, app: Litestar, metrics: Metrics, wallet_route: ASGIApp | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._wallet_route = wallet_route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._wallet_route is not None and scope["path"].startswith(WALLET_PREFIX):
            await self._wallet_route(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = monotonic_seconds()
        request_id = str(new_uuid())
        scope["state"] = {"request_id": request_id}
        answered_status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal answered_status
            if message["type"] == "http.response.start":
                answered_status = message["status"]
                headers = [*message["headers"], *_ENCODED_HEADERS, (b"x-request-id", request_id.encode())]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message["headers"] = headers
            await send(message)

        facts: Any = scope
        # A signed call has a span of its own, on the trace of who signed it; probes come every few seconds.
        traced = NO_SPAN if facts["path"] in _UNTRACED else span(SpanName.HTTP_REQUEST, request_id=request_id)
        with traced:
            try:
                await self._app(scope, receive, send_with_headers)
            finally:
                # The template, not the path: paths hold ids, and strangers choose them.
                template = str(facts.get("path_template") or "unmatched")
                method = name_method(facts["method"])
                took = monotonic_seconds() - began
                self._metrics.record_request(method, template, answered_status, took)
                traced.note(method=method, path_template=template, status=answered_status)
                tenant = facts["state"].get("tenant")
                if tenant is not None:
                    traced.note(tenant=tenant.slug)
                if answered_status >= 500:
                    traced.fail()
