"""Play time: how long games take bets, by limits that players set and licences demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories.clock import Clock
from tests.factories.databases import PlaneDatabase
from tests.factories.packs import load
from tests.factories.players import AURORA, make_origin, make_policy
from tests.factories.players import open_cell as open_database
from tests.factories.web import register, registration_body
from tests.integration.games.conftest import DEPLOYMENT, GamesUnderTest, Player, open_games
from tests.integration.limits.lawful import BRAZIL_PACK

from pitboss.accounts import service as accounts
from pitboss.cli.simulate.calls import Call, Leg
from pitboss.games import service
from pitboss.games.contracts import SessionState
from pitboss.ledger import service as ledger
from pitboss.limits import service as limits
from pitboss.limits.contracts import Period
from pitboss.platform.db import Database
from pitboss.policy.contracts import TenantPolicy
from pitboss.policy.service import apply_policy
from pitboss_sdk.jurisdiction import LimitKind

NOON = datetime(2035, 6, 15, 10, tzinfo=UTC)
"""Noon in Malta; the day ends at 22:00 UTC."""
INSTANT = timedelta(microseconds=1)
PATH = "/api/v1/me/play-time-limits"
GAMES = {"softswiss": "paper-kites", "hub88": "h88_lantern_bay"}
TOKEN_ENDED = {"softswiss": "101", "hub88": "RS_ERROR_TOKEN_EXPIRED"}


@pytest.fixture
async def games(cell_database: PlaneDatabase, redis_url: str, tmp_path: Path) -> AsyncIterator[GamesUnderTest]:
    async with open_games("softswiss", cell_database, redis_url, tmp_path, "mt_mga") as opened:
        yield opened


@pytest.fixture
async def clock(cell_database: PlaneDatabase) -> AsyncIterator[Clock]:
    with Clock(cell_database).taken_over() as clock:
        yield clock


async def demand(games: GamesUnderTest, policy: TenantPolicy) -> None:
    """Let a tightened Maltese licence apply."""
    async with open_database(games.database) as cell, cell.transaction(AURORA) as session:
        packs = {"mt_mga": load("mt_mga")}
        await apply_policy(session, AURORA, policy, packs, actor=DEPLOYMENT, origin=make_origin())


async def enter(games: GamesUnderTest, minutes: int, period: str = "day") -> Player:
    await demand(games, TenantPolicy())
    player = await games.enter()
    await put(games, player, minutes, period)
    return player


async def put(games: GamesUnderTest, player: Player, minutes: int, period: str = "day") -> Any:
    body = {"period": period, "minutes": minutes}
    answer = await games.client.put(PATH, json=body, headers=player.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def bet(games: GamesUnderTest, holder: Any, name: str) -> str:
    """Place a bet and return the aggregator's word for its refusal, or nothing."""
    answer = await games.call(Call("betwin", name, (Leg("bet", f"bet-{name}", 10),)), holder)
    return "" if answer.status == 200 and not answer.api_code else str(answer.api_code)


@pytest.mark.parametrize("plugin", ["softswiss", "hub88"])
async def test_a_game_takes_bets_until_the_time_is_over_and_pays_what_is_won(
    cell_database: PlaneDatabase, redis_url: str, tmp_path: Path, clock: Clock, plugin: str
) -> None:
    async with open_games(plugin, cell_database, redis_url, tmp_path, "mt_mga") as games:
        player = await enter(games, 60)
        await clock.set(NOON)
        holder = await games.hold(player, GAMES[plugin])
        assert await bet(games, holder, "r1") == ""
        await clock.set(NOON + timedelta(minutes=60) - INSTANT)
        assert await bet(games, holder, "r2") == ""
        await clock.set(NOON + timedelta(minutes=60))
        assert await bet(games, holder, "r3") == TOKEN_ENDED[plugin]
        won = await games.call(Call("betwin", "r2", (Leg("win", "win-r2", 500),)), holder)
        assert won.balance is not None
        history = (await games.client.get("/api/v1/me/history", headers=player.headers)).json()["items"]
        assert [line["kind"] for line in history] == ["win", "bet", "bet", "deposit"]
        refused = await games.launch(player, GAMES[plugin])
        assert (refused.status_code, refused.json()["code"]) == (409, "limits.play_time_used_up")
        midnight = NOON.replace(hour=22)
        await clock.set(midnight - INSTANT)
        assert (await games.launch(player, GAMES[plugin])).status_code == 409
        await clock.set(midnight)
        holder = await games.hold(player, GAMES[plugin])
        assert await bet(games, holder, "r4") == ""
        await clock.set(midnight + timedelta(minutes=60))
        assert await bet(games, holder, "r5") == TOKEN_ENDED[plugin]


