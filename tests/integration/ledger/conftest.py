"""Books with something in them: bets, wins, reversals, a hold half captured, one resolved, an award in play, a debt."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.factories.databases import DatabaseServer
from tests.factories.money import House, Seat, running
from tests.property.asks import make_request
from tests.property.model import Ask, Step

from pitboss.wallet.runtime import Lane


@dataclass(frozen=True)
class Books:
    """A tenant with three wallets: one has seen nearly everything, one a deposit only, one owes for a win taken back."""

    house: House
    busy: Seat
    quiet: Seat
    indebted: Seat


STEPS = (
    Step("deposit", "d1", 1000),
    Step("award", "a1", 300),
    Step("bet", "b1", 100),
    Step("bet", "b2", 1000),
    Step("win", "w2", 500),
    Step("rollback", "r1", 0, "b1"),
    Step("hold", "h1", 200),
    Step("capture", "c1", 50, "h1"),
    Step("hold", "h2", 40),
    Step("void", "v2", 0, "h2"),
)
"""Versions 1 to 10 of the busy wallet, in this order."""
DEBT = (
    Step("deposit", "d3", 100),
    Step("bet", "b3", 100),
    Step("win", "w3", 80),
    Step("bet", "b4", 50),
    Step("rollback", "r3", 0, "w3"),
)
"""Versions 1 to 5 of the indebted wallet: of the win of 80 only 30 are there to be taken back."""


async def _open(house: House) -> Books:
    await house.open(["EUR", "JPY"])
    busy, quiet, indebted = await house.add_players(3)
    modest = (Step("deposit", "d2", 700), Step("bet", "too much", 9999))
    lane = Lane(house.make_poster(1))
    async with running(lane):
        for seat, steps in ((busy, STEPS), (quiet, modest), (indebted, DEBT)):
            for step in steps:
                name = "round" if step.op in {"bet", "win", "rollback"} else ""
                request = make_request(
                    Ask(seat.wallet_id, house.source_id, (step,), round=name),
                    tenant_id=seat.tenant_id,
                    account_id=house.revenue["EUR"],
                    wallet_id=seat.wallet_id,
                    source_id=house.source_id,
                    player_id=seat.player_id,
                )
                result = await lane.submit(request)
                assert (result.refusal is None) == (step.ref != "too much"), (step, result)
    return Books(house, busy, quiet, indebted)


@pytest.fixture(scope="module")
def books(database_server: DatabaseServer) -> Iterator[Books]:
    """Books that no test of the module changes: each works in a transaction that it rolls back."""
    with database_server.clone("cell") as database:
        yield asyncio.run(_open(House(database)))
