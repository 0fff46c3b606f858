"""The load generator counts what was answered rightly, and tells what was not."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable
from typing import Any

from tests.bench.generator import Plan, load

SECRET = "a secret of the bench"
Answer = Callable[[str, bytes], tuple[int, bytes]]


def plan_for(port: int) -> Plan:
    return Plan(
        {
            "host": "127.0.0.1",
            "port": port,
            "secret": SECRET,
            "plugin": "softswiss",
            "game": "dice",
            "seed": 3,
            "tenants": ["one", "two"],
            "players": {"": [("one", "a", "s-a"), ("two", "b", "s-b"), ("one", "c", "s-c")]},
        }
    )


async def run_against(answer: Answer, connections: int = 4, seconds: float = 0.3) -> dict[str, Any]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            signature = head.lower().split(b"x-request-sign: ")[1].split(b"\r\n")[0].decode()
            assert signature == hmac.new(SECRET.encode(), body, "sha256").hexdigest()
            status, said = answer(head.split(b" ", 2)[1].decode(), body)
            # In two pieces, because nothing promises that an answer comes in one.
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n" % (status, len(said)))
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(b"\r\n" + said)

    async def serve_until_gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            gone.put_nowait(None)

    gone: asyncio.Queue[None] = asyncio.Queue()
    server = await asyncio.start_server(serve_until_gone, "127.0.0.1", 0)
    async with server:
        seen = await load(plan_for(server.sockets[0].getsockname()[1]), connections, seconds)
        for _ in range(connections):
            await gone.get()
    return seen


async def test_every_kind_of_call_is_sent_and_counted() -> None:
    kinds: dict[str, int] = {}
    bets: set[str] = set()

    def answer(path: str, body: bytes) -> tuple[int, bytes]:
        call = json.loads(body)
        (movement,) = call.get("transactions") or [{"type": "balance"}]
        kinds[movement["type"]] = kinds.get(movement["type"], 0) + 1
        if movement["type"] == "bet":
            bets.add(call["round_id"])
        elif movement["type"] == "win":
            assert call["round_id"] in bets, "a win before its bet"
        elif movement["type"] == "rollback":
            assert call["round_id_provider"] in bets
        assert path.split("/")[1] == "wallet"
        return 200, b'{"balance":"1.00"}'

    for seconds in (0.3, 3, 30, 90):  # as long as it takes to see the rare kinds
        kinds.clear()
        seen = await run_against(answer, seconds=seconds)
        if kinds.get("rollback", 0) >= 5:
            break
    assert seen["wrong"] == 0, seen["examples"]
    assert {"bet", "win", "rollback", "balance"} <= set(kinds)
    # Calls under way at the end are answered, but not counted.
    assert sum(kinds.values()) - 4 <= seen["calls"] <= sum(kinds.values())
    assert 0 < seen["p50_ms"] <= seen["p99_ms"]
    assert kinds["bet"] > kinds["win"] > kinds["rollback"]


async def test_a_wrong_status_is_told() -> None:
    seen = await run_against(lambda _path, _body: (500, b"no"))
    assert seen["wrong"] >= seen["calls"] > 0
    assert seen["examples"][0].startswith("500 no")


async def test_a_repeated_call_with_another_answer_is_told() -> None:
    numbers = iter(range(1_000_000))
    for seconds in (0.3, 3, 30, 90):
        seen = await run_against(lambda _path, _body: (200, b'{"id":%d}' % next(numbers)), seconds=seconds)
        if seen["wrong"]:
            break
    assert 0 < seen["wrong"] < seen["calls"]
    assert "a repeated call was told" in seen["examples"][0]
