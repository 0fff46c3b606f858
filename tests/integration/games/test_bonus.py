"""Bonus money from the operator's order to real money or back to the house, over the aggregator's own calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.factories.players import AURORA
from tests.factories.players import open_cell as open_database
from tests.factories.web import apply_policies
from tests.integration.games.conftest import GamesUnderTest, Player

from pitboss.bootstrap import ENDPOINT_SECONDS
from pitboss.cli.simulate.calls import Call, Leg
from pitboss.kernel.ids import new_uuid
from pitboss.ledger import service as ledger
from pitboss.platform.db import ContextSigner, LaneConnections
from pitboss.policy.contracts import TenantPolicy
from pitboss.wallet.contracts import WalletRequest, WalletResult
from pitboss.wallet.errors import LanesBusy
from pitboss.wallet.runtime import DatabasePoster, Lane, Lanes
from pitboss.wallet.service import settle_ended_awards
from pitboss.worker.bonus_jobs import SETTLE_JOB, bonus_jobs


def terms(**changes: Any) -> dict[str, Any]:
    return {
        "amount_minor": 10_00,
        "reference": str(new_uuid()),
        "reason": "welcome",
        "expires_at": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
        "wagering_times": 2,
        **changes,
    }


async def award(games: GamesUnderTest, player: Player, **changes: Any) -> dict[str, Any]:
    answer = await games.operate("POST", f"/players/{player.player_id}/awards", json=terms(**changes))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def cancel(games: GamesUnderTest, player: Player, award_id: str) -> Any:
    path = f"/players/{player.player_id}/awards/{award_id}/cancellations"
    return await games.operate("POST", path, json={"reason": "abuse"})


async def standing(games: GamesUnderTest, player: Player) -> tuple[Any, ...]:
    """Return state, what is left, what was staked, and the player's real and bonus money."""
    awards = (await games.client.get("/api/v1/me/awards", headers=player.headers)).json()["items"]
    ((balance),) = (await games.client.get("/api/v1/me/balances", headers=player.headers)).json()["balances"]
    last = awards[0]
    return (
        last["state"],
        last["remaining_minor"],
        last["wagered_minor"],
        balance["real_minor"],
        balance["bonus_minor"],
    )


