"""Random histories on real lanes and a real PostgreSQL, held against the model after every step."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any, ClassVar

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.factories.databases import PlaneDatabase
from tests.factories.figures import write_figures
from tests.factories.money import Seat
from tests.property.ledger_world import CODES, World
from tests.property.model import Answer, Ask, Model, Purse, Step
from tests.property.mutants import MUTANTS

from pitboss.games.rules import compute_round_id
from pitboss.kernel.ids import new_uuid
from pitboss.ledger.contracts import WalletStatus
from pitboss.limits.contracts import LimitKind
from pitboss.wallet.runtime import poster
from pitboss_sdk.money import CURRENCIES, decimal_from_minor, minor_from_decimal

STEPS = int(os.environ.get("STATE_MACHINE_STEPS", "10000"))
STEPS_A_RUN = 50
FAULTS = [
    "reversed twice",
    "content is not compared",
    "a win is split the other way round",
    "money of an award that has ended is there",
    "what was wagered stays bonus money",
]
LANES = st.integers(0, 2)
WALLETS = st.integers(0, 2)


class LedgerMachine(RuleBasedStateMachine):
    """What players, providers and operators may do, in any order; `world` is set by the test."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.seats: list[Seat] = []
        self.sent: list[Ask] = []
        self.bets: list[tuple[int, str, str]] = []
        self.holds: list[tuple[int, str]] = []
        self.rounds: list[tuple[int, str]] = []
        self.awards: list[tuple[int, str]] = []
        self.number = 0

    @initialize(codes=st.lists(st.sampled_from(list(CODES.values())), min_size=3, max_size=3))
    def open_wallets(self, codes: list[str]) -> None:
        for code in codes:
            (seat,) = self.world.run(self.world.house.add_players(1, code))
            self.seats.append(seat)
            self.model.purses[seat.wallet_id] = Purse()
            self.model.sessions[seat.session] = seat.wallet_id
            self._play(0, self._ask(len(self.seats) - 1, Step("deposit", self._ref("start"), self._minor(seat, 20))))

    # What every rule uses.

    def _ref(self, kind: str) -> str:
        self.number += 1
        return f"{kind}-{self.number}-{self.seats[0].wallet_id}"

    @staticmethod
    def _minor(seat: Seat, units: int, odd: int = 0) -> int:
        """Return an amount as a provider's decimal text gives it."""
        decimals = CURRENCIES[seat.currency].decimals
        return minor_from_decimal(decimal_from_minor(units * 10**decimals + odd, decimals), decimals)

    def _ask(self, wallet: int, *steps: Step, **more: Any) -> Ask:
        seat = self.seats[wallet]
        session = seat.session if more.get("round") else ""
        return Ask(seat.wallet_id, self.world.house.source_id, steps, session=session, **more)

    def _seat(self, ask: Ask) -> Seat:
        return next(seat for seat in self.seats if seat.wallet_id == ask.wallet)

    def _play(self, lane: int, ask: Ask) -> Answer:
        (answer,) = self.world.run(self.world.ask((lane, ask, self._seat(ask))))
        wanted = self.model.ask(ask)
        if _plain(answer) != _plain(wanted):
            self.world.refute(f"{ask}: {answer} instead of {wanted}")
        self.sent.append(ask)
        return answer

    def _play_together(self, lanes: Sequence[int], asks: Sequence[Ask]) -> None:
        sent = [(lane, ask, self._seat(ask)) for lane, ask in zip(lanes, asks, strict=True)]
        answers = [_plain(answer) for answer in self.world.run(self.world.ask(*sent))]
        unlike: list[str] = []
        for order in permutations(range(len(asks))):
            model = copy.deepcopy(self.model)
            wanted = {number: _plain(model.ask(asks[number])) for number in order}
            if all(wanted[number] == answer for number, answer in enumerate(answers)):
                unlike = self._differences(model)
                if not unlike:
                    self.model = model
                    self.sent += asks
                    return
        self.world.refute(f"no order explains {list(zip(asks, answers, strict=True))}, {unlike}")

    def _differences(self, model: Model) -> list[str]:
        return self.world.run(self._compare(model))

    async def _compare(self, model: Model) -> list[str]:
        wallets = [seat.wallet_id for seat in self.seats]
        rows = await self.world.house.administer(_WALLETS, self.world.house.scope.tenant_id, wallets)
        found = {row[0]: (row[1], tuple(row)[2:]) for row in rows}
        wanted = {wallet: (len(purse.rows), purse.buckets) for wallet, purse in model.purses.items()}
        differences = [] if found == wanted else [f"wallets {found}, the model says {wanted}"]
        ids = {compute_round_id(self.world.house.source_id, name): (name, wallet) for wallet, name in self.rounds}
        rounds = await self.world.house.administer(_ROUNDS, self.world.house.scope.tenant_id, list(ids))
        stored = {(row[1], ids[row[0]][0]): tuple(row)[2:] for row in rows_of(rounds)}
        expected = {
            (wallet, name): _sum_up(model.purses[wallet], name)
            for wallet, name in self.rounds
            if model.purses[wallet].played(name)
        }
        return differences if stored == expected else [*differences, f"rounds {stored}, the model says {expected}"]

    # Rules.

    @rule(wallet=WALLETS, lane=LANES, units=st.integers(0, 12), odd=st.integers(0, 9), more=st.booleans())
    def bet(self, wallet: int, lane: int, units: int, odd: int, more: bool) -> None:
        seat, name = self.seats[wallet], self._ref("round")
        if more and self.rounds:
            owner, name = self.rounds[-1]
            wallet = next(number for number, its in enumerate(self.seats) if its.wallet_id == owner)
            seat = self.seats[wallet]
        ref = self._ref("bet")
        self.rounds = (
            [*self.rounds, (seat.wallet_id, name)] if (seat.wallet_id, name) not in self.rounds else self.rounds
        )
        self.bets.append((wallet, ref, name))
        self._play(lane, self._ask(wallet, Step("bet", ref, self._minor(seat, units, odd + 1)), round=name))

    @precondition(lambda self: self.bets)
    @rule(data=st.data(), lane=LANES, units=st.integers(0, 30), odd=st.integers(1, 9), finished=st.booleans())
    def win(self, data: st.DataObject, lane: int, units: int, odd: int, finished: bool) -> None:
        wallet, ref, name = data.draw(st.sampled_from(self.bets))
        seat, ref = self.seats[wallet], self._ref("win")
        ask = self._ask(wallet, Step("win", ref, self._minor(seat, units, odd)), round=name, finished=finished)
        self.bets.append((wallet, ref, name))
        self._play(lane, ask)

    @rule(wallet=WALLETS, lane=LANES, units=st.integers(0, 9), wins=st.integers(0, 9), late=st.booleans())
    def bet_and_win(self, wallet: int, lane: int, units: int, wins: int, late: bool) -> None:
        seat, name, bet, won = self.seats[wallet], self._ref("round"), self._ref("bet"), self._ref("win")
        self.rounds.append((seat.wallet_id, name))
        self.bets += [(wallet, bet, name), (wallet, won, name)]
        steps = [Step("bet", bet, self._minor(seat, units, 1)), Step("win", won, self._minor(seat, wins, 1))]
        if late:
            self._play(lane, self._ask(wallet, steps[1], round=name))
            self._play(lane, self._ask(wallet, steps[0], round=name))
        self._play(lane, self._ask(wallet, *steps, round=name, finished=True))

    @precondition(lambda self: self.bets)
    @rule(data=st.data(), lane=LANES, stray=st.booleans())
    def roll_back(self, data: st.DataObject, lane: int, stray: bool) -> None:
        wallet, ref, name = data.draw(st.sampled_from(self.bets))
        if stray and data.draw(st.integers(0, 3)) == 0:
            wallet = (wallet + 1) % 3
        self._play(lane, self._ask(wallet, Step("rollback", self._ref("back"), 0, ref), round=name))

    @rule(wallet=WALLETS, lanes=st.permutations([0, 1, 2]), units=st.integers(1, 5))
    def bet_and_rollback_race(self, wallet: int, lanes: list[int], units: int) -> None:
        seat, name, ref = self.seats[wallet], self._ref("round"), self._ref("bet")
        self.rounds.append((seat.wallet_id, name))
        bet = self._ask(wallet, Step("bet", ref, self._minor(seat, units)), round=name)
        back = self._ask(wallet, Step("rollback", self._ref("back"), 0, ref), round=name)
        self.bets.append((wallet, ref, name))
        self._play_together(lanes[:2], [bet, back])
        self._play(lanes[2], bet)

    @rule(wallet=WALLETS, lane=LANES, units=st.integers(0, 9), op=st.sampled_from(["deposit", "award"]))
    def credit(self, wallet: int, lane: int, units: int, op: str) -> None:
        self._play(lane, self._ask(wallet, Step(op, self._ref(op), self._minor(self.seats[wallet], units, 1))))

    @rule(wallet=WALLETS, lane=LANES, units=st.integers(1, 9), times=st.sampled_from([1, 1, 2, 50]), part=st.booleans())
    def award(self, wallet: int, lane: int, units: int, times: int, part: bool) -> None:
        """Give an award under terms, of which a multiple or a part is to be staked."""
        seat, ref = self.seats[wallet], str(new_uuid())
        amount = self._minor(seat, units, 1)
        required = amount // 3 + 1 if part else amount * times
        self.world.run(self.world.order_award(seat, ref, required))
        self.model.terms[seat.wallet_id, ref] = (required, 1)
        self.awards.append((wallet, ref))
        self._play(lane, self._ask(wallet, Step("award", ref, amount)))
        if part:  # all real money, and then just enough of the oldest award
            whole = self.model.purses[seat.wallet_id].real + required
            self._play(lane, self._ask(wallet, Step("bet", self._ref("bet"), whole)))

    @precondition(lambda self: self.awards)
    @rule(data=st.data(), by_time=st.booleans())
    def end_award(self, data: st.DataObject, by_time: bool) -> None:
        """End an award; nobody looks at its wallet yet."""
        wallet, ref = self.awards.pop(data.draw(st.integers(0, len(self.awards) - 1)))
        seat = self.seats[wallet]
        self.world.run(self.world.end_award(seat, ref, by_time=by_time))
        if by_time:
            self.model.terms[seat.wallet_id, ref] = (self.model.terms[seat.wallet_id, ref][0], 0)
        else:
            self.model.end_award(seat.wallet_id, ref)

    @rule(wallet=WALLETS, lanes=st.permutations([0, 1, 2]))
    def look_three_times_at_once(self, wallet: int, lanes: list[int]) -> None:
        """What has ended is taken back once, whoever asks first."""
        self._play_together(lanes, [self._ask(wallet)] * 3)

    @rule(wallet=WALLETS, lane=LANES, units=st.integers(-9, 9), op=st.sampled_from(["adjustment", "award_forfeit"]))
    def correct(self, wallet: int, lane: int, units: int, op: str) -> None:
        amount = abs(units) or 1
        minor = self._minor(self.seats[wallet], amount) * (-1 if units < 0 else 1)
        self._play(lane, self._ask(wallet, Step(op, self._ref(op), minor)))

    @rule(wallet=WALLETS, lane=LANES, units=st.integers(1, 9))
    def hold(self, wallet: int, lane: int, units: int) -> None:
        ref = self._ref("hold")
        self.holds.append((wallet, ref))
        self._play(lane, self._ask(wallet, Step("hold", ref, self._minor(self.seats[wallet], units))))

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), lane=LANES, op=st.sampled_from(["capture", "void"]), units=st.integers(0, 9))
    def resolve(self, data: st.DataObject, lane: int, op: str, units: int) -> None:
        wallet, ref = data.draw(st.sampled_from(self.holds))
        amount = 0 if op == "void" else self._minor(self.seats[wallet], units, 1)
        self._play(lane, self._ask(wallet, Step(op, self._ref(op), amount, ref)))

    @rule(wallet=WALLETS, kind=st.sampled_from(LimitKind), units=st.one_of(st.none(), st.integers(0, 30)))
    def set_limit(self, wallet: int, kind: LimitKind, units: int | None) -> None:
        seat = self.seats[wallet]
        amount_minor = None if units is None else self._minor(seat, units)
        self.world.run(self.world.set_limit(seat, kind, amount_minor))
        self.model.set_limit(seat.wallet_id, kind.name.lower(), amount_minor)

    @rule(wallet=WALLETS, active=st.booleans())
    def block(self, wallet: int, active: bool) -> None:
        seat = self.seats[wallet]
        self.world.run(self.world.set_status(seat, WalletStatus.OPEN if active else WalletStatus.BLOCKED))
        self.model.set_active(seat.wallet_id, active=active)

    @rule(wallet=WALLETS, fails=st.booleans())
    def launch(self, wallet: int, fails: bool) -> None:
        """Open another game session, which is used from now on; the one before it stays, or never opened."""
        seat = self.seats[wallet]
        self.seats[wallet] = self.world.run(self.world.launch(seat, fails=fails))
        self.model.sessions[self.seats[wallet].session] = seat.wallet_id
        if fails:
            self.model.fail_session(seat.wallet_id, seat.session)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), lane=LANES)
    def send_again(self, data: st.DataObject, lane: int) -> None:
        self._play(lane, data.draw(st.sampled_from(self.sent)))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), lanes=st.permutations([0, 1, 2]))
    def send_again_three_times_at_once(self, data: st.DataObject, lanes: list[int]) -> None:
        self._play_together(lanes, [data.draw(st.sampled_from(self.sent))] * 3)

    @precondition(lambda self: any(len(ask.steps) == 1 for ask in self.sent))
    @rule(data=st.data(), lane=LANES, change=st.sampled_from(["amount", "wallet", "round"]))
    def misuse(self, data: st.DataObject, lane: int, change: str) -> None:
        ask = data.draw(st.sampled_from([ask for ask in self.sent if len(ask.steps) == 1]))
        (step,) = ask.steps
        wallet = next(number for number, seat in enumerate(self.seats) if seat.wallet_id == ask.wallet)
        if change == "wallet":
            self._play(lane, self._ask((wallet + 1) % 3, step, round=ask.round))
        elif change == "amount":
            self._play(lane, self._ask(wallet, Step(step.op, step.ref, step.amount + 1, step.target), round=ask.round))
        else:
            self._play(lane, self._ask(wallet, step, round=self._ref("round")))

    @rule(wallet=WALLETS, lanes=st.permutations([0, 1, 2]), units=st.integers(1, 9))
    def one_key_on_two_wallets(self, wallet: int, lanes: list[int], units: int) -> None:
        ref, other = self._ref("bet"), (wallet + 1) % 3
        asks = [self._ask(at, Step("bet", ref, self._minor(self.seats[at], units))) for at in (wallet, other)]
        self._play_together(lanes[:2], asks)

    @rule(lanes=st.permutations([0, 1, 2]), wallet=WALLETS, units=st.integers(1, 12))
    def three_at_once(self, lanes: list[int], wallet: int, units: int) -> None:
        seat = self.seats[wallet]
        asks = [self._ask(wallet, Step(op, self._ref(op), self._minor(seat, units))) for op in ("bet", "hold", "bet")]
        self._play_together(lanes, asks)

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        self.world.steps += 1
        differences = self._differences(self.model)
        if differences:
            self.world.refute(str(differences))

    def teardown(self) -> None:
        for seat in self.seats:
            purse = self.model.purses[seat.wallet_id]
            awards = self.world.run(self.world.house.administer(_AWARDS, seat.tenant_id, seat.wallet_id))
            stored_awards = {row[0]: (row[1], row[2]) for row in awards}
            left_awards = {at: (left, purse.wagered(at)) for at, left in purse.awards.items()}
            if stored_awards != left_awards:
                self.world.refute(f"awards {stored_awards}, the model says {left_awards}")
            holds = self.world.run(self.world.house.administer(_HOLDS, seat.tenant_id, seat.wallet_id))
            stored = {row[0]: (row[1], row[2], row[3]) for row in holds}
            left_holds = {at: (hold.amount, hold.captured, hold.released) for at, hold in purse.holds.items()}
            if stored != left_holds:
                self.world.refute(f"holds {stored}, the model says {left_holds}")


