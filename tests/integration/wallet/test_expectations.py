"""What a statement expects is held by the server: each check once as it is, and once with nobody to hold it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from tests.factories.money import House, Seat, running
from tests.factories.players import make_origin, open_cell
from tests.integration.wallet.conftest import fund
from tests.property.asks import GAME, make_request, read_answer
from tests.property.model import Answer, Ask, Step

from pitboss.games import service as games
from pitboss.kernel.scope import Actor, ActorKind
from pitboss.wallet.runtime import Lane
from pitboss_sdk.games import Refusal

NOTHING_IS_EXPECTED = """
create or replace function ledger_expect(holds boolean) returns void language plpgsql as $$ begin end $$
"""
TESTER = Actor(ActorKind.OPERATOR, "tester")


class Table:
    """Two lanes of two processes and a player with 1000, whom the first lane remembers."""

    def __init__(self, house: House, seat: Seat) -> None:
        self.house = house
        self.seat = seat
        self.posters = [house.make_poster(1, name) for name in ("web a", "web b")]
        self.lanes = [Lane(poster) for poster in self.posters]

    async def ask(self, lane: int, *steps: Step, round_name: str = "", finished: bool = False) -> Answer:
        """Ask through a lane."""
        seat, session = self.seat, self.seat.session if round_name else ""
        ask = Ask(seat.wallet_id, self.house.source_id, steps, round=round_name, finished=finished, session=session)
        request = make_request(
            ask,
            tenant_id=seat.tenant_id,
            account_id=self.house.revenue[seat.currency],
            wallet_id=seat.wallet_id,
            source_id=self.house.source_id,
            player_id=seat.player_id,
        )
        return read_answer(await self.lanes[lane].submit(request))


async def a_balance_that_moved(table: Table) -> Answer:
    await table.ask(1, Step("deposit", "there", 500))
    return await table.ask(0)


async def a_repeat_that_another_process_booked(table: Table) -> Answer:
    bet = Step("bet", "bet", 10)
    await table.ask(1, bet, round_name="r")
    async with open_cell(table.house.database) as cell, cell.transaction(table.house.scope) as session:
        await games.finish_launch(session, table.house.scope, UUID(table.seat.session), opened=False)
    table.posters[0].drop()
    return await table.ask(0, bet, round_name="r")


async def a_round_that_was_finished(table: Table) -> Answer:
    await table.ask(0, Step("bet", "bet", 10), round_name="r")
    await table.ask(1, round_name="r", finished=True)
    return await table.ask(0, Step("bet", "more", 10), round_name="r")


async def a_bet_beyond_means_in_a_round_that_was_finished(table: Table) -> Answer:
    await table.ask(0, Step("bet", "bet", 10), round_name="r")
    await table.ask(1, round_name="r", finished=True)
    return await table.ask(0, Step("bet", "too much", 5000), round_name="r")


async def a_game_that_was_switched_off(table: Table) -> Answer:
    await table.ask(0, Step("bet", "bet", 10), round_name="r")
    async with open_cell(table.house.database) as cell, cell.transaction(table.house.scope) as session:
        await games.set_game_enabled(
            session, table.house.scope, GAME, enabled=False, actor=TESTER, origin=make_origin()
        )
    return await table.ask(0, Step("bet", "more", 10), round_name="s")


Scenario = Callable[[Table], Awaitable[Answer]]
SCENARIOS: tuple[tuple[Scenario, Answer, Answer], ...] = (
    (a_balance_that_moved, Answer(None, 1_500), Answer(None, 1_000)),
    (
        a_repeat_that_another_process_booked,
        Answer(None, 990, (2,)),
        Answer(Refusal.SESSION_INVALID.value, 990),
    ),
    (a_round_that_was_finished, Answer(Refusal.ROUND_CLOSED.value, 990), Answer(None, 980, (3,))),
    (
        a_bet_beyond_means_in_a_round_that_was_finished,
        Answer(Refusal.ROUND_CLOSED.value, 990),
        Answer(Refusal.INSUFFICIENT_FUNDS.value, 990),
    ),
    (a_game_that_was_switched_off, Answer(Refusal.GAME_FORBIDDEN.value, 990), Answer(None, 980, (3,))),
)
"""What happens, what is answered, and what would be answered if nobody held the statement to what it expects."""


@pytest.mark.parametrize("held", [True, False], ids=["held", "not held"])
@pytest.mark.parametrize(("scenario", "right", "wrong"), SCENARIOS, ids=[each[0].__name__ for each in SCENARIOS])
async def test_a_statement_is_held_to_what_it_expects(
    house: House, scenario: Scenario, right: Answer, wrong: Answer, *, held: bool
) -> None:
    (seat,) = await house.add_players(1)
    await fund(house, [seat], 1_000)
    if not held:
        await house.administer(NOTHING_IS_EXPECTED)
    table = Table(house, seat)
    async with running(*table.lanes):
        assert (await table.ask(0)).balance == 1_000
        assert await scenario(table) == (right if held else wrong)
