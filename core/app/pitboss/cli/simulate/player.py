"""One player, and what the aggregator sends for the rounds that the player plays."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import msgspec

from pitboss.cli.simulate.aggregator import Aggregators
from pitboss.cli.simulate.calls import (
    BAD_REQUEST,
    NOT_FOUND,
    SIGNATURE,
    Answer,
    Call,
    Holder,
    Leg,
)
from pitboss.cli.simulate.model import Expected, Wallet, differ
from pitboss.cli.simulate.tally import Tally
from pitboss.cli.simulate.vendors import Vendor
from pitboss.cli.simulate.wire import Denied, Plan, Platform

DEPOSIT_MINOR: Final = 100_00
_LOW_MINOR: Final = 10_00
_STAKES: Final = (10, 20, 50, 1_00, 2_50, 5_00)
_ROUNDS_KEPT: Final = 40
_SESSION_ROUNDS: Final = 50


class Mismatch(Exception):
    """The platform and the model disagree: this player's model is of no use any more."""


class SignedIn(msgspec.Struct):
    """The answer to a sign-in, as far as it is used."""

    token: str
    player_id: str


class Launched(msgspec.Struct):
    """The answer to a launch."""

    url: str


class Credited(msgspec.Struct):
    """The answer to a deposit by hand."""

    playable_after_minor: int


class BalanceLine(msgspec.Struct):
    """One wallet of the player."""

    currency: str
    decimals: int
    real_minor: int
    debt_minor: int
    playable_minor: int


class Balances(msgspec.Struct):
    """The player's wallets."""

    balances: list[BalanceLine]


class RoundLine(msgspec.Struct):
    """A round as an operator sees it, as far as the model knows it."""

    bet_minor: int
    win_minor: int
    state: str


class _Part(msgspec.Struct):
    player_id: str
    round: RoundLine


class _PartOfRound(msgspec.Struct):
    part: _Part
    bookings: list[dict[str, Any]]


class RoundDetail(msgspec.Struct):
    """A round looked up by the aggregator's id."""

    parts: list[_PartOfRound]


