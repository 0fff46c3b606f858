"""The operators' pages of data quality: empty, filled, in three languages, as files, and of one's own tenant alone."""

from __future__ import annotations

import asyncio
import csv
import html
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any, Literal, cast

import asyncpg
import httpx
import msgspec
import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, open_cell
from tests.factories.ports import free_port
from tests.factories.tenants import environment_of
from tests.factories.web import STRANGER, cell_settings, store_directory
from tests.web.test_status import BROWSER_PROGRAM, wait_for

from pitboss.bootstrap import open_cell_web
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, ActorKind
from pitboss.platform.telemetry import Metrics
from pitboss.quality import service as quality
from pitboss.quality.contracts import Area, Dimension, Fault, FindingKind, Reading
from pitboss.web.texts import LANGUAGES, texts_of

PAGE = "/operator/quality"
WORKER = Actor(ActorKind.SERVICE, "quality.measure")
LOOKED_AT: tuple[tuple[Literal["light", "dark"], int, str], ...] = (
    ("light", 1280, "en"),
    ("dark", 1280, "pt-BR"),
    ("light", 390, "es"),
)
HOUR = datetime(2026, 11, 20, 10, tzinfo=UTC)


def make_readings(faults: int) -> list[Reading]:
    """Return an hour in which rounds are red, payments have nothing to measure, and audit is amber."""
    wrong = [Fault(FindingKind.SUMS_DIFFER, f"round <{number}>", "r", "=1+1") for number in range(faults)]
    readings = [Reading(Area.ROUNDS, Dimension.CONSISTENCY, 1000, faults, faults=wrong)]
    readings += [Reading(Area.PAYMENTS, dimension) for dimension in Dimension]
    return [*readings, Reading(Area.AUDIT, Dimension.TIMELINESS, 100, 3)]


async def fill(database: PlaneDatabase, hours: int = 1, faults: int = 30) -> None:
    async with open_cell(database) as cell:
        for number in range(hours):
            async with cell.transaction(AURORA) as session:
                found = make_readings(faults if number == 0 else 0)
                await quality.keep_hour(session, AURORA, HOUR - timedelta(hours=number), found, utc_now(), WORKER)


@asynccontextmanager
async def open_desk(database: PlaneDatabase, redis_url: str) -> AsyncIterator[tuple[Any, str]]:
    settings = cell_settings(database, redis_url)
    await store_directory(settings)
    async with open_cell_web(settings, Metrics()) as front:
        yield front, settings.operator_token or ""


@asynccontextmanager
async def visit(front: Any, token: str, tenant: str = "aurora") -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(cast("Any", front), client=STRANGER, raise_app_exceptions=False)
    headers = {"sec-fetch-site": "same-origin"}
    async with httpx.AsyncClient(
        transport=transport, base_url=f"https://{tenant}.localhost", headers=headers
    ) as client:
        if token:
            await client.post("/operator", data={"token": token})
        yield client


async def test_pages_and_files_in_three_languages(cell_database: PlaneDatabase, redis_url: str) -> None:
    async with open_desk(cell_database, redis_url) as (front, token):
        async with visit(front, "") as client:
            for address in (
                PAGE,
                f"{PAGE}/2026-11-20T10",
                f"{PAGE}/measures.csv",
                f"{PAGE}/2026-11-20T10/findings.csv",
            ):
                refused = await client.get(address)
                assert (refused.status_code, refused.headers.get("location")) == (303, "/operator"), address
        async with visit(front, token) as client:
            for language in LANGUAGES:
                page = await client.get(PAGE, params={"lang": language})
                assert html.escape(texts_of(language)["quality_none"]) in page.text
            await fill(cell_database, hours=30)
            for language in LANGUAGES:
                words = texts_of(language)
                page = html.unescape((await client.get(PAGE, params={"lang": language})).text)
                for state in ("red", "amber", "no_data"):
                    assert f"</span> {words[f'quality_{state}']}" in page, (language, state)
                assert "2026-11-20 10:00" in page
                older = page.partition('rel="next" href="')[2].partition('"')[0]
                rest = html.unescape((await client.get(PAGE + older)).text)
                assert "2026-11-20 10:00" not in rest.partition('id="hours-title"')[2]
                assert 'rel="next"' not in rest
                one = await client.get(f"{PAGE}/2026-11-20T10", params={"area": "rounds", "lang": language})
                assert "round <" not in one.text
                shown = html.unescape(one.text)
                assert shown.count(words["finding_sums_differ"]) == 25
                assert f"</span> {words['quality_is_open']}" in shown
                assert "3 %" in shown
                more = shown.partition('rel="next" href="')[2].partition('"')[0]
                last = html.unescape((await client.get(f"{PAGE}/2026-11-20T10{more}")).text)
                assert last.count(words["finding_sums_differ"]) == 5
            for wrong in ("yesterday", "2026-11-20T10?area=nothing", "2026-13-40T10"):
                assert (await client.get(f"{PAGE}/{wrong}")).status_code == 404


