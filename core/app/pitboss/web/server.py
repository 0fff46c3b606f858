"""The web server of a process: granian inside our own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable
from typing import Any, Final

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from pitboss.platform.telemetry import GRANIAN_LOGGING

BACKLOG: Final = 2048
_HEADER_TIMEOUT_MS: Final = 15_000

_log = structlog.get_logger(__name__)


def calm_collector() -> None:
    """Keep what was made at the start out of the cycle collector, and let it look less often.

    Calls make thousands of objects that die without it; looking at them is work for nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def serve(app: Callable[..., Any], host: str, port: int) -> None:
    """Serve `app` until SIGTERM or SIGINT; answers that are under way are finished first."""
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_TIMEOUT_MS),
        log_dictconfig=GRANIAN_LOGGING,
        log_access=False,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    _log.info("web.started", address=host, port=port)
    try:
        await server.serve()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)
        _log.info("web.stopped", port=port)
