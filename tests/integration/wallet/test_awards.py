"""Awards on a real server: whatever happens at once, money is staked, turned real or taken back, and only once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.factories.money import House, Seat, running
from tests.factories.players import make_origin, open_cell
from tests.integration.wallet.conftest import fund

from pitboss.bonus import service as bonus
from pitboss.bonus.contracts import Award, AwardOrder
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, ActorKind
from pitboss.kernel.statements import WritePart
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Finding, Op
from pitboss.ledger.store import posting
from pitboss.platform.db import ContextSigner, LaneConnections
from pitboss.policy.contracts import PlayLaw, SpendOrder, TenantPolicy
from pitboss.policy.service import resolve_policy
from pitboss.wallet.contracts import WalletRequest, WalletResult
from pitboss.wallet.runtime import DatabasePoster, Lane, Lanes
from pitboss.wallet.service import make_leg, settle_ended_awards
from pitboss_sdk.games import Refusal

TESTER = Actor(ActorKind.OPERATOR, "tester")
POLICY = resolve_policy(TenantPolicy(), None, datetime.now(UTC).date())
Meanwhile = Callable[[], Awaitable[object]]


class Disturbed(LaneConnections):
    """A lane's connection on which something happens between the decision and the first write."""

    def __init__(self, house: House, meanwhile: Meanwhile | None = None, *, without: str = "") -> None:
        super().__init__(house.database.app_url, "disturbed lane", ContextSigner(house.database.context_keys))
        self.meanwhile = meanwhile
        self._without = without
        self.writes = 0

    async def write(self, tenant_ids: frozenset[int], parts: Sequence[WritePart]) -> None:
        """Let it happen once, then write, without the check that is to be missed."""
        self.writes += 1
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        await super().write(tenant_ids, [part for part in parts if part.sql or part.check != self._without])


async def order(house: House, seat: Seat, amount: int, required: int, lasts: timedelta = timedelta(days=1)) -> Award:
    """Write down an award; one that is to end soon is written so past the use case."""
    async with open_cell(house.database) as cell, cell.transaction(house.scope) as session:
        wallet = await ledger.get_wallet(session, house.scope, seat.player_id, seat.currency)
        wanted = AwardOrder(str(new_uuid()), amount, required, datetime.now(UTC) + timedelta(days=1), "welcome")
        found = await bonus.award(
            session, house.scope, wallet, wanted, policy=POLICY, actor=TESTER, origin=make_origin()
        )
    if lasts < timedelta(days=1):
        await house.administer(
            "update award_terms set ordered_at = now() - interval '1 day', expires_at = clock_timestamp() + $2"
            " where award_id = $1",
            found.award_id,
            lasts,
        )
    return found


def grant(house: House, seat: Seat, award: Award) -> WalletRequest:
    reference, amount = award.booking_reference, award.order.amount_minor
    leg = make_leg(Op.AWARD, seat.wallet_id, reference, amount, house.revenue[seat.currency])
    return WalletRequest(seat.tenant_id, seat.wallet_id, house.source_id, (leg,))


def lane_over(store: LaneConnections, number: int = 1, order: SpendOrder = SpendOrder.BONUS_FIRST) -> Lane:
    return Lane(DatabasePoster(number, store, laws={(1, ""): PlayLaw("UTC", order)}))


async def journal(house: House, seat: Seat) -> list[tuple[int, int, int]]:
    """Return (op, real, bonus) of every booking that moved something."""
    rows = await house.administer(
        "select op, d_real, d_bonus from journal where wallet_id = $1 and op <> 12 order by version", seat.wallet_id
    )
    return [tuple(row) for row in rows]


async def find_faults(house: House) -> set[str]:
    async with open_cell(house.database) as cell, cell.snapshot(house.scope) as session:
        claims = await bonus.list_claims(session, house.scope)
        found: list[Finding] = await ledger.verify_awards(session, house.scope, claims)
    return {finding.check for finding in found}