async def test_games_that_are_open_at_once_use_the_same_time_up(games: GamesUnderTest, clock: Clock) -> None:
    player = await enter(games, 60)
    await clock.set(NOON)
    first = await games.hold(player)
    await clock.set(NOON + timedelta(minutes=59))
    second = await games.hold(player)
    assert (await bet(games, first, "r1"), await bet(games, second, "r2")) == ("", "")
    await clock.set(NOON + timedelta(minutes=60))
    assert (await bet(games, first, "r3"), await bet(games, second, "r4")) == ("101", "101")


async def test_a_game_that_is_ended_lets_its_time_run_no_longer(games: GamesUnderTest, clock: Clock) -> None:
    player = await enter(games, 60)
    other = await games.enter(0)
    await clock.set(NOON)
    holder = await games.hold(player)
    assert await bet(games, holder, "r1") == ""
    await clock.set(NOON + timedelta(minutes=20))
    path = f"/api/v1/me/game-sessions/{holder.session}"
    assert (await games.client.delete(path, headers=other.headers)).json()["code"] == "games.session_not_found"
    assert await bet(games, holder, "r2") == ""
    for _ in range(2):
        assert (await games.client.delete(path, headers=player.headers)).status_code == 204
    assert await bet(games, holder, "r3") == "101"
    assert (await games.call(Call("betwin", "r1", (Leg("win", "w1", 50),)), holder)).balance == "100.30"
    await clock.set(NOON + timedelta(hours=5))
    holder = await games.hold(player)
    await clock.set(NOON + timedelta(hours=5, minutes=40) - INSTANT)
    assert await bet(games, holder, "r4") == ""
    await clock.set(NOON + timedelta(hours=5, minutes=40))
    assert await bet(games, holder, "r5") == "101"


async def test_fewer_minutes_bind_a_game_that_is_open_and_more_come_after_the_wait(
    games: GamesUnderTest, clock: Clock
) -> None:
    player = await enter(games, 60)
    await clock.set(NOON)
    holder = await games.hold(player)
    assert await bet(games, holder, "r1") == ""
    await clock.set(NOON + timedelta(minutes=20))
    await put(games, player, 30)
    assert await bet(games, holder, "r2") == ""
    await clock.set(NOON + timedelta(minutes=30))
    assert await bet(games, holder, "r3") == "101"
    told = (await put(games, player, 120))["play_time_limits"]
    at = (NOON + timedelta(hours=24, minutes=30)).isoformat().replace("+00:00", "Z")
    assert told == [{"period": "day", "minutes": 30, "next_minutes": 120, "next_from": at, "time_zone": "Europe/Malta"}]
    await clock.set(NOON + timedelta(hours=24, minutes=30) - INSTANT)
    holder = await games.hold(player)
    await clock.set(NOON + timedelta(hours=25) - INSTANT)
    assert await bet(games, holder, "r4") == "101"
    holder = await games.hold(player)
    await clock.set(NOON + timedelta(hours=26, minutes=30) - 2 * INSTANT)
    assert await bet(games, holder, "r5") == ""
    await clock.set(NOON + timedelta(hours=26, minutes=30))
    assert await bet(games, holder, "r6") == "101"


async def test_an_open_game_ends_at_once_when_the_time_is_used_up_by_a_new_limit(
    games: GamesUnderTest, clock: Clock
) -> None:
    player = await enter(games, 600)
    await clock.set(NOON)
    holder = await games.hold(player)
    await clock.set(NOON + timedelta(minutes=20))
    assert await bet(games, holder, "r1") == ""
    await put(games, player, 20, "week")
    assert await bet(games, holder, "r2") == "101"
    assert (await games.launch(player)).json()["code"] == "limits.play_time_used_up"


