"""A listener for wallet calls alone: HTTP/1.1 parsed in C, answered without a framework or another thread.

The cell's web answers the same paths; this port exists because the hand-over between a server's threads and the
interpreter costs as much as a whole decision (decision 0009). It speaks to aggregators, so it knows no browser,
no upgrade and no compression.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final, cast

import httptools
import structlog

from pitboss.web.wallet_route import MAX_BODY_BYTES, WalletRoute, problem
from pitboss_sdk.games import DialectResponse

MAX_HEADERS: Final = 100
MAX_HEADER_BYTES: Final = 16 * 1024
MAX_WAITING: Final = 64
"""Most requests that one connection may send ahead of their answers."""
IDLE_SECONDS: Final = 75.0
_LOG = structlog.get_logger("pitboss.wallet_listener")
_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_Request = tuple[str, str, dict[str, str], bytes | None, bool]


class _Connection(asyncio.Protocol):
    """One connection; requests are answered one after the other, in the order they came."""

    def __init__(self, route: WalletRoute, connections: set[_Connection]) -> None:
        self._route = route
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._heard_at = self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        self._closing = True
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._closing = True
            self._write(problem(400, "this is not HTTP/1.1 as it is understood here"), keep_alive=False)

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES or len(self._headers) >= MAX_HEADERS:
            raise httptools.HttpParserError("too many headers")
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes <= MAX_BODY_BYTES:
            self._body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._body) if self._body_bytes <= MAX_BODY_BYTES else None
        method = self._parser.get_method().decode("latin-1")
        path = self._url.split(b"?", 1)[0].decode("latin-1")
        self._waiting.append((method, path, self._headers, body, self._parser.should_keep_alive()))
        if len(self._waiting) >= MAX_WAITING:
            self._transport.pause_reading()
        if self._task is None:
            self._task = self._loop.create_task(self._answer_all())

    async def _answer_all(self) -> None:
        while self._waiting:
            method, path, headers, body, keep_alive = self._waiting.popleft()
            try:
                response = await self._route.answer(method, path, headers, body)
            except Exception as error:  # noqa: BLE001 - the caller gets an answer, whatever happened
                _LOG.exception("wallet.answer_failed", error_type=type(error).__name__)
                response = problem(500, "the call could not be carried out; try again")
            self._write(response, keep_alive=keep_alive and not self._closing)
        self._task = None
        self._transport.resume_reading()

    def _write(self, response: DialectResponse, *, keep_alive: bool) -> None:
        if self._transport.is_closing():
            return
        connection = b"" if keep_alive else b"connection: close\r\n"
        self._transport.write(
            b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b"
            % (
                _STATUS_LINES[response.status],
                response.content_type.encode(),
                len(response.body),
                connection,
                response.body,
            )
        )
        if not keep_alive:
            self._transport.close()

    async def drain(self) -> None:
        """Answer what has been read, then close."""
        self._closing = True
        if self._task is not None:
            await self._task
        self._transport.close()

    def close_if_idle(self, now: float) -> None:
        """Close a connection on which nothing happens."""
        if self._task is None and now - self._heard_at > IDLE_SECONDS:
            self._transport.close()


@asynccontextmanager
async def listen(route: WalletRoute, host: str, port: int) -> AsyncGenerator[None]:
    """Take wallet calls on `port` while the block runs; what was read is answered before it ends."""
    connections: set[_Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(route, connections), host, port, backlog=2048)

    async def close_idle() -> None:
        while True:
            await asyncio.sleep(IDLE_SECONDS / 5)
            for connection in list(connections):
                connection.close_if_idle(loop.time())

    keeper = loop.create_task(close_idle(), name="wallet-listener-idle")
    _LOG.info("wallet.listening", port=port)
    try:
        yield
    finally:
        keeper.cancel()
        server.close()
        await asyncio.gather(*[connection.drain() for connection in list(connections)])