async def cancel(house: House, award: Award) -> None:
    async with open_cell(house.database) as cell, cell.transaction(house.scope) as session:
        await bonus.cancel(
            session, house.scope, award.award_id, [award.wallet_id], reason="abuse", actor=TESTER, origin=make_origin()
        )


STAKED_LATE = "nothing is staked of an award that has ended"


@pytest.mark.parametrize("without", ["", posting._NOT_ENDED], ids=["", "without its guard"])
async def test_a_bet_that_is_written_after_the_end_takes_nothing_of_the_award(house: House, without: str) -> None:
    (seat,) = await house.add_players(1)
    award = await order(house, seat, 100, 1000, timedelta(seconds=1.5))
    store = Disturbed(house, without=without)
    lane = lane_over(store)
    async with running(lane):
        assert (await lane.submit(grant(house, seat, award))).refusal is None
        store.meanwhile = lambda: asyncio.sleep(1.6)
        result = await lane.submit(house.request(seat, Op.BET, "late", 60))
    if without:
        assert (result.refusal, await find_faults(house)) == (None, {STAKED_LATE})
        return
    assert (result.refusal, result.balance_minor) == (Refusal.INSUFFICIENT_FUNDS, 0)
    assert await journal(house, seat) == [(Op.AWARD, 0, 100), (Op.AWARD_FORFEIT, 0, -100)]
    assert await find_faults(house) == set()


async def test_a_bet_that_was_decided_before_a_cancellation_takes_nothing_after_it(house: House) -> None:
    (seat,) = await house.add_players(1)
    await fund(house, [seat], 10)
    award = await order(house, seat, 100, 1000)
    store = Disturbed(house)
    lane = lane_over(store)
    async with running(lane):
        await lane.submit(grant(house, seat, award))
        store.meanwhile = lambda: cancel(house, award)
        result = await lane.submit(house.request(seat, Op.BET, "overtaken", 60))
        assert (result.refusal, result.balance_minor) == (Refusal.INSUFFICIENT_FUNDS, 10)
    assert store.writes == 3
    assert await journal(house, seat) == [(Op.DEPOSIT, 10, 0), (Op.AWARD, 0, 100), (Op.AWARD_FORFEIT, 0, -100)]
    assert await find_faults(house) == set()


async def test_a_commit_whose_answer_was_lost_turns_an_award_real_once(house: House) -> None:
    (seat,) = await house.add_players(1)
    award = await order(house, seat, 100, 60)
    store = Disturbed(house)
    lane = lane_over(store)

    class Lossy(Disturbed):
        """Loses the answer to the commit of a bet."""

        async def write(self, tenant_ids: frozenset[int], parts: Sequence[WritePart]) -> None:
            await super().write(tenant_ids, parts)
            if self.writes == 1:
                raise ConnectionResetError("after the commit")

    async with running(lane):
        await lane.submit(grant(house, seat, award))
    lossy = lane_over(Lossy(house), 2)
    async with running(lossy):
        result = await lossy.submit(house.request(seat, Op.BET, "b", 60))
    assert (result.refusal, result.balance_minor, result.legs[0].replayed) == (None, 40, True)
    assert await journal(house, seat) == [(Op.AWARD, 0, 100), (Op.BET, 0, -60), (Op.AWARD_CONVERT, 40, -40)]