@pytest.mark.parametrize("first", ["launch", "limit"])
async def test_a_launch_and_a_lower_limit_take_turns(games: GamesUnderTest, first: str) -> None:
    """Whichever is begun first, the other waits for it: no game stays open for longer than the limit lets."""
    player = await enter(games, 600)
    async with open_database(games.database) as cell:
        acts = {"launch": partial(open_game, player), "limit": partial(lower_limit, player)}
        second = "limit" if first == "launch" else "launch"
        async with cell.transaction(AURORA) as session:
            await acts[first](session)
            other = asyncio.create_task(in_transaction(cell, acts[second]))
            async with asyncio.timeout(60):
                while not other.done() and not await waits(games):  # noqa: ASYNC110 - the server tells, not the loop
                    await asyncio.sleep(0.01)
        await other
        async with cell.transaction(AURORA) as session:
            lasts = (await session.execute(text("select expires_at - opened_at from game_session"))).scalar_one()
    assert timedelta(minutes=9) < lasts < timedelta(minutes=11)


async def open_game(player: Player, session: AsyncSession) -> None:
    found = await accounts.get_player(session, AURORA, UUID(player.player_id))
    wallet = await ledger.get_wallet(session, AURORA, found.player_id, "EUR")
    await service.open_session(
        session,
        AURORA,
        player_id=found.player_id,
        wallet_id=wallet.wallet_id,
        game=await service.get_game(session, AURORA, "paper-kites"),
        policy=make_policy(),
        actor=DEPLOYMENT,
        origin=make_origin(),
    )


async def lower_limit(player: Player, session: AsyncSession) -> None:
    found = await accounts.get_player(session, AURORA, UUID(player.player_id))
    its = found.player_id, Period.DAY, 10
    await limits.change_play_time(session, AURORA, *its, policy=make_policy(), actor=DEPLOYMENT, origin=make_origin())
    await service.keep_play_time(session, AURORA, found.player_id, policy=make_policy())


async def in_transaction(cell: Database, act: Callable[[AsyncSession], Awaitable[None]]) -> None:
    async with cell.transaction(AURORA) as session:
        await act(session)


async def waits(games: GamesUnderTest) -> bool:
    """Return whether some transaction waits for another's lock."""
    admin = await asyncpg.connect(games.database.admin_url)
    try:
        return bool(await admin.fetchval("select count(*) from pg_locks where not granted"))
    finally:
        await admin.close()


async def test_a_launch_that_failed_uses_no_time_up(games: GamesUnderTest, clock: Clock) -> None:
    player = await enter(games, 60)
    await clock.set(NOON)
    games.server.close()
    await games.server.wait_closed()
    assert (await games.launch(player)).status_code == 503
    async with open_database(games.database) as cell, cell.transaction(AURORA) as session:
        assert (await session.execute(text("select array_agg(state) from game_session"))).scalar_one() == [3]
    await clock.set(NOON + timedelta(minutes=59))
    assert (await games.launch(player)).status_code == 503
    await clock.set(NOON + timedelta(minutes=61))
    assert (await games.launch(player)).status_code == 503


async def test_where_the_licence_demands_session_time_nobody_plays_without_a_limit(games: GamesUnderTest) -> None:
    before = await games.enter()
    await demand(games, TenantPolicy(mandatory_limits=frozenset({LimitKind.SESSION_TIME})))
    assert (await games.launch(before)).json()["code"] == "limits.mandatory"
    body = registration_body()
    refused = await games.client.post("/api/v1/players", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "limits.mandatory")
    assert "session_time" in refused.json()["detail"]
    chosen = {**body, "play_time_limits": [{"period": "week", "minutes": 90}]}
    _, headers = await register(games.client, **chosen)
    shown = (await games.client.get("/api/v1/me/limits", headers=headers)).json()
    assert shown["play_time_limits"] == [
        {"period": "week", "minutes": 90, "next_minutes": None, "next_from": None, "time_zone": "Europe/Malta"}
    ]
    assert shown["mandatory"] == ["session_time"]
    kept = await games.client.delete(PATH, params={"period": "week"}, headers=headers)
    assert (kept.status_code, kept.json()["code"]) == (422, "limits.mandatory")
    await games.client.put(PATH, json={"period": "day", "minutes": 0}, headers=headers)
    asked = await games.client.delete(PATH, params={"period": "week"}, headers=headers)
    assert [(each["period"], each["next_from"] is None) for each in asked.json()["play_time_limits"]] == [
        ("day", True),
        ("week", False),
    ]
    kept = await games.client.delete(PATH, params={"period": "day"}, headers=headers)
    assert kept.status_code == 422
    assert (await games.client.post("/api/v1/games/paper-kites/sessions", json={}, headers=headers)).status_code == 409


