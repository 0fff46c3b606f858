"""Bets, deposits, limit changes and exclusions at once, on real lanes: whatever the order, none gets around another.

The journal tells the order: each change of terms takes a version of the wallet, so a booking after it was decided
under it, and one before it was not.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.factories.databases import PlaneDatabase
from tests.factories.money import House, Seat
from tests.factories.players import make_origin, open_cell

from pitboss.kernel.scope import Actor, ActorKind
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Op
from pitboss.limits import service as limits
from pitboss.limits.contracts import Limit, LimitKind, Period
from pitboss.platform.db import Database
from pitboss.policy.contracts import PlayLaw, SpendOrder
from pitboss.wallet.runtime import Lane
from pitboss_sdk.games import Refusal

EXAMPLES = int(os.environ.get("TERMS_EXAMPLES", "60"))
TESTER = Actor(ActorKind.OPERATOR, "tester")
LIFETIME = timedelta(days=1)
START_MINOR = 1000
LAWS = {
    (1, "mt_mga"): PlayLaw("Europe/Malta", SpendOrder.REAL_FIRST),
    (1, "br_spa"): PlayLaw("America/Sao_Paulo", SpendOrder.BONUS_FIRST),
}
"""The tenant has two licences; each player is under one."""
Result = TypeVar("Result")


class Act(NamedTuple):
    """One thing that somebody does: a movement through one of two lanes, a limit, or an exclusion."""

    what: str
    amount_minor: int
    lane: int
    pause_ms: int

    @property
    def limit_minor(self) -> int:
        """What a limit is set to, so that it leaves something of what was put in to begin with."""
        return self.amount_minor * 3 + (START_MINOR if self.what == "deposit limit" else 0)


ACTS = st.builds(
    Act,
    st.sampled_from(["bet", "bet", "bet", "deposit", "deposit", "stake", "deposit limit", "exclude", "let in"]),
    st.integers(1, 60),
    st.integers(0, 1),
    st.integers(0, 4),
)


class Court:
    """Two lanes over the same wallets, and an operator who changes terms beside them."""

    def __init__(self, database: PlaneDatabase) -> None:
        self.house = House(database)
        self.runner = asyncio.Runner()
        self.lanes: list[Lane] = []
        self.number = 0

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    async def open(self) -> None:
        self.house.admin = await asyncpg.connect(self.house.database.admin_url)
        await self.house.open(["EUR"])
        self.lanes = [Lane(self.house.make_poster(number, f"court {number}", LAWS)) for number in (1, 2)]
        self._tasks = [asyncio.create_task(lane.run()) for lane in self.lanes]
        self._context = open_cell(self.house.database)
        self.cell: Database = await self._context.__aenter__()

    async def close(self) -> None:
        for lane in self.lanes:
            lane.close()
        await asyncio.gather(*self._tasks)
        await self._context.__aexit__(None, None, None)
        if self.house.admin is not None:
            await self.house.admin.close()

    async def play(
        self, acts: list[Act], licence: str
    ) -> tuple[Seat, list[tuple[int, Act]], list[tuple[Act, Refusal | None]]]:
        """Do everything at once; return the wallet, each change with its version, and each movement's answer."""
        (seat,) = await self.house.add_players(1, licence=licence)
        await self._move(seat, Act("deposit", START_MINOR, 0, 0))
        done = await asyncio.gather(*[self._act(seat, act, LAWS[1, licence]) for act in acts])
        changes = [(version, act) for act, version, _ in done if version]
        return seat, sorted(changes), [(act, refusal) for act, version, refusal in done if not version]

    async def _act(self, seat: Seat, act: Act, law: PlayLaw) -> tuple[Act, int, Refusal | None]:
        await asyncio.sleep(act.pause_ms / 1000)
        if act.what in {"bet", "deposit"}:
            return act, 0, await self._move(seat, act)
        scope = self.house.scope
        async with self.cell.transaction(scope) as session:
            if act.what in {"stake", "deposit limit"}:
                kind = LimitKind.STAKE if act.what == "stake" else LimitKind.DEPOSIT
                wallet = await ledger.get_wallet(session, scope, seat.player_id, seat.currency)
                limit = Limit(kind, Period.MONTH, act.limit_minor)
                await limits.set_limit(session, scope, wallet, limit, TESTER, make_origin(), time_zone=law.time_zone)
            else:
                until = datetime.now(UTC) + LIFETIME if act.what == "exclude" else None
                await ledger.close_wallets(session, scope, seat.player_id, until)
            changed = await ledger.get_wallet(session, scope, seat.player_id, seat.currency)
        return act, changed.version, None

    async def _move(self, seat: Seat, act: Act) -> Refusal | None:
        self.number += 1
        op = Op.BET if act.what == "bet" else Op.DEPOSIT
        request = self.house.request(seat, op, f"{act.what}-{self.number}-{seat.wallet_id}", act.amount_minor)
        return (await self.lanes[act.lane].submit(request)).refusal

    async def bookings(self, seat: Seat) -> list[tuple[int, int, int]]:
        """Return (version, op, amount) of everything that moved, in the wallet's own order."""
        rows = await self.house.administer(_BOOKINGS, seat.tenant_id, seat.wallet_id)
        return [tuple(row) for row in rows]