async def administer(games: GamesUnderTest, statement: str, *values: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(games.database.admin_url)
    try:
        return await connection.fetch(statement, *values)
    finally:
        await connection.close()


async def expire(games: GamesUnderTest) -> None:
    """Let the time of every award be over, without any version of a wallet."""
    await administer(
        games, "update award_terms set ordered_at = now() - interval '1 day', expires_at = now() - interval '1 second'"
    )


@asynccontextmanager
async def worker_lanes(games: GamesUnderTest) -> AsyncIterator[Lanes]:
    signer = ContextSigner(games.database.context_keys)
    lanes = Lanes([Lane(DatabasePoster(1000, LaneConnections(games.database.worker_url, "test worker lane", signer)))])
    lanes.start()
    try:
        yield lanes
    finally:
        await lanes.close()


async def run_job(games: GamesUnderTest) -> None:
    """Do what the worker does."""
    async with worker_lanes(games) as lanes, open_database(games.database, games.database.worker_url) as worker:
        (job,) = bonus_jobs(lanes)
        assert job.name == SETTLE_JOB
        async with worker.transaction(AURORA) as session:
            await job.handler(session, AURORA, {})


async def bookings(games: GamesUnderTest, op: int) -> list[tuple[int, int]]:
    """Return (real, bonus) of every booking of a kind."""
    rows = await administer(games, "select d_real, d_bonus from journal where op = $1 order by version", op)
    return [tuple(row) for row in rows]


@pytest.fixture(autouse=True)
async def books_stay_right(games: GamesUnderTest) -> AsyncIterator[None]:
    yield
    async with open_database(games.database) as cell, cell.snapshot(AURORA) as session:
        assert (await ledger.verify_tenant(session, AURORA)).findings == ()


CONVERT, FORFEIT = 13, 11


async def test_an_award_is_staked_after_real_money_and_becomes_real_when_it_was_wagered(games: GamesUnderTest) -> None:
    player = await games.enter(5_00)
    holder = await games.hold(player)
    given = await award(games, player)
    assert (given["granted_minor"], given["remaining_minor"], given["required_minor"]) == (1000, 1000, 2000)
    assert await standing(games, player) == ("active", 1000, 0, 500, 1000)
    bet = await games.call(Call("betwin", "r1", (Leg("bet", "b1", 9_00),)), holder)
    assert bet.balance == "6.00"
    assert await standing(games, player) == ("active", 600, 400, 0, 600)
    # The stake was 5.00 of real and 4.00 of bonus money, and so is the win: 36.00 in real, 28.80 in bonus money.
    won = await games.call(Call("betwin", "r1", (Leg("win", "w1", 64_80),), finished=True), holder)
    assert won.balance == "70.80"
    assert await standing(games, player) == ("active", 3480, 400, 3600, 3480)
    assert (await games.call(Call("betwin", "r2", (Leg("bet", "b2", 51_99),)), holder)).balance == "18.81"
    assert await standing(games, player) == ("active", 1881, 1999, 0, 1881)
    assert await bookings(games, CONVERT) == []
    last = await games.call(Call("betwin", "r3", (Leg("bet", "b3", 1),)), holder)
    assert last.balance == "18.80"
    assert await standing(games, player) == ("completed", 0, 2000, 1880, 0)
    # What the bets of a completed award still win is real, and rolling a bet back gives back what it took.
    again = await games.call(Call("betwin", "r3", (Leg("bet", "b3", 1),)), holder)
    assert again.balance == last.balance
    assert await bookings(games, CONVERT) == [(1880, -1880)]


async def test_the_tenants_policy_says_which_money_is_staked_first(games: GamesUnderTest) -> None:
    await apply_policies(games.web.settings, TenantPolicy(real_money_spent_first=False))
    await asyncio.sleep(ENDPOINT_SECONDS + 0.5)
    player = await games.enter(5_00)
    holder = await games.hold(player)
    await award(games, player, wagering_times=1)
    assert (await games.call(Call("betwin", "r1", (Leg("bet", "b1", 9_00),)), holder)).balance == "6.00"
    assert await standing(games, player) == ("active", 100, 900, 500, 100)
    # The last of the requirement is staked with real money beside it, and nothing is left to become real.
    assert (await games.call(Call("betwin", "r2", (Leg("bet", "b2", 2_00),)), holder)).balance == "4.00"
    assert await standing(games, player) == ("completed", 0, 1000, 400, 0)
    # What such a bet wins in bonus money comes to an award that is completed, and so is real.
    assert (await games.call(Call("betwin", "r2", (Leg("win", "w2", 10_00),)), holder)).balance == "14.00"
    assert await standing(games, player) == ("completed", 0, 1000, 1400, 0)
    assert await bookings(games, CONVERT) == [(500, -500)]


async def test_what_is_left_at_the_end_is_taken_back_before_the_job_has_run(games: GamesUnderTest) -> None:
    player = await games.enter(5_00)
    holder = await games.hold(player)
    await award(games, player)
    assert (await games.call(Call("betwin", "r1", (Leg("bet", "b1", 7_00),)), holder)).balance == "8.00"
    await expire(games)
    assert (await games.call(Call("betwin", "r2", (Leg("bet", "b2", 1),)), holder)).api_code == "100"
    assert await standing(games, player) == ("expired", 0, 200, 0, 0)
    # A win of the bet comes in proportion: the part of the award is the house's again.
    assert (await games.call(Call("betwin", "r1", (Leg("win", "w1", 14_00),)), holder)).balance == "10.00"
    await run_job(games)
    assert await standing(games, player) == ("expired", 0, 200, 1000, 0)
    assert await bookings(games, FORFEIT) == [(0, -800), (0, -400)]


async def test_the_job_takes_back_what_nobody_asks_for_once(games: GamesUnderTest) -> None:
    player, other = await games.enter(5_00), await games.enter(0)
    await award(games, player)
    await award(games, other, amount_minor=3_00)
    await run_job(games)
    assert await standing(games, player) == ("active", 1000, 0, 500, 1000)
    await expire(games)
    assert (await standing(games, player))[0] == "expired"
    for _ in range(2):
        await run_job(games)
        assert await standing(games, player) == ("expired", 0, 0, 500, 0)
        assert sorted(await bookings(games, FORFEIT)) == [(0, -1000), (0, -300)]
    assert [row[0] for row in await administer(games, "select count(*) from award_terms where settled_at is null")] == [
        0
    ]


async def test_an_operator_ends_an_award_once(games: GamesUnderTest) -> None:
    player = await games.enter(5_00)
    holder = await games.hold(player)
    given = await award(games, player)
    assert (await games.call(Call("betwin", "r1", (Leg("bet", "b1", 7_00),)), holder)).balance == "8.00"
    for _ in range(2):
        answer = await cancel(games, player, given["award_id"])
        assert (answer.status_code, answer.json()["state"], answer.json()["remaining_minor"]) == (200, "cancelled", 0)
    assert await bookings(games, FORFEIT) == [(0, -800)]
    assert (await games.call(Call("rollback", "r1", (Leg("rollback", "x1", 0, "b1"),)), holder)).balance == "5.00"
    assert await bookings(games, FORFEIT) == [(0, -800), (0, -200)]


class Busy(Lanes):
    """Lanes that have no time for the first wallet that is asked for, either when it is queued or afterwards."""

    def __init__(self, lanes: Lanes, *, at_once: bool) -> None:
        self._lanes, self._at_once, self.spared = lanes, at_once, 0

    def submit(self, request: WalletRequest, *, patience_ms: int) -> asyncio.Future[WalletResult]:
        self.spared = self.spared or request.wallet_id
        if request.wallet_id != self.spared:
            return self._lanes.submit(request, patience_ms=patience_ms)
        if self._at_once:
            raise LanesBusy("the queue is not moving")
        failed: asyncio.Future[WalletResult] = asyncio.get_running_loop().create_future()
        failed.set_exception(LanesBusy("it could not be carried out"))
        return failed


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_wallet_that_cannot_be_settled_keeps_no_other_from_it(games: GamesUnderTest, *, at_once: bool) -> None:
    for _ in range(2):
        await award(games, await games.enter())
    await expire(games)
    async with worker_lanes(games) as lanes, open_database(games.database, games.database.worker_url) as worker:
        for taken_back in (1, 0):
            async with worker.transaction(AURORA) as session:
                assert await settle_ended_awards(session, Busy(lanes, at_once=at_once), AURORA) == taken_back
    # The one that was put off was the first of the first run, and in the second, alone, it was put off again.
    assert await bookings(games, FORFEIT) == [(0, -1000)]
