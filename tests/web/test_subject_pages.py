"""The operators' pages of data subjects' requests: who gets in, what is shown, what a form does, in three languages."""

from __future__ import annotations

import html
import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest
import pytest_asyncio
from tests.factories.databases import PlaneDatabase
from tests.factories.keys import make_ring
from tests.factories.players import AURORA, open_cell
from tests.factories.web import (
    STRANGER,
    WebUnderTest,
    apply_policies,
    cell_settings,
    registration_body,
    store_directory,
)

from pitboss.bootstrap import open_cell_web
from pitboss.kernel.clock import epoch_seconds
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, ActorKind, Origin
from pitboss.platform.catalog import load_metadata
from pitboss.platform.db import ContextSigner
from pitboss.platform.embedded import RedisServer
from pitboss.platform.objects import ObjectFolder
from pitboss.platform.telemetry import Metrics
from pitboss.subjects import service as subjects
from pitboss.subjects.contracts import ROOM
from pitboss.web.security import COOKIE, sign_cookie
from pitboss.web.texts import LANGUAGES, texts_of

HOME = "/operator/subjects"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(
    module_cell_database: PlaneDatabase, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[WebUnderTest]:
    """One web for all tests of this module: each opens requests of its own."""
    settings = cell_settings(module_cell_database, redis_server.url())
    settings = msgspec.structs.replace(settings, objects_dir=tmp_path_factory.mktemp("objects"))
    await store_directory(settings)
    await apply_policies(settings)
    metrics = Metrics()
    async with open_cell_web(settings, metrics) as front:
        yield WebUnderTest(front, settings, metrics)


@asynccontextmanager
async def browse(web: WebUnderTest, host: str = "aurora.localhost") -> AsyncIterator[httpx.AsyncClient]:
    """Yield a browser whose forms come from our own pages, over TLS as the cookie asks."""
    transport = httpx.ASGITransport(cast("Any", web.front), client=STRANGER, raise_app_exceptions=False)
    headers = {"sec-fetch-site": "same-origin"}
    async with httpx.AsyncClient(transport=transport, base_url=f"https://{host}", headers=headers) as client:
        yield client


async def enter(web: WebUnderTest, client: httpx.AsyncClient) -> None:
    answer = await client.post("/operator", data={"token": web.settings.operator_token or ""})
    assert (answer.status_code, answer.headers["location"]) == (303, HOME)


async def open_request(web: WebUnderTest, client: httpx.AsyncClient, kind: str) -> tuple[str, str]:
    """Register a player, open a request and return the address of its page, and the player."""
    player = (await client.post("/api/v1/players", json=registration_body())).json()["player_id"]
    form = {"player": player, "kind": kind, "reference": f"letter-{new_uuid().hex[-8:]}"}
    answer = await client.post(HOME, data=form)
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(f"{HOME}/"), answer.headers["location"]
    return answer.headers["location"], player


async def step(client: httpx.AsyncClient, page: str, *states: str, reason: str = "") -> str:
    location = ""
    for state in states:
        answer = await client.post(f"{page}/step", data={"state": state, "reason": reason})
        assert answer.status_code == 303, answer.text
        location = answer.headers["location"]
    return location


async def test_without_the_token_nobody_gets_in(web: WebUnderTest) -> None:
    async with browse(web) as client:
        for method, path in (("GET", HOME), ("POST", HOME), ("GET", f"{HOME}/{new_uuid()}")):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.headers.get("location")) == (303, "/operator")
        wrong = await client.post("/operator", data={"token": "guess"})
        assert wrong.status_code == 401
        assert COOKIE not in client.cookies
        await enter(web, client)
        cookie = (await client.post("/operator", data={"token": web.settings.operator_token or ""})).headers[
            "set-cookie"
        ]
        assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        assert (await client.get(HOME)).status_code == 200
        await client.post("/operator/sign-out")
        assert (await client.get(HOME)).status_code == 303


