"""The wallet route over a dialect that breaks: whoever waits for an answer gets one, over the listener and the web."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.factories.ports import free_port
from tests.factories.web import CONTENT

from pitboss.directory.contracts import TenantState
from pitboss.games.contracts import Endpoint, Holder
from pitboss.kernel.scope import TenantScope
from pitboss.platform.telemetry import Metrics
from pitboss.wallet.contracts import WalletRequest, WalletResult
from pitboss.wallet.rules import BatchFacts
from pitboss.wallet.runtime import Decision, Lane, Lanes
from pitboss.web.wallet_listener import listen
from pitboss.web.wallet_route import WalletRoute
from pitboss_sdk.games import CallKind, DialectRefusal, DialectResponse, RawCall, Refusal, WalletAnswer, WalletCall

PLACES = ("verify", "parse", "render_refusal", "render")


class Broken:
    """A dialect of which one place breaks, and which refuses its calls where that place is the refusal."""

    operations = frozenset({"balance"})
    max_body_bytes = 1024

    def __init__(self, place: str) -> None:
        self._place = place

    def _reach(self, place: str) -> None:
        if place == self._place:
            raise ZeroDivisionError

    def verify(self, call: RawCall) -> None:
        self._reach("verify")
        if self._place == "render_refusal":
            raise DialectRefusal(Refusal.SIGNATURE_INVALID)

    def parse(self, call: RawCall) -> WalletCall:
        self._reach("parse")
        return WalletCall(CallKind.BALANCE, "ann", "EUR")

    def render_refusal(self, refusal: Refusal, detail: str = "") -> DialectResponse:
        self._reach("render_refusal")
        return DialectResponse(400, detail.encode())

    def render(self, call: WalletCall, answer: WalletAnswer) -> DialectResponse:
        self._reach("render")
        return DialectResponse(200, b"{}")


class Poster:
    """Answers each request with a balance."""

    async def decide(self, requests: Sequence[WalletRequest]) -> Decision:
        results = [WalletResult(None, 700) for _ in requests]
        return Decision(frozenset({1}), requests, BatchFacts({}, {}, 0, {}), results, [], frozenset())

    async def write(self, decision: Decision) -> None: ...

    def forget(self, decision: Decision) -> None: ...

    def drop(self) -> None: ...

    async def close(self) -> None: ...


class Surroundings:
    """Stands for endpoints, holders and directory: one address and one player that are known."""

    def __init__(self, dialect: Any) -> None:
        scope = TenantScope(1, "aurora", "eu-1")
        self.endpoint = Endpoint(scope, "broken", dialect, 1, "broken", {"EUR": 1}, 1000, sessionless=frozenset([""]))

    def find(self, _tenant: str, _plugin: str) -> Endpoint:
        return self.endpoint

    def find_known(self, _tenant_id: int, _account: str, _currency: str) -> Holder:
        return Holder(1, 1)

    def tenant(self, _scope: TenantScope) -> Any:
        return CONTENT.tenants[0]


async def ask_listener(route: WalletRoute) -> int:
    port = free_port()
    async with listen(route, "127.0.0.1", port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /wallet/aurora/broken/balance HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
        line = await asyncio.wait_for(reader.readline(), 30)
        writer.close()
    return int(line.split()[1])


async def ask_web(route: WalletRoute) -> int:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"{}"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"method": "POST", "path": "/wallet/aurora/broken/balance", "headers": []}
    await asyncio.wait_for(route(scope, receive, send), 30)
    return sent[0]["status"]


@pytest.mark.parametrize("place", [*PLACES, "nowhere"])
@pytest.mark.parametrize("ask", [ask_listener, ask_web])
async def test_a_dialect_that_breaks_does_not_keep_its_caller_waiting(ask: Any, place: str) -> None:
    around: Any = Surroundings(Broken(place))
    lanes = Lanes([Lane(Poster())])
    lanes.start()
    with capture_logs() as logs:
        assert await ask(WalletRoute(around, around, lanes, around, Metrics())) == (500 if place in PLACES else 200)
    await lanes.close()
    failed = [entry["error_type"] for entry in logs if entry["event"] == "wallet.dialect_failed"]
    assert failed == (["ZeroDivisionError"] if place in PLACES else [])


class Arriving(Surroundings):
    """A cell that knows of tenants and does not answer at their addresses."""

    is_loaded = True

    def __init__(self, *, settled: bool) -> None:
        super().__init__(Broken("nowhere"))
        self._settled = settled

    def find(self, _tenant: str, _plugin: str) -> Any:
        return None

    def find_plugin(self, _plugin: str) -> Any:
        return SimpleNamespace(driver=SimpleNamespace(render_refusal=self._say))

    @staticmethod
    def _say(refusal: Refusal) -> DialectResponse:
        return DialectResponse(503 if refusal is Refusal.UNAVAILABLE else 404, b"{}")

    def is_settled(self, _tenant: str) -> bool:
        return self._settled

    def find_elsewhere_by_slug(self, _slug: str) -> None:
        return None

    def find_tenant_by_slug(self, slug: str) -> Any:
        state = TenantState.CLOSED if slug == "closed" else TenantState.ACTIVE
        return None if slug == "nobody" else SimpleNamespace(state=state)


@pytest.mark.parametrize(
    ("tenant", "settled", "status"),
    [("new", False, 503), ("new", True, 404), ("closed", False, 404), ("nobody", False, 404)],
)
async def test_a_tenant_that_just_arrived_is_not_unknown_for_good(tenant: str, status: int, *, settled: bool) -> None:
    around: Any = Arriving(settled=settled)
    route = WalletRoute(around, around, Lanes([]), around, Metrics())
    told: list[DialectResponse] = []
    route.begin("POST", f"/wallet/{tenant}/broken/balance", {}, b"{}", told.append)
    assert [response.status for response in told] == [status]
