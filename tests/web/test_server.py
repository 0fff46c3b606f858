"""The web server of a process: what is under way when it is told to stop is answered, and it ends by itself."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import httpx
from tests.factories.ports import free_port

PROGRAM = """
import asyncio, sys
from pathlib import Path
import uvloop
from pitboss.platform.telemetry import Metrics, configure_logging
from pitboss.web.server import serve

under_way = []

async def app(scope, receive, send):
    whole = b"whole"
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/slow":
        under_way.append(scope)
        while not Path(sys.argv[2]).exists():
            await asyncio.sleep(0.01)
    if scope["path"] == "/count":
        whole = b"%d" % len(under_way)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": whole})

async def main():
    await serve(app, "127.0.0.1", int(sys.argv[1]))
    print("ended in order")

configure_logging("test", "info", Metrics())
uvloop.run(main())
"""


async def test_a_stop_finishes_what_is_under_way(tmp_path: Path) -> None:
    port = free_port()
    go_on = tmp_path / "go-on"
    server = start(port, go_on, tmp_path / "log")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            for _ in range(600):
                try:
                    assert (await client.get("/")).text == "whole"
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.1)
            under_way = [asyncio.create_task(client.get("/slow")) for _ in range(5)]
            async with asyncio.timeout(60):
                while (await client.get("/count")).text != "5":  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.02)
            server.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.5)  # time to do the wrong thing
            go_on.touch()
            answers = await asyncio.gather(*under_way)
            assert [answer.text for answer in answers] == ["whole"] * 5
        printed, _ = server.communicate(timeout=60)
        assert server.returncode == 0
        assert printed == b"ended in order\n"
    finally:
        server.kill()
        server.communicate()
    for line in (tmp_path / "log").read_text().splitlines():
        assert line.startswith('{"'), line


def start(port: int, go_on: Path, log_path: Path) -> subprocess.Popen[bytes]:
    with log_path.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(port), str(go_on)], stdout=subprocess.PIPE, stderr=log
        )
