"""Limits that operators set, against calls that would exceed them."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import text
from tests.factories.players import AURORA
from tests.factories.players import open_cell as open_database
from tests.integration.games.conftest import GamesUnderTest, Player

from pitboss.cli.simulate.calls import Call, Leg


async def put(games: GamesUnderTest, player: Player, kind: str, amount_minor: int, period: str = "day") -> Any:
    body = {"kind": kind, "period": period, "amount_minor": amount_minor}
    answer = await games.operate("PUT", f"/players/{player.player_id}/limits", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def events(games: GamesUnderTest, event_type: str) -> int:
    statement = text("select count(*) from audit_event where type = :type")
    async with open_database(games.database) as cell, cell.transaction(AURORA) as session:
        return (await session.execute(statement, {"type": event_type})).scalar_one()


async def test_what_was_staked_before_the_limit_counts(games: GamesUnderTest) -> None:
    player = await games.enter()
    holder = await games.hold(player)
    await games.call(Call("betwin", "r1", (Leg("bet", "b1", 300), Leg("win", "w1", 200))), holder)
    await put(games, player, "stake", 500)
    refused = await games.call(Call("betwin", "r2", (Leg("bet", "b2", 201),)), holder)
    assert (refused.status, refused.api_code, refused.balance) == (400, "105", "99.00")
    assert (await games.call(Call("betwin", "r3", (Leg("bet", "b3", 200),)), holder)).balance == "97.00"
    assert (await games.call(Call("betwin", "r4", (Leg("bet", "b4", 1),)), holder)).api_code == "105"


async def test_a_limit_that_changes_binds_bets_when_its_time_has_come(games: GamesUnderTest) -> None:
    player = await games.enter()
    holder = await games.hold(player)
    path = f"/players/{player.player_id}/limits"
    shown = await put(games, player, "loss", 100, "week")
    assert (await games.operate("GET", path)).json() == {"limits": [shown], "play_time_limits": [], "mandatory": []}
    assert (await games.call(Call("betwin", "r1", (Leg("bet", "b1", 101),)), holder)).api_code == "105"
    assert (await put(games, player, "loss", 101, "week"))["next_minor"] == 101
    assert (await games.call(Call("betwin", "r2", (Leg("bet", "b2", 101),)), holder)).api_code == "105"
    await let_changes_come(games)
    # The refusal of a key is for ever; another key is another question.
    assert (await games.call(Call("betwin", "r1", (Leg("bet", "b1", 101),)), holder)).api_code == "105"
    assert (await games.call(Call("betwin", "r3", (Leg("bet", "b3", 101),)), holder)).balance == "98.99"
    for _ in range(2):
        assert (await games.operate("DELETE", f"{path}?kind=loss&period=week")).status_code == 200
    assert (await games.call(Call("betwin", "r4", (Leg("bet", "b4", 1),)), holder)).api_code == "105"
    await let_changes_come(games)
    assert (await games.operate("GET", path)).json() == {"limits": [], "play_time_limits": [], "mandatory": []}
    assert (await games.call(Call("betwin", "r5", (Leg("bet", "b5", 5000),)), holder)).balance == "48.99"
    assert (await events(games, "limit.set"), await events(games, "limit.change_asked")) == (1, 2)


async def test_who_is_excluded_plays_nothing_and_is_paid_what_is_won(games: GamesUnderTest) -> None:
    player = await games.enter()
    holder = await games.hold(player)
    assert (await games.call(Call("betwin", "r1", (Leg("bet", "b1", 100),)), holder)).status == 200
    pause = await games.operate("POST", f"/players/{player.player_id}/exclusions", json={"days": 1, "reason": "asked"})
    assert pause.status_code == 201
    assert (await games.call(Call("betwin", "r1", (Leg("bet", "b2", 100),)), holder)).api_code == "110"
    assert (await games.call(Call("betwin", "r1", (Leg("win", "w1", 50),)), holder)).balance == "99.50"


async def let_changes_come(games: GamesUnderTest) -> None:
    """Let the wait of every change be over."""
    async with open_database(games.database) as cell, cell.transaction(AURORA) as session:
        await session.execute(text("update player_limit set next_from = now() - interval '1 second'"))


async def test_a_deposit_limit_refuses_the_deposit_that_exceeds_it(games: GamesUnderTest) -> None:
    player = await games.enter(60_00)
    await put(games, player, "deposit", 100_00, "month")
    refused = await games.deposit(player, 40_01)
    assert (refused.status_code, refused.json()["code"]) == (409, "wallet.movement_refused")
    assert (await games.deposit(player, 40_00)).status_code == 201


async def test_bets_beside_a_new_limit_are_counted_or_refused(games: GamesUnderTest) -> None:
    """However bets and the limit interleave, what counts in the end is what was staked."""
    player = await games.enter()
    holder = await games.hold(player)
    bets = [games.call(Call("betwin", f"r{n}", (Leg("bet", f"b{n}", 100),)), holder) for n in range(20)]
    answers, _ = await asyncio.gather(asyncio.gather(*bets), put(games, player, "stake", 1000))
    staked_minor = 100 * sum(answer.status == 200 for answer in answers)
    statement = text("select used_minor from usage")
    async with open_database(games.database) as cell, cell.transaction(AURORA) as session:
        assert (await session.execute(statement)).scalar_one() == staked_minor
    assert staked_minor >= 1000
    assert (await games.call(Call("betwin", "last", (Leg("bet", "last", 100),)), holder)).api_code == "105"


async def test_a_limit_that_makes_no_sense_is_refused(games: GamesUnderTest) -> None:
    player = await games.enter(0)
    path = f"/players/{player.player_id}/limits"
    good = {"kind": "stake", "period": "day", "amount_minor": 1}
    for bad in ({"kind": "luck"}, {"period": "year"}, {"amount_minor": -1}, {"amount_minor": 1.5}, {"currency": "XXX"}):
        assert (await games.operate("PUT", path, json={**good, **bad})).status_code == 422
    assert (await games.operate("PUT", path, json={**good, "currency": "BTC"})).status_code == 404
    assert (await games.operate("GET", path)).json() == {"limits": [], "play_time_limits": [], "mandatory": []}
