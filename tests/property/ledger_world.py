"""What histories are played on: real lanes of two processes over a real PostgreSQL, and what operators do there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import asyncpg
from tests.factories.databases import PlaneDatabase
from tests.factories.money import House, Seat
from tests.factories.players import make_origin, make_policy, open_cell
from tests.property.asks import GAME, make_request, read_answer
from tests.property.model import Answer, Ask

from pitboss.bonus import service as bonus
from pitboss.games import service as games
from pitboss.kernel.scope import Actor, ActorKind
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import WalletStatus
from pitboss.limits import service as limits
from pitboss.limits.contracts import Limit, LimitKind, Period
from pitboss.wallet.errors import LanesBusy
from pitboss.wallet.runtime import Lane

PATIENCE = 5
CODES = {0: "JPY", 2: "EUR", 3: "KWD", 8: "BTC"}
TESTER = Actor(ActorKind.OPERATOR, "tester")
Result = TypeVar("Result")
_ORDER = """
insert into award_terms (tenant_id, award_id, wallet_id, amount_minor, required_minor, ordered_at, expires_at,
    reference, reason)
values ($1, $2::text::uuid, $3, 1, $4, now() - interval '1 hour', now() + interval '1 day', $2, 'test')
"""
_EXPIRE = "update award_terms set expires_at = now() - interval '1 second' where award_id = $1::text::uuid"


class World:
    """The servers' side: two lanes of one process, one of another, all of them for every wallet."""

    def __init__(self, database: PlaneDatabase) -> None:
        self.house = House(database)
        self.runner = asyncio.Runner()
        self.steps = 0
        self.broken: list[str] = []
        """Promises that were seen broken: where a race goes another way in a replay, hypothesis tells only of that."""
        self.lanes: list[Lane] = []
        self._tasks: list[asyncio.Task[None]] = []

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    async def open(self) -> None:
        self.house.admin = await asyncpg.connect(self.house.database.admin_url)
        await self.house.open(list(CODES.values()))
        posters = [self.house.make_poster(number, name) for number, name in ((1, "web a"), (2, "web a"), (1, "web b"))]
        self.lanes = [Lane(poster) for poster in posters]
        self._tasks = [asyncio.create_task(lane.run()) for lane in self.lanes]

    async def close(self) -> None:
        for lane in self.lanes:
            lane.close()
        await asyncio.gather(*self._tasks)
        if self.house.admin is not None:
            await self.house.admin.close()

    async def ask(self, *sent: tuple[int, Ask, Seat]) -> list[Answer]:
        """Send asks at the same time, each through its lane."""
        return await asyncio.gather(*[self._send(*each) for each in sent])

    async def _send(self, lane: int, ask: Ask, seat: Seat) -> Answer:
        """Send an ask again until it is answered, as a provider does, but not for ever."""
        for _ in range(PATIENCE):
            with contextlib.suppress(LanesBusy):
                return read_answer(await self._submit(lane, ask, seat))
        return self.refute(f"{ask} is never answered")

    def refute(self, promise: str) -> NoReturn:
        """Fail the history that broke a promise, and remember it."""
        self.broken.append(promise)
        raise AssertionError(promise)

    def _submit(self, lane: int, ask: Ask, seat: Seat) -> asyncio.Future[Any]:
        request = make_request(
            ask,
            tenant_id=seat.tenant_id,
            account_id=self.house.revenue[seat.currency],
            wallet_id=seat.wallet_id,
            source_id=self.house.source_id,
            player_id=seat.player_id,
            currency=seat.currency,
        )
        return self.lanes[lane].submit(request)

    async def set_status(self, seat: Seat, status: WalletStatus) -> None:
        scope = self.house.scope
        async with open_cell(self.house.database) as cell, cell.transaction(scope) as session:
            await ledger.set_wallet_status(session, scope, seat.player_id, status)

    async def launch(self, seat: Seat, *, fails: bool) -> Seat:
        """Open another game session of the seat; with `fails`, the one that it had turns out not to have opened."""
        scope = self.house.scope
        async with open_cell(self.house.database) as cell, cell.transaction(scope) as session:
            game = await games.get_game(session, scope, GAME)
            opened = await games.open_session(
                session,
                scope,
                player_id=seat.player_id,
                wallet_id=seat.wallet_id,
                game=game,
                policy=make_policy(),
                actor=TESTER,
                origin=make_origin(),
            )
            if fails:
                await games.finish_launch(session, scope, UUID(seat.session), opened=False)
        return replace(seat, session=str(opened))

    async def set_limit(self, seat: Seat, kind: LimitKind, amount_minor: int | None) -> None:
        scope = self.house.scope
        async with open_cell(self.house.database) as cell, cell.transaction(scope) as session:
            wallet = await ledger.get_wallet(session, scope, seat.player_id, seat.currency)
            if amount_minor is None:
                await limits.remove_limit(session, scope, wallet, kind, Period.MONTH, TESTER, make_origin())
            else:
                limit = Limit(kind, Period.MONTH, amount_minor)
                await limits.set_limit(session, scope, wallet, limit, TESTER, make_origin())

    async def order_award(self, seat: Seat, ref: str, required_minor: int) -> None:
        """Write down the terms of an award that is booked afterwards, under its id."""
        await self.house.administer(_ORDER, seat.tenant_id, ref, seat.wallet_id, required_minor)

    async def end_award(self, seat: Seat, ref: str, *, by_time: bool) -> None:
        """End an award by its time, which no wallet moves with, or by an operator."""
        scope = self.house.scope
        if by_time:
            await self.house.administer(_EXPIRE, ref)
            return
        async with open_cell(self.house.database) as cell, cell.transaction(scope) as session:
            await bonus.cancel(
                session, scope, UUID(ref), [seat.wallet_id], reason="test", actor=TESTER, origin=make_origin()
            )
