"""A tenant with money on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories.databases import PlaneDatabase
from tests.factories.money import House, Seat, running
from tests.factories.players import open_cell
from tests.property.asks import make_request
from tests.property.model import Ask, Step

from pitboss.ledger.contracts import Op
from pitboss.wallet.contracts import WalletRequest
from pitboss.wallet.runtime import DatabasePoster, Decision, Lane


def make(house: House, seat: Seat, *steps: Step, round_name: str = "", finished: bool = False) -> WalletRequest:
    """Return a request of a player, which concerns the games room where it names a round."""
    session = seat.session if round_name else ""
    ask = Ask(seat.wallet_id, house.source_id, steps, round=round_name, finished=finished, session=session)
    return make_request(
        ask,
        tenant_id=seat.tenant_id,
        account_id=house.revenue[seat.currency],
        wallet_id=seat.wallet_id,
        source_id=house.source_id,
        player_id=seat.player_id,
    )


async def fund(house: House, seats: list[Seat], amount: int = 10_000) -> None:
    """Deposit into every wallet."""
    lane = Lane(house.make_poster(99))
    async with running(lane):
        requests = [house.request(seat, Op.DEPOSIT, f"fund-{seat.wallet_id}", amount) for seat in seats]
        assert all(result.refusal is None for result in await asyncio.gather(*map(lane.submit, requests)))


class CountsDeadlocks:
    """A poster that counts which of its batches the server ended to undo a deadlock; the lane tries them again."""

    def __init__(self, poster: DatabasePoster) -> None:
        self._poster = poster
        self.decide, self.forget, self.drop, self.close = poster.decide, poster.forget, poster.drop, poster.close
        self.deadlocks = 0

    async def write(self, decision: Decision) -> None:
        try:
            await self._poster.write(decision)
        except asyncpg.DeadlockDetectedError:
            self.deadlocks += 1
            raise


@asynccontextmanager
async def changing(house: House) -> AsyncIterator[AsyncSession]:
    """One transaction of another part of the platform, which commits at the end of the block."""
    async with open_cell(house.database) as cell, cell.transaction(house.scope) as session:
        yield session


async def wait_for_a_lock(house: House, waiting: int = 1) -> None:
    """Return when so many connections wait for somebody's transaction."""
    for _ in range(400):
        rows = await house.administer(
            "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        )
        if len(rows) >= waiting:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("they do not wait")


@pytest.fixture
async def house(cell_database: PlaneDatabase) -> AsyncIterator[House]:
    """A tenant; whatever a test does, the books are right at its end."""
    opened = House(cell_database)
    await opened.open()
    yield opened
    proof = await opened.verify()
    assert proof.findings == ()
