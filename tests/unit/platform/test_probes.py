"""The probes of a process without a web: three paths, nothing else, and no way to hold it up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.factories.ports import free_port

from pitboss.platform.probes import Probes
from pitboss.platform.telemetry import Metrics, Readiness


class Dependency:
    problem = ""

    async def check(self) -> str:
        return self.problem


@pytest.fixture
async def served() -> AsyncIterator[tuple[str, int, Dependency]]:
    dependency = Dependency()
    port = free_port()
    async with Probes(Metrics(), Readiness({"database": dependency.check})).serve("127.0.0.1", port):
        yield f"http://127.0.0.1:{port}", port, dependency


async def test_three_paths_answer(served: tuple[str, int, Dependency]) -> None:
    address, _, dependency = served
    async with httpx.AsyncClient(base_url=address) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz?verbose=1")).json() == {"status": "ready", "problems": {}}
        dependency.problem = "did not answer"
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["problems"]) == (503, {"database": "did not answer"})
        assert (await client.get("/healthz")).status_code == 200
        metrics = await client.get("/metrics")
        assert "pitboss_outbox_open_jobs" in metrics.text
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert (await client.head("/healthz")).content == b""
        assert (await client.get("/")).status_code == 404
        assert (await client.post("/healthz")).status_code == 405


@pytest.mark.parametrize("sent", [b"", b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01 not http\r\n\r\n", b"G" * 20_000])
async def test_nonsense_ends_its_own_connection_only(served: tuple[str, int, Dependency], sent: bytes) -> None:
    address, port, _ = served
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    assert not answer.startswith(b"HTTP/1.1 200")
    async with httpx.AsyncClient(base_url=address) as client:
        assert (await client.get("/healthz")).status_code == 200


async def test_without_a_port_nothing_is_served() -> None:
    async with Probes(Metrics(), Readiness({})).serve("127.0.0.1", None):
        pass
