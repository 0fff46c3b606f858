"""The run: wait for the platform, bring in players, let them play at the rate, compare, sum up."""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

import msgspec

from pitboss.cli.simulate.aggregator import Aggregators
from pitboss.cli.simulate.notices import EVERY_SECONDS, Notices
from pitboss.cli.simulate.player import Mismatch, Player
from pitboss.cli.simulate.tally import Summary, Tally
from pitboss.cli.simulate.vendors import Vendor
from pitboss.cli.simulate.wire import Denied, Plan, Platform

_LOOK_SECONDS: Final = 0.5
_REFUSED_SECONDS: Final = 20
"""How long a run with an end asks a platform that is there and refuses: a brand just applied is known in seconds."""
_TOGETHER: Final = 4
"""Players that register at a time: the platform hashes a password for each."""


class _Game(msgspec.Struct):
    code: str


class _Games(msgspec.Struct):
    items: list[_Game]


class Run:
    """One run with its own names, so that a second one on the same platform repeats none."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._name = f"s{secrets.token_hex(5)}"
        self._tally = Tally()
        self._platform = Platform(plan, self._tally)
        self._aggregators = Aggregators(plan.vendors, plan.host, plan.port)
        self._random = random.Random(plan.seed)  # noqa: S311 - a seed makes a run repeatable
        self._games: dict[str, list[str]] = {}
        self._refusal = ""
        self._awaited = 0
        self._over = False
        self._idle: list[Player] = []
        self._busy: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._made = 0
        self._main: asyncio.Task[None] | None = None
        self._fault: BaseException | None = None

    async def execute(self) -> Summary:
        """Play until the plan is fulfilled or a signal comes; return what happened."""
        server = await self._aggregators.start()
        main = self._main = asyncio.create_task(self._play())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, main.cancel)
        ticker = asyncio.create_task(self._tick())
        notices = asyncio.create_task(self._change_lists())
        try:
            with suppress(asyncio.CancelledError):
                await main
        finally:
            for task in (ticker, notices, *self._busy):
                task.cancel()
            await asyncio.gather(ticker, notices, *self._busy, return_exceptions=True)
            server.close()
            await self._platform.close()
        if self._fault is not None:
            raise self._fault
        return self._tally.summarise()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._made:
                self._tally.show()

    async def _change_lists(self) -> None:
        notices = Notices(self._platform, self._tally, self._plan.senders)
        while True:
            for vendor in self._plan.vendors:
                await asyncio.sleep(EVERY_SECONDS)
                if self._made:
                    await notices.change(vendor)

    async def _play(self) -> None:
        if not await self._wait_for_platform():
            return
        for number in range(self._plan.players):
            if len(self._busy) >= _TOGETHER:
                await self._wait_for_one()
            self._begin(self._bring_in(self._plan.vendors[number % len(self._plan.vendors)]))
        began = time.monotonic()
        started = 0
        while not self._is_fulfilled(time.monotonic() - began):
            if self._plan.rate:
                await asyncio.sleep(max(0.0, began + started / self._plan.rate - time.monotonic()))
            while not self._idle:
                if not self._busy:
                    self._tally.say("no player is left to play: the run ends")
                    return
                await self._wait_for_one()
            player = self._idle.pop(self._random.randrange(len(self._idle)))
            self._begin(self._play_round(player))
            started += 1
        self._over = True
        await asyncio.gather(*self._busy)
        for player in self._idle:
            with suppress(Mismatch):
                await player.compare()

    def _is_fulfilled(self, seconds: float) -> bool:
        plan = self._plan
        if plan.seconds is not None and seconds >= plan.seconds:
            return True
        # A number of calls is one of every aggregator's; a time is over when it is over.
        return plan.calls is not None and self._tally.counts["calls"] >= plan.calls and not self._awaited

    async def _wait_for_platform(self) -> bool:
        """Wait until there is something to play; an aggregator whose list is late is waited for by its players.

        Return whether there is: a run that has an end waits for a refusal to pass, but not for ever.
        """
        said, refused_looks = "", 0
        has_end = self._plan.calls is not None or self._plan.seconds is not None
        while True:
            missing = "the platform"
            if await self._platform.is_ready():
                await self._look_for_games()
                missing = "its list of games"
            if any(self._games.values()):
                return True
            place = f"{self._plan.target} as {self._plan.domain}"
            waiting = f"waiting for {missing} at {place}" + (f": {self._refusal}" if self._refusal else "")
            if waiting != said:
                self._tally.say(waiting)
                said = waiting
            refused_looks = refused_looks + 1 if self._refusal else 0
            if has_end and refused_looks * _LOOK_SECONDS > _REFUSED_SECONDS:
                self._tally.add_difference(f"{place} has no games to play: {self._refusal}")
                return False
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look_for_games(self) -> None:
        self._refusal = ""
        try:
            listed = await self._platform.ask("GET", "/games?page_size=200", _Games)
        except Denied as denied:
            self._refusal = str(denied)
            return
        codes = {game.code for game in listed.items}
        self._games = {vendor.plugin: sorted(codes & vendor.games.keys()) for vendor in self._plan.vendors}

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._busy.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._busy.discard(task)
        self._freed.set()
        fault = None if task.cancelled() else task.exception()
        if fault is not None and self._fault is None and self._main is not None:
            self._fault = fault
            self._main.cancel()

    async def _wait_for_one(self) -> None:
        self._freed.clear()
        await self._freed.wait()

    async def _bring_in(self, vendor: Vendor) -> None:
        self._awaited += 1
        while not self._games[vendor.plugin] and not self._over:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look_for_games()
        self._awaited -= 1
        if self._over:
            return
        self._made += 1
        player = Player(self._plan, self._platform, self._aggregators, vendor, self._tally, self._name, self._made)
        try:
            await player.enter(self._games[vendor.plugin])
        except Mismatch:
            return
        except Denied as denied:
            self._tally.add_difference(f"a player could not enter: {denied}")
            return
        self._tally.counts["players"] += 1
        self._idle.append(player)

    async def _play_round(self, player: Player) -> None:
        try:
            await player.play(self._games[player.vendor.plugin])
        except Mismatch:
            await self._bring_in(player.vendor)
        except Denied as denied:
            self._tally.add_difference(f"the platform refused what it must do: {denied}")
            await self._bring_in(player.vendor)
        else:
            self._idle.append(player)
