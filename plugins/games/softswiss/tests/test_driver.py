"""The calls to the aggregator: what goes out, and how each answer is understood."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from beexar import Client
from beexar import verify as beexar_verify

from pitboss_plugins.games.softswiss.driver import SoftswissDialect
from pitboss_sdk.games import GameInfo, Launched, LaunchRequest
from pitboss_sdk.outcome import Done, Refused, Unknown, Unsent
from pitboss_sdk.plugin import HttpResponse, MaybeSent, NotSent

REQUEST = LaunchRequest(
    account="p-1",
    session="7b115688-3849-490a-95bd-7c281d81c64c",
    game="book",
    currency="EUR",
    language="pt-BR",
    country="BR",
    ip="203.0.113.9",
    mobile=True,
    return_url="https://aurora.example/lobby",
    deadline_ms=4_000,
)


class Aggregator:
    """A vendor double: it keeps the request and gives the answer it was made with."""

    def __init__(self, status: int = 200, body: bytes = b"", error: Exception | None = None) -> None:
        self._answer = HttpResponse(status, {"content-type": "application/json"}, body)
        self._error = error
        self.sent: list[tuple[str, str, Mapping[str, str], bytes, int]] = []

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes, timeout_ms: int
    ) -> HttpResponse:
        self.sent.append((method, url, headers, body, timeout_ms))
        if self._error is not None:
            raise self._error
        return self._answer


def envelope(api_code: str, code: str = "invalid_argument") -> bytes:
    return json.dumps({"code": code, "msg": "why", "meta": {"api_code": api_code, "api_message": "why"}}).encode()


async def test_launch_sends_what_the_aggregators_own_client_sends(dialect: SoftswissDialect, secret: str) -> None:
    http = Aggregator(body=b'{"launch_url":"https://play.example/x?t=1"}')
    assert await dialect.launch(http, REQUEST) == Done(Launched("https://play.example/x?t=1"))
    method, url, headers, body, timeout_ms = http.sent[0]
    assert timeout_ms == 4_000
    assert beexar_verify(body, headers["x-request-sign"], secret)

    sent: list[Any] = []

    def transport(*call: Any) -> tuple[int, bytes]:
        sent.append(call)
        return 200, b'{"launch_url":"https://play.example/x?t=1"}'

    payload = json.loads(body)
    oracle = Client("aurora", secret, base_url="https://gateway.example", transport=transport)
    oracle.launch_real({key: value for key, value in payload.items() if key != "casino_id"})
    their_method, their_url, their_headers, their_body = sent[0]
    assert (method, url, payload) == (their_method, their_url, json.loads(their_body))
    assert set(headers) == {name.lower() for name in their_headers}
    assert payload == {
        "casino_id": "aurora",
        "game": "book",
        "account": {"id": "p-1", "currency": "EUR", "country": "BR"},
        "session_id": REQUEST.session,
        "client_type": "mobile",
        "locale": "pt-BR",
        "ip": "203.0.113.9",
        "urls": {"return_url": "https://aurora.example/lobby", "deposit_url": "https://aurora.example/deposit"},
        "jurisdiction": "BR",
    }


async def test_launch_leaves_out_what_the_contract_would_refuse(dialect: SoftswissDialect) -> None:
    http = Aggregator(body=b'{"launch_url":"https://play.example/x"}')
    bare = LaunchRequest(account="p-1", session="s", game="g", currency="BTC", language="english", country="Brazil")
    await dialect.launch(http, bare)
    sent = json.loads(http.sent[0][3])
    assert sent.keys() == {"casino_id", "game", "account", "session_id", "client_type", "urls"}
    assert sent["account"] == {"id": "p-1", "currency": "BTC"}


@pytest.mark.parametrize("api_code", ["400", "404", "405", "410", "420", "154", "107", "110", "153", "101"])
async def test_launch_refusals_are_refusals(dialect: SoftswissDialect, api_code: str) -> None:
    assert await dialect.launch(Aggregator(400, envelope(api_code)), REQUEST) == Refused(api_code, "why")


async def test_launch_with_a_wrong_signature_is_refused(dialect: SoftswissDialect) -> None:
    assert await dialect.launch(Aggregator(403, envelope("403")), REQUEST) == Refused("403", "why")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, envelope("500", "internal")),
        (503, b""),
        (400, b"<html>proxy</html>"),
        (400, envelope("999")),
        (200, b"{}"),
        (200, b""),
        (200, b'{"launch_url":""}'),
        (200, b'{"launch_url":"javascript:alert(1)"}'),
        (200, b'{"launch_url":"http://play.example/"}'),
        (200, b'{"launch_url":7}'),
        (200, b"\xff"),
        (202, b'{"launch_url":"https://play.example/x"}'),
        (302, b""),
        (429, b""),
    ],
)
async def test_what_is_not_listed_is_neither_yes_nor_no(dialect: SoftswissDialect, status: int, body: bytes) -> None:
    assert isinstance(await dialect.launch(Aggregator(status, body), REQUEST), Unknown)


async def test_whether_a_byte_left_is_told(dialect: SoftswissDialect) -> None:
    assert await dialect.launch(Aggregator(error=NotSent("refused")), REQUEST) == Unsent("refused")
    assert await dialect.launch(Aggregator(error=MaybeSent("cut")), REQUEST) == Unknown("cut")
    assert await dialect.list_games(Aggregator(error=NotSent("refused"))) == Unsent("refused")
    assert await dialect.list_games(Aggregator(error=MaybeSent("cut"))) == Unknown("cut")


async def test_games_are_listed_as_the_aggregators_client_asks_for_them(dialect: SoftswissDialect, secret: str) -> None:
    games = [
        {"identifier": "slot", "title": "Lucky", "category": "slots", "feature_group": "acme", "payout": 96.01, "x": 1},
        {"identifier": "dice", "title": "Dice", "category": "dice", "feature_group": "acme", "payout": 99},
        {"identifier": "odd", "title": "Odd", "payout": 96.015},
        {"identifier": "none", "title": "None"},
        {"identifier": "silly", "title": "Silly", "payout": 1e30},
    ]
    http = Aggregator(body=json.dumps({"games": games}).encode())
    assert await dialect.list_games(http) == Done(
        (
            GameInfo("slot", "Lucky", "acme", "slots", rtp_basis_points=9601),
            GameInfo("dice", "Dice", "acme", "dice", rtp_basis_points=9900),
            GameInfo("odd", "Odd", rtp_basis_points=9601),
            GameInfo("none", "None"),
            GameInfo("silly", "Silly"),
        )
    )
    asked = urlsplit(http.sent[0][1])
    sent: list[Any] = []

    def transport(*call: Any) -> tuple[int, bytes]:
        sent.append(call)
        return 200, b'{"games":[]}'

    Client("aurora", secret, base_url="https://gateway.example", transport=transport).list_games(active=True)
    theirs = urlsplit(str(sent[0][1]))
    assert (http.sent[0][0], asked.netloc, asked.path) == (sent[0][0], theirs.netloc, theirs.path)
    assert parse_qs(asked.query) == {**parse_qs(theirs.query), "format": ["json"]}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"{}"),
        (200, b"[]"),
        (200, b'{"games":[{"identifier":"a"}]}'),
        (200, b'{"games":[{"identifier":"a\\u0000","title":"A"}]}'),
        (200, b'{"games":[{"identifier":"' + b"a" * 129 + b'","title":"A"}]}'),
        (500, b""),
        (418, b""),
    ],
)
async def test_a_list_that_is_not_understood_is_unknown(dialect: SoftswissDialect, status: int, body: bytes) -> None:
    assert isinstance(await dialect.list_games(Aggregator(status, body)), Unknown)


async def test_an_unknown_casino_is_refused(dialect: SoftswissDialect) -> None:
    outcome = await dialect.list_games(Aggregator(404, b'{"status":404,"code":"NOT_FOUND"}'))
    assert isinstance(outcome, Refused)
    assert outcome.code == "404"
