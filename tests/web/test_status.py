"""The status page: what it shows, in which language, to whom, and that it comes up in trouble."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.ports import free_port
from tests.factories.web import BROWSER, STRANGER, WebUnderTest, open_cell, open_control

from pitboss.kernel.clock import epoch_seconds
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.platform.redis import NOTE_LIFETIME_SECONDS, CellRedis, ProcessNote
from pitboss.plughost.contracts import DriverHealth, HealthState
from pitboss.plughost.runtime import HealthBoard, load_host
from pitboss.plughost.service import enable_plugin

EVIL = '<script>alert("x")</script>'


@pytest.fixture
async def web(cell_database: PlaneDatabase, redis_url: str) -> AsyncIterator[WebUnderTest]:
    async with open_cell(cell_database, redis_url) as opened:
        yield opened


async def page_of(web: WebUnderTest, path: str = "/", **headers: str) -> str:
    async with web.client("127.0.0.1", BROWSER) as client:
        answer = await client.get(path, headers=headers)
    assert answer.status_code == 200
    return answer.text


def words(page: str) -> str:
    """Return what a reader sees."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


async def test_it_shows_tenants_plugins_cells_and_processes(web: WebUnderTest) -> None:
    seen = words(await page_of(web))
    for expected in (
        "eu-1",
        "Aurora",
        "aurora.localhost",
        "jade.localhost",
        "EUR BTC",
        "SOFTSWISS",
        "softswiss",
        "web",
    ):
        assert expected in seen
    assert "! suspended" in seen  # a word and a sign, never colour alone
    assert "✓ active" in seen
    assert "No round has been played yet." in seen
    assert "onyx" not in seen  # who lives elsewhere is not this cell's business


async def test_three_languages(web: WebUnderTest) -> None:
    for path, accepted, html_language, title in (
        ("/", "pt-BR", "pt-BR", "Últimas rodadas"),
        ("/", "es-MX,en;q=0.5", "es", "Últimas rondas"),
        ("/?lang=en", "es", "en", "Last rounds"),
    ):
        page = await page_of(web, path, **{"accept-language": accepted})
        assert f'<html lang="{html_language}">' in page
        assert title in page


async def test_only_the_machine_and_the_operator_see_it(web: WebUnderTest) -> None:
    async with web.client("127.0.0.1", STRANGER) as client:
        assert (await client.get("/")).status_code == 401
        assert (await client.get("/", headers={"authorization": "Bearer guess"})).status_code == 401
        assert (await client.get("/", headers=web.operator)).status_code == 200
    async with web.client("127.0.0.1", BROWSER) as client:
        assert (await client.get("/", headers={"x-forwarded-for": "198.51.100.1"})).status_code == 401
        assert (await client.get("/", headers={"forwarded": "for=198.51.100.1"})).status_code == 401
    async with web.client("aurora.localhost", BROWSER) as client:
        assert "Processes" not in (await client.get("/")).text  # a brand's front page is there


async def test_what_others_named_is_escaped(web: WebUnderTest, redis_url: str) -> None:
    redis = CellRedis(redis_url, "eu-1")
    await redis.announce(ProcessNote(EVIL, 1, epoch_seconds(), epoch_seconds(), {"database": EVIL}))
    page = await page_of(web)
    await redis.close()
    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert "database: &lt;script&gt;" in page


async def test_processes_fade_when_they_are_silent(web: WebUnderTest, redis_url: str) -> None:
    redis = CellRedis(redis_url, "eu-1")
    now = epoch_seconds()
    await redis.announce(ProcessNote("relay", 11, now - 100, now, {}))
    await redis.announce(ProcessNote("worker", 12, now - 100, now - NOTE_LIFETIME_SECONDS - 1, {}))
    seen = words(await page_of(web))
    assert re.search("relay 11 1 min 4[0-9] s ✓ running", seen)
    assert "worker" not in seen
    assert [note.name for note in await redis.list_processes()] == ["relay", "web"]
    await redis.close()


async def test_it_shows_what_plugins_tell_and_how_their_drivers_fare(
    web: WebUnderTest, cell_database: PlaneDatabase, redis_url: str
) -> None:
    engine = create_engine(cell_database.app_url)
    database = Database(engine, "eu-1", ContextSigner(cell_database.context_keys))
    plugin = load_host(None).get_plugin("softswiss")
    table = {
        "casino_id": f"aurora {EVIL}",
        "gateway_url": "https://gateway.example",
        "api_secret": {"secret": "new"},
        "previous_api_secret": {"secret": "old"},
    }
    scope = TenantScope(1, "aurora", "eu-1")
    async with database.transaction(scope) as session:
        actor = Actor(ActorKind.DEPLOYMENT, "tests")
        await enable_plugin(session, scope, plugin, table, locality="eu", actor=actor, origin=Origin())
    await engine.dispose()
    page = await page_of(web)
    assert EVIL not in page
    seen = words(page)
    assert "aurora Casino: aurora &lt;script&gt;" in seen
    assert "aurora Gateway: gateway.example" in seen
    assert "! aurora Signing secret: the previous one is still accepted" in seen
    assert "✓ healthy" in seen

    redis = CellRedis(redis_url, "eu-1")
    board = HealthBoard(redis, "worker-1")
    for state, word in ((HealthState.DEGRADED, "! degraded"), (HealthState.QUARANTINED, "× quarantined")):
        await board.record(DriverHealth("aurora", "softswiss", state, f"no answer {EVIL}", epoch_seconds()))
        page = await page_of(web)
        assert EVIL not in page
        assert word in words(page)
        assert "aurora: no answer" in words(page)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PITBOSS_")},
        "PITBOSS_REDIS_URL": redis_url,
    }
    listed = await asyncio.to_thread(list_plugins, environment)
    assert "aurora: softswiss is quarantined: no answer" in listed
    rows = json.loads(await asyncio.to_thread(list_plugins, environment, "--json"))
    assert {row["slug"]: row["health"] for row in rows}["softswiss"] == {"aurora": "quarantined"}
    await board.record(DriverHealth("aurora", "softswiss", HealthState.HEALTHY, "", epoch_seconds()))
    assert "✓ healthy" in words(await page_of(web))
    await redis.close()


