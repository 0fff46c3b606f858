"""Every figure on the day before, on and after, held by postings: windows, waits, exclusions and their time zones.

Moments are written as a calendar and a clock on the wall would show them, and as UTC has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.factories.clock import Clock
from tests.factories.databases import PlaneDatabase
from tests.factories.money import House, Seat, running
from tests.factories.players import make_origin, open_cell

from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, ActorKind
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Op
from pitboss.limits import service as limits
from pitboss.limits.contracts import Exclusion, LimitKind, Period, PlayerLimit
from pitboss.platform.db import ContextSigner, Database, LaneConnections
from pitboss.policy.contracts import EffectivePolicy, PlayLaw, SpendOrder, TenantPolicy
from pitboss.policy.service import resolve_policy
from pitboss.wallet.runtime import DatabasePoster, Lane
from pitboss_sdk.games import Refusal

PLAYER = Actor(ActorKind.PLAYER, "somebody")
MALTA, BRAZIL = "Europe/Malta", "America/Sao_Paulo"
INSTANT = timedelta(microseconds=1)
FUNDS_MINOR = 100_000


def utc(text: str) -> datetime:
    """Return a moment of UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass
class Desk:
    """Players whose money moves through a lane that counts days in a time zone, at whatever moment."""

    house: House
    cell: Database
    clock: Clock
    lane: Lane
    zone: str

    async def seat(self) -> Seat:
        (seat,) = await self.house.add_players(1)
        return seat

    async def ask(
        self, seat: Seat, op: Op, amount_minor: int, reference: str = "", reverses: str = ""
    ) -> Refusal | None:
        request = self.house.request(seat, op, reference or str(new_uuid()), amount_minor, reverses)
        return (await self.lane.submit(request)).refusal

    async def change(self, seat: Seat, kind: LimitKind, period: Period, amount_minor: int | None) -> PlayerLimit | None:
        scope = self.house.scope
        async with self.cell.transaction(scope) as session:
            wallet = await ledger.get_wallet(session, scope, seat.player_id, seat.currency)
            return await limits.change_limit(
                session,
                scope,
                wallet,
                kind,
                period,
                amount_minor,
                policy=self.policy,
                actor=PLAYER,
                origin=make_origin(),
            )

    async def exclude(self, seat: Seat, *, months: int | None = None, days: int | None = None) -> Exclusion:
        scope = self.house.scope
        async with self.cell.transaction(scope) as session:
            return await limits.exclude(
                session,
                scope,
                seat.player_id,
                months=months,
                days=days,
                policy=self.policy,
                actor=PLAYER,
                origin=make_origin(),
            )

    @property
    def policy(self) -> EffectivePolicy:
        """The platform's defaults in this desk's time zone; exclusions of a month are allowed."""
        policy = resolve_policy(TenantPolicy(), None, utc("2035-01-01").date())
        return msgspec.structs.replace(policy, time_zone=self.zone, exclusion_minimum_months=1)


@pytest.fixture(scope="module")
def house(module_cell_database: PlaneDatabase) -> Iterator[House]:
    """One tenant for all; whatever happened, its books are right at the end."""
    opened = House(module_cell_database)
    asyncio.run(opened.open())
    yield opened
    assert asyncio.run(opened.verify()).findings == ()


@pytest.fixture
async def desk(request: pytest.FixtureRequest, house: House) -> AsyncIterator[Desk]:
    zone: str = request.param
    signer = ContextSigner(house.database.context_keys)
    store = LaneConnections(house.database.app_url, "boundaries", signer)
    number = int(new_uuid().hex[:4], 16)
    lane = Lane(DatabasePoster(number, store, laws={(house.scope.tenant_id, ""): PlayLaw(zone, SpendOrder.REAL_FIRST)}))
    with Clock(house.database).taken_over() as clock:
        async with open_cell(house.database) as cell, running(lane):
            yield Desk(house, cell, clock, lane, zone)


