"""What lanes forget so that they need not be refused: each thing that only costs patience, one scenario each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any

import pytest
import structlog
from tests.property.asks import read_answer
from tests.property.lane_simulator import PARTS, Parts, Run, judge
from tests.property.memory_store import Faults, MemoryStore
from tests.property.model import Answer, Ask, Purse, Step
from tests.property.mutants import IMPATIENT
from tests.property.script import SOURCE
from tests.property.virtual_time import VirtualLoop

from pitboss.wallet.errors import LanesBusy


class Two:
    """Two lanes of two processes over wallets 1 and 2, which hold 1000 each and which the first lane remembers."""

    def __init__(self, parts: Parts) -> None:
        parts.set_up(ahead=1, wary_batches=2, remembered_rounds=100)
        self.run = Run(0, parts)
        for wallet in (1, 2):
            self.run.ledger.wallets[wallet] = [0, 0, 0, 0, 0]
            self.run.model.purses[wallet] = Purse()
        self.run.ledger.games["dice"] = (True, 1)
        self.stores = [MemoryStore(self.run.ledger, Random(0), Faults()) for _ in range(2)]
        self._lanes: list[Any] = [parts.make_lane(number, store, None, 100) for number, store in enumerate(self.stores)]
        self._tasks = [
            asyncio.create_task(store.run(lane)) for store, lane in zip(self.stores, self._lanes, strict=True)
        ]

    @property
    def refused(self) -> int:
        """How often the first lane decided on something that was not so any more."""
        return self.stores[0].refused

    async def ask(self, lane: int, wallet: int, *steps: Step, round_name: str = "") -> Answer:
        """Ask through a lane, once."""
        ask = Ask(wallet, SOURCE, steps, round=round_name)
        answer = read_answer(await self._lanes[lane].submit(self.run.request(ask)))
        self.run.told.setdefault(ask, []).append(answer)
        return answer

    async def fail(self, lane: int, wallet: int, *steps: Step, round_name: str = "") -> None:
        """Ask for something that the server cannot carry out."""
        with pytest.raises(LanesBusy):
            await self.ask(lane, wallet, *steps, Step("deposit", "poison", 1), round_name=round_name)

    async def end_wariness(self) -> None:
        """Let the first lane carry out what no other disturbs, on a wallet that a scenario is not about."""
        for number in range(2):
            await self.ask(0, 2, Step("deposit", f"calm-{number}", 1))

    async def close(self) -> None:
        for lane in self._lanes:
            lane.close()
        await asyncio.gather(*self._tasks)


async def a_wallet_of_a_failed_batch_is_read_again(two: Two) -> None:
    await two.fail(0, 1, Step("bet", "bet", 10))
    await two.end_wariness()
    assert (await two.ask(0, 1, Step("bet", "after", 10))).balance == 990
    assert two.refused == 0


async def a_hold_is_read_after_the_batch_that_changes_it(two: Two) -> None:
    two.stores[0].slow_down()
    for number in range(20):
        await two.ask(0, 1, Step("hold", f"hold-{number}", 10))
        some = asyncio.create_task(two.ask(0, 1, Step("capture", f"some-{number}", 4, f"hold-{number}")))
        await asyncio.sleep(number / 100)
        rest = await two.ask(0, 1, Step("void", f"rest-{number}", 0, f"hold-{number}"))
        assert ((await some).refusal, rest.refusal) == (None, None)


async def a_round_of_a_failed_batch_is_read_again(two: Two) -> None:
    await two.ask(0, 1, Step("bet", "bet", 10), round_name="r")
    await two.fail(0, 1, Step("bet", "more", 10), round_name="r")
    await two.end_wariness()
    assert (await two.ask(0, 1, Step("win", "win", 5), round_name="r")).balance == 995
    assert two.refused == 0


async def a_wary_lane_reads_rounds(two: Two) -> None:
    for name in ("r", "s"):
        await two.ask(0, 1, Step("bet", f"bet-{name}", 10), round_name=name)
        await two.ask(1, 1, Step("win", f"win-{name}", 1), round_name=name)
    before = two.refused
    await two.ask(1, 1, Step("bet", "bet", 10), round_name="r")
    assert (await two.ask(0, 1, Step("win", "first", 5), round_name="s")).balance == 977
    assert (await two.ask(0, 1, Step("win", "second", 5), round_name="r")).balance == 982
    assert two.refused == before + 1


async def a_wary_lane_reads_wallets(two: Two) -> None:
    for wallet in (1, 2):
        await two.ask(1, wallet, Step("bet", f"bet-{wallet}", 10))
    assert (await two.ask(0, 1, Step("bet", "first", 10))).balance == 980
    assert (await two.ask(0, 2, Step("bet", "second", 10))).balance == 980
    assert two.refused == 1


async def a_lane_that_lost_its_connection_reads_everything(two: Two) -> None:
    two.stores[0].mishaps.append(ConnectionResetError("gone"))
    await two.end_wariness()
    await two.ask(1, 1, Step("bet", "there", 10))
    assert (await two.ask(0, 1, Step("bet", "here", 10))).balance == 980
    assert two.refused == 0


SCENARIOS: dict[str, Callable[[Two], Awaitable[None]]] = {
    "wallets are remembered after a failure": a_wallet_of_a_failed_batch_is_read_again,
    "holds are read while they change": a_hold_is_read_after_the_batch_that_changes_it,
    "rounds of a failed batch are remembered": a_round_of_a_failed_batch_is_read_again,
    "rounds are trusted after a failure": a_wary_lane_reads_rounds,
    "wallets are trusted after a failure": a_wary_lane_reads_wallets,
    "wallets outlive a lost connection": a_lane_that_lost_its_connection_reads_everything,
}


def play(scenario: Callable[[Two], Awaitable[None]], parts: Parts) -> None:
    """Play a scenario to its end and judge what it left behind."""
    loop = VirtualLoop()

    async def run() -> Run:
        two = Two(parts)
        for wallet in (1, 2):
            await two.ask(0, wallet, Step("deposit", f"start-{wallet}", 1000))
        await scenario(two)
        await two.close()
        return two.run

    try:
        assert list(judge(loop.run_until_complete(run()))) == []
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.close()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


def test_each_mutant_that_costs_patience_has_a_scenario() -> None:
    assert set(SCENARIOS) == {mutant.name for mutant in IMPATIENT}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_lane_forgets_what_it_should_not_rely_on(name: str) -> None:
    play(SCENARIOS[name], PARTS)


@pytest.mark.parametrize("mutant", IMPATIENT, ids=lambda mutant: mutant.name)
def test_a_lane_that_does_not_forget_is_refused(mutant: Any) -> None:
    with pytest.raises((AssertionError, LanesBusy)):
        play(SCENARIOS[mutant.name], mutant.parts())
