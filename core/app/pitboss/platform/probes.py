"""Probes and metrics of a process that serves no other HTTP: three fixed paths on a port of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final

import msgspec

from pitboss.platform.telemetry import METRICS_CONTENT_TYPE, Metrics, Readiness

_MAX_HEAD_BYTES: Final = 8192
_TIMEOUT_SECONDS: Final = 5


class Probes:
    """Answers GET /healthz, /readyz and /metrics, one request a connection."""

    def __init__(self, metrics: Metrics, readiness: Readiness) -> None:
        self._metrics = metrics
        self._readiness = readiness

    @asynccontextmanager
    async def serve(self, host: str, port: int | None) -> AsyncGenerator[None]:
        """Serve while the block runs; without a port there is nothing to serve."""
        if port is None:
            yield
            return
        server = await asyncio.start_server(self._answer, host, port, limit=_MAX_HEAD_BYTES)
        async with server:
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                method, path = (*head.split(b"\r\n", 1)[0].split(b" "), b"", b"")[:2]
                status, media_type, body = await self._choose(method, path.partition(b"?")[0])
                writer.write(
                    f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {media_type}\r\n"
                    f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n".encode()
                )
                writer.write(b"" if method == b"HEAD" else body)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _choose(self, method: bytes, path: bytes) -> tuple[int, str, bytes]:
        if method not in {b"GET", b"HEAD"}:
            return 405, "application/json", b"{}"
        if path == b"/healthz":
            return 200, "application/json", b'{"status":"ok"}'
        if path == b"/readyz":
            problems = await self._readiness.list_problems()
            body = msgspec.json.encode({"status": "unavailable" if problems else "ready", "problems": problems})
            return 503 if problems else 200, "application/json", body
        if path == b"/metrics":
            return 200, METRICS_CONTENT_TYPE, self._metrics.render()
        return 404, "application/json", b"{}"