async def test_bets_nudges_an_end_and_a_cancellation_at_once_leave_sound_books(house: House) -> None:
    """Three lanes of two processes stake, ask and win while one award completes, one ends and one is cancelled."""
    (seat,) = await house.add_players(1)
    await fund(house, [seat], 500)
    awards = [
        await order(house, seat, 100, 150),
        await order(house, seat, 100, 10_000, timedelta(seconds=1)),
        await order(house, seat, 100, 10_000),
    ]
    lanes = [lane_over(Disturbed(house), number) for number in (1, 2, 3)]
    refused: list[WalletResult] = []

    async def play(number: int, lane: Lane) -> None:
        for turn in range(25):
            name = f"{number}-{turn}"
            result = await lane.submit(house.request(seat, Op.BET, f"bet-{name}", 7))
            refused.extend([result] if result.refusal is not None else [])
            if turn % 3 == 0:
                await lane.submit(WalletRequest(seat.tenant_id, seat.wallet_id, 0, ()))
            if turn % 4 == 0:
                await lane.submit(house.request(seat, Op.BET_ROLLBACK, f"back-{name}", 0, f"bet-{name}"))
            await asyncio.sleep(0.04)

    async def end() -> None:
        await asyncio.sleep(0.3)
        await cancel(house, awards[2])

    async with running(*lanes):
        for award in awards:
            assert (await lanes[0].submit(grant(house, seat, award))).refusal is None
        await asyncio.gather(*[play(number, lane) for number, lane in enumerate(lanes)], end())
        await asyncio.sleep(0.5)  # the second award has ended by now
        last = await lanes[0].submit(WalletRequest(seat.tenant_id, seat.wallet_id, 0, ()))
    assert await find_faults(house) == set()
    left = await house.administer("select remaining_minor from award where wallet_id = $1", seat.wallet_id)
    (wallet,) = await house.administer(
        "select real_minor, bonus_minor from wallet where wallet_id = $1", seat.wallet_id
    )
    assert sum(row[0] for row in left) == wallet[1]
    assert last.balance_minor == wallet[0] + wallet[1]
    assert all(result.refusal is Refusal.INSUFFICIENT_FUNDS for result in refused)
    ops: list[Any] = [row[0] for row in await journal(house, seat)]
    assert Op.AWARD_FORFEIT in ops


async def test_an_award_that_was_staked_in_the_batch_that_gave_it_is_known_to_others(house: House) -> None:
    (seat,) = await house.add_players(1)
    award = await order(house, seat, 100, 1000)
    (leg,) = grant(house, seat, award).legs
    (bet,) = house.request(seat, Op.BET, "all of it", 100).legs
    first, second = (lane_over(Disturbed(house), number) for number in (1, 2))
    async with running(first, second):
        both = WalletRequest(seat.tenant_id, seat.wallet_id, house.source_id, (leg, bet))
        assert (await first.submit(both)).balance_minor == 0
        back = await second.submit(house.request(seat, Op.BET_ROLLBACK, "back", 0, "all of it"))
        assert (back.refusal, back.balance_minor) == (None, 100)
    assert await find_faults(house) == set()


async def test_ended_awards_are_settled_page_by_page(house: House) -> None:
    async with open_cell(house.database) as cell, cell.transaction(house.scope) as session:
        house.source_id = await ledger.ensure_source(session, house.scope, bonus.SOURCE)
    seats = await house.add_players(5)
    lanes = Lanes([lane_over(Disturbed(house))])
    lanes.start()
    counts: list[int] = []
    try:
        for seat in seats:
            award = await order(house, seat, 100, 1000, timedelta(seconds=1))
            request = grant(house, seat, award)
            assert (await lanes.submit(request, patience_ms=1000)).refusal is None
        unbooked = await order(house, seats[0], 100, 1000, timedelta(seconds=0))
        await asyncio.sleep(1.1)
        for pages in (1, 2, 3, 3):
            worker_url = house.database.worker_url
            async with open_cell(house.database, worker_url) as cell, cell.transaction(house.scope) as session:
                counts.append(await settle_ended_awards(session, lanes, house.scope, page_size=2, pages=pages))
    finally:
        await lanes.close()
    assert counts == [2, 3, 0, 0]
    for seat in seats:
        assert (await journal(house, seat))[-1] == (Op.AWARD_FORFEIT, 0, -100)
    # It was ordered a day ago, so nobody waits for its booking any more.
    (row,) = await house.administer("select settled_at from award_terms where award_id = $1", unbooked.award_id)
    assert row[0] is not None
