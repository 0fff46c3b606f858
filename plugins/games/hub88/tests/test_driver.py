"""The calls to the aggregator: what goes out, and how each answer is understood."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from pitboss_plugins.games.hub88.driver import Hub88Dialect
from pitboss_sdk.games import (
    GameInfo,
    Launched,
    LaunchRequest,
    LegKind,
    ListedState,
    ListedTransaction,
    RawCall,
    TransactionsRequest,
)
from pitboss_sdk.outcome import Done, Refused, Unknown, Unsent
from pitboss_sdk.plugin import HttpResponse, MaybeSent, NotSent

REQUEST = LaunchRequest(
    account="01a1fbe4-4666-757a-bf99-969a96f72ab2",
    session="7b115688-3849-490a-95bd-7c281d81c64c",
    game="book",
    currency="EUR",
    language="pt-BR",
    country="BR",
    ip="203.0.113.9",
    mobile=True,
    return_url="https://aurora.example/games",
    deadline_ms=4_000,
)
URL = b'{"url":"https://play.example/x?t=1"}'


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


def demand_our_signature(keys: Any, headers: Mapping[str, str], header: str, body: bytes) -> None:
    public = keys.operator.public_key()
    public.verify(b64decode(headers[header], validate=True), body, padding.PKCS1v15(), SHA256())
    assert set(headers) == {"accept", "content-type", header}


async def test_launch_at_hub88(dialect: Hub88Dialect, keys: Any) -> None:
    http = Aggregator(body=URL)
    assert await dialect.launch(http, REQUEST) == Done(Launched("https://play.example/x?t=1"))
    method, url, headers, body, timeout_ms = http.sent[0]
    assert (method, url, timeout_ms) == ("POST", "https://gateway.example/operator/generic/v2/game/url", 4_000)
    demand_our_signature(keys, headers, "x-hub88-signature", body)
    assert json.loads(body) == {
        "user": REQUEST.account,
        "token": f"{REQUEST.session}.{REQUEST.account}.EUR",
        "operator_id": 7,
        "game_code": "book",
        "currency": "EUR",
        "country": "BR",
        "lang": "pt",
        "lobby_url": "https://aurora.example/games",
        "deposit_url": "https://aurora.example/deposit",
        "platform": "GPL_MOBILE",
        "ip": "203.0.113.9",
    }


async def test_launch_at_caleta(caleta: Hub88Dialect, keys: Any) -> None:
    http = Aggregator(body=URL)
    bare = msgspec.structs.replace(REQUEST, return_url="", country="Brazil", language="ÿ", ip="")
    await caleta.launch(http, bare)
    _, url, headers, body, _ = http.sent[0]
    assert url == "https://gateway.example/api/game/url"
    demand_our_signature(keys, headers, "x-auth-signature", body)
    sent = json.loads(body)
    assert sent.keys() == {
        *("user", "token", "operator_id", "sub_partner_id", "game_code", "currency", "country", "lang"),
        *("lobby_url", "deposit_url"),
    }
    told = (sent["operator_id"], sent["country"], sent["lang"], sent["lobby_url"])
    assert told == ("aurora-casino", "XX", "en", "https://aurora.example/lobby")


async def test_the_token_that_leaves_is_the_one_that_is_understood(dialect: Hub88Dialect) -> None:
    http = Aggregator(body=URL)
    await dialect.launch(http, REQUEST)
    token = json.loads(http.sent[0][3])["token"]
    assert 10 <= len(token) <= 255
    body = json.dumps({"token": token, "request_uuid": "u"}).encode()
    call = dialect.parse(RawCall("balance", {}, body))
    assert (call.session, call.account, call.currency) == (REQUEST.session, REQUEST.account, "EUR")


@pytest.mark.parametrize(
    "changes",
    [
        {"account": "p.1"},
        {"session": "s.1"},
        {"account": ""},
        {"session": "s", "account": "p"},
        {"session": "s" * 128, "account": "p" * 128},
        {"account": "p" * 129},
        {"currency": "XXX"},
    ],
)
async def test_ids_that_would_not_come_back_are_not_sent(dialect: Hub88Dialect, changes: dict[str, str]) -> None:
    http = Aggregator(body=URL)
    assert isinstance(await dialect.launch(http, msgspec.structs.replace(REQUEST, **changes)), Unsent)
    assert http.sent == []


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_listed_refusals_are_refusals(dialect: Hub88Dialect, status: int) -> None:
    body = b'{"error":"The operator_id is not known"}'
    refused = Refused(str(status), "The operator_id is not known")
    assert await dialect.launch(Aggregator(status, body), REQUEST) == refused
    assert await dialect.list_games(Aggregator(status, body)) == refused


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b'{"error":"Internal server error"}'),
        (503, b""),
        (400, b"<html>proxy</html>"),
        (404, b"{}"),
        (404, b'{"error":7}'),
        (405, b'{"error":"no"}'),
        (429, b'{"error":"slow down"}'),
        (200, b"{}"),
        (200, b""),
        (200, b'{"url":""}'),
        (200, b'{"url":"javascript:alert(1)"}'),
        (200, b'{"url":"http://play.example/"}'),
        (200, b'{"url":7}'),
        (200, b'{"error":"no"}'),
        (200, b"\xff"),
        (200, b"[" * 100_000),
        (202, URL),
        (302, b""),
    ],
)
async def test_what_is_not_listed_is_neither_yes_nor_no(dialect: Hub88Dialect, status: int, body: bytes) -> None:
    assert isinstance(await dialect.launch(Aggregator(status, body), REQUEST), Unknown)
    assert isinstance(await dialect.list_games(Aggregator(status, body)), Unknown)


async def test_whether_a_byte_left_is_told(dialect: Hub88Dialect) -> None:
    assert await dialect.launch(Aggregator(error=NotSent("refused")), REQUEST) == Unsent("refused")
    assert await dialect.launch(Aggregator(error=MaybeSent("cut")), REQUEST) == Unknown("cut")
    assert await dialect.list_games(Aggregator(error=NotSent("refused"))) == Unsent("refused")
    assert await dialect.list_games(Aggregator(error=MaybeSent("cut"))) == Unknown("cut")


@pytest.mark.parametrize("flavour", ["hub88", "caleta"])
async def test_games_that_are_switched_on_are_listed(
    dialect: Hub88Dialect, caleta: Hub88Dialect, keys: Any, flavour: str
) -> None:
    games = [
        {"game_code": "slot", "name": "Lucky", "product": "Acme", "category": "Video Slots", "rtp": "96.01", "x": 1},
        {"game_code": "odd", "name": "Odd", "enabled": True, "rtp": 96.015, "game_id": 7},
        {"game_code": "none", "name": "None", "rtp": None},
        {"game_code": "silly", "name": "Silly", "rtp": "NaN"},
        {"game_code": "wordy", "name": "Wordy", "rtp": "high"},
        {"game_code": "off", "name": "Off", "enabled": False},
    ]
    http = Aggregator(body=json.dumps(games).encode())
    configured = dialect if flavour == "hub88" else caleta
    assert await configured.list_games(http) == Done(
        (
            GameInfo("slot", "Lucky", "Acme", "Video Slots", rtp_basis_points=9601),
            GameInfo("odd", "Odd", rtp_basis_points=9601),
            GameInfo("none", "None"),
            GameInfo("silly", "Silly"),
            GameInfo("wordy", "Wordy"),
        )
    )
    method, url, headers, body, _ = http.sent[0]
    path, operator, header = {
        "hub88": ("/operator/generic/v2/game/list", 7, "x-hub88-signature"),
        "caleta": ("/api/game/list", "aurora-casino", "x-auth-signature"),
    }[flavour]
    assert (method, url, json.loads(body)) == ("POST", f"https://gateway.example{path}", {"operator_id": operator})
    demand_our_signature(keys, headers, header, body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"games":[]}',
        b'[{"game_code":"a"}]',
        b'[{"game_code":"a\\u0000","name":"A"}]',
        b'[{"game_code":"' + b"a" * 129 + b'","name":"A"}]',
    ],
)
async def test_a_list_that_is_not_understood_is_unknown(dialect: Hub88Dialect, body: bytes) -> None:
    assert isinstance(await dialect.list_games(Aggregator(200, body)), Unknown)


HOUR_US = 1_790_000_000_000_000
BOOKED = {
    "transaction_uuid": "t-1",
    "kind": "TK_BET",
    "status": "TS_SUCCESS",
    "amount": 150_000,
    "currency": "EUR",
    "round": "r-1",
    "inserted_at": "2026-09-21T14:13:20",
}


def books(*items: dict[str, Any]) -> Aggregator:
    return Aggregator(body=json.dumps(items).encode())


async def test_a_span_is_asked_for_in_whole_seconds_and_signed(dialect: Hub88Dialect, keys: Any) -> None:
    http = books()
    asked = TransactionsRequest(HOUR_US + 1, HOUR_US + 900_000_001, deadline_ms=3_000)
    assert await dialect.list_transactions(http, asked) == Done(())
    method, url, headers, body, timeout_ms = http.sent[0]
    assert (method, url, timeout_ms) == ("POST", "https://gateway.example/operator/generic/v2/transactions/list", 3_000)
    demand_our_signature(keys, headers, "x-hub88-signature", body)
    assert json.loads(body) == {
        "operator_id": 7,
        "start_time": "2026-09-21T14:13:20",
        "end_time": "2026-09-21T14:28:21",
    }
    await dialect.list_transactions(http, TransactionsRequest(round="r-1"))
    assert json.loads(http.sent[1][3]) == {"operator_id": 7, "round": "r-1"}


async def test_caleta_is_not_asked_for_books(caleta: Hub88Dialect) -> None:
    http = books(BOOKED)
    outcome = await caleta.list_transactions(http, TransactionsRequest(0, HOUR_US))
    assert isinstance(outcome, Refused)
    assert (outcome.code, http.sent) == ("not_offered", [])


@pytest.mark.parametrize(
    ("changes", "kind", "state", "amount_minor"),
    [
        ({}, LegKind.BET, ListedState.BOOKED, 150),
        ({"status": "", "transaction_status": "TS_ROLLEDBACK"}, LegKind.BET, ListedState.UNDONE, 150),
        ({"status": "TS_RETRY_ATTEMPTS_LIMIT_EXCEEDED"}, LegKind.BET, ListedState.OPEN, 150),
        ({"status": "TS_INVENTED"}, LegKind.BET, ListedState.OPEN, 150),
        ({"kind": "TK_INVENTED"}, LegKind.BET, ListedState.OPEN, 150),
        ({"kind": "TK_JP_WIN"}, LegKind.WIN, ListedState.BOOKED, 150),
        ({"kind": "TK_ROLLBACK"}, LegKind.ROLLBACK, ListedState.BOOKED, 0),
        ({"amount": 150_999}, LegKind.BET, ListedState.BOOKED, 150),
        ({"inserted_at": "2026-09-21T16:13:20+02:00"}, LegKind.BET, ListedState.BOOKED, 150),
    ],
)
async def test_what_the_books_say_is_taken_literally(
    dialect: Hub88Dialect, changes: dict[str, Any], kind: LegKind, state: ListedState, amount_minor: int
) -> None:
    outcome = await dialect.list_transactions(books({**BOOKED, **changes}), TransactionsRequest(HOUR_US, HOUR_US + 1))
    told = ListedTransaction("t-1", kind, state, amount_minor, "EUR", "r-1", HOUR_US)
    assert outcome == Done((told,))


@pytest.mark.parametrize(
    "changes",
    [{"inserted_at": "yesterday"}, {"amount": -1}, {"amount": 1.5}, {"round": ""}, {"transaction_uuid": "a\x00"}],
)
async def test_books_that_cannot_be_read_are_none(dialect: Hub88Dialect, changes: dict[str, Any]) -> None:
    outcome = await dialect.list_transactions(books(BOOKED, {**BOOKED, **changes}), TransactionsRequest(0, 2 * HOUR_US))
    assert isinstance(outcome, Unknown)


async def test_what_moves_nothing_or_lies_outside_of_the_span_is_left_out(dialect: Hub88Dialect) -> None:
    items = [{**BOOKED, "kind": "TK_FREE_BET"}, {**BOOKED, "kind": "TK_WIN", "amount": 0}]
    assert await dialect.list_transactions(books(*items), TransactionsRequest(0, 2 * HOUR_US)) == Done(())
    assert await dialect.list_transactions(books(BOOKED), TransactionsRequest(0, HOUR_US)) == Done(())