async def test_operators_set_play_time_and_strangers_do_not(games: GamesUnderTest) -> None:
    player = await games.enter()
    body = {"period": "month", "minutes": 600}
    path = f"/api/v1/operator/players/{player.player_id}/play-time-limits"
    assert (await games.client.put(path, json=body)).status_code == 401
    assert (await games.client.put(path, json=body, headers=player.headers)).status_code in {401, 403}
    assert (await games.client.put(PATH, json=body)).status_code == 401
    for bad in ({"period": "year"}, {"minutes": -1}, {"minutes": 31 * 24 * 60 + 1}, {"minutes": 1.5}):
        assert (await games.client.put(PATH, json={**body, **bad}, headers=player.headers)).status_code == 422
    async with games.web.client("jade.localhost") as jade:
        assert (await jade.put(path, json=body, headers=games.web.operator)).status_code == 404
    shown = (await games.client.get("/api/v1/me/limits", headers=player.headers)).json()
    assert shown["play_time_limits"] == []
    answer = await games.client.put(path, json=body, headers=games.web.operator)
    assert answer.json()["play_time_limits"][0]["minutes"] == 600


async def test_a_bet_without_a_session_gets_around_no_limit_of_time(games: GamesUnderTest) -> None:
    await demand(games, TenantPolicy())
    player = await games.enter()
    holder = await games.hold(player)
    nameless = msgspec.structs.replace(holder, session="")
    assert await bet(games, nameless, "before") == ""
    await demand(games, TenantPolicy(mandatory_limits=frozenset({LimitKind.SESSION_TIME})))
    for number in range(300):
        if await bet(games, nameless, f"after-{number}") == "101":
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("it is taken for ever")
    assert await bet(games, holder, "with a session") == ""
    won = await games.call(Call("betwin", "before", (Leg("win", "win", 500),)), nameless)
    assert won.balance is not None


async def test_only_whose_licence_demands_play_time_has_to_name_a_session(
    cell_database: PlaneDatabase, redis_url: str, tmp_path: Path
) -> None:
    """Brazil demands a limit of play time and Malta does not: brands of one tenant, at one address of one aggregator."""
    demanded = {
        "limits": [{"kind": "loss", "period": "day", "amount_minor": 10_000}],
        "play_time_limits": [{"period": "day", "minutes": 60}],
    }
    async with (
        open_games("softswiss", cell_database, redis_url, tmp_path, "br_spa", "mt_mga", also=BRAZIL_PACK) as games,
        games.web.client("mt-mga.localhost") as malta,
    ):
        for client, changes, refusal in ((games.client, demanded, "101"), (malta, {}, "")):
            player = Player(*await register(client, **changes))
            assert (await games.deposit(player, 1000)).status_code == 201
            holder = await games.hold(player)
            assert await bet(games, holder, f"named {refusal}") == ""
            nameless = msgspec.structs.replace(holder, session="")
            assert await bet(games, nameless, f"nameless {refusal}") == refusal


@pytest.mark.parametrize("opened", [True, False])
async def test_a_game_that_was_ended_while_it_opened_stays_ended(games: GamesUnderTest, *, opened: bool) -> None:
    player = await games.enter()
    holder = await games.hold(player)
    path = f"/api/v1/me/game-sessions/{holder.session}"
    assert (await games.client.delete(path, headers=player.headers)).status_code == 204
    async with open_database(games.database) as cell, cell.transaction(AURORA) as session:
        await service.finish_launch(session, AURORA, UUID(holder.session), opened=opened)
        state = (await session.execute(text("select state from game_session"))).scalar_one()
    assert state == SessionState.CLOSED
    assert await bet(games, holder, "r1") == "101"
