"""Probes and metrics of a web process."""

from typing import Any

from litestar import Request, Response, get
from litestar.types import ControllerRouterHandler

from pitboss.platform.telemetry import METRICS_CONTENT_TYPE, Metrics, Readiness
from pitboss.web.security import check_platform_permission


@get("/healthz", opt={"public": "says only that the process lives"}, include_in_schema=False)
async def show_health() -> dict[str, str]:
    """Say that the process lives."""
    return {"status": "ok"}


@get("/readyz", opt={"public": "names dependencies, never their addresses"}, include_in_schema=False)
async def show_readiness(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """Say whether the process can work, and otherwise what it misses."""
    readiness: Readiness = request.app.state.readiness
    problems = await readiness.list_problems()
    body = {"status": "unavailable" if problems else "ready", "problems": problems}
    return Response(body, status_code=503 if problems else 200)


@get(
    "/metrics",
    opt={"permission": "platform.status.view"},
    guards=[check_platform_permission],
    include_in_schema=False,
)
async def show_metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Return the metrics of this process as Prometheus reads them."""
    metrics: Metrics = request.app.state.metrics
    return Response(metrics.render(), media_type=METRICS_CONTENT_TYPE)


HANDLERS: list[ControllerRouterHandler] = [show_health, show_readiness, show_metrics]
