"""What stands before every handler: host, tenant, actor, permission, headers, and the shape of errors."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from uuid import UUID

import msgspec
import pytest
from litestar import Litestar, get, post
from litestar.params import FromPath, JSONBody
from litestar.testing import AsyncTestClient
from openapi_spec_validator import validate
from tests.factories.databases import PlaneDatabase
from tests.factories.web import BROWSER, STRANGER, WebUnderTest, open_cell, open_control, open_new_cell

from pitboss.platform.db import DatabaseUnavailable
from pitboss.platform.telemetry import Metrics
from pitboss.web.app import SECURITY_HEADERS, Front
from pitboss.web.errors import EXCEPTION_HANDLERS, STATUS_OF_KIND
from pitboss.web.security import check_api_permission, find_unguarded
from pitboss_sdk.errors import ErrorKind, PitbossError

CANARY = "canary-7f3a@example.com"


@pytest.fixture
async def web(cell_database: PlaneDatabase, redis_url: str) -> AsyncIterator[WebUnderTest]:
    async with open_cell(cell_database, redis_url) as opened:
        yield opened


async def test_a_host_decides_what_is_served(web: WebUnderTest) -> None:
    expected = {
        "aurora.localhost": 401,
        "AURORA.localhost.": 401,
        "aurora.localhost:8081": 401,
        "paused.localhost": 404,
        "nobody.localhost": 404,
        "localhost": 404,
        "onyx.localhost": 421,
    }
    async with web.client() as client:
        for host, status in expected.items():
            answer = await client.get("/api/v1/me", headers={"host": host})
            assert answer.status_code == status, host
            assert answer.headers["content-type"] == "application/problem+json"
            assert set(answer.json()) <= {"type", "title", "status", "code", "request_id", "detail"}


@pytest.mark.parametrize("path", ["/", "/api/v1/me", "/api/v1/games", "/healthz", "/metrics", "/api/docs"])
async def test_a_foreign_domain_gets_the_right_address_and_nothing_else(web: WebUnderTest, path: str) -> None:
    async with web.client("onyx.localhost") as client:
        answer = await client.get(path)
    if path == "/healthz":  # says only that the process lives, under any name
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        return
    assert answer.status_code == 421
    told = answer.json()
    assert UUID(told.pop("request_id"))
    assert told == {
        "type": "urn:pitboss:error:web.misdirected",
        "title": "Misdirected Request",
        "status": 421,
        "code": "web.misdirected",
        "detail": "this domain is served at https://br-1.example",
    }
    assert "location" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/api/v1/me", "/api/v1/games", "/metrics", "/webhooks/aurora/softswiss"])
async def test_a_cell_that_knows_nobody_yet_gives_no_final_answer(
    cell_database: PlaneDatabase, redis_url: str, path: str
) -> None:
    """A tenant that has just come may be asked for before its new cell has read who it serves."""
    async with open_new_cell(cell_database, redis_url) as new, new.client() as client:
        answer = await (client.post(path) if path.startswith("/webhooks") else client.get(path))
    assert (answer.status_code, answer.json()["code"]) == (503, "web.directory_not_read")
    assert int(answer.headers["retry-after"]) > 0


async def test_no_header_moves_a_request_to_another_tenant(web: WebUnderTest) -> None:
    tricks = {"x-forwarded-host": "aurora.localhost", "x-original-host": "aurora.localhost", "x-tenant": "aurora"}
    async with web.client("nobody.localhost") as client:
        assert (await client.get("/api/v1/me", headers=tricks)).status_code == 404


async def test_unknown_paths_and_unknown_hosts_look_the_same(web: WebUnderTest) -> None:
    async with web.client() as client:
        missing = await client.get("/api/v1/nothing")
    async with web.client("nobody.localhost") as client:
        stranger = await client.get("/api/v1/me")
    shapes = []
    for answer in (missing, stranger):
        body = answer.json()
        assert UUID(body.pop("request_id"))
        shapes.append((answer.status_code, body))
    assert shapes[0] == shapes[1]


async def test_every_answer_has_our_own_request_id_and_strict_headers(web: WebUnderTest) -> None:
    async with web.client("127.0.0.1", BROWSER) as client:
        for path in ("/", "/healthz", "/api/docs", "/nothing", "/api/v1/me"):
            answer = await client.get(path, headers={"x-request-id": "chosen-outside"})
            assert answer.headers["x-request-id"] != "chosen-outside"
            assert UUID(answer.headers["x-request-id"]).version == 7
            for name, value in SECURITY_HEADERS.items():
                assert answer.headers[name] == value, (path, name)
            assert answer.headers["cache-control"] == "no-store"


async def test_tokens(web: WebUnderTest) -> None:
    path = "/api/v1/operator/players/01a1fbe4-4666-757a-bf99-000000000001"
    async with web.client() as client:
        for value in ("Bearer wrong", "Bearer ", "Basic abc", f"Bearer {'x' * 600}", "Bearer \xe9"):
            answer = await client.get(path, headers=[(b"authorization", value.encode("latin-1"))])
            assert answer.status_code == 401, value
            assert answer.headers["www-authenticate"] == "Bearer"
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers=web.operator)).status_code == 404
        # Being the operator does not make one a player.
        assert (await client.get("/api/v1/me", headers=web.operator)).status_code == 403


async def test_a_bad_request_names_paths_and_repeats_no_value(web: WebUnderTest) -> None:
    async with web.client() as client:
        answer = await client.post("/api/v1/sessions", json={"email": 7, "password": CANARY, "extra": CANARY})
        assert answer.status_code == 422
        body = answer.json()
        assert body["code"] == "web.invalid"
        assert body["errors"]
        assert all(set(fault) == {"path", "reason"} for fault in body["errors"])
        assert CANARY not in answer.text
        malformed = await client.post("/api/v1/sessions", content=b"{", headers={"content-type": "application/json"})
        assert malformed.status_code == 400
        assert malformed.json()["code"] == "web.malformed"
        huge = await client.post("/api/v1/sessions", content=b"[" + b"1," * 200_000 + b"1]")
        assert huge.status_code == 413


async def test_the_description_is_openapi_3_1(web: WebUnderTest) -> None:
    async with web.client("localhost", BROWSER) as client:
        document = (await client.get("/api/openapi.json")).json()
        page = await client.get("/api/docs")
    assert document["openapi"].startswith("3.1")
    validate(document)
    assert document["paths"]
    for path, item in document["paths"].items():
        assert path in page.text
        for operation in item.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    (schema,) = [media["schema"] for media in answer["content"].values()]
                    assert schema == {"$ref": "#/components/schemas/Problem"}, (path, status)


@pytest.mark.parametrize("path", ["/", "/api/docs", "/?lang=es"])
async def test_pages_bring_nothing_from_outside_and_nothing_inline(web: WebUnderTest, path: str) -> None:
    async with web.client("localhost", BROWSER) as client:
        page = (await client.get(path)).text
        assert not re.search(r"https?://(?!localhost|127\.)", page)
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
        assert all(re.search(r"\ssrc=", tag) for tag in re.findall(r"<script[^>]*>", page))
        for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
            answer = await client.get(address)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]


async def test_the_control_web_has_pages_and_no_player_api(control_database: PlaneDatabase) -> None:
    async with open_control(control_database) as web, web.client("127.0.0.1", BROWSER) as client:
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/readyz")).json() == {"status": "ready", "problems": {}}
        assert (await client.get("/api/v1/me")).status_code == 404


def test_every_kind_of_error_has_a_status() -> None:
    assert set(STATUS_OF_KIND) == set(ErrorKind)


class Situation(PitbossError):
    """A situation of any kind."""

    code = "test.situation"
    kind = ErrorKind.CONFLICT


def failing_front() -> Front:
    @get("/raise/{kind:str}", opt={"public": "a test"})
    async def fail(kind: FromPath[str]) -> None:
        if kind == "away":
            raise DatabaseUnavailable
        if kind == "surprise":
            raise RuntimeError(f"value of {CANARY}")
        error = Situation("what happened")
        type(error).kind = ErrorKind(kind)
        raise error

    class Body(msgspec.Struct):
        number: int

    @post("/body", opt={"public": "a test"})
    async def take(data: JSONBody[Body]) -> int:
        return data.number

    app = Litestar([fail, take], exception_handlers=EXCEPTION_HANDLERS, openapi_config=None, logging_config=None)
    return Front(app, Metrics())


@pytest.mark.parametrize("kind", list(ErrorKind))
async def test_a_kind_decides_the_status(kind: ErrorKind) -> None:
    async with AsyncTestClient(failing_front()) as client:  # type: ignore[arg-type]
        answer = await client.get(f"/raise/{kind}")
    assert answer.status_code == STATUS_OF_KIND[kind]
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["code"] == ("web.internal" if kind is ErrorKind.BUG else "test.situation")
    assert ("detail" in body) == (kind is not ErrorKind.BUG)
    if kind in {ErrorKind.UNAVAILABLE, ErrorKind.LIMITED}:
        assert int(answer.headers["retry-after"]) > 0


async def test_a_surprise_leaks_nothing() -> None:
    async with AsyncTestClient(failing_front()) as client:  # type: ignore[arg-type]
        answer = await client.get("/raise/surprise")
        assert answer.status_code == 500
        assert CANARY not in answer.text
        assert "RuntimeError" not in answer.text
        assert (await client.get("/raise/away")).status_code == 503


def test_a_handler_without_a_permission_is_found() -> None:
    @get("/bare")
    async def bare() -> None: ...

    @get("/unchecked", opt={"permission": "platform.status.view"})
    async def unchecked() -> None: ...

    @get("/checked", opt={"permission": "platform.status.view"}, guards=[check_api_permission])
    async def checked() -> None: ...

    @get("/public", opt={"public": "says why"})
    async def public() -> None: ...

    found = find_unguarded(Litestar([bare, unchecked, checked, public], openapi_config=None))
    assert [entry.split()[0] for entry in found] == ["/bare", "/unchecked"]


async def test_every_handler_of_a_cell_is_guarded(web: WebUnderTest) -> None:
    assert find_unguarded(web.front._app) == []
    assert len(web.front._app.routes) > 10


async def test_wallet_calls_take_the_short_way(web: WebUnderTest) -> None:
    seen: list[str] = []

    async def short_way(scope, receive, send) -> None:
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"short"})

    forked = WebUnderTest(Front(web.front._app, web.metrics, short_way), web.settings, web.metrics)
    async with forked.client() as client:
        assert (await client.post("/wallet/aurora/softswiss/betwin")).text == "short"
        assert (await client.get("/walletless")).status_code == 404
    assert seen == ["/wallet/aurora/softswiss/betwin"]


async def test_requests_are_counted_by_template_never_by_path(web: WebUnderTest) -> None:
    async with web.client() as client:
        await client.get("/api/v1/operator/players/01a1fbe4-4666-757a-bf99-0000000000cc")
        await client.get(f"/{CANARY}")
    text = web.metrics.render().decode()
    assert re.findall(r"path_template=\"(/api[^\"]*)\"", text)[:1] == ["/api/v1/operator/players/{player_id}"]
    assert "0000000000cc" not in text
    assert CANARY not in text


async def test_metrics_are_for_the_machine_and_the_operator(web: WebUnderTest) -> None:
    async with web.client("localhost", BROWSER) as client:
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get("/metrics", headers={"x-forwarded-for": "203.0.113.9"})).status_code == 401
    async with web.client("localhost", STRANGER) as client:
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/metrics", headers=web.operator)).status_code == 200
    async with web.client("aurora.localhost", BROWSER) as client:
        assert (await client.get("/metrics")).status_code == 404