@pytest.mark.parametrize(
    ("tenant_id", "seconds", "token"),
    [(2, 600, ""), (1, -1, ""), (1, 600, "x" * 32)],
    ids=["of another tenant", "that is over", "of another token"],
)
async def test_a_cookie_opens_one_tenant_for_an_hour(
    web: WebUnderTest, tenant_id: int, seconds: int, token: str
) -> None:
    key = token or web.settings.operator_token or ""
    value = sign_cookie(key, tenant_id, epoch_seconds() + seconds)
    async with browse(web) as client:
        answer = await client.get(HOME, headers={"cookie": f"{COOKIE}={value}"})
        assert answer.status_code == 303
        good = sign_cookie(web.settings.operator_token or "", 1, epoch_seconds() + 600)
        assert (await client.get(HOME, headers={"cookie": f"{COOKIE}={good}"})).status_code == 200


@pytest.mark.parametrize(
    "headers", [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "none"}, {"sec-fetch-site": "same-site"}]
)
async def test_a_form_of_another_site_does_nothing(web: WebUnderTest, headers: dict[str, str]) -> None:
    async with browse(web) as client:
        await enter(web, client)
        page, _ = await open_request(web, client, "access")
        answer = await client.post(f"{page}/step", data={"state": "identity_checked"}, headers=headers)
        assert answer.headers["location"] == "/operator"
        shown = (await client.get(page)).text
        assert texts_of("en")["case_identity_checked"] not in shown.split("<select")[0]


FORMS = ("step", "export", "restrict", "lift", "correct", "erase")


def list_forms(web: WebUnderTest) -> set[str]:
    routes = cast("Any", web.front)._app.routes
    return {
        route.path for route in routes if route.path.startswith("/operator") and "POST" in getattr(route, "methods", ())
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {},
        {"origin": "https://evil.example"},
        {"origin": "https://jade.localhost"},
        {"origin": "null"},
    ],
    ids=["said by the browser", "no word", "another site", "another tenant", "a sandbox"],
)
async def test_no_form_of_another_site_is_taken_wherever_it_leads(web: WebUnderTest, headers: dict[str, str]) -> None:
    async with browse(web) as client:
        await enter(web, client)
        page, _ = await open_request(web, client, "access")
        forms = list_forms(web)
        assert forms >= {
            "/operator",
            "/operator/sign-out",
            HOME,
            *(f"{HOME}/{{case_id:uuid}}/{name}" for name in FORMS),
        }
        before = await read_log(web)
        client.headers.pop("sec-fetch-site")
        for form in forms:
            address = form.replace("{case_id:uuid}", page.rpartition("/")[2])
            data = {"token": web.settings.operator_token or "", "state": "identity_checked", "sure": "yes"}
            answer = await client.post(address, data=data, headers=headers)
            assert (answer.status_code, answer.headers["location"]) == (303, "/operator"), form
            assert "set-cookie" not in answer.headers, form
        assert await read_log(web) == before
        own = await client.post(
            f"{page}/step", data={"state": "identity_checked"}, headers={"origin": "https://aurora.localhost"}
        )
        assert own.headers["location"] == page


async def read_log(web: WebUnderTest, category: str = "") -> list[tuple[str, str]]:
    """Return types and targets of what the tenant's log tells, but for reads where nothing else is asked for."""
    assert web.settings.cell_database_url is not None
    connection = await asyncpg.connect(web.settings.cell_database_url)
    try:
        token = ContextSigner(web.settings.context_keys).sign([1], connection.get_server_pid())
        await connection.execute("select set_config('pitboss.ctx', $1, false)", token)
        rows = await connection.fetch(
            "select type, target_id from audit_event where category = $1 or $1 = '' and category <> 'data_access'"
            " order by occurred_at, event_id",
            category,
        )
    finally:
        await connection.close()
    return [(row["type"], row["target_id"]) for row in rows]


async def test_who_looks_and_who_guesses_a_token_is_told_in_the_log(web: WebUnderTest) -> None:
    async with browse(web) as client:
        await enter(web, client)
        page, player = await open_request(web, client, "access")
        known = len(await read_log(web, "data_access"))
        for address in (HOME, page, "/operator/retention"):
            assert (await client.get(address)).status_code == 200
        looked = (await read_log(web, "data_access"))[known:]
        assert looked == [("subject_case.listed", ""), ("player.viewed", player), ("retention.viewed", "")]
        steps = (await client.get(page)).text.partition('id="steps-title"')[2]
        assert "player.viewed" not in steps
        for _ in range(3):
            assert (await client.post("/operator", data={"token": "guess"})).status_code == 401
        assert (await read_log(web, "security")).count(("token.refused", "operator")) == 1


