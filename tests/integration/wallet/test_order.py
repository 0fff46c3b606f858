"""Whoever locks more than one row takes them in one order, so that two wait and none is ended: on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import asyncpg
from tests.factories.money import House, running
from tests.factories.players import make_origin
from tests.integration.wallet.conftest import CountsDeadlocks, changing, fund, make, wait_for_a_lock
from tests.property.model import Step

from pitboss.accounts import service as accounts
from pitboss.accounts.contracts import PlayerStatus, StatusReason
from pitboss.games.rules import compute_round_id
from pitboss.kernel.scope import Actor, ActorKind
from pitboss.ledger import service as ledger
from pitboss.wallet.runtime import Lane
from pitboss.web.controllers.players import close_account

TESTER = Actor(ActorKind.OPERATOR, "tester")


async def test_batches_of_two_processes_that_end_the_same_rounds_wait_for_each_other_in_turn(house: House) -> None:
    (seat,) = await house.add_players(1)
    await fund(house, [seat])
    names = sorted(("r1", "r2"), key=lambda name: compute_round_id(house.source_id, name))
    posters = [CountsDeadlocks(house.make_poster(1, name)) for name in ("web a", "web b")]
    lanes = [Lane(poster) for poster in posters]
    first = Lane(house.make_poster(2))
    async with running(first):
        for name in names:
            bet = await first.submit(make(house, seat, Step("bet", f"bet {name}", 10), round_name=name))
            assert bet.refusal is None
    blocker = await asyncpg.connect(house.database.admin_url)
    held = blocker.transaction()
    await held.start()
    await blocker.execute(
        "select 1 from round where round_id = $1 for update", compute_round_id(house.source_id, names[0])
    )
    # Both requests of a lane wait when it begins, so they share a batch; one lane has them the other way round.
    waiting = [
        lane.submit(make(house, seat, round_name=name, finished=True))
        for lane, asked in zip(lanes, (names, names[::-1]), strict=True)
        for name in asked
    ]
    async with AsyncExitStack() as stack:
        # Whoever waits first is served first: then the second holds what the first asks for next, unless it waits too.
        for number, lane in enumerate(lanes, 1):
            await stack.enter_async_context(running(lane))
            await wait_for_a_lock(house, number)
        await held.rollback()
        assert [(await answer).refusal for answer in waiting] == [None] * 4
    await blocker.close()
    assert [poster.deadlocks for poster in posters] == [0, 0]
    assert [row[0] for row in await house.administer("select state from round")] == [2, 2]


async def test_closing_an_account_takes_the_player_before_the_wallets(house: House) -> None:
    (seat,) = await house.add_players(1)

    async def close() -> PlayerStatus:
        async with changing(house) as session:
            (public_id,) = (await accounts.list_public_ids(session, house.scope, [seat.player_id])).values()
            reason = StatusReason.PLAYER_REQUEST
            origin = make_origin()
            closed = await close_account(session, house.scope, public_id, reason=reason, actor=TESTER, origin=origin)
        return closed.status

    async with changing(house) as session:
        await accounts.claim_player(session, house.scope, seat.player_id)
        closing = asyncio.create_task(close())
        await wait_for_a_lock(house)
        await ledger.change_terms(session, house.scope, seat.wallet_id)
    assert await closing is PlayerStatus.CLOSED
