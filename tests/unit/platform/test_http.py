"""The plugins' way out: the list of hosts, and whether a byte may have left, against real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from tests.factories.ports import free_port

from pitboss.platform.http import PluginHttpClient
from pitboss_sdk.plugin import MaybeSent, NotSent

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Vendor:
    """A vendor's server that behaves as told and remembers what reached it."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.connections = 0
        self.port = 0

    @asynccontextmanager
    async def serve(self, behave: Serve) -> AsyncIterator[str]:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            try:
                self.received += await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
                await behave(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield f"http://127.0.0.1:{self.port}"


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
async def client() -> AsyncIterator[PluginHttpClient]:
    made = PluginHttpClient("softswiss", ["127.0.0.1", "Vendor.Example"], max_response_bytes=10_000)
    yield made
    await made.close()


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def send(client: PluginHttpClient, url: str, timeout_ms: int = 60_000):
    return await client.request("POST", url, headers={"X-Sign": "s"}, body=b'{"a":1}', timeout_ms=timeout_ms)


async def test_a_whole_answer_comes_back(client: PluginHttpClient, vendor: Vendor) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        vendor.received += await reader.readexactly(7)
        writer.write(answer("200 OK", b"fine", "X-Thing: Value"))

    async with vendor.serve(behave) as url:
        response = await send(client, f"{url}/launch")
    assert (response.status, response.body, response.headers["x-thing"]) == (200, b"fine", "Value")
    assert vendor.received.startswith(b"POST /launch HTTP/1.1\r\n")
    assert vendor.received.endswith(b'{"a":1}')


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/launch",
        "http://127.0.0.1.evil.example/",
        "http://vendor.example.evil.example/",
        "http://user:pass@127.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://",
        "no address at all",
        "http://127.0.0.1:99999999/",
    ],
)
async def test_what_is_not_listed_is_never_reached(client: PluginHttpClient, url: str) -> None:
    with pytest.raises(NotSent):
        await send(client, url)


async def test_a_refused_connection_sent_nothing(client: PluginHttpClient) -> None:
    with pytest.raises(NotSent):
        await send(client, f"http://127.0.0.1:{free_port()}/")


@pytest.mark.parametrize("said", [b"this is no TLS", b""])
async def test_a_failed_handshake_sent_nothing(client: PluginHttpClient, said: bytes) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        while await reader.read(4096):
            pass
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        with pytest.raises(NotSent):
            await send(client, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", timeout_ms=300)


async def test_silence_after_the_request_may_have_sent(client: PluginHttpClient, vendor: Vendor) -> None:
    async def behave(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client hangs up

    async with vendor.serve(behave) as url:
        with pytest.raises(MaybeSent):
            await send(client, url, timeout_ms=2_000)


@pytest.mark.parametrize(
    "cut",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhalf", b"garbage\r\n\r\n"],
)
async def test_a_cut_answer_may_have_sent(client: PluginHttpClient, vendor: Vendor, cut: bytes) -> None:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(cut)

    async with vendor.serve(behave) as url:
        with pytest.raises(MaybeSent):
            await send(client, url)


async def test_a_drip_ends_with_the_deadline(client: PluginHttpClient, vendor: Vendor) -> None:
    """Byte by byte the answer would be whole in the end, and no pause in it is long."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n")
        for _ in range(200):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with vendor.serve(behave) as url:
        with pytest.raises(MaybeSent):
            await send(client, url, timeout_ms=2_000)


async def test_an_endless_answer_is_refused(client: PluginHttpClient, vendor: Vendor) -> None:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer("200 OK", b"x" * 10_001))
        await writer.drain()

    async with vendor.serve(behave) as url:
        with pytest.raises(MaybeSent):
            await send(client, url)


async def test_a_redirect_is_an_answer_and_is_not_followed(client: PluginHttpClient, vendor: Vendor) -> None:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer("302 Found", b"", "Location: http://169.254.169.254/"))

    async with vendor.serve(behave) as url:
        assert (await send(client, url)).status == 302
    assert vendor.connections == 1


async def test_the_environment_chooses_no_proxy(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    client = PluginHttpClient("softswiss", ["127.0.0.1"])

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer("200 OK", b"direct"))

    async with vendor.serve(behave) as url:
        assert (await send(client, url)).body == b"direct"
    await client.close()
