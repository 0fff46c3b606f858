"""Games over HTTP: catalogue, launches at a real aggregator, rounds as players and operators see them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from tests.factories.players import AURORA
from tests.factories.players import open_cell as open_database
from tests.integration.games.conftest import GamesUnderTest

from pitboss.cli.simulate.calls import Call, Holder, Leg
from pitboss.cli.simulate.softswiss import GAMES
from pitboss.games.errors import AggregatorUnavailable
from pitboss.kernel.ids import new_uuid

NOBODY = "01a1fbe4-0000-7000-8000-000000000000"


async def scalars(games: GamesUnderTest, statement: str, **values: Any) -> list[Any]:
    async with open_database(games.database) as cell, cell.transaction(AURORA) as session:
        return list(await session.scalars(text(statement), values))


async def test_the_catalogue_is_the_aggregators_in_pages(games: GamesUnderTest) -> None:
    codes: list[str] = []
    cursor = ""
    while True:
        query = {"page_size": 4, **({"cursor": cursor} if cursor else {})}
        page = (await games.client.get("/api/v1/games", params=query)).json()
        codes += [item["code"] for item in page["items"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert codes == sorted(GAMES)
    first = (await games.client.get("/api/v1/games?page_size=1")).json()["items"][0]
    game = GAMES[first["code"]]
    told = (first["title"], first["category"], first["rtp_basis_points"])
    assert told == (game.title, game.category, round(game.payout * 100))
    assert (await games.client.get("/api/v1/games?cursor=nonsense")).status_code == 422


async def test_a_second_sync_changes_and_records_nothing(games: GamesUnderTest) -> None:
    synced = "select count(*) from audit_event where type = 'game.catalogue_synced'"
    assert await scalars(games, synced) == [1]
    await games.sync()
    assert await scalars(games, synced) == [1]
    assert await scalars(games, "select count(*) from game") == [len(GAMES)]


async def test_a_sync_without_an_aggregator_fails_and_keeps_the_list(games: GamesUnderTest) -> None:
    games.server.close()
    await games.server.wait_closed()
    with pytest.raises(AggregatorUnavailable):
        await games.sync()
    assert await scalars(games, "select count(*) from game where enabled") == [len(GAMES)]


async def test_a_switched_off_game_takes_no_bets_and_still_pays(games: GamesUnderTest) -> None:
    player = await games.enter()
    holder = await games.hold(player)
    assert (await games.call(Call("betwin", "r1", (Leg("bet", "b1", 500),)), holder)).balance == "95.00"
    for _ in range(2):
        answer = await games.operate("PUT", "/games/paper-kites/enabled", json={"enabled": False})
        assert (answer.status_code, answer.json()["enabled"]) == (200, False)
    assert await scalars(games, "select count(*) from audit_event where type = 'game.disabled'") == [1]
    listed = (await games.client.get("/api/v1/games")).json()["items"]
    assert "paper-kites" not in {item["code"] for item in listed}
    every = (await games.operate("GET", "/games")).json()["items"]
    assert {item["code"]: item["enabled"] for item in every}["paper-kites"] is False
    assert (await games.launch(player)).json()["code"] == "games.game_not_found"
    assert (await games.call(Call("betwin", "r2", (Leg("bet", "b2", 500),)), holder)).api_code == "107"
    assert (await games.call(Call("betwin", "r1", (Leg("win", "w1", 700),)), holder)).balance == "102.00"
    assert (await games.operate("PUT", "/games/no-such-game/enabled", json={"enabled": True})).status_code == 404


async def test_a_launch_tells_the_aggregator_whose_session_it_is(games: GamesUnderTest) -> None:
    player = await games.enter()
    answer = await games.launch(player)
    assert answer.status_code == 201
    session_id = answer.json()["session_id"]
    assert answer.json()["url"].endswith(f"/play/{session_id}")
    launch = games.aggregators.take_launch(answer.json()["url"])
    assert launch is not None
    assert (launch.account, launch.currency, launch.game) == (player.player_id, "EUR", "paper-kites")
    assert await scalars(games, "select state from game_session") == [2]


async def test_a_launch_that_nobody_answers_leaves_a_failed_session(games: GamesUnderTest) -> None:
    player = await games.enter()
    games.server.close()
    await games.server.wait_closed()
    answer = await games.launch(player)
    assert (answer.status_code, answer.json()["code"]) == (503, "games.aggregator_unavailable")
    assert await scalars(games, "select state from game_session") == [3]
    (session_id,) = await scalars(games, "select session_id from game_session")
    holder = Holder(player.player_id, "EUR", 2, "paper-kites", str(session_id))
    assert (await games.call(Call("betwin", "r1", (Leg("bet", "b1", 100),)), holder)).api_code == "101"


async def test_a_refused_launch_says_so(games: GamesUnderTest) -> None:
    player = await games.enter()
    del games.vendor.games["paper-kites"]  # since the last sync
    answer = await games.launch(player)
    assert (answer.status_code, answer.json()["code"]) == (409, "games.launch_refused")
    assert (await games.launch(player, "never-heard-of")).json()["code"] == "games.game_not_found"


async def test_a_round_is_found_by_both_ids_with_everything_in_it(games: GamesUnderTest) -> None:
    player = await games.enter()
    holder = await games.hold(player)
    await games.call(Call("betwin", "round-1", (Leg("bet", "b1", 1000), Leg("win", "w1", 250))), holder)
    await games.call(Call("rollback", "round-1", (Leg("rollback", "x1", 0, "w1"),)), holder)
    assert (await games.call(Call("finish", "round-1"), holder)).balance == "90.00"

    (own,) = (await games.client.get("/api/v1/me/rounds", headers=player.headers)).json()["items"]
    assert (own["bet_minor"], own["win_minor"], own["state"], own["mode"]) == (1000, 0, "finished", "cash")
    assert (own["balance_before_minor"], own["balance_after_minor"]) == (100_00, 90_00)

    (listed,) = (await games.operate("GET", "/rounds")).json()["items"]
    assert listed["round"] == own
    assert (listed["player_id"], listed["plugin"], listed["provider_round"]) == (
        player.player_id,
        "softswiss",
        "round-1",
    )
    assert listed["session_id"] == holder.session
    by_ours = await games.operate("GET", f"/rounds/{own['round_id']}")
    by_theirs = await games.operate("GET", "/rounds/lookup?plugin=softswiss&provider_round=round-1")
    assert by_ours.json() == by_theirs.json()
    (part,) = by_ours.json()["parts"]
    assert part["part"] == listed
    booked = [(found["kind"], found["reference"], found["real_minor"]) for found in part["bookings"]]
    assert booked == [("bet", "b1", -1000), ("win", "w1", 250), ("win_rollback", "x1", -250)]
    assert part["bookings"][2]["reverses"] == part["bookings"][1]["transaction"]
    assert part["bookings"][2]["real_after_minor"] == 90_00


async def test_what_does_not_exist_or_is_anothers_is_not_there(games: GamesUnderTest) -> None:
    player = await games.enter()
    holder = await games.hold(player)
    await games.call(Call("betwin", "round-1", (Leg("bet", "b1", 1000),)), holder)
    (listed,) = (await games.operate("GET", "/rounds")).json()["items"]
    round_id = listed["round"]["round_id"]
    sources = await scalars(games, "select count(*) from source")
    for path in (
        f"/rounds/{new_uuid()}",
        "/rounds/lookup?plugin=softswiss&provider_round=round-2",
        "/rounds/lookup?plugin=unheard&provider_round=round-1",
    ):
        assert (await games.operate("GET", path)).json()["code"] == "games.round_not_found"
    assert await scalars(games, "select count(*) from source") == sources
    async with games.web.client("jade.localhost") as jade:
        for path in (f"/rounds/{round_id}", "/rounds/lookup?plugin=softswiss&provider_round=round-1"):
            answer = await jade.get(f"/api/v1/operator{path}", headers=games.web.operator)
            assert (answer.status_code, answer.json()["code"]) == (404, "games.round_not_found")
        assert (await jade.get("/api/v1/operator/rounds", headers=games.web.operator)).json()["items"] == []
        assert (await jade.get("/api/v1/games")).json()["items"] == []
        answer = await jade.post("/api/v1/games/paper-kites/sessions", json={}, headers=player.headers)
        assert answer.status_code == 401
    other = await games.enter()
    assert (await games.client.get("/api/v1/me/rounds", headers=other.headers)).json()["items"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/operator/games"),
        ("PUT", "/operator/games/paper-kites/enabled"),
        ("GET", "/operator/rounds"),
        ("GET", "/operator/rounds/lookup?plugin=softswiss&provider_round=r"),
        ("GET", f"/operator/players/{NOBODY}/limits"),
        ("PUT", f"/operator/players/{NOBODY}/limits"),
        ("DELETE", f"/operator/players/{NOBODY}/limits?kind=stake&period=day"),
    ],
)
async def test_operators_pages_are_closed_to_players_and_visitors(
    games: GamesUnderTest, method: str, path: str
) -> None:
    player = await games.enter(0)
    body = {"enabled": False} if path.endswith("enabled") else None
    assert (await games.client.request(method, f"/api/v1{path}", json=body)).status_code == 401
    answer = await games.client.request(method, f"/api/v1{path}", json=body, headers=player.headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "permissions.forbidden")
    assert await scalars(games, "select count(*) from game where not enabled") == [0]
    for own in ("/api/v1/me/rounds", "/api/v1/games/paper-kites/sessions"):
        method = "POST" if own.endswith("sessions") else "GET"
        assert (await games.client.request(method, own, headers=games.web.operator)).status_code == 403
