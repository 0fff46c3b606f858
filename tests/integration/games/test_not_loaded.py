"""Wallet calls for a plugin that a tenant has and this process did not load: come again, not never."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
from structlog.testing import capture_logs
from tests.factories.databases import PlaneDatabase
from tests.factories.ports import free_port
from tests.factories.web import BROWSER, CONTENT, ROOT, WebUnderTest, apply_policies, cell_settings, store_directory
from tests.integration.games.conftest import enable

from pitboss.bootstrap import open_cell_web
from pitboss.directory.contracts import DirectoryContent, TenantState
from pitboss.platform.telemetry import Metrics
from pitboss.plughost.runtime import load_host, read_cell_file

ALLOWED = ROOT / "deploy/cells/eu-1.toml"
CLOSED = msgspec.structs.replace(CONTENT.tenants[2], state=TenantState.CLOSED)


@asynccontextmanager
async def opened(database: PlaneDatabase, redis_url: str, folder: Path) -> AsyncIterator[tuple[WebUnderTest, int]]:
    """Open a cell whose file allows one plugin less than its first tenant has; yield the wallet's port too."""
    folder.joinpath("secrets.toml").touch(mode=0o600)
    cell_file = folder / "eu-1.toml"
    cell_file.write_text(ALLOWED.read_text().replace("pitboss-plugin-games-softswiss", "pitboss-plugin-games-other"))
    settings = msgspec.structs.replace(
        cell_settings(database, redis_url),
        cell_file=cell_file,
        secrets_file=folder / "secrets.toml",
        wallet_port=free_port(),
    )
    await enable(database, load_host(read_cell_file(ALLOWED)), "softswiss", free_port())
    await store_directory(settings, DirectoryContent((*CONTENT.tenants[:2], CLOSED), CONTENT.elsewhere))
    await apply_policies(settings)
    metrics = Metrics()
    async with open_cell_web(settings, metrics) as front:
        yield WebUnderTest(front, settings, metrics), settings.wallet_port or 0


async def call(client: httpx.AsyncClient, path: str) -> httpx.Response:
    return await client.post(f"/wallet/{path}", content=b"{}")


async def until(client: httpx.AsyncClient, path: str, status: int) -> None:
    for _ in range(100):
        if (await call(client, path)).status_code == status:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{path} is not answered with {status}")


async def test_what_a_tenant_has_and_nobody_loaded_is_answered_as_away(
    cell_database: PlaneDatabase, redis_url: str, tmp_path: Path
) -> None:
    with capture_logs() as logs:
        async with opened(cell_database, redis_url, tmp_path) as (web, port), web.client() as client:
            # The directory names the plugin for this tenant too; what counts is what the cell has enabled.
            await until(client, "jade/softswiss/play", 404)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as direct:
                for asked in (client, direct):
                    away = await call(asked, "aurora/softswiss/play")
                    assert (away.status_code, away.headers["retry-after"]) == (503, "30")
                    assert away.headers["content-type"] == "application/problem+json"
            for path in ("aurora/nothing/play", "nobody/softswiss/play", "paused/softswiss/play"):
                nothing = await call(client, path)
                assert (path, nothing.status_code, "retry-after" in nothing.headers) == (path, 404, False)
            told = web.metrics.render().decode()
            away = 'pitboss_wallet_calls_total{outcome="unavailable",plugin="softswiss",tenant="aurora"} 2.0'
            assert away in told
            assert "aurora/nothing" not in told
            async with web.client("127.0.0.1", BROWSER) as browser:
                page = (await browser.get("/")).text
            assert "plugin softswiss" in page
            assert "enabled for aurora, and this process did not load it" in page
    said = [(entry["tenant"], entry["plugin"]) for entry in logs if entry["event"] == "games.plugin_not_loaded"]
    assert said == [("aurora", "softswiss")]
