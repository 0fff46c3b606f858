"""What a lane remembers is never what it answers by, once somebody else has changed it: on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random
from uuid import UUID

import pytest
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories.money import House, Seat, running
from tests.factories.players import make_origin, open_cell
from tests.integration.wallet.conftest import CountsDeadlocks, changing, fund, make, wait_for_a_lock
from tests.property.asks import read_answer
from tests.property.model import Answer, Ask, Model, Purse, Step

from pitboss.games import service as games
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, ActorKind
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Op, WalletStatus
from pitboss.limits import service as limits
from pitboss.limits.contracts import Limit, LimitKind, Period
from pitboss.policy.contracts import LicenceKey, PlayLaw, SpendOrder
from pitboss.wallet.contracts import WalletRequest
from pitboss.wallet.errors import LanesBusy
from pitboss.wallet.runtime import Lane, Lanes
from pitboss.wallet.service import make_leg, post_movement
from pitboss_sdk.games import Refusal

TESTER = Actor(ActorKind.OPERATOR, "tester")
Change = Callable[[AsyncSession, House, Seat], Awaitable[None]]


async def play(lane: Lane, request: WalletRequest) -> Answer:
    return read_answer(await lane.submit(request))


async def test_a_law_that_is_not_known_is_not_guessed(house: House) -> None:
    limited, other = await house.add_players(2)
    await fund(house, [limited, other])
    async with changing(house) as session:
        await lower_limit(session, house, limited)
    laws: dict[LicenceKey, PlayLaw] = {}
    lane = Lane(house.make_poster(1, laws=laws))
    async with running(lane):
        bet, neighbour = (
            lane.submit(make(house, seat, Step("bet", f"bet {seat.wallet_id}", 10), round_name="r"))
            for seat in (limited, other)
        )
        assert read_answer(await bet) == Answer(Refusal.UNAVAILABLE.value, None)
        assert read_answer(await neighbour).refusal == Refusal.UNAVAILABLE.value
        for seat in (limited, other):
            leg = make_leg(Op.DEPOSIT, seat.wallet_id, f"by hand {seat.wallet_id}", 5, house.revenue[seat.currency])
            with pytest.raises(LanesBusy):
                await post_movement(
                    Lanes([lane]), house.scope, source_id=house.source_id, leg=leg, wallet_id=seat.wallet_id
                )
        # What is the player's own stays so: it can be held for a withdrawal.
        held = WalletRequest(
            other.tenant_id,
            other.wallet_id,
            house.source_id,
            (make_leg(Op.HOLD, other.wallet_id, "hold", 5, 0, expires_at=utc_now() + timedelta(days=1)),),
        )
        assert (await lane.submit(held)).refusal is None
        laws[limited.tenant_id, ""] = PlayLaw("Europe/Malta", SpendOrder.REAL_FIRST)
        again = lane.submit(make(house, limited, Step("bet", f"bet {limited.wallet_id}", 10), round_name="r"))
        assert read_answer(await again).balance == 9_990
        again = lane.submit(make(house, other, Step("bet", f"bet {other.wallet_id}", 10), round_name="r"))
        assert read_answer(await again).balance == 9_985


async def block(session: AsyncSession, house: House, seat: Seat) -> None:
    await ledger.set_wallet_status(session, house.scope, seat.player_id, WalletStatus.BLOCKED)


async def lower_limit(session: AsyncSession, house: House, seat: Seat) -> None:
    wallet = await ledger.get_wallet(session, house.scope, seat.player_id, seat.currency)
    limit = Limit(LimitKind.STAKE, Period.MONTH, 15)
    await limits.set_limit(session, house.scope, wallet, limit, TESTER, make_origin())


async def fail_session(session: AsyncSession, house: House, seat: Seat) -> None:
    await games.finish_launch(session, house.scope, UUID(seat.session), opened=False)


async def exclude(session: AsyncSession, house: House, seat: Seat) -> None:
    await ledger.close_wallets(session, house.scope, seat.player_id, utc_now() + timedelta(days=1))


CHANGES: dict[str, tuple[Change, str]] = {
    "excluded": (exclude, Refusal.PLAYER_BLOCKED.value),
    "blocked": (block, Refusal.PLAYER_BLOCKED.value),
    "limited": (lower_limit, Refusal.LIMIT_REACHED.value),
    "session failed": (fail_session, Refusal.SESSION_INVALID.value),
}
WITHOUT_A_ROW = """
create or replace function ledger_change_terms(its_tenant bigint, its_wallet bigint, new_status smallint,
    limited boolean, closes boolean, new_closed_until timestamptz)
returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
    update public.wallet w set status = coalesce(new_status, w.status), has_limits = coalesce(limited, w.has_limits),
        closed_until = case when closes then new_closed_until else w.closed_until end
    where w.tenant_id = its_tenant and w.wallet_id = its_wallet
$$
"""
"""The function as it must not be: it changes marks and takes no version."""


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("guarded", [True, False], ids=["", "without its guard"])
async def test_what_changed_behind_a_lane_takes_no_bet(house: House, change: str, *, guarded: bool) -> None:
    (seat,) = await house.add_players(1)
    await fund(house, [seat])
    if not guarded:
        await house.administer(WITHOUT_A_ROW)
    lane = Lane(house.make_poster(1))
    what, refusal = CHANGES[change]
    async with running(lane):
        assert await play(lane, make(house, seat, Step("bet", "first", 10), round_name="r")) == Answer(
            None, 9_990, (2,)
        )
        async with changing(house) as session:
            await what(session, house, seat)
        second = await play(lane, make(house, seat, Step("bet", "second", 10), round_name="r"))
    assert second.refusal == (refusal if guarded else None)
    assert second.balance == (9_990 if guarded else 9_980)


@pytest.mark.parametrize("change", CHANGES)
async def test_a_bet_waits_for_a_change_under_way_and_is_refused(house: House, change: str) -> None:
    (seat,) = await house.add_players(1)
    await fund(house, [seat])
    lane = Lane(house.make_poster(1))
    what, refusal = CHANGES[change]
    async with running(lane):
        await play(lane, make(house, seat, Step("bet", "first", 10), round_name="r"))
        async with changing(house) as session:
            await what(session, house, seat)
            second = lane.submit(make(house, seat, Step("bet", "second", 10), round_name="r"))
            await wait_for_a_lock(house)
            assert not second.done()
        answer = read_answer(await second)
    assert (answer.refusal, answer.balance) == (refusal, 9_990)


async def test_a_limit_that_is_set_while_one_is_used_does_not_deadlock(house: House) -> None:
    (seat,) = await house.add_players(1)
    await fund(house, [seat])
    async with changing(house) as session:
        await lower_limit(session, house, seat)
    poster = CountsDeadlocks(house.make_poster(1))
    lane = Lane(poster)
    async with running(lane):
        await play(lane, make(house, seat, Step("bet", "first", 5), round_name="r"))
        async with changing(house) as session:
            await ledger.change_terms(session, house.scope, seat.wallet_id)
            second = lane.submit(make(house, seat, Step("bet", "second", 5), round_name="r"))
            await wait_for_a_lock(house)
            await lower_limit(session, house, seat)
        answer = read_answer(await second)
    assert (answer.refusal, answer.balance) == (None, 9_990)
    assert poster.deadlocks == 0


async def test_two_processes_in_turn_over_the_same_wallets_answer_as_one_would(house: House) -> None:
    seats = await house.add_players(3)
    model = Model()
    for seat in seats:
        model.purses[seat.wallet_id] = Purse()
        model.sessions[seat.session] = seat.wallet_id
    lanes = [Lane(house.make_poster(1, "web a")), Lane(house.make_poster(1, "web b"))]
    rng, sent = Random(11), list[tuple[Seat, Ask]]()
    async with running(*lanes):
        for number in range(300):
            seat = rng.choice(seats)
            steps = [Step(rng.choice(("bet", "bet", "deposit")), f"step-{number}", rng.randrange(1, 400))]
            bets = [ask.steps[0].ref for owner, ask in sent if owner is seat and ask.steps[0].op == "bet"]
            if bets and rng.random() < 0.4:
                steps = [Step("rollback", f"back-{number}", 0, rng.choice(bets))]
            ask = Ask(seat.wallet_id, house.source_id, tuple(steps))
            if sent and rng.random() < 0.2:
                seat, ask = rng.choice(sent)
            sent.append((seat, ask))
            answer, wanted = await play(lanes[number % 2], make(house, seat, *ask.steps)), model.ask(ask)
            assert (answer.refusal, answer.balance) == (wanted.refusal, wanted.balance), (number, ask)
    rows = await house.administer("select wallet_id, version, real_minor from wallet")
    assert {row[0]: (row[1], row[2]) for row in rows} == {
        wallet: (len(purse.rows), purse.real) for wallet, purse in model.purses.items()
    }


async def test_a_repeated_call_is_told_what_was_booked_whoever_asks_and_whatever_has_ended(house: House) -> None:
    (seat,) = await house.add_players(1)
    await fund(house, [seat])
    posters = [house.make_poster(1, "web a"), house.make_poster(1, "web b")]
    lanes = [Lane(poster) for poster in posters]
    bet = make(house, seat, Step("bet", "bet", 10), round_name="r")
    async with running(*lanes):
        first = await play(lanes[0], bet)
        assert first == Answer(None, 9_990, (2,))
        await play(lanes[1], make(house, seat, Step("deposit", "more", 1)))  # the other lane knows the wallet by now
        async with changing(house) as session:
            await fail_session(session, house, seat)
        await play(lanes[1], make(house, seat, Step("deposit", "even more", 1)))
        assert await play(lanes[1], bet) == first
        posters[0].drop()  # and this one forgets everything
        await play(lanes[0], make(house, seat, Step("deposit", "most", 1)))
        assert await play(lanes[0], bet) == first


async def test_legs_that_another_process_booked_are_not_booked_again_for_the_rest(house: House) -> None:
    (seat,) = await house.add_players(1)
    await fund(house, [seat], 100)
    lanes = [Lane(house.make_poster(1, "web a")), Lane(house.make_poster(1, "web b"))]
    steps = (Step("bet", "b1", 60), Step("bet", "b2", 30))
    async with running(*lanes):
        assert (await play(lanes[0], make(house, seat, steps[0], round_name="r"))).balance == 40
        assert (await play(lanes[1], make(house, seat, round_name="r"))).balance == 40
        assert await play(lanes[1], make(house, seat, *steps, round_name="r")) == Answer(None, 10, (2, 3))


def hold_of(house: House, seat: Seat) -> WalletRequest:
    leg = make_leg(Op.HOLD, seat.wallet_id, "hold", 500, house.revenue["EUR"], expires_at=utc_now() + timedelta(days=1))
    return WalletRequest(seat.tenant_id, seat.wallet_id, house.source_id, (leg,))


@pytest.mark.parametrize("together", ["in one batch", "in one request"])
async def test_a_hold_that_is_opened_and_resolved_at_once(house: House, together: str) -> None:
    (seat,) = await house.add_players(1)
    await fund(house, [seat])
    hold = hold_of(house, seat)
    capture = house.request(seat, Op.CAPTURE, "capture", 200, "hold")
    void = house.request(seat, Op.VOID, "void", 0, "hold")
    requests = [hold, capture, void]
    if together == "in one request":
        requests = [
            WalletRequest(hold.tenant_id, hold.wallet_id, hold.source_id, [leg for r in requests for leg in r.legs])
        ]
    lane = Lane(house.make_poster(1))
    answers = [lane.submit(request) for request in requests]
    async with running(lane):
        assert [(await answer).refusal for answer in answers] == [None] * len(requests)
    rows = await house.administer("select amount_minor, captured_minor, released_minor, state from hold")
    assert [tuple(row) for row in rows] == [(500, 200, 300, 2)]
    (wallet,) = await house.administer("select real_minor, held_minor from wallet")
    assert tuple(wallet) == (9_800, 0)


@pytest.mark.parametrize("together", ["in one batch", "in the next batch"])
async def test_an_award_is_spent_as_soon_as_it_is_granted(house: House, together: str) -> None:
    (seat,) = await house.add_players(1)
    lane = Lane(house.make_poster(1))
    steps = (Step("award", "a1", 300), Step("award", "a2", 50), Step("bet", "b", 310), Step("rollback", "r", 0, "b"))
    requests = [make(house, seat, step) for step in (*steps, Step("bet", "b2", 320))]
    if together == "in one batch":
        answers = [lane.submit(request) for request in requests]
        async with running(lane):
            balances = [(await answer).balance_minor for answer in answers]
    else:
        async with running(lane):
            balances = [(await play(lane, request)).balance for request in requests]
    assert balances == [300, 350, 40, 350, 30]
    rows = await house.administer("select remaining_minor, wagered_minor from award order by granted_version")
    assert [tuple(row) for row in rows] == [(0, 300), (30, 20)]


WALLET_FIRST = """
create or replace function ledger_change_terms(its_tenant bigint, its_wallet bigint, new_status smallint,
    limited boolean, closes boolean, new_closed_until timestamptz)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update public.wallet w set status = w.status where w.tenant_id = its_tenant and w.wallet_id = its_wallet;
    insert into public.journal (tenant_id, wallet_id, version, op, account_id, source_id, d_real, d_bonus, d_held,
        d_debt, real_after, bonus_after, held_after, debt_after, reference, batch_id)
    select w.tenant_id, w.wallet_id, w.version + 1, 12, 0, 0, 0, 0, 0, 0, w.real_minor, w.bonus_minor, w.held_minor,
        w.debt_minor, '', 0
    from public.wallet w where w.tenant_id = its_tenant and w.wallet_id = its_wallet;