class Player:
    """Registers, signs in, deposits, opens games and plays; the calls of one player go one after the other."""

    def __init__(
        self,
        plan: Plan,
        platform: Platform,
        aggregators: Aggregators,
        vendor: Vendor,
        tally: Tally,
        run: str,
        number: int,
    ) -> None:
        self._plan = plan
        self._platform = platform
        self._aggregators = aggregators
        self.vendor = vendor
        self._tally = tally
        self._name = f"{run}-{number}"
        self._random = random.Random(f"{plan.seed}/{number}")  # noqa: S311 - a seed makes a run repeatable
        self._wallet = Wallet()
        self._sent: deque[tuple[Call, Holder, bytes]] = deque(maxlen=64)
        self._kept: deque[str] = deque()
        self._rounds = self._deposits = self._references = 0
        self._token = self._player_id = ""
        self._holder: Holder | None = None
        self._decimals = 2

    async def enter(self, games: list[str]) -> None:
        """Register, sign in, deposit and open a first game."""
        email = f"{self._name}@simulated.example"
        registration = {
            "email": email,
            "password": f"passphrase of {self._name}",
            "first_name": "Simulated",
            "last_name": "Player",
            "birth_date": "1990-01-01",
            "country": "MT",
            # High enough not to end the traffic; a licence may demand that one of each kind is chosen.
            "limits": [{"kind": kind, "period": "month", "amount_minor": 10**12} for kind in ("deposit", "loss")],
            "play_time_limits": [{"period": "month", "minutes": 31 * 24 * 60}],
        }
        try:
            await self._platform.ask("POST", "/players", msgspec.Raw, body=registration)
        except Denied as denied:
            if denied.status != 409:  # an attempt before this one may have registered, and its answer got lost
                raise
        await self._sign_in()
        wallet = (await self._ask_as_player("GET", "/me/balances", Balances)).balances[0]
        self._decimals = wallet.decimals
        await self._deposit(wallet.currency)
        await self._launch(games)

    async def play(self, games: list[str]) -> None:
        """Play one round of a kind that chance chooses; raise `Mismatch`."""
        self._rounds += 1
        self._tally.counts["rounds"] += 1
        if self._rounds % _SESSION_ROUNDS == 0:
            await self._launch(games)
        if self._wallet.real < _LOW_MINOR:
            await self._deposit(self._held().currency)
        name = f"{self._name}-{self._rounds}"
        kinds = self._list_kinds()
        (kind,) = self._random.choices(list(kinds), list(kinds.values()))
        await kind(name)
        if self._sent and self._chance(self._plan.replay_percent):
            await self._replay()
        if name in self._wallet.rounds:
            self._kept.append(name)
        while len(self._kept) > _ROUNDS_KEPT:
            self._forget(self._kept.popleft())

    def _list_kinds(self) -> dict[Callable[[str], Awaitable[None]], int]:
        """Return the kinds of rounds, each with its weight."""
        return {
            self._lose: 28,
            self._win_later: 20,
            self._win_at_once: 20,
            self._win_first: 6,
            self._grow: 5,
            self._take_back: 5,
            self._take_back_first: 4,
            self._take_back_win: 4,
            self._overdraw: 3,
            self._bet_late: 2,
            self._look: 2,
            self._talk_nonsense: 1,
        }

    async def compare(self) -> None:
        """Hold balance and latest rounds, as the API tells them, against the model."""
        found = (await self._ask_as_player("GET", "/me/balances", Balances)).balances[0]
        told = (found.real_minor, found.debt_minor, found.playable_minor)
        if told != (self._wallet.real, self._wallet.debt, self._wallet.real):
            self._differ(
                f"the API says real {told[0]}, debt {told[1]}; the model {self._wallet.real}, {self._wallet.debt}"
            )
        self._tally.counts["balances_compared"] += 1
        for name in list(self._kept)[-5:]:
            await self._compare_round(name)

    async def _compare_round(self, name: str) -> None:
        expected = self._wallet.rounds[name]
        path = f"/operator/rounds/lookup?plugin={self.vendor.plugin}&provider_round={name}"
        try:
            detail = await self._platform.ask("GET", path, RoundDetail, token=self._plan.operator_token)
        except Denied as denied:
            if denied.status == 404 and not self._wallet.count_bookings(name):
                return
            self._differ(f"round {name} cannot be looked up: {denied}")
        part = detail.parts[0]
        told = (part.part.round.bet_minor, part.part.round.win_minor, part.part.round.state)
        if told != (expected.bet_minor, expected.win_minor, expected.state):
            self._differ(f"round {name} is {told}, expected {expected}")
        if part.part.player_id != self._player_id or len(part.bookings) != self._wallet.count_bookings(name):
            self._differ(f"round {name} has {len(part.bookings)} bookings of {part.part.player_id}")
        self._tally.counts["rounds_compared"] += 1

    async def _sign_in(self) -> None:
        body = {"email": f"{self._name}@simulated.example", "password": f"passphrase of {self._name}"}
        signed_in = await self._platform.ask("POST", "/sessions", SignedIn, body=body)
        self._token, self._player_id = signed_in.token, signed_in.player_id

    async def _ask_as_player(self, method: str, path: str, shape: Any, body: Any = None) -> Any:
        try:
            return await self._platform.ask(method, path, shape, body=body, token=self._token)
        except Denied as denied:
            if denied.status != 401:
                raise
        await self._sign_in()
        return await self._platform.ask(method, path, shape, body=body, token=self._token)

    async def _deposit(self, currency: str) -> None:
        self._deposits += 1
        body = {
            "amount_minor": DEPOSIT_MINOR,
            "currency": currency,
            "reference": f"{self._name}-deposit-{self._deposits}",
            "reason": "simulation",
        }
        path = f"/operator/players/{self._player_id}/credits"
        credited = await self._platform.ask("POST", path, Credited, body=body, token=self._plan.operator_token)
        balance_minor = self._wallet.deposit(DEPOSIT_MINOR)
        if credited.playable_after_minor != balance_minor:
            self._differ(f"a deposit made {credited.playable_after_minor}, expected {balance_minor}")

    async def _launch(self, games: list[str]) -> None:
        game = self._random.choice(games)
        launched: Launched = await self._ask_as_player("POST", f"/games/{game}/sessions", Launched, {})
        launch = self._aggregators.take_launch(launched.url)
        if launch is None or launch.game != game:
            self._differ(f"the launch of {game} did not reach the aggregator")
        self._holder = Holder(launch.account, launch.currency, self._decimals, launch.game, launch.session)

    def _held(self) -> Holder:
        if self._holder is None:
            raise RuntimeError("the player has opened no game yet")
        return self._holder

    async def _send(self, call: Call) -> None:
        """Send a call; where the dialect has no words for several movements, one for each of them."""
        if len(call.legs) < 2 or self.vendor.many_in_one:
            await self._send_one(call)
            return
        for leg in call.legs:
            last = leg is call.legs[-1]
            await self._send_one(Call(call.operation, call.round, (leg,), call.finished and last))

    async def _send_one(self, call: Call) -> None:
        """Send a call, sometimes twice or with a wrong signature before, and hold the answers against the model."""
        holder = self._held()
        operation, body = self.vendor.write(call, holder)
        if self._chance(self._plan.bad_signature_percent):
            await self._send_refused(operation, body, SIGNATURE, signature="0" * 64)
            self._tally.counts["bad_signatures"] += 1
        expected = self._wallet.expect(call)
        twice = self._chance(self._plan.duplicate_percent)
        if twice and self._chance(50):
            answers = await asyncio.gather(*[self._answer(operation, body, expected) for _ in range(2)])
        else:
            answers = [await self._answer(operation, body, expected) for _ in range(2 if twice else 1)]
        for answer in answers:
            self._check(call, answer, expected, holder.decimals)
        self.vendor.keep_books(call, holder, accepted=not expected.api_code)
        if twice:
            self._tally.counts["duplicates"] += 1
            if answers[0].body != answers[1].body:
                self._differ(f"two answers to one call: {answers[0].body!r} and {answers[1].body!r}")
            self._tally.counts["duplicates_equal"] += 1
        if call.legs and not expected.api_code:
            self._sent.append((call, holder, answers[0].body))

    async def _answer(self, operation: str, body: bytes, expected: Expected) -> Answer:
        return await self._platform.call_wallet(
            self.vendor, operation, body, self._decimals, expect_code=expected.api_code
        )

    async def _replay(self) -> None:
        """Send a call of earlier again, whatever happened since: it gets its first answer."""
        call, holder, first = self._random.choice(self._sent)
        if call.round not in self._wallet.rounds:
            return
        expected = self._wallet.expect(call)
        answer = await self._answer(*self.vendor.write(call, holder), expected)
        self._check(call, answer, expected, holder.decimals)
        self._tally.counts["replays"] += 1
        if answer.body != first:
            self._differ(f"a replay was answered {answer.body!r}, first {first!r}")

    async def _send_refused(
        self, operation: str, body: bytes, api_code: str, *, signature: str = "", tenant: str = ""
    ) -> None:
        answer = await self._platform.call_wallet(
            self.vendor, operation, body, self._decimals, signature=signature, tenant=tenant
        )
        if (answer.status, answer.api_code) != (400, api_code):
            self._differ(f"{operation} must be refused with {api_code}, was answered {answer.body!r}")

    def _check(self, call: Call, answer: Answer, expected: Expected, decimals: int) -> None:
        difference = differ(answer, expected, decimals)
        if difference:
            self._differ(f"{call}: {difference}; {answer.body!r}")

    def _differ(self, text: str) -> NoReturn:
        self._tally.add_difference(f"{self._name}: {text}")
        raise Mismatch(text)

    def _forget(self, name: str) -> None:
        if name in self._wallet.rounds:
            self._wallet.forget(name)

    def _chance(self, percent: int) -> bool:
        return self._random.randrange(100) < percent

    def _leg(self, kind: str, amount_minor: int = 0, original: str = "") -> Leg:
        self._references += 1
        return Leg(kind, f"{self._name}-t{self._references}", amount_minor, original)

    def _bet(self) -> Leg:
        return self._leg("bet", min(self._random.choice(_STAKES), self._wallet.real))

    def _win(self) -> Leg:
        return self._leg("win", self._random.choice(_STAKES) * self._random.choice((1, 1, 2, 3)))

    async def _lose(self, name: str) -> None:
        await self._send(Call("betwin", name, (self._bet(),)))
        await self._send(Call("finish", name))

    async def _win_later(self, name: str) -> None:
        await self._send(Call("betwin", name, (self._bet(),)))
        await self._send(Call("betwin", name, (self._win(),), finished=True))

    async def _win_at_once(self, name: str) -> None:
        await self._send(Call("betwin", name, (self._bet(), self._win()), finished=True))

    async def _win_first(self, name: str) -> None:
        bet, win = Call("betwin", name, (self._bet(),)), Call("betwin", name, (self._win(),), finished=True)
        await self._send(win)
        await self._send(bet)
        await self._send(win)

    async def _grow(self, name: str) -> None:
        bet = self._bet()
        await self._send(Call("betwin", name, (bet,)))
        await self._send(Call("betwin", name, (bet, self._win()), finished=True))

    async def _take_back(self, name: str) -> None:
        bet = self._bet()
        await self._send(Call("betwin", name, (bet,)))
        back = self._leg("rollback", original=bet.reference)
        await self._send(Call("rollback", name, (back,), finished=True))
        await self._send(Call("rollback", name, (self._leg("rollback", original=bet.reference),), finished=True))
        if self._chance(50):
            await self._send(Call("betwin", name, (self._win(),), finished=True))

    async def _take_back_first(self, name: str) -> None:
        bet = self._bet()
        await self._send(Call("rollback", name, (self._leg("rollback", original=bet.reference),), finished=True))
        await self._send(Call("betwin", name, (bet,)))

    async def _take_back_win(self, name: str) -> None:
        win = self._win()
        await self._send(Call("betwin", name, (self._bet(), win)))
        if self._chance(50):
            await self._send(Call("betwin", name, (self._leg("bet", self._wallet.real),)))
        await self._send(Call("rollback", name, (self._leg("rollback", original=win.reference),)))
        await self._send(Call("finish", name))

    async def _overdraw(self, name: str) -> None:
        too_much = self._leg("bet", self._wallet.real + self._random.choice(_STAKES))
        await self._send(Call("betwin", name, (self._bet(), too_much)))
        await self._send(Call("betwin", name, (too_much,)))

    async def _bet_late(self, name: str) -> None:
        await self._win_at_once(name)
        await self._send(Call("betwin", name, (self._bet(),)))

    async def _look(self, name: str) -> None:
        await self._send(Call("balance"))
        await self._send(Call("finish", name))

    async def _talk_nonsense(self, name: str) -> None:
        operation, body = self.vendor.write(Call("betwin", name, (self._bet(),)), self._held())
        await self._send_refused(operation, self.vendor.negate(body), BAD_REQUEST)
        await self._send_refused(operation, body[:-1], BAD_REQUEST)
        await self._send_refused(operation, body, NOT_FOUND, tenant="no-such-tenant")
        await self._send(Call("balance"))
