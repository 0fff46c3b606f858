"""The listener for wallet calls: real sockets, real route, hostile bytes."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from tests.factories.ports import free_port

from pitboss.web.wallet_listener import BOUNDS, Bounds, listen
from pitboss.web.wallet_route import Respond
from pitboss_sdk.games import DialectResponse

PATH = b"/wallet/aurora/softswiss/betwin"


class Echo:
    """A route that answers what it was given, after as many turns of the loop as the body asks for."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def begin(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, respond: Respond) -> None:
        self.asked.set()
        told = {
            "method": method,
            "path": path,
            "sign": headers.get("x-request-sign", ""),
            "size": None if body is None else len(body),
            "digest": None if body is None else hashlib.sha256(body).hexdigest(),
        }
        response = DialectResponse(200, json.dumps(told).encode())
        if body is not None and body.startswith(b"wait"):
            asyncio.get_running_loop().call_later(0.05, respond, response)
        else:
            respond(response)


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def listening(bounds: Bounds = BOUNDS, lines: int = 1) -> AsyncGenerator[list[Line]]:
    """Listen and yield so many connections, opened one after the other."""
    port = free_port()
    route: Any = Echo()
    async with listen(route, "127.0.0.1", port, bounds):
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(lines)]
        yield opened
        for _, writer in opened:
            writer.close()


def call(body: bytes, *extra: bytes) -> bytes:
    signature = hmac.digest(b"secret", body, "sha256").hex().encode()
    head = [b"POST " + PATH + b" HTTP/1.1", b"Host: a", b"X-Request-Sign: " + signature, *extra]
    return b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", body])


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    lines = head.split(b"\r\n")
    size = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
    return int(lines[0].split()[1]), json.loads(await reader.readexactly(size))


async def test_a_call_in_pieces_and_calls_ahead_are_answered_in_order() -> None:
    bodies = [b"wait first", b"second", b"wait third", b"fourth"]
    async with listening() as [(reader, writer)]:
        for piece in call(bodies[0]).partition(b"Sign"):
            writer.write(piece)
            await asyncio.sleep(0.01)
        writer.write(b"".join(map(call, bodies[1:])))
        for body in bodies:
            status, told = await read_answer(reader)
            assert status == 200
            assert told["digest"] == hashlib.sha256(body).hexdigest()
            assert told["path"] == PATH.decode()
            assert told["sign"] == hmac.digest(b"secret", body, "sha256").hex()


async def test_a_chunked_body_is_put_together() -> None:
    async with listening() as [(reader, writer)]:
        head = b"POST " + PATH + b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b"4\r\nabcd\r\n3\r\nefg\r\n0\r\n\r\n")
        assert (await read_answer(reader))[1]["digest"] == hashlib.sha256(b"abcdefg").hexdigest()


async def test_a_huge_body_is_not_kept_and_the_next_call_is_answered() -> None:
    async with listening() as [(reader, writer)]:
        writer.write(call(b"x" * (1024 * 1024)))
        assert (await read_answer(reader))[1]["size"] is None
        writer.write(call(b"small"))
        assert (await read_answer(reader))[1]["size"] == 5


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + b"".join(b"h%d: v\r\n" % number for number in range(200)) + b"\r\n",
        b"POST / HTTP/1.1\r\nh: " + b"v" * 70_000 + b"\r\n\r\n",
        b"POST /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    ],
    ids=[
        "tls",
        "no version",
        "other version",
        "two lengths",
        "negative",
        "many headers",
        "long header",
        "long path",
        "connect",
    ],
)
async def test_what_is_not_a_call_is_refused_and_closed(raw: bytes) -> None:
    async with listening() as [(reader, writer)]:
        writer.write(raw)
        status, _ = await read_answer(reader)
        assert status == 400
        assert await asyncio.wait_for(reader.read(), 60) == b""


async def test_a_call_keeps_its_answer_when_garbage_follows() -> None:
    async with listening() as [(reader, writer)]:
        writer.write(call(b"wait first") + call(b"second") + b"\x16\x03garbage\r\n\r\n")
        assert (await read_answer(reader))[1]["digest"] == hashlib.sha256(b"wait first").hexdigest()
        assert (await read_answer(reader))[1]["digest"] == hashlib.sha256(b"second").hexdigest()
        assert (await read_answer(reader))[0] == 400
        assert await asyncio.wait_for(reader.read(), 60) == b""


