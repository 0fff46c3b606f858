"""A session of one game with bets that name another: its vendor says that this may be so."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.factories.databases import PlaneDatabase
from tests.integration.games.conftest import GamesUnderTest, open_games

from pitboss.cli.simulate.calls import Call, Holder, Leg

TABLES = {"softswiss": ("paper-kites", "nine-lanterns"), "hub88": ("h88_lantern_bay", "h88_keno_quay")}


@pytest.mark.parametrize("plugin", ["softswiss", "hub88"])
async def test_a_player_changes_the_table_within_a_session(
    plugin: str, cell_database: PlaneDatabase, redis_url: str, tmp_path: Path
) -> None:
    opened, other = TABLES[plugin]
    async with open_games(plugin, cell_database, redis_url, tmp_path) as games:
        holder = await games.hold(await games.enter(), opened)
        moved = msgspec.structs.replace(holder, game=other)
        assert await bet(games, moved, "first") == ""
        (listed,) = (await games.operate("GET", "/rounds")).json()["items"]
        assert (listed["round"]["game"], listed["provider_round"]) == (other, "first")
        switched = await games.operate("PUT", f"/games/{other}/enabled", json={"enabled": False})
        assert switched.status_code == 200, switched.text
        assert await bet(games, moved, "second") == {"softswiss": "107", "hub88": "RS_ERROR_INVALID_GAME"}[plugin]
        assert await bet(games, holder, "third") == ""


async def bet(games: GamesUnderTest, holder: Holder, name: str) -> str:
    """Place a bet and return the aggregator's word for its refusal, or nothing."""
    answer = await games.call(Call("betwin", name, (Leg("bet", f"bet-{name}", 10),)), holder)
    return "" if answer.status == 200 and not answer.api_code else str(answer.api_code)