def list_plugins(environment: dict[str, str], *words: str) -> str:
    command = [sys.executable, "-m", "pitboss.bootstrap", "plugin", "list", "--cell-file", "deploy/cells/eu-1.toml"]
    done = subprocess.run(
        [*command, *words], check=True, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    return done.stdout


class Line:
    """The wire to the database, which a test can cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield self._server.sockets[0].getsockname()[1]
        finally:
            self.cut()

    def cut(self) -> None:
        self._server.close()
        for end in self._ends:
            end.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends |= {writer, far_writer}
        await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(65_536):
                writer.write(piece)
                await writer.drain()
        writer.close()


async def test_it_comes_up_while_the_database_is_away(cell_database: PlaneDatabase, redis_url: str) -> None:
    address = urlsplit(cell_database.app_url)
    assert address.port is not None
    line = Line(address.port)
    async with line.open() as port:
        urls = {**cell_database.urls, "pitboss_app": cell_database.app_url.replace(f":{address.port}/", f":{port}/")}
        async with open_cell(replace(cell_database, urls=urls), redis_url) as web:
            line.cut()
            await look_while_away(web)


async def look_while_away(web: WebUnderTest) -> None:
    page = await page_of(web)
    assert "Problems" in page
    assert "Aurora" in page  # from the directory, which needs no database
    async with web.client("127.0.0.1", BROWSER) as client:
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert set(ready.json()["problems"]) == {"database"}
        assert (await client.get("/healthz")).status_code == 200
        away = await client.post(
            "/api/v1/sessions", json={"email": "a@example.com", "password": "x"}, headers={"host": "aurora.localhost"}
        )
        assert away.status_code == 503
        assert away.headers["retry-after"] == "1"


async def test_control_shows_the_register_and_says_when_it_is_empty(control_database: PlaneDatabase) -> None:
    async with open_control(control_database) as web:
        seen = words(await page_of(web))
        assert "No tenant is applied yet" in seen
        assert "No cell is known yet" in seen
        assert "Wallet calls" not in seen


class Outline(HTMLParser):
    """Collects what makes a page accessible: headings, header cells, labels."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize("path", ["/", "/api/docs"])
async def test_the_outline_is_sound(web: WebUnderTest, path: str) -> None:
    outline = Outline()
    outline.feed(await page_of(web, path))
    assert len(outline.all("h1")) == 1
    assert len(outline.all("title")) == 1
    assert all(cell.get("scope") == "col" for cell in outline.all("th"))
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in outline.tags:
        for name in (attributes.get("aria-labelledby") or "").split():
            assert name in ids


LOOKS: tuple[tuple[Literal["light", "dark"], int], ...] = (("light", 1440), ("dark", 1440), ("light", 320))
BROWSER_PROGRAM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.browser
def test_a_browser_finds_nothing_wrong(control_database: PlaneDatabase, tmp_path: Path) -> None:
    """In light and dark, wide and narrow: no error on the console, no policy violated, nothing wider than the window."""
    assert BROWSER_PROGRAM is not None, "no chromium: apt-get install chromium, or set PITBOSS_WITHOUT_BROWSER=1"
    from playwright.sync_api import sync_playwright

    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "PITBOSS_CONTROL_DATABASE_URL": control_database.app_url,
        "PITBOSS_PORT": str(port),
        "PITBOSS_PLANE": "control",
    }
    with (tmp_path / "control.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "pitboss.bootstrap", "web", "control"], env=environ, stderr=log
        )
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=BROWSER_PROGRAM, args=["--no-sandbox"])
            for scheme, width in LOOKS:
                tab = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
                faults: list[str] = []
                tab.on("console", lambda message, faults=faults: faults.append(f"{message.type}: {message.text}"))
                tab.on("pageerror", lambda error, faults=faults: faults.append(str(error)))
                for path in ("/", "/api/docs"):
                    wait_for(tab, f"http://127.0.0.1:{port}{path}")
                    assert tab.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
                wait_for(tab, f"http://127.0.0.1:{port}/")
                before = tab.inner_text("time")
                tab.wait_for_function("before => document.querySelector('time').innerText !== before", arg=before)
                assert tab.inner_text(".live") == "live"
                background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
                assert background == ("rgb(15, 19, 25)" if scheme == "dark" else "rgb(248, 249, 251)")
                assert faults == []
                tab.close()
            browser.close()
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0


def wait_for(tab, address: str) -> None:
    """Open `address`, waiting for a server that is just starting."""
    import time

    from playwright.sync_api import Error

    for _ in range(600):
        try:
            tab.goto(address)
        except Error:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"{address} did not come up")