async def test_an_upgrade_is_refused_and_not_carried_out() -> None:
    async with listening() as [(reader, writer)]:
        writer.write(call(b"x", b"Connection: Upgrade", b"Upgrade: websocket"))
        assert (await read_answer(reader))[0] == 400
        assert await asyncio.wait_for(reader.read(), 60) == b""


async def test_of_two_equal_headers_the_first_counts() -> None:
    async with listening() as [(reader, writer)]:
        writer.write(call(b"x", b"X-Request-Sign: second"))
        assert (await read_answer(reader))[1]["sign"] == hmac.digest(b"secret", b"x", "sha256").hex()


async def test_what_follows_the_last_call_is_not_heard() -> None:
    async with listening() as [(reader, writer)]:
        writer.write(call(b"wait", b"Connection: close") + call(b"never"))
        assert (await read_answer(reader))[1]["digest"] == hashlib.sha256(b"wait").hexdigest()
        assert await asyncio.wait_for(reader.read(), 60) == b""


async def test_connection_close_is_kept() -> None:
    async with listening() as [(reader, writer)]:
        writer.write(call(b"last", b"Connection: close"))
        assert (await read_answer(reader))[0] == 200
        assert await asyncio.wait_for(reader.read(), 60) == b""


async def test_a_request_that_comes_too_slowly_is_cut() -> None:
    """Its client sends on and on, so that only the bound can end it; another client is answered meanwhile."""
    bounds = Bounds(reading_seconds=0.3, look_seconds=0.05)
    async with listening(bounds, lines=2) as [(slow_reader, slow), (reader, writer)]:
        slow.write(b"POST " + PATH + b" HTTP/1.1\r\nX-Drip: ")
        ended = asyncio.ensure_future(end_of(slow_reader))
        async with asyncio.timeout(60):
            while not ended.done():
                slow.write(b"x")
                writer.write(call(b"quick"))
                assert (await read_answer(reader))[0] == 200
                await asyncio.sleep(0.01)
        assert await ended == b""


async def test_slow_requests_within_the_bound_are_answered() -> None:
    bounds = Bounds(reading_seconds=60, look_seconds=0.01)
    async with listening(bounds) as [(reader, writer)]:
        for piece in call(b"in pieces").partition(b"Sign"):
            writer.write(piece)
            await asyncio.sleep(0.1)
        assert (await read_answer(reader))[0] == 200


async def test_a_connection_on_which_nothing_happens_is_closed() -> None:
    async with listening(Bounds(idle_seconds=0.1, look_seconds=0.05)) as [(reader, _)]:
        assert await asyncio.wait_for(end_of(reader), 60) == b""


async def test_a_connection_too_many_is_closed_and_the_others_are_answered() -> None:
    async with listening(Bounds(max_connections=2), lines=4) as lines:
        for reader, _ in lines[2:]:
            assert await asyncio.wait_for(end_of(reader), 60) == b""
        for reader, writer in lines[:2]:
            writer.write(call(b"still here"))
            assert (await read_answer(reader))[0] == 200


async def end_of(reader: asyncio.StreamReader) -> bytes:
    """Return what still comes before the connection ends, however it ends."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def test_the_end_answers_what_was_read() -> None:
    port, route = free_port(), Echo()
    bodies = [b"wait for it", b"wait again", b"and this"]
    async with listen(cast("Any", route), "127.0.0.1", port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"".join(map(call, bodies)))
        await asyncio.wait_for(route.asked.wait(), 60)
    for body in bodies:
        status, told = await read_answer(reader)
        assert (status, told["digest"]) == (200, hashlib.sha256(body).hexdigest())
    assert await asyncio.wait_for(reader.read(), 60) == b""
    writer.close()
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)


async def send_without_end(writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(60):
        while True:
            writer.write(call(b"x" * 50) * 200)
            await writer.drain()
            await asyncio.sleep(0.005)


async def test_a_caller_who_does_not_read_is_not_answered_without_end() -> None:
    async with listening(Bounds(idle_seconds=0.5, look_seconds=0.1)) as [(_, writer)]:
        # The stream reads only as much as its buffer takes, and the server's fills up after it.
        with pytest.raises(ConnectionError):
            await send_without_end(writer)
