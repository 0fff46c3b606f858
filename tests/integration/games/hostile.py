"""Aggregators that repeat themselves, lose their way and are impersonated; they write down all that they were told.

What they want to say is the same in every dialect. Codes are those of SOFTSWISS, into which the words of others are put.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

import httpx
from tests.factories.money import Seat
from tests.integration.games.speech import Speech, Step, Told, Wish

PLANNED = "500"
"""The code of a win before its bet: come again."""


@dataclass(frozen=True)
class Call:
    """One callback as it is sent, however often; `wanted` are the codes that may answer it for good."""

    operation: str
    body: bytes
    refs: tuple[str, ...]
    wanted: frozenset[str]
    finishes: bool = False
    amount_minor: int | None = None
    """What a bet takes under an id that stands for another amount elsewhere."""


@dataclass
class Round:
    """What a player did in a round: the calls, in the order in which a well-behaved aggregator sends them."""

    name: str
    plugin: str
    seat: Seat
    calls: list[Call]
    in_order: bool
    amounts: dict[str, int] = field(default_factory=dict[str, int])
    reverses: dict[str, str] = field(default_factory=dict[str, str])


class Writer:
    """Makes rounds of every kind; everything follows from the seed."""

    def __init__(self, speech: Speech, rng: Random, rich: list[Seat], poor: list[Seat], blocked: list[Seat]) -> None:
        self._speech = speech
        self._rng = rng
        self._rich, self._poor, self._blocked = rich, poor, blocked
        self._number = 0

    def rounds(self, calls: int) -> list[Round]:
        """Return rounds with that many calls together."""
        made: list[Round] = []
        makers = (
            [self.plain] * 6 + [self.at_once] * 6 + [self.lost] * 3 + [self.rolled] * 4 + [self.win_rolled] * 2
            + [self.poor] * 2 + [self.refused] * 2 + [self.misused]
        )  # fmt: skip
        while (left := calls - sum(len(round_.calls) for round_ in made)) > 0:
            round_ = self._rng.choice(makers)()
            if len(round_.calls) <= left:
                made.append(round_)
        return made

    def _ref(self, kind: str) -> str:
        self._number += 1
        return f"{kind}-{self._speech.plugin}-{self._number:06d}"

    def _open(self, seat: Seat, *, in_order: bool = True) -> Round:
        return Round(self._ref("round"), self._speech.plugin, seat, [], in_order)

    def _add(self, round_: Round, wish: Wish, wanted: str, amount_minor: int | None = None) -> None:
        """Say a wish in the dialect: in one call, or in one for each step."""
        for each in wish.split() if not self._speech.many_in_one else [wish]:
            operation, body = self._speech.write(round_.name, round_.seat, each)
            refs = tuple(step.ref for step in each.steps)
            round_.calls.append(Call(operation, body, refs, frozenset(wanted.split()), each.finished, amount_minor))

    def _play(
        self, round_: Round, *kinds: str, wanted: str = "200", finished: bool = False, said: Mapping[str, str] = {}
    ) -> tuple[str, ...]:
        steps: list[Step] = []
        for kind in kinds:
            amount, ref = self._rng.randrange(1, 400), self._ref(kind)
            round_.amounts[ref] = -amount if kind == "bet" else amount
            steps.append(Step(kind, ref, amount))
        self._add(round_, Wish("play", tuple(steps), finished, said), wanted)
        return tuple(step.ref for step in steps)

    def _roll_back(self, round_: Round, *targets: str) -> None:
        steps: list[Step] = []
        for target in targets:
            ref = self._ref("back")
            round_.reverses[ref] = target
            steps.append(Step("rollback", ref, 0, target))
        self._add(round_, Wish("rollback", tuple(steps)), "200")

    def plain(self) -> Round:
        """A bet and its win on their way at the same time."""
        round_ = self._open(self._rng.choice(self._rich), in_order=False)
        self._play(round_, "bet")
        self._play(round_, "win")
        return round_

    def at_once(self) -> Round:
        round_ = self._open(self._rng.choice(self._rich))
        self._play(round_, "bet", "win", finished=True)
        return round_

    def lost(self) -> Round:
        round_ = self._open(self._rng.choice(self._rich))
        self._play(round_, "bet")
        self._play(round_, "bet")
        self._add(round_, Wish("finish", finished=True), "200")
        return round_

    def rolled(self) -> Round:
        """A bet and its rollback race; whichever is first, the stake is with the player."""
        round_ = self._open(self._rng.choice(self._rich), in_order=False)
        (bet,) = self._play(round_, "bet", wanted="200 409")
        self._roll_back(round_, bet)
        return round_

    def win_rolled(self) -> Round:
        round_ = self._open(self._rng.choice(self._rich))
        bet, win = self._play(round_, "bet", "win")
        self._roll_back(round_, win)
        if self._rng.random() < 0.5:
            self._roll_back(round_, bet, win)
        return round_

    def poor(self) -> Round:
        round_ = self._open(self._rng.choice(self._poor))
        self._play(round_, "bet", wanted="200 100")
        return round_

    def refused(self) -> Round:
        """A bet that nobody may place."""
        blocked = self._rng.random() < 0.3
        round_ = self._open(self._rng.choice(self._blocked if blocked else self._rich))
        why: list[tuple[dict[str, str], str]] = [
            ({"game": "switched-off"}, "107"),
            ({"session": "00000000-0000-7000-8000-000000000000"}, "101"),
            ({"session": "not a session"}, "101"),
            ({"account": "00000000-0000-7000-8000-000000000000"}, "101"),
            ({"currency": "USD"}, "154"),
            ({"currency": "CUSTOM_WIN"}, "154"),
        ]
        more, code = ({}, "110") if blocked else self._rng.choice(why)
        self._play(round_, "bet", wanted=code, said=more)
        return round_

    def misused(self) -> Round:
        """One id for two bets: one of them is booked, the other is a mistake."""
        round_ = self._open(self._rng.choice(self._rich), in_order=False)
        (ref,) = self._play(round_, "bet", wanted="200 400")
        self._add(round_, Wish("play", (Step("bet", ref, 7_77),)), "200 400", -7_77)
        return round_


class Sender:
    """Sends, counts, retries what has to be retried, and remembers every answer."""

    def __init__(self, speech: Speech, client: httpx.AsyncClient, rng: Random, width: int) -> None:
        self.speech = speech
        self._client = client
        self._rng = rng
        self._gate = asyncio.Semaphore(width)
        self.told: dict[Call, list[Told]] = {}
        self.unplanned: list[str] = []
        self.wrong: list[str] = []
        self.statuses: Counter[str] = Counter()
        self.calls = 0
        self.silences = 0

    async def _post(self, path: str, body: bytes, signature: str | None) -> httpx.Response:
        """Post once more when nothing comes back: silence is not an answer."""
        headers = {} if signature is None else {self.speech.signature_header: signature}
        for attempt in range(5):
            try:
                async with self._gate:
                    return await self._client.post(path, content=body, headers=headers)
            except httpx.TransportError:
                self.silences += 1
                if attempt == 4:
                    raise
        raise AssertionError("unreachable")

    async def send(self, call: Call) -> Told:
        """Send one call until it is answered for good; repetitions that the answer asks for are not counted."""
        self.calls += 1
        path = f"/wallet/aurora/{self.speech.plugin}/{call.operation}"
        for _ in range(200):
            answer = await self._post(path, call.body, self.speech.sign(call.body))
            told = self.speech.read(answer)
            self.statuses[told.code] += 1
            if told.code not in {"500", "503"}:
                self.told.setdefault(call, []).append(told)
                if told.code not in call.wanted:
                    self.wrong.append(f"{call} was answered {told}")
                return told
            if told.code != PLANNED or not all(ref.startswith("win") for ref in call.refs):
                self.unplanned.append(f"{call} was answered {answer.status_code} {told}")
            await asyncio.sleep(self._rng.uniform(0.005, 0.05))
        self.wrong.append(f"{call} was never answered for good")
        return Told("never", None, ())

    async def forge(self, call: Call) -> None:
        """Send a call under a signature that is not the aggregator's."""
        self.calls += 1
        forged = self._rng.choice(self.speech.list_forgeries(call.body))
        answer = await self._post(f"/wallet/aurora/{self.speech.plugin}/{call.operation}", call.body, forged)
        self._expect(answer, "403", "a forged signature")

    async def babble(self, kind: int) -> None:
        """Send what is not a callback at all."""
        self.calls += 1
        plugin, code, signed = self.speech.plugin, "400", True
        path = f"/wallet/aurora/{plugin}/{self.speech.bet}"
        body = (b"", b"{", b"\xff\xfe\x00", b"[" * 5000, b"x" * 70_000, b"x" * 2_000_000, b'{"account_id": NaN}')[
            kind % 7
        ]
        if kind % 5 == 1:
            path, code = f"/wallet/nobody/{plugin}/{self.speech.bet}", "404"
        elif kind % 5 == 2:
            path, code = f"/wallet/aurora/{plugin}/jackpot", self.speech.unknown_operation
        elif kind % 5 == 3:
            signed, code = False, "403"
        elif kind % 5 == 4:
            path, code = f"/wallet/aurora/nobody/{self.speech.bet}", ""
        if len(body) > 65_536 and code == "403":
            code = "400"  # too long to be read at all, and so to be verified
        try:
            answer = await self._post(path, body, self.speech.sign(body) if signed else None)
        except httpx.TransportError:
            # The server need not listen to megabytes: it may hang up before all was said.
            if len(body) < 1_000_000:
                raise
            return
        self._expect(answer, code, f"{path} with {body[:20]!r}")

    def _expect(self, answer: httpx.Response, code: str, what: str) -> None:
        told = self.speech.read(answer).code if code else str(answer.status_code)
        if told in {"500", "503"}:
            self.unplanned.append(f"{what} was answered {answer.status_code}")
        if told != (code or "404"):
            self.wrong.append(f"{what} was answered {answer.status_code} {answer.text[:200]}")
