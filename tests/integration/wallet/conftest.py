"""A tenant with money on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.money import House, Seat, running

from pitboss.ledger.contracts import Op
from pitboss.wallet.runtime import Lane


async def fund(house: House, seats: list[Seat], amount: int = 10_000) -> None:
    """Deposit into every wallet."""
    lane = Lane(house.make_poster(99))
    async with running(lane):
        requests = [house.request(seat, Op.DEPOSIT, f"fund-{seat.wallet_id}", amount) for seat in seats]
        assert all(result.refusal is None for result in await asyncio.gather(*map(lane.submit, requests)))


@pytest.fixture
async def house(cell_database: PlaneDatabase) -> AsyncIterator[House]:
    """A tenant; whatever a test does, the books are right at its end."""
    opened = House(cell_database)
    await opened.open()
    yield opened
    proof = await opened.verify()
    assert proof.findings == ()