WINDOWS = [
    # An ordinary day, and the day, week and month in which clocks go forward, in which they go back, and with a leap day.
    (MALTA, Period.DAY, "2035-06-14T22:00", "2035-06-15T22:00"),
    (MALTA, Period.DAY, "2035-03-24T23:00", "2035-03-25T22:00"),
    (MALTA, Period.DAY, "2035-10-27T22:00", "2035-10-28T23:00"),
    (MALTA, Period.DAY, "2036-02-28T23:00", "2036-02-29T23:00"),
    (MALTA, Period.WEEK, "2035-03-18T23:00", "2035-03-25T22:00"),
    (MALTA, Period.WEEK, "2035-10-21T22:00", "2035-10-28T23:00"),
    (MALTA, Period.WEEK, "2036-02-24T23:00", "2036-03-02T23:00"),
    (MALTA, Period.WEEK, "2035-12-30T23:00", "2036-01-06T23:00"),
    (MALTA, Period.MONTH, "2035-02-28T23:00", "2035-03-31T22:00"),
    (MALTA, Period.MONTH, "2035-09-30T22:00", "2035-10-31T23:00"),
    (MALTA, Period.MONTH, "2036-01-31T23:00", "2036-02-29T23:00"),
    (MALTA, Period.MONTH, "2035-01-31T23:00", "2035-02-28T23:00"),
    (BRAZIL, Period.DAY, "2035-10-28T03:00", "2035-10-29T03:00"),
    (BRAZIL, Period.DAY, "2036-02-29T03:00", "2036-03-01T03:00"),
    (BRAZIL, Period.WEEK, "2036-02-25T03:00", "2036-03-03T03:00"),
    (BRAZIL, Period.MONTH, "2036-02-01T03:00", "2036-03-01T03:00"),
    (BRAZIL, Period.MONTH, "2035-12-01T03:00", "2036-01-01T03:00"),
]
"""Where, how long, and from when (UTC) to when: the first moment of the window and the first after it."""
USING = {LimitKind.DEPOSIT: Op.DEPOSIT, LimitKind.STAKE: Op.BET, LimitKind.LOSS: Op.BET}


