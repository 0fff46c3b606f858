"""Which wallet a call means: found for everybody who asks together, and bound to the session that it names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest
from sqlalchemy import text
from tests.factories.databases import PlaneDatabase
from tests.factories.money import House
from tests.factories.players import AURORA
from tests.factories.players import open_cell as open_database
from tests.integration.games.conftest import GamesUnderTest, Player

from pitboss.cli.simulate.calls import Call, Leg
from pitboss.games.contracts import Holder
from pitboss.games.runtime import Holders
from pitboss.ledger import service as ledger
from pitboss.platform.db import ContextKey, ContextSigner, DatabaseUnavailable, LaneConnection
from pitboss_sdk.games import Refusal


@pytest.fixture
async def house(cell_database: PlaneDatabase) -> House:
    opened = House(cell_database)
    await opened.open()
    return opened


@pytest.fixture
async def holders(house: House) -> AsyncIterator[Holders]:
    signer = ContextSigner(house.database.context_keys)
    opened = Holders(LaneConnection(house.database.app_url, "test holders", signer))
    yield opened
    await opened.close()


async def test_a_caller_who_is_gone_takes_nobodys_answer_along(house: House, holders: Holders) -> None:
    first, second = await house.add_players(2)

    def ask(account: str) -> asyncio.Task[Holder | Refusal]:
        return asyncio.create_task(holders.find(AURORA.tenant_id, account, "EUR"))

    leaving = [ask(first.account), ask(second.account)]
    staying = [ask(first.account), ask(first.account), ask("nobody")]
    await asyncio.sleep(0)  # all have asked, and nothing is answered without the database
    for caller in leaving:
        caller.cancel()
    async with asyncio.timeout(60):
        assert all(
            isinstance(left, asyncio.CancelledError) for left in await asyncio.gather(*leaving, return_exceptions=True)
        )
        found = Holder(first.player_id, first.wallet_id)
        assert await asyncio.gather(*staying) == [found, found, Refusal.PLAYER_UNKNOWN]
        # And whoever comes later is looked up as ever.
        assert await ask(second.account) == Holder(second.player_id, second.wallet_id)
        assert await ask("nobody else") is Refusal.PLAYER_UNKNOWN


async def open_purse(games: GamesUnderTest, player: Player, currency: str, amount_minor: int) -> None:
    """Give a player another wallet, with money."""
    async with open_database(games.database) as cell, cell.transaction(AURORA) as session:
        number = text("select player_id from player where public_id = :public_id")
        player_id = (await session.execute(number, {"public_id": player.player_id})).scalar_one()
        await ledger.open_wallet(session, AURORA, player_id, currency, "")
    body = {"amount_minor": amount_minor, "currency": currency, "reference": f"{currency}-1", "reason": "goodwill"}
    answer = await games.operate("POST", f"/players/{player.player_id}/credits", json=body)
    assert answer.status_code == 201, answer.text


async def test_a_session_bets_from_its_own_wallet_alone(games: GamesUnderTest) -> None:
    player = await games.enter(100_00)
    await open_purse(games, player, "BTC", 5_000)
    euros = await games.hold(player)
    coins = msgspec.structs.replace(euros, currency="BTC", decimals=8)  # the session of the wallet in euros
    for _ in range(2):
        refused = await games.call(Call("betwin", "r1", (Leg("bet", "b1", 1_000),)), coins)
        assert (refused.status, refused.api_code) == (400, "101")
    assert (await games.call(Call("betwin", "r2", (Leg("bet", "b2", 1_00),)), euros)).balance == "99.00"
    # Once the session is known to the process, it still is another wallet's.
    again = await games.call(Call("betwin", "r3", (Leg("bet", "b3", 1_000),)), coins)
    assert (again.status, again.api_code) == (400, "101")
    connection = await asyncpg.connect(games.database.admin_url)
    try:
        left = await connection.fetch("select currency, real_minor from wallet order by currency")
        bets = await connection.fetch("select reference from journal where op = 1")
    finally:
        await connection.close()
    assert [tuple(row) for row in left] == [("BTC", 5_000), ("EUR", 99_00)]
    assert [row["reference"] for row in bets] == ["b2"]


async def test_a_key_that_is_not_believed_is_no_reason_to_call_a_player_unknown(house: House) -> None:
    (player,) = await house.add_players(1)
    signer = ContextSigner([ContextKey("k1", b"?" * 32)])
    holders = Holders(LaneConnection(house.database.app_url, "test holders", signer))
    try:
        with pytest.raises(DatabaseUnavailable):
            await holders.find(AURORA.tenant_id, player.account, "EUR")
    finally:
        await holders.close()
