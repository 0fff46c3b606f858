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
from typing import Final, NamedTuple, cast

import httptools
import structlog

from pitboss.web.wallet_route import MAX_BODY_BYTES, RawHeaders, WalletRoute, problem
from pitboss_sdk.games import DialectResponse

MAX_HEADERS: Final = 100
MAX_HEAD_BYTES: Final = 16 * 1024
MAX_WAITING: Final = 64
"""Most requests that one connection may send ahead of their answers."""
_LOG = structlog.get_logger("pitboss.wallet_listener")
_PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
_TOO_MUCH: Final = "too much before the body"
_NOT_UNDERSTOOD: Final = "this is not HTTP/1.1 as it is understood here"


class Bounds(NamedTuple):
    """What a listener grants; it looks for connections that take longer every `look_seconds`."""

    max_connections: int = 4096
    idle_seconds: float = 75
    reading_seconds: float = 30
    """Longest time from the first byte of a request to its last."""
    look_seconds: float = 5


BOUNDS: Final = Bounds()


class _Request(NamedTuple):
    method: str
    path: str
    headers: RawHeaders
    body: bytes | None
    keep_alive: bool


class _Connection(asyncio.Protocol):
    """One connection; requests are answered one after the other, in the order they came."""

    def __init__(self, route: WalletRoute, connections: set[_Connection], bounds: Bounds) -> None:
        self._route = route
        self._bounds = bounds
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Request | None] = deque()  # None stands for bytes that were not understood
        self._busy = False
        self._proceeding = False
        self._drained: asyncio.Future[None] | None = None
        self._deaf = False
        self._is_paused = False
        self._is_choked = False
        self._quiet_since = self._loop.time()
        self._reading_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        self._connections.add(self)
        if len(self._connections) > self._bounds.max_connections:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        self._deaf = True
        self._connections.discard(self)

    def pause_writing(self) -> None:
        """Answer nothing more to a caller who does not read."""
        self._is_choked = True
        self._quiet_since = self._loop.time()

    def resume_writing(self) -> None:
        self._is_choked = False
        self._proceed()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._deaf:
                self._queue(None)

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = self._body_bytes = 0
        self._body = b""
        self._reading_since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise httptools.HttpParserError(_TOO_MUCH)
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        self._headers.append((name, value))
        if self._head_bytes > MAX_HEAD_BYTES or len(self._headers) > MAX_HEADERS:
            raise httptools.HttpParserError(_TOO_MUCH)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes <= MAX_BODY_BYTES:
            self._body += body

    def on_message_complete(self) -> None:
        self._reading_since = None
        if self._deaf:
            return
        if self._parser.should_upgrade():
            self._queue(None)
            return
        body = self._body if self._body_bytes <= MAX_BODY_BYTES else None
        method = self._parser.get_method().decode("latin-1")
        path = self._url.split(b"?", 1)[0].decode("latin-1")
        self._queue(_Request(method, path, RawHeaders(self._headers), body, self._parser.should_keep_alive()))

    def _queue(self, request: _Request | None) -> None:
        """Let a request wait its turn; after the last one of a connection nothing more is heard."""
        self._deaf = request is None or not request.keep_alive
        self._waiting.append(request)
        if len(self._waiting) >= MAX_WAITING:
            self._is_paused = True
            self._transport.pause_reading()
        self._proceed()

    def _proceed(self) -> None:
        """Answer what waits, one after the other; a call that is not answered at once is waited for."""
        if self._proceeding:
            return
        self._proceeding = True
        try:
            while self._waiting and not self._busy and not self._is_choked:
                request = self._waiting.popleft()
                self._busy = True
                if request is None:
                    self._respond(problem(400, _NOT_UNDERSTOOD))
                else:
                    self._route.begin(request.method, request.path, request.headers, request.body, self._respond)
        except Exception as error:  # noqa: BLE001 - a fault of ours ends the connection, not the process
            _LOG.exception("wallet.answer_failed", error_type=type(error).__name__)
            self._waiting.clear()
            self._busy = False
            self._transport.close()
        finally:
            self._proceeding = False
        if not self._busy and not self._is_choked:
            self._rest()

    def _respond(self, response: DialectResponse) -> None:
        self._busy = False
        self._write(response, last=self._deaf and not self._waiting)
        if self._waiting:
            self._proceed()
        elif not self._proceeding:
            self._rest()

    def _rest(self) -> None:
        """Note that nothing waits for an answer."""
        self._quiet_since = self._loop.time()
        if self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _write(self, response: DialectResponse, *, last: bool) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b%b\r\n%b"
            % (
                response.status,
                _PHRASES.get(response.status, b""),
                response.content_type.encode(),
                len(response.body),
                b"retry-after: %d\r\n" % response.retry_after_seconds if response.retry_after_seconds else b"",
                b"connection: close\r\n" if last else b"",
                response.body,
            )
        )
        if last:
            self._transport.close()

    async def drain(self) -> None:
        """Answer what has been read, then close."""
        self._deaf = True
        if (self._busy or self._waiting) and not self._is_choked:
            self._drained = self._loop.create_future()
            await self._drained
        self._hang_up()

    def close_if_idle(self, now: float) -> None:
        """Close a connection on which nothing happens, or a request that comes too slowly."""
        slow = self._reading_since is not None and now - self._reading_since > self._bounds.reading_seconds
        if slow or (not self._busy and now - self._quiet_since > self._bounds.idle_seconds):
            self._hang_up()

    def _hang_up(self) -> None:
        """Close; what a caller does not read is not waited for."""
        if self._is_choked:
            self._transport.abort()
        else:
            self._transport.close()


@asynccontextmanager
async def listen(route: WalletRoute, host: str, port: int, bounds: Bounds = BOUNDS) -> AsyncGenerator[None]:
    """Take wallet calls on `port` while the block runs; what was read is answered before it ends."""
    connections: set[_Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(route, connections, bounds), host, port, backlog=2048)

    async def close_idle() -> None:
        while True:
            await asyncio.sleep(bounds.look_seconds)
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
