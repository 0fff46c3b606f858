"""Tenant B through the web of the cell, as somebody of tenant A: as if it did not exist."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.factories.databases import PlaneDatabase
from tests.isolation.conftest import Figures
from tests.isolation.http_probes import HttpProber, UnknownParameter, read_operations
from tests.isolation.probes import Report
from tests.isolation.wallet_probes import probe_foreign_address, probe_signatures, probe_wallet
from tests.isolation.world import World, open_world


@pytest.fixture(params=["one cell", "two cells"])
async def world(
    request: pytest.FixtureRequest,
    cell_database: PlaneDatabase,
    neighbour_database: PlaneDatabase,
    redis_url: str,
    tmp_path: Path,
) -> AsyncIterator[World]:
    other = neighbour_database if request.param == "two cells" else None
    async with open_world(cell_database, redis_url, tmp_path, other) as opened:
        yield opened


async def probe_all(world: World, report: Report) -> None:
    """Run every probe and look whether B's rows are what they were."""
    before = await world.fingerprint_b()
    prober = HttpProber(world, report)
    await probe_signatures(prober)
    await prober.probe_hosts()
    await prober.probe_operations()
    await probe_foreign_address(prober)
    await probe_wallet(prober)  # last: it leaves rows of A that bear B's names
    for table, rows in (await world.fingerprint_b()).items():
        report.count(f"rows of {table}", "" if rows == before[table] else "were changed from outside")


async def test_both_tenants_live(world: World) -> None:
    """The positive control: under its own name and token, B's canaries are what B is shown."""
    async with world.b.client() as client:
        me = await client.get("/api/v1/me", headers={"authorization": f"Bearer {world.b.token}"})
        rounds = await client.get("/api/v1/operator/rounds", headers=world.b.operator)
    assert world.b.ids["email"] in me.text
    assert world.b.ids["round_id"] in rounds.text
    assert world.b.ids["player_id"] in rounds.text
    assert min(int(rows.split()[0]) for table, rows in (await world.fingerprint_b()).items() if table in PLAYED) >= 1


PLAYED = {
    "player",
    "player_identity",
    "player_session",
    "wallet",
    "journal",
    "call_key",
    "round",
    "game_session",
    "game",
}


async def test_no_request_reaches_the_other_tenant(world: World, figures: Figures) -> None:
    report = figures.new_report("http")
    await probe_all(world, report)
    assert report.leaks == [], "\n".join(report.leaks)
    assert report.probes > 1000


def test_a_parameter_that_nobody_judged_stops_the_suite() -> None:
    description: dict[str, Any] = {
        "paths": {"/api/v1/x": {"get": {"parameters": [{"name": "affiliate_id", "in": "query"}]}}},
        "components": {"schemas": {}},
    }
    with pytest.raises(UnknownParameter, match="affiliate_id"):
        read_operations(description)
