"""Players of two licences in one batch of one lane: each one's own day, each one's own order of money, and no law no bet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from tests.factories.clock import Clock
from tests.factories.databases import PlaneDatabase
from tests.factories.money import House, Seat
from tests.factories.players import make_origin, open_cell

from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, ActorKind
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Op
from pitboss.limits import service as limits
from pitboss.limits.contracts import Limit, LimitKind, Period
from pitboss.policy.contracts import PlayLaw, SpendOrder
from pitboss.wallet.contracts import WalletRequest, WalletResult
from pitboss.wallet.runtime import DatabasePoster
from pitboss.wallet.service import make_leg
from pitboss_sdk.games import Refusal

MALTA, BRAZIL = "mt_mga", "br_spa"
LAWS = {
    (1, MALTA): PlayLaw("Europe/Malta", SpendOrder.REAL_FIRST),
    (1, BRAZIL): PlayLaw("America/Sao_Paulo", SpendOrder.BONUS_FIRST),
}
INSTANT = timedelta(microseconds=1)
TESTER = Actor(ActorKind.PLAYER, "somebody")
BOUNDARIES = [
    # The first instant of a day in Malta, in summer and in winter, which is the evening before in Brazil; and the other
    # way round. From which of the two it is the boundary, and when in UTC.
    (MALTA, "2035-06-15T22:00"),
    (MALTA, "2035-12-31T23:00"),
    (MALTA, "2035-10-28T23:00"),
    (BRAZIL, "2035-06-16T03:00"),
    (BRAZIL, "2036-03-01T03:00"),
]


@pytest.fixture
async def house(cell_database: PlaneDatabase) -> AsyncIterator[House]:
    opened = House(cell_database)
    await opened.open()
    yield opened
    assert (await opened.verify()).findings == ()


@pytest.fixture
async def poster(house: House) -> AsyncIterator[DatabasePoster]:
    opened = house.make_poster(1, laws=LAWS)
    yield opened
    await opened.close()


async def post(poster: DatabasePoster, *requests: WalletRequest) -> Sequence[WalletResult]:
    """Decide requests as one batch and write it."""
    decision = await poster.decide(requests)
    await poster.write(decision)
    return decision.results


def ask(house: House, seat: Seat, op: Op, amount_minor: int) -> WalletRequest:
    return house.request(seat, op, str(new_uuid()), amount_minor)


async def bet(poster: DatabasePoster, house: House, *stakes: tuple[Seat, int]) -> list[Refusal | None]:
    results = await post(poster, *[ask(house, seat, Op.BET, amount_minor) for seat, amount_minor in stakes])
    return [result.refusal for result in results]


async def limit(house: House, seat: Seat, law: PlayLaw, amount_minor: int, kind: LimitKind = LimitKind.STAKE) -> None:
    async with open_cell(house.database) as cell, cell.transaction(house.scope) as session:
        wallet = await ledger.get_wallet(session, house.scope, seat.player_id, seat.currency)
        bound = Limit(kind, Period.DAY, amount_minor)
        await limits.set_limit(session, house.scope, wallet, bound, TESTER, make_origin(), time_zone=law.time_zone)


@pytest.mark.parametrize(("whose", "begins"), BOUNDARIES)
@pytest.mark.parametrize("kind", [LimitKind.STAKE, LimitKind.LOSS], ids=["stake", "loss"])
async def test_a_day_ends_for_the_players_of_its_licence_alone(
    house: House, poster: DatabasePoster, whose: str, begins: str, kind: LimitKind
) -> None:
    boundary = datetime.fromisoformat(begins).replace(tzinfo=UTC)
    other = BRAZIL if whose == MALTA else MALTA
    (turning,) = await house.add_players(1, licence=whose)
    (staying,) = await house.add_players(1, licence=other)
    with Clock(house.database).taken_over() as clock:
        await clock.set(boundary - timedelta(days=2))
        await post(poster, *[ask(house, seat, Op.DEPOSIT, 10_000) for seat in (turning, staying)])
        await clock.set(boundary - INSTANT)
        await limit(house, turning, LAWS[1, whose], 100, kind)
        await limit(house, staying, LAWS[1, other], 100, kind)
        poster.drop()  # what it remembers is from before the limits
        assert await bet(poster, house, (turning, 100), (staying, 60)) == [None, None]
        assert await bet(poster, house, (staying, 41), (turning, 1)) == [Refusal.LIMIT_REACHED] * 2
        await clock.set(boundary)
        # One batch, two days: the one may stake anew, the other what was left of hers.
        assert await bet(poster, house, (turning, 60), (staying, 41)) == [None, Refusal.LIMIT_REACHED]
        assert await bet(poster, house, (staying, 40), (turning, 41)) == [None, Refusal.LIMIT_REACHED]
        assert await bet(poster, house, (turning, 40), (staying, 1)) == [None, Refusal.LIMIT_REACHED]


async def test_money_is_spent_in_the_order_of_each_players_licence(house: House, poster: DatabasePoster) -> None:
    (maltese,) = await house.add_players(1, licence=MALTA)
    (brazilian,) = await house.add_players(1, licence=BRAZIL)
    for op in (Op.DEPOSIT, Op.AWARD):
        await post(poster, *[ask(house, seat, op, 100) for seat in (maltese, brazilian)])
    results = await post(poster, *[ask(house, seat, Op.BET, 30) for seat in (maltese, brazilian)])
    assert [(result.legs[0].d_real, result.legs[0].d_bonus) for result in results] == [(-30, 0), (0, -30)]


@pytest.mark.parametrize("limited", [False, True], ids=["", "limited"])
async def test_who_is_under_a_law_that_is_gone_plays_and_deposits_no_more(house: House, *, limited: bool) -> None:
    laws = dict(LAWS)
    poster = house.make_poster(1, laws=laws)
    (seat,) = await house.add_players(1, licence=BRAZIL)
    (other,) = await house.add_players(1, licence=MALTA)
    await post(poster, *[ask(house, each, Op.DEPOSIT, 100) for each in (seat, other)])
    if limited:
        await limit(house, seat, LAWS[1, BRAZIL], 50)
        poster.drop()
    del laws[1, BRAZIL]
    both = [ask(house, each, op, 10) for each in (seat, other) for op in (Op.BET, Op.DEPOSIT)]
    away = Refusal.UNAVAILABLE
    assert [result.refusal for result in await post(poster, *both)] == [away, away, None, None]
    if not limited:
        # What is the player's own stays so: it can be held for a withdrawal.
        until = datetime.now(UTC) + timedelta(days=1)
        leg = make_leg(Op.HOLD, seat.wallet_id, "withdrawal", 100, 0, expires_at=until)
        (held,) = await post(poster, WalletRequest(1, seat.wallet_id, house.source_id, (leg,)))
        assert held.refusal is None
    # It was not for good: the same calls succeed when the law is known again.
    laws[1, BRAZIL] = LAWS[1, BRAZIL]
    again = [result.refusal for result in await post(poster, *reversed(both[:2]))]
    assert again == [None, None]
    await poster.close()