@pytest.mark.parametrize("kind", list(LimitKind), ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize(("desk", "period", "begins", "ends"), WINDOWS, indirect=["desk"])
async def test_a_window_begins_and_ends_in_its_very_instant(
    desk: Desk, kind: LimitKind, period: Period, begins: str, ends: str
) -> None:
    first, following, op = utc(begins), utc(ends), USING[kind]
    seat = await desk.seat()
    await desk.clock.set(first - timedelta(days=40))
    assert await desk.ask(seat, Op.DEPOSIT, FUNDS_MINOR) is None
    await desk.clock.set(first - INSTANT)
    await desk.change(seat, kind, period, 100)
    # The day before: its window is used up, and the next one is not.
    assert await desk.ask(seat, op, 100) is None
    assert await desk.ask(seat, op, 1) is Refusal.LIMIT_REACHED
    await desk.clock.set(first)
    assert await desk.ask(seat, op, 60) is None
    assert await desk.ask(seat, op, 41) is Refusal.LIMIT_REACHED
    await desk.clock.set(first + (following - first) / 2)
    assert await desk.ask(seat, op, 41) is Refusal.LIMIT_REACHED
    assert await desk.ask(seat, op, 30) is None
    await desk.clock.set(following - INSTANT)
    assert await desk.ask(seat, op, 11) is Refusal.LIMIT_REACHED
    assert await desk.ask(seat, op, 10) is None
    await desk.clock.set(following)
    assert await desk.ask(seat, op, 101) is Refusal.LIMIT_REACHED
    assert await desk.ask(seat, op, 100) is None
    assert await desk.ask(seat, op, 1) is Refusal.LIMIT_REACHED


@pytest.mark.parametrize("kind", list(LimitKind), ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize(("desk", "period", "begins", "ends"), WINDOWS, indirect=["desk"])
async def test_a_new_limit_counts_from_the_first_instant_of_its_window(
    desk: Desk, kind: LimitKind, period: Period, begins: str, ends: str
) -> None:
    """What was used before there was a limit comes from the journal; the instant before the window is no part of it."""
    first, following, op = utc(begins), utc(ends), USING[kind]
    seat = await desk.seat()
    await desk.clock.set(first - timedelta(days=40))
    assert await desk.ask(seat, Op.DEPOSIT, FUNDS_MINOR) is None
    for moment, amount_minor in ((first - INSTANT, 1000), (first, 60)):
        await desk.clock.set(moment)
        assert await desk.ask(seat, op, amount_minor) is None
    await desk.clock.set(following - INSTANT)
    await desk.change(seat, kind, period, 100)
    assert await desk.ask(seat, op, 41) is Refusal.LIMIT_REACHED
    assert await desk.ask(seat, op, 40) is None
    await desk.clock.set(following)
    assert await desk.ask(seat, op, 101) is Refusal.LIMIT_REACHED
    assert await desk.ask(seat, op, 100) is None


UNDONE = [
    (MALTA, Period.DAY, "2035-06-15T22:00"),
    (MALTA, Period.DAY, "2035-10-28T23:00"),
    (MALTA, Period.WEEK, "2035-03-25T22:00"),
    (BRAZIL, Period.MONTH, "2036-03-01T03:00"),
]


@pytest.mark.parametrize("kind", [LimitKind.STAKE, LimitKind.LOSS], ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize("limited_late", [False, True], ids=["", "limited late"])
@pytest.mark.parametrize(("desk", "period", "begins"), UNDONE, indirect=["desk"])
async def test_what_is_undone_later_leaves_no_more_to_stake(
    desk: Desk, kind: LimitKind, period: Period, begins: str, *, limited_late: bool
) -> None:
    first, seat = utc(begins), await desk.seat()
    bets = [str(new_uuid()) for _ in range(3)]
    await desk.clock.set(first - timedelta(days=1))
    assert await desk.ask(seat, Op.DEPOSIT, FUNDS_MINOR) is None
    if not limited_late:
        await desk.change(seat, kind, period, 100)
    await desk.clock.set(first - INSTANT)
    assert await desk.ask(seat, Op.BET, 100, bets[0]) is None
    await desk.clock.set(first)
    assert await desk.ask(seat, Op.BET_ROLLBACK, 0, reverses=bets[0]) is None
    if limited_late:
        await desk.change(seat, kind, period, 100)
    assert await desk.ask(seat, Op.BET, 60, bets[1]) is None
    assert await desk.ask(seat, Op.BET, 41) is Refusal.LIMIT_REACHED
    # What was staked in the window and is undone in it may be staked again.
    assert await desk.ask(seat, Op.BET_ROLLBACK, 0, reverses=bets[1]) is None
    assert await desk.ask(seat, Op.BET, 100) is None
    assert await desk.ask(seat, Op.BET, 1) is Refusal.LIMIT_REACHED


@pytest.mark.parametrize("desk", [MALTA], indirect=True)
async def test_what_is_undone_in_a_longer_window_may_be_staked_again(desk: Desk) -> None:
    seat, bet = await desk.seat(), str(new_uuid())
    await desk.clock.set(utc("2035-06-12T10:00"))
    assert await desk.ask(seat, Op.DEPOSIT, FUNDS_MINOR) is None
    await desk.change(seat, LimitKind.STAKE, Period.DAY, 100)
    await desk.change(seat, LimitKind.STAKE, Period.MONTH, 150)
    assert await desk.ask(seat, Op.BET, 100, bet) is None
    await desk.clock.set(utc("2035-06-13T10:00"))
    assert await desk.ask(seat, Op.BET, 51) is Refusal.LIMIT_REACHED
    assert await desk.ask(seat, Op.BET_ROLLBACK, 0, reverses=bet) is None
    assert await desk.ask(seat, Op.BET, 101) is Refusal.LIMIT_REACHED
    assert await desk.ask(seat, Op.BET, 100) is None


WAITS = [
    # On ordinary days, over both changes of clocks, and over a leap day: 24 hours are 24 hours.
    (MALTA, "2035-06-14T09:30"),
    (MALTA, "2035-03-24T10:00"),
    (MALTA, "2035-10-27T10:00"),
    (MALTA, "2036-02-28T22:59:59"),
    (BRAZIL, "2036-02-29T02:59:59"),
]


@pytest.mark.parametrize("kind", list(LimitKind), ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize(("desk", "asked"), WAITS, indirect=["desk"])
async def test_a_looser_limit_binds_bets_until_its_hours_are_over(desk: Desk, kind: LimitKind, asked: str) -> None:
    moment, op = utc(asked), USING[kind]
    seat = await desk.seat()
    await desk.clock.set(moment - timedelta(days=70))
    assert await desk.ask(seat, Op.DEPOSIT, FUNDS_MINOR) is None
    await desk.clock.set(moment)
    await desk.change(seat, kind, Period.MONTH, 100)
    raised = await desk.change(seat, kind, Period.MONTH, 300)
    assert raised is not None
    assert raised.waiting is not None
    assert (raised.limit.amount_minor, raised.waiting.at) == (100, moment + timedelta(hours=24))
    await desk.clock.set(moment + timedelta(hours=24) - INSTANT)
    assert await desk.ask(seat, op, 101) is Refusal.LIMIT_REACHED
    await desk.clock.set(moment + timedelta(hours=24))
    assert await desk.ask(seat, op, 301) is Refusal.LIMIT_REACHED
    assert await desk.ask(seat, op, 101) is None
    # And so does its end.
    assert await desk.change(seat, kind, Period.MONTH, None) is not None
    await desk.clock.set(moment + timedelta(hours=48) - INSTANT)
    assert await desk.ask(seat, op, 301) is Refusal.LIMIT_REACHED
    await desk.clock.set(moment + timedelta(hours=48))
    assert await desk.ask(seat, op, 301) is None


EXCLUSIONS = [
    # The end of the same day of the last month; where that month is too short, of the first day of the month after.
    (MALTA, "2035-05-15T10:00", 1, "2035-06-15T22:00"),
    (MALTA, "2036-01-29T10:00", 1, "2036-02-29T23:00"),
    (MALTA, "2036-01-30T10:00", 1, "2036-03-01T23:00"),
    (MALTA, "2036-01-31T10:00", 1, "2036-03-01T23:00"),
    (MALTA, "2036-02-29T10:00", 12, "2037-03-01T23:00"),
    (MALTA, "2036-02-29T10:00", 1, "2036-03-29T23:00"),
    (MALTA, "2036-02-29T10:00", 48, "2040-02-29T23:00"),
    (MALTA, "2035-02-25T10:00", 1, "2035-03-25T22:00"),
    (MALTA, "2035-09-28T10:00", 1, "2035-10-28T23:00"),
    (MALTA, "2035-08-31T22:30", 6, "2036-03-01T23:00"),
    (BRAZIL, "2036-02-29T10:00", 12, "2037-03-02T03:00"),
    (BRAZIL, "2036-03-01T02:00", 12, "2037-03-02T03:00"),
    (BRAZIL, "2035-12-31T10:00", 2, "2036-03-02T03:00"),
]


@pytest.mark.parametrize(("desk", "asked", "months", "over"), EXCLUSIONS, indirect=["desk"])
async def test_an_exclusion_ends_with_its_last_day_and_not_before(
    desk: Desk, asked: str, months: int, over: str
) -> None:
    seat = await desk.seat()
    await desk.clock.set(utc(asked) - INSTANT)
    assert await desk.ask(seat, Op.DEPOSIT, FUNDS_MINOR) is None
    assert await desk.ask(seat, Op.BET, 1) is None
    await desk.clock.set(utc(asked))
    assert (await desk.exclude(seat, months=months)).ends_at == utc(over)
    for moment in (utc(asked), utc(over) - timedelta(days=1), utc(over) - INSTANT):
        await desk.clock.set(moment)
        assert await desk.ask(seat, Op.BET, 1) is Refusal.PLAYER_BLOCKED
        assert await desk.ask(seat, Op.DEPOSIT, 1) is Refusal.PLAYER_BLOCKED
    await desk.clock.set(utc(over))
    assert await desk.ask(seat, Op.BET, 1) is None
    assert await desk.ask(seat, Op.DEPOSIT, 1) is None


@pytest.mark.parametrize(
    ("desk", "asked"), [(MALTA, "2035-03-24T10:00"), (MALTA, "2036-02-28T10:00")], indirect=["desk"]
)
async def test_a_pause_of_days_is_a_pause_of_hours(desk: Desk, asked: str) -> None:
    seat = await desk.seat()
    await desk.clock.set(utc(asked))
    assert await desk.ask(seat, Op.DEPOSIT, FUNDS_MINOR) is None
    await desk.exclude(seat, days=1)
    await desk.clock.set(utc(asked) + timedelta(days=1) - INSTANT)
    assert await desk.ask(seat, Op.BET, 1) is Refusal.PLAYER_BLOCKED
    await desk.clock.set(utc(asked) + timedelta(days=1))
    assert await desk.ask(seat, Op.BET, 1) is None