end
$$
"""
"""The function as it must not be: it locks the wallet before it takes the version, a posting the other way round."""
DEADLOCKS = """
select pg_stat_force_next_flush()::text,
    (select deadlocks from pg_stat_database where datname = current_database())
"""


async def crowd(house: House, seats: list[Seat], name: str) -> tuple[set[str | None], int]:
    """Let players bet over three lanes while terms change; return what they were told and how often terms changed."""
    lanes = [Lane(house.make_poster(number)) for number in range(3)]
    rng, over = Random(5), asyncio.Event()
    told: set[str | None] = set()

    async def bet(number: int) -> None:
        for turn in range(60):
            request = make(house, rng.choice(seats), Step("bet", f"{name}-{number}-{turn}", 3))
            for _ in range(5):
                with contextlib.suppress(LanesBusy):
                    told.add((await play(lanes[(number + turn) % 3], request)).refusal)
                    break
            else:
                told.add("not answered")

    async def disturb(number: int) -> int:
        changed = 0
        async with open_cell(house.database) as cell:
            while not over.is_set():
                # Several wallets in one transaction, always in the order of their numbers.
                chosen = seats if number == 0 else [rng.choice(seats)]
                try:
                    async with cell.transaction(house.scope) as session:
                        for seat in chosen:
                            await ledger.change_terms(session, house.scope, seat.wallet_id)
                    changed += len(chosen)
                except DBAPIError:
                    told.add("not changed")
                await asyncio.sleep(0.005)
        return changed

    with structlog.testing.capture_logs():
        async with running(*lanes):
            disturbers = [asyncio.create_task(disturb(number)) for number in range(3)]
            await asyncio.wait_for(asyncio.gather(*[bet(number) for number in range(12)]), timeout=180)
            over.set()
            changes = sum(await asyncio.gather(*disturbers))
    return told, changes


async def test_terms_change_in_a_crowd_of_lanes_and_nobody_waits_for_ever(house: House) -> None:
    seats = await house.add_players(6)
    await fund(house, seats, 100_000)
    told, changes = await crowd(house, seats, "bet")
    assert told == {None}
    assert changes > 5
    (terms,) = await house.administer("select count(*) from journal where op = 12")
    assert terms[0] == changes
    (deadlocks,) = await house.administer(DEADLOCKS)
    assert deadlocks[1] == 0
    rows = await house.administer("select sum(real_minor) from wallet")
    assert rows[0][0] == 600_000 - 12 * 60 * 3


async def test_terms_that_take_the_wallet_first_wait_for_lanes_that_wait_for_them(house: House) -> None:
    seats = await house.add_players(6)
    await fund(house, seats, 100_000)
    await house.administer(WALLET_FIRST)
    for number in range(10):
        await crowd(house, seats, f"bet-{number}")
        (deadlocks,) = await house.administer(DEADLOCKS)
        if deadlocks[1]:
            return
    raise AssertionError("the crowd is too small to see a deadlock")