_BOOKINGS = """
select version, op, abs(d_real + d_bonus - d_debt) from journal
where tenant_id = $1 and wallet_id = $2 and op <> 12 order by version
"""


@pytest.fixture
def court(cell_database: PlaneDatabase) -> Iterator[Court]:
    opened = Court(cell_database)
    opened.run(opened.open())
    yield opened
    opened.run(opened.close())
    opened.runner.close()


def find_breaches(changes: list[tuple[int, Act]], bookings: list[tuple[int, int, int]]) -> Iterator[str]:
    """Yield what was booked against the terms of its moment."""
    used = {Op.BET: 0, Op.DEPOSIT: 0}
    for version, op, amount_minor in bookings:
        terms: dict[str, int | None] = {"stake": None, "deposit limit": None, "exclude": None}
        for changed_at, act in changes:
            if changed_at < version:
                name = "exclude" if act.what == "let in" else act.what
                terms[name] = None if act.what == "let in" else act.limit_minor
        used[Op(op)] += amount_minor
        limit_minor = terms["stake" if op == Op.BET else "deposit limit"]
        if limit_minor is not None and used[Op(op)] > limit_minor:
            yield f"version {version}: {used[Op(op)]} used of {limit_minor}"
        if terms["exclude"] is not None:
            yield f"version {version}: booked for somebody who is excluded"


def test_no_order_gets_around_a_limit_or_an_exclusion(court: Court) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.lists(ACTS, min_size=4, max_size=24), st.sampled_from(["mt_mga", "br_spa"]))
    def hold(acts: list[Act], licence: str) -> None:
        seat, changes, answers = court.run(court.play(acts, licence))
        bookings = court.run(court.bookings(seat))
        assert list(find_breaches(changes, bookings)) == []
        assert len(bookings) == 1 + sum(refusal is None for _, refusal in answers)
        strange = {refusal for _, refusal in answers} - {
            None,
            Refusal.LIMIT_REACHED,
            Refusal.PLAYER_BLOCKED,
            Refusal.INSUFFICIENT_FUNDS,
        }
        assert not strange

    hold()


def test_a_breach_would_be_seen() -> None:
    changes = [(3, Act("stake", 17, 0, 0)), (6, Act("exclude", 1, 0, 0)), (9, Act("let in", 1, 0, 0))]
    within = [(1, 5, 1000), (2, 1, 40), (4, 1, 11), (10, 5, 5)]
    assert list(find_breaches(changes, within)) == []
    assert len(list(find_breaches(changes, [*within[:3], (5, 1, 1)]))) == 1
    assert len(list(find_breaches(changes, [(7, 5, 1)]))) == 1
