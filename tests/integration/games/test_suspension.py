"""A game that its provider takes out of play: no launch and no new bet, while wins and refunds of it come in."""

from __future__ import annotations

from tests.factories.players import AURORA
from tests.factories.players import open_cell as open_database
from tests.integration.games.conftest import DEPLOYMENT, GamesUnderTest

from pitboss.cli.simulate.calls import Call, Leg
from pitboss.games import service as rooms
from pitboss.kernel.scope import Origin
from pitboss_sdk.events import GameResumed, GameSuspended


async def tell(games: GamesUnderTest, event: GameSuspended | GameResumed) -> None:
    """Carry an event out by the worker's login, as the job of webhooks does."""
    async with open_database(games.database, games.database.worker_url) as cell, cell.transaction(AURORA) as session:
        await rooms.carry_out_event(session, AURORA, "softswiss", event, actor=DEPLOYMENT, origin=Origin())


async def test_a_suspended_game_takes_no_bet_and_pays_what_is_owed(games: GamesUnderTest) -> None:
    player = await games.enter()
    holder = await games.hold(player)
    assert (await games.call(Call("betwin", "r1", (Leg("bet", "b1", 500),)), holder)).balance == "95.00"
    await tell(games, GameSuspended(holder.game))
    refused = await games.call(Call("betwin", "r2", (Leg("bet", "b2", 100),)), holder)
    assert (refused.status, refused.api_code) == (400, "107")
    assert (await games.launch(player, holder.game)).status_code == 404
    assert (await games.call(Call("betwin", "r1", (Leg("win", "w1", 700),)), holder)).balance == "102.00"
    listed = (await games.operate("GET", "/games?page_size=200")).json()["items"]
    assert [game["suspended"] for game in listed if game["code"] == holder.game] == [True]
    # What the operator says meanwhile is kept, and does not put it into play.
    switched = await games.operate("PUT", f"/games/{holder.game}/enabled", json={"enabled": True})
    assert (switched.json()["enabled"], switched.json()["suspended"]) == (False, True)
    await tell(games, GameResumed(holder.game))
    assert (await games.call(Call("betwin", "r3", (Leg("bet", "b3", 100),)), holder)).balance == "101.00"
    assert (await games.launch(player, holder.game)).status_code == 201