def rows_of(rows: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    return ((str(row[0]), *tuple(row)[1:]) for row in rows)


def _plain(answer: Answer) -> Answer:
    return answer if answer.refusal is None else Answer(answer.refusal, answer.balance)


def _sum_up(purse: Purse, name: str) -> tuple[int, ...]:
    rows = [row for row in purse.rows if row.round == name]
    stakes = [row for row in rows if row.op in {"bet", "bet_rollback"}]
    return (
        -sum(row.real for row in stakes),
        -sum(row.bonus for row in stakes),
        sum(row.claim for row in rows if row.op in {"win", "win_rollback"}),
        len(purse.live_bets(name)),
        rows[0].version,
        rows[-1].version,
        {"finished": 2, "voided": 3}.get(purse.closed.get(name, ""), 1),
    )


_WALLETS = """
select wallet_id, version, real_minor, bonus_minor, held_minor, debt_minor from wallet
where tenant_id = $1 and wallet_id = any($2::bigint[])
"""
_ROUNDS = """
select round_id, wallet_id, bet_real, bet_bonus, win_minor, bets, first_version, last_version, state from round
where tenant_id = $1 and round_id = any($2::text[]::uuid[])
"""
_AWARDS = "select granted_version, remaining_minor, wagered_minor from award where tenant_id = $1 and wallet_id = $2"
_HOLDS = """
select opened_version, amount_minor, captured_minor, released_minor from hold where tenant_id = $1 and wallet_id = $2
"""


@pytest.fixture
def world(cell_database: PlaneDatabase) -> Iterator[World]:
    opened = World(cell_database)
    opened.run(opened.open())
    yield opened
    opened.run(opened.close())
    opened.runner.close()


def test_no_history_breaks_a_promise(world: World) -> None:
    LedgerMachine.world = world
    violations = 1
    rules = settings(
        max_examples=max(8, STEPS // STEPS_A_RUN // 4),
        stateful_step_count=STEPS_A_RUN,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    try:
        while world.steps < STEPS:
            run_state_machine_as_test(LedgerMachine, settings=rules)
        proof = world.run(world.house.verify())
        assert proof.findings == ()
        assert proof.bookings > STEPS / 4
        violations = 0
    finally:
        figures = {"state_machine_steps": world.steps, "state_machine_violations": violations}
        write_figures("state_machine", figures)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(world: World, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == fault)
    monkeypatch.setattr(poster, "BatchWalk", mutant.parts().walk)
    LedgerMachine.world = world
    rules = settings(
        max_examples=120,
        stateful_step_count=STEPS_A_RUN,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    with structlog.testing.capture_logs(), contextlib.suppress(Exception):
        run_state_machine_as_test(LedgerMachine, settings=rules)
    assert world.broken