async def test_forms_reach_no_request_of_another_tenant(web: WebUnderTest) -> None:
    async with browse(web) as client, browse(web, "jade.localhost") as jade:
        await enter(web, client)
        await enter(web, jade)
        page, player = await open_request(web, client, "access")
        before = await read_log(web)
        for name in FORMS:
            data = {"state": "identity_checked", "sure": "yes", "first_name": "Eve"}
            answers = [await jade.post(f"{each}/{name}", data=data) for each in (page, f"{HOME}/{new_uuid()}")]
            assert {answer.status_code for answer in answers} == {404}, name
            theirs, nobodys = ({**answer.json(), "request_id": ""} for answer in answers)
            assert theirs == nobodys, name
        opened = await jade.post(HOME, data={"player": player, "kind": "access", "reference": "theirs"})
        assert opened.headers["location"] == f"{HOME}?problem=accounts.player_not_found"
        assert await read_log(web) == before


async def test_a_request_of_access_is_answered_from_its_page(
    web: WebUnderTest, module_cell_database: PlaneDatabase
) -> None:
    async with browse(web) as client:
        await enter(web, client)
        page, player = await open_request(web, client, "access")
        assert (await step(client, page, "identity_checked", "in_progress")) == page
        assert "problem=subjects.nothing_done" in await step(client, page, "completed")
        asked = await client.post(f"{page}/export")
        assert asked.headers["location"] == page
        assert texts_of("en")["being_made"] in (await client.get(page)).text
        await work(web, module_cell_database, UUID(page.rpartition("/")[2]))
        shown = (await client.get(page)).text
        address = shown.split('href="/operator/subjects/exports/')[1].split('"')[0]
        fetched = await client.get(f"{HOME}/exports/{address}")
        assert fetched.headers["content-type"] == "application/zip"
        assert fetched.headers["cache-control"] == "no-store"
        with zipfile.ZipFile(io.BytesIO(fetched.content)) as archive:
            assert player in archive.read("data.json").decode()
        assert (await step(client, page, "completed")) == page
        assert texts_of("en")["clock_met"] in (await client.get(page)).text
    # Who has the address has nothing without the cookie, and the same as for one that never was under another tenant.
    async with browse(web) as stranger:
        assert (await stranger.get(f"{HOME}/exports/{address}")).status_code == 303
    async with browse(web, "jade.localhost") as jade:
        await enter(web, jade)
        answers = [await jade.get(f"{HOME}/exports/{each}") for each in (address, new_uuid())]
        answers += [await jade.get(f"{HOME}/{each}") for each in (page.rpartition("/")[2], new_uuid())]
        assert {answer.status_code for answer in answers} == {404}
        bodies = [{**answer.json(), "request_id": ""} for answer in answers]
        assert bodies[0] == bodies[1]
        assert bodies[2] == bodies[3]
        assert player not in (await jade.get(HOME)).text


async def work(web: WebUnderTest, plane: PlaneDatabase, case_id: UUID) -> None:
    """Make the exports of a case as the worker does."""
    actor, origin = Actor(ActorKind.SERVICE, "subjects.make_export"), Origin(str(new_uuid()))
    folder = ObjectFolder(web.settings.objects_dir, "eu-1").of(AURORA, ROOM)
    async with open_cell(plane, plane.worker_url) as worker, worker.transaction(AURORA) as session:
        for export in await subjects.list_exports(session, AURORA, case_id):
            made = await subjects.make_export(
                session,
                AURORA,
                make_ring(),
                load_metadata("cell"),
                folder,
                export.export_id,
                actor=actor,
                origin=origin,
            )
            assert made


