"""A brand's own pages: its name, colours and logo under its domains, and nobody else's."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.ports import free_port
from tests.factories.tenants import environment_of
from tests.factories.web import (
    BROWSER,
    STRANGER,
    WebUnderTest,
    apply_policies,
    cell_settings,
    make_tenant,
    open_cell,
    store_directory,
)
from tests.web.test_status import BROWSER_PROGRAM, LOOKS, Outline, wait_for, words

from pitboss.bootstrap import open_cell_web
from pitboss.directory.contracts import DirectoryContent
from pitboss.games import service as games
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.platform.settings import Settings
from pitboss.platform.telemetry import Metrics
from pitboss.themes.contracts import BrandTheme
from pitboss.themes.rules.colour import compute_contrast
from pitboss.themes.service import apply_themes
from pitboss_sdk.games import GameInfo

ROOT = Path(__file__).parents[2]
LOGO = (ROOT / "tenants/aurora/theme/aurora.png").read_bytes()
GREEN = BrandTheme(colour="#0b6e4f", names={"es": "Aurora <del> Sur"}, logo=LOGO)
YELLOW = BrandTheme(colour="#ffe600")
ACTOR, ORIGIN = Actor(ActorKind.DEPLOYMENT, "tests"), Origin()


async def give_theme(settings: Settings, number: int, slug: str, theme: BrandTheme | None) -> None:
    """Make a brand look so, or as the platform does."""
    assert settings.cell_database_url is not None
    database = Database(create_engine(settings.cell_database_url), "eu-1", ContextSigner(settings.context_keys))
    scope = TenantScope(number, slug, "eu-1")
    async with database.transaction(scope) as session:
        await apply_themes(session, scope, {slug: theme} if theme else {}, actor=ACTOR, origin=ORIGIN)
    await database.engine.dispose()


@pytest.fixture
async def web(cell_database: PlaneDatabase, redis_url: str) -> AsyncIterator[WebUnderTest]:
    async with open_cell(cell_database, redis_url) as opened:
        await give_theme(opened.settings, 1, "aurora", GREEN)
        yield opened


async def fetch(web: WebUnderTest, path: str, host: str = "aurora.localhost", **headers: str) -> httpx.Response:
    async with web.client(host, STRANGER) as client:
        return await client.get(path, headers=headers)


async def test_a_front_page_is_the_brands(web: WebUnderTest) -> None:
    page = await fetch(web, "/")
    assert page.status_code == 200
    seen = words(page.text)
    assert "Aurora" in seen
    assert "Pitboss" not in page.text  # a white label says nothing of who runs it
    assert "Only for people of 18 years or more." in seen
    assert "No game can be played here yet." in seen
    outline = Outline()
    outline.feed(page.text)
    assert len(outline.all("h1")) == 1
    addresses = [each["href"] or "" for each in outline.all("link")] + [
        each["src"] or "" for each in outline.all("img")
    ]
    themed = [address for address in addresses if address.startswith("/theme/")]
    assert len(themed) == 3
    for address in themed:
        answer = await fetch(web, address)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")


async def test_a_front_page_speaks_the_brands_languages_and_escapes_its_name(web: WebUnderTest) -> None:
    page = (await fetch(web, "/", **{"accept-language": "es"})).text
    assert '<html lang="es">' in page
    assert "Aurora &lt;del&gt; Sur" in page
    assert "<del>" not in page
    assert '<html lang="pt-BR">' in (await fetch(web, "/?lang=pt-BR")).text
    assert '<html lang="en">' in (await fetch(web, "/?lang=fr", **{"accept-language": "fr"})).text


async def test_a_front_page_prefers_a_language_that_the_brand_has(cell_database: PlaneDatabase, redis_url: str) -> None:
    settings, aurora = cell_settings(cell_database, redis_url), make_tenant(1, "aurora")
    brand = msgspec.structs.replace(aurora.brands[0], languages=("en", "es"))
    await store_directory(settings, DirectoryContent(tenants=(msgspec.structs.replace(aurora, brands=(brand,)),)))
    async with open_cell_web(settings, Metrics()) as front:
        web = WebUnderTest(front, settings, Metrics())
        page = (await fetch(web, "/", **{"accept-language": "pt-BR,es;q=0.9"})).text
    assert '<html lang="es">' in page


async def test_a_front_page_without_a_known_policy_keeps_the_platforms_age(
    cell_database: PlaneDatabase, redis_url: str
) -> None:
    settings = cell_settings(cell_database, redis_url)
    await store_directory(settings)  # and no policy was applied
    async with open_cell_web(settings, Metrics()) as front:
        seen = words((await fetch(WebUnderTest(front, settings, Metrics()), "/")).text)
    assert "Only for people of 18 years or more." in seen


async def test_a_front_page_shows_the_first_games_that_are_in_play(web: WebUnderTest) -> None:
    assert web.settings.cell_database_url is not None
    database = Database(create_engine(web.settings.cell_database_url), "eu-1", ContextSigner(web.settings.context_keys))
    scope = TenantScope(1, "aurora", "eu-1")
    offered = tuple(GameInfo(f"code-{900 - n}", f"Title {n:03}", "Studio", "slots", "h") for n in range(203))
    async with database.transaction(scope) as session:
        await games.sync_catalogue(session, scope, "softswiss", offered, ACTOR, ORIGIN)
        await games.set_game_enabled(session, scope, "code-899", enabled=False, actor=ACTOR, origin=ORIGIN)
        first = await games.list_offered(session, scope, most=3)
    await database.engine.dispose()
    assert [game.title for game in first] == ["Title 000", "Title 002", "Title 003"]
    page = (await fetch(web, "/")).text
    shown = re.findall(r"<strong>(Title \d+)</strong>", page)
    assert shown == [f"Title {n:03}" for n in range(201) if n != 1]


async def test_a_brand_without_a_theme_looks_as_the_platform_does(web: WebUnderTest) -> None:
    page = await fetch(web, "/", "jade.localhost")
    assert "monogram" in page.text
    assert "Jade" in words(page.text)
    sheet = await fetch(web, "/theme/brand.css", "jade.localhost")
    assert (sheet.status_code, sheet.text) == (200, "")
    assert (await fetch(web, "/theme/logo", "jade.localhost")).status_code == 404


async def test_a_stylesheet_is_cached_until_it_changes(web: WebUnderTest) -> None:
    first = await fetch(web, "/theme/brand.css")
    assert first.headers["content-type"] == "text/css; charset=utf-8"
    assert first.headers["cache-control"] == "public, max-age=60"
    assert "--brand: #0b6e4f;" in first.text
    tag = first.headers["etag"]
    for known in (tag, f'W/{tag}, "other"', f'"other", {tag}', "*"):
        same = await fetch(web, "/theme/brand.css", **{"if-none-match": known})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    version = tag.strip('"')
    assert "immutable" in (await fetch(web, f"/theme/brand.css?v={version}")).headers["cache-control"]
    await give_theme(web.settings, 1, "aurora", YELLOW)
    changed = await fetch(web, "/theme/brand.css", **{"if-none-match": tag})
    assert changed.status_code == 200
    assert "--brand: #7d7000;" in changed.text
    assert "--brand: #ffe600;" in changed.text
    old = await fetch(web, f"/theme/brand.css?v={version}")
    assert old.headers["cache-control"] == "public, max-age=60"  # an old address is never kept with new contents
    await give_theme(web.settings, 1, "aurora", None)
    assert (await fetch(web, "/theme/brand.css", **{"if-none-match": tag})).text == ""


async def test_a_logo_is_an_image_and_nothing_else(web: WebUnderTest) -> None:
    logo = await fetch(web, "/theme/logo")
    assert (logo.content, logo.headers["content-type"]) == (LOGO, "image/png")
    assert logo.headers["x-content-type-options"] == "nosniff"
    assert (await fetch(web, "/theme/logo", **{"if-none-match": logo.headers["etag"]})).status_code == 304


@pytest.mark.parametrize("path", ["/", "/theme/brand.css", "/theme/logo"])
async def test_nobody_else_has_a_brands_looks(web: WebUnderTest, path: str) -> None:
    expected = {"onyx.localhost": 421, "paused.localhost": 404, "nobody.localhost": 404}
    for host, status in expected.items():
        assert (await fetch(web, path, host)).status_code == status
    other = await fetch(web, path, "jade.localhost")
    assert b"#0b6e4f" not in other.content
    assert other.content != LOGO
    if path != "/":
        async with web.client("127.0.0.1", BROWSER) as client:
            assert (await client.get(path)).status_code == 404


async def test_the_status_page_stays_guarded(web: WebUnderTest) -> None:
    async with web.client("aurora.localhost", STRANGER) as client:
        assert "Processes" not in (await client.get("/")).text
        assert "Processes" in (await client.get("/", headers=web.operator)).text
    async with web.client("127.0.0.1", STRANGER) as client:
        assert (await client.get("/")).status_code == 401


async def test_the_description_of_the_api_wears_the_brands_colours(web: WebUnderTest) -> None:
    page = (await fetch(web, "/api/docs")).text
    assert '<link rel="stylesheet" href="/theme/brand.css">' in page
    async with web.client("127.0.0.1", BROWSER) as client:
        assert "/theme/" not in (await client.get("/api/docs")).text


async def seed(settings: Settings) -> None:
    await store_directory(settings)
    await apply_policies(settings)
    await give_theme(settings, 1, "aurora", GREEN)
    await give_theme(settings, 2, "jade", YELLOW)
    assert settings.cell_database_url is not None
    database = Database(create_engine(settings.cell_database_url), "eu-1", ContextSigner(settings.context_keys))
    scope = TenantScope(1, "aurora", "eu-1")
    offered = tuple(GameInfo(f"game-{n}", f"Game of a long name {n}", "Studio", "slots", f"h{n}") for n in range(12))
    async with database.transaction(scope) as session:
        await games.sync_catalogue(session, scope, "softswiss", offered, ACTOR, ORIGIN)
    await database.engine.dispose()


def look(page: Any, selector: str, name: str) -> str:
    """Return a colour as the browser shows it."""
    told = page.evaluate(f"getComputedStyle(document.querySelector({selector!r})).{name}")
    return "#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", told)[:3])


@pytest.mark.browser
def test_a_browser_shows_each_brand_in_light_and_dark(
    cell_database: PlaneDatabase, redis_url: str, tmp_path: Path
) -> None:
    """What is seen is legible, the platform's own tones stay, nothing is wider than the window, no fault is told."""
    assert BROWSER_PROGRAM is not None, "no chromium: apt-get install chromium, or set PITBOSS_WITHOUT_BROWSER=1"
    from playwright.sync_api import sync_playwright

    port = free_port()
    settings = msgspec.structs.replace(cell_settings(cell_database, redis_url), port=port)
    asyncio.run(seed(settings))
    with (tmp_path / "web.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "pitboss.bootstrap", "web", "cell"], env=environment_of(settings), stderr=log
        )
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=BROWSER_PROGRAM, args=["--no-sandbox"])
            wait_for(browser.new_page(), f"http://aurora.localhost:{port}/readyz")
            seen: dict[tuple[str, str], str] = {}
            for slug in ("aurora", "jade"):
                for scheme, width in LOOKS:
                    tab = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
                    faults: list[str] = []
                    tab.on("console", lambda message, faults=faults: faults.append(f"{message.type}: {message.text}"))
                    for path in ("/api/docs", "/"):
                        tab.goto(f"http://{slug}.localhost:{port}{path}")
                        assert tab.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
                    fill, ink = look(tab, ".primary", "backgroundColor"), look(tab, ".primary", "color")
                    assert compute_contrast(fill, ink) >= 4.5
                    tab.keyboard.press("Tab")
                    ring = tab.evaluate("getComputedStyle(document.activeElement).outlineColor")
                    assert ring != "rgba(0, 0, 0, 0)"
                    seen[slug, scheme] = fill
                    if folder := os.environ.get("SCREENSHOTS"):
                        tab.screenshot(path=f"{folder}/{slug}-{scheme}-{width}.png")
                    assert faults == []
                    tab.close()
            browser.close()
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0
    assert seen == {
        ("aurora", "light"): "#0b6e4f",
        ("aurora", "dark"): "#429775",
        ("jade", "light"): "#7d7000",
        ("jade", "dark"): "#ffe600",
    }