async def test_files_hold_everything_and_no_formula(cell_database: PlaneDatabase, redis_url: str) -> None:
    await fill(cell_database, hours=2)
    async with open_desk(cell_database, redis_url) as (front, token):
        async with visit(front, token) as client:
            found = await client.get(f"{PAGE}/2026-11-20T10/findings.csv?area=rounds")
            rows = list(csv.DictReader(StringIO(found.text)))
            assert len(rows) == 30
            assert {row["detail"] for row in rows} == {"'=1+1"}
            assert rows[0]["kind"] == "sums_differ"
            assert "attachment" in found.headers["content-disposition"]
            measures = list(csv.DictReader(StringIO((await client.get(f"{PAGE}/measures.csv")).text)))
            assert len(measures) == 2 * 6
            assert {row["state"] for row in measures} == {"red", "amber", "no_data", "green"}
        async with visit(front, token, "jade") as client:
            assert (
                "round" not in (await client.get(f"{PAGE}/2026-11-20T10/findings.csv?area=rounds")).text.split("\n")[1]
            )
            assert "2026-11-20" not in (await client.get(PAGE)).text.partition('id="hours-title"')[2]
    admin = await asyncpg.connect(cell_database.admin_url)
    told = await admin.fetch("select tenant_id, target_id from audit_event where type = 'quality.viewed'")
    await admin.close()
    assert {tuple(row) for row in told} == {(1, "2026-11-20T10"), (2, "2026-11-20T10")}


@pytest.mark.browser
def test_a_browser_walks_from_the_grid_to_a_finding_by_keyboard(
    cell_database: PlaneDatabase, redis_url: str, tmp_path: Path
) -> None:
    """In light and dark and on a narrow window nothing is wider than the window, and no fault is told."""
    assert BROWSER_PROGRAM is not None, "no chromium: apt-get install chromium, or set PITBOSS_WITHOUT_BROWSER=1"
    from playwright.sync_api import sync_playwright

    port = free_port()
    settings = msgspec.structs.replace(cell_settings(cell_database, redis_url), port=port)
    asyncio.run(store_directory(settings))
    asyncio.run(fill(cell_database, hours=30))
    with (tmp_path / "web.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "pitboss.bootstrap", "web", "cell"], env=environment_of(settings), stderr=log
        )
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=BROWSER_PROGRAM, args=["--no-sandbox"])
            wait_for(browser.new_page(), f"http://aurora.localhost:{port}/readyz")
            for scheme, width, language in LOOKED_AT:
                context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
                tab, faults = context.new_page(), list[str]()
                tab.on("console", lambda message, faults=faults: faults.append(f"{message.type}: {message.text}"))
                advice = "verbose: "  # of the browser, about forms with a password and no name
                tab.goto(f"http://aurora.localhost:{port}/operator")
                tab.fill("input[name=token]", settings.operator_token or "")
                tab.keyboard.press("Enter")
                tab.wait_for_url("**/operator/subjects**")
                tab.goto(f"http://aurora.localhost:{port}{PAGE}?lang={language}")
                _judge(tab, f"grid-{scheme}-{width}", width)
                tab.focus("tbody tr:first-child td:nth-of-type(1) a")
                tab.keyboard.press("Enter")
                tab.wait_for_url("**/operator/quality/2026-11-20T10**")
                assert texts_of(language)["finding_sums_differ"] in tab.inner_text("main")
                _judge(tab, f"hour-{scheme}-{width}", width)
                assert [fault for fault in faults if not fault.startswith(advice)] == []
                context.close()
            browser.close()
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0


def _judge(tab: Any, name: str, width: int) -> None:
    assert tab.evaluate("document.documentElement.scrollWidth") <= width, name
    if folder := os.environ.get("SCREENSHOTS"):
        tab.screenshot(path=f"{folder}/{name}.png", full_page=True)