async def test_restriction_keeps_bonus_money_away_until_it_is_lifted(web: WebUnderTest) -> None:
    async with browse(web) as client:
        await enter(web, client)
        page, player = await open_request(web, client, "restriction")
        await step(client, page, "identity_checked", "in_progress")
        assert (await client.post(f"{page}/restrict")).headers["location"] == page
        assert texts_of("en")["is_restricted"] in html.unescape((await client.get(page)).text)
        award = {
            "amount_minor": 500,
            "reference": "welcome-1",
            "reason": "welcome",
            "expires_at": "2030-01-01T00:00:00Z",
            "wagering_times": 1,
        }
        address = f"/api/v1/operator/players/{player}/awards"
        refused = await client.post(address, json=award, headers=web.operator)
        assert (refused.status_code, refused.json()["code"]) == (409, "subjects.processing_restricted")
        assert (await client.get(address, headers=web.operator)).json()["items"] == []
        await client.post(f"{page}/lift")
        later = await client.post(address, json=award, headers=web.operator)
        assert later.json().get("code") != "subjects.processing_restricted"


async def test_what_is_wrong_is_put_right_from_its_page(web: WebUnderTest) -> None:
    async with browse(web) as client:
        await enter(web, client)
        page, _ = await open_request(web, client, "rectification")
        await step(client, page, "identity_checked", "in_progress")
        wrong = await client.post(f"{page}/correct", data={"birth_date": "yesterday"})
        assert wrong.headers["location"].endswith("problem=subjects.case_order_invalid")
        done = await client.post(f"{page}/correct", data={"first_name": "Bea", "last_name": ""})
        assert done.headers["location"] == page
        assert (await step(client, page, "completed")) == page
        assert "Bea" not in (await client.get(page)).text


async def test_an_open_account_is_not_erased(web: WebUnderTest) -> None:
    async with browse(web) as client:
        await enter(web, client)
        page, _ = await open_request(web, client, "erasure")
        await step(client, page, "identity_checked", "in_progress")
        unsure = await client.post(f"{page}/erase")
        assert unsure.headers["location"].endswith("problem=subjects.case_order_invalid")
        refused = await client.post(f"{page}/erase", data={"sure": "yes"})
        assert refused.headers["location"].endswith("problem=accounts.player_not_closed")


async def test_lists_are_paged_and_empty_ones_say_so(web: WebUnderTest) -> None:
    async with browse(web, "jade.localhost") as client:
        await enter(web, client)
        assert texts_of("en")["no_cases_open"] in (await client.get(HOME)).text
        player = (await client.post("/api/v1/players", json=registration_body())).json()["player_id"]
        for number in range(27):
            await client.post(HOME, data={"player": player, "kind": "access", "reference": f"page-{number:02}"})
        first = (await client.get(HOME)).text
        assert first.count("page-") == 25
        cursor = first.split("cursor=")[1].split('"')[0]
        second = (await client.get(HOME, params={"cursor": cursor})).text
        assert second.count("page-") == 2
        assert texts_of("en")["no_cases_ended"] in (await client.get(HOME, params={"show": "ended"})).text
        assert texts_of("en")["no_cases_open"] in (await client.get(HOME, params={"kind": "erasure"})).text
        unknown = await client.post(HOME, data={"player": str(new_uuid()), "kind": "access", "reference": "x"})
        assert unknown.headers["location"] == f"{HOME}?problem=accounts.player_not_found"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_pages_speak_three_languages(web: WebUnderTest, language: str) -> None:
    words = texts_of(language)
    async with browse(web) as client:
        assert words["token"] in (await client.get("/operator", params={"lang": language})).text
        await enter(web, client)
        page, _ = await open_request(web, client, "portability")
        listed = (await client.get(HOME, params={"lang": language})).text
        assert f'<html lang="{language}">' in listed
        assert words["kind_portability"] in listed
        shown = (await client.get(page, params={"lang": language, "problem": "subjects.step_refused"})).text
        assert words["next_step"] in shown
        assert words["problem_subjects.step_refused"] in shown
        # Each field has a label that names it, and nothing is styled or run in place.
        for field in ("state", "reason"):
            assert f'<label for="{field}">' in shown
        assert "<script" not in shown
        assert "style=" not in shown
        injected = (await client.get(page, params={"problem": "<b>x</b>"})).text
        assert "<b>x</b>" not in injected
