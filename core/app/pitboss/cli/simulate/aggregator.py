"""The aggregators' own server: their lists of games, and launches that the platform signs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from pitboss.cli.simulate.vendors import Launch, Served, Vendor

_MAX_HEAD_BYTES: Final = 16 * 1024
_MAX_BODY_BYTES: Final = 64 * 1024
_TIMEOUT_SECONDS: Final = 15


class Aggregators:
    """Answer the platform on one port, each on addresses of its own; launches are kept until their player takes them."""

    def __init__(self, vendors: Sequence[Vendor], host: str, port: int) -> None:
        self._vendors = vendors
        self._host = host
        self._port = port
        self._launches: dict[str, Launch] = {}

    async def start(self) -> asyncio.Server:
        """Begin to listen; raise `OSError` when the port is taken."""
        return await asyncio.start_server(self._serve, self._host, self._port, limit=_MAX_HEAD_BYTES)

    def take_launch(self, url: str) -> Launch | None:
        """Return, once, what the launch told that sent a player to `url`."""
        return self._launches.pop(url.rpartition("/")[2], None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                method, target = first.split(" ")[:2]
                headers = {
                    name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)
                }
                size_bytes = int(headers.get("content-length") or 0)
                body = await reader.readexactly(size_bytes) if 0 < size_bytes <= _MAX_BODY_BYTES else b""
                status, answer = self._choose(method, target, headers, body)
                content = msgspec.json.encode(answer)
                writer.write(
                    f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
                    f"content-length: {len(content)}\r\nconnection: close\r\n\r\n".encode()
                )
                writer.write(content)
                await writer.drain()
        writer.close()

    def _choose(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        parts = urlsplit(target)
        if (method, parts.path) == ("GET", "/healthz"):
            return 200, {"status": "ok"}
        if method == "GET" and parts.path.startswith("/play/"):
            return 200, {"title": "There is no game to see here: its rounds are played by the traffic source."}
        base = f"http://{self._host}:{self._port}"
        asked = Served(method, parts.path, parse_qs(parts.query), headers, body, base)
        for vendor in self._vendors:
            answer = vendor.serve(asked)
            if isinstance(answer, Launch):
                self._launches[answer.ticket] = answer
                return 200, answer.answer
            if answer is not None:
                return answer
        return 404, {"status": 404, "code": "NOT_FOUND"}
