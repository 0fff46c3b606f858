"""An aggregator that repeats itself, loses its way and is impersonated; it writes down all that it was told."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
from tests.factories.money import Seat

SIGN = "x-request-sign"
PLANNED = "500"
"""The code of a win before its bet: come again."""


@dataclass(frozen=True)
class Call:
    """One callback as it is sent, however often; `wanted` are the codes that may answer it for good."""

    operation: str
    body: bytes
    refs: tuple[str, ...]
    wanted: frozenset[str]


@dataclass(frozen=True)
class Told:
    """What a call was answered: '200', or the code of a refusal."""

    code: str
    balance: str | None
    ids: tuple[tuple[str, str], ...]


@dataclass
class Round:
    """What a player did in a round: the calls, in the order in which a well-behaved aggregator sends them."""

    name: str
    seat: Seat
    calls: list[Call]
    in_order: bool
    amounts: dict[str, int] = field(default_factory=dict[str, int])
    reverses: dict[str, str] = field(default_factory=dict[str, str])


class Writer:
    """Makes rounds of every kind; everything follows from the seed."""

    def __init__(self, rng: Random, rich: list[Seat], poor: list[Seat], blocked: list[Seat]) -> None:
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
        return f"{kind}-{self._number:06d}"

    def _open(self, seat: Seat, *, in_order: bool = True) -> Round:
        return Round(self._ref("round"), seat, [], in_order)

    def _body(self, round_: Round, **more: Any) -> dict[str, Any]:
        seat = round_.seat
        named = {"account_id": seat.account, "currency": seat.currency, "game_id": "dice", "session_id": seat.session}
        return {**named, "round_id": round_.name, **more}

    def _call(self, operation: str, body: dict[str, Any], refs: tuple[str, ...], wanted: str) -> Call:
        return Call(operation, json.dumps(body).encode(), refs, frozenset(wanted.split()))

    def _play(self, round_: Round, *kinds: str, wanted: str = "200", **more: Any) -> tuple[str, ...]:
        steps: list[dict[str, str]] = []
        for kind in kinds:
            amount, ref = self._rng.randrange(1, 400), self._ref(kind)
            round_.amounts[ref] = -amount if kind == "bet" else amount
            steps.append({"id_provider": ref, "type": kind, "amount": f"{amount // 100}.{amount % 100:02d}"})
        refs = tuple(step["id_provider"] for step in steps)
        round_.calls.append(self._call("betwin", self._body(round_, transactions=steps, **more), refs, wanted))
        return refs

    def _roll_back(self, round_: Round, *targets: str) -> None:
        steps: list[dict[str, str]] = []
        for target in targets:
            ref = self._ref("back")
            round_.reverses[ref] = target
            steps.append({"id_provider": ref, "type": "rollback", "original_id_provider": target})
        body = {**self._body(round_), "round_id_provider": round_.name, "transactions": steps}
        del body["round_id"]
        round_.calls.append(self._call("rollback", body, tuple(step["id_provider"] for step in steps), "200"))

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
        finish = {"account_id": round_.seat.account, "currency": round_.seat.currency, "round_id": round_.name}
        round_.calls.append(self._call("finish", finish, (), "200"))
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
        why: list[tuple[dict[str, Any], str]] = [
            ({"game_id": "switched-off"}, "107"),
            ({"session_id": "00000000-0000-7000-8000-000000000000"}, "101"),
            ({"session_id": "not a session"}, "101"),
            ({"account_id": "00000000-0000-7000-8000-000000000000"}, "101"),
            ({"currency": "USD"}, "154"),
            ({"currency": "CUSTOM_WIN"}, "154"),
        ]
        more, code = ({}, "110") if blocked else self._rng.choice(why)
        self._play(round_, "bet", wanted=code, **more)
        return round_

    def misused(self) -> Round:
        """One id for two bets: one of them is booked, the other is a mistake."""
        round_ = self._open(self._rng.choice(self._rich), in_order=False)
        (ref,) = self._play(round_, "bet", wanted="200 400")
        body = json.loads(round_.calls[0].body)
        body["transactions"][0]["amount"] = "7.77"
        round_.calls.append(self._call("betwin", body, (ref,), "200 400"))
        return round_


class Sender:
    """Sends, counts, retries what has to be retried, and remembers every answer."""

    def __init__(self, client: httpx.AsyncClient, secret: str, rng: Random, width: int) -> None:
        self._client = client
        self._secret = secret.encode()
        self._rng = rng
        self._gate = asyncio.Semaphore(width)
        self.told: dict[Call, list[Told]] = {}
        self.unplanned: list[str] = []
        self.wrong: list[str] = []
        self.statuses: Counter[str] = Counter()
        self.calls = 0
        self.silences = 0

    def _signature(self, body: bytes) -> str:
        return hmac.digest(self._secret, body, "sha256").hex()

    async def _post(self, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """Post once more when nothing comes back: silence is not an answer."""
        for attempt in range(5):
            try:
                async with self._gate:
                    answer = await self._client.post(path, content=body, headers=headers)
            except httpx.TransportError:
                self.silences += 1
                if attempt == 4:
                    raise
                continue
            break
        else:
            raise AssertionError("unreachable")
        self.statuses[str(answer.status_code)] += 1
        return answer

    async def send(self, call: Call) -> Told:
        """Send one call until it is answered for good; repetitions that the answer asks for are not counted."""
        self.calls += 1
        for _ in range(200):
            answer = await self._post(
                f"/wallet/aurora/softswiss/{call.operation}", call.body, {SIGN: self._signature(call.body)}
            )
            told = read(answer)
            if answer.status_code < 500:
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
        """Send a call under a signature that is not ours."""
        self.calls += 1
        true = self._signature(call.body)
        forged = self._rng.choice(
            ("", "0" * 64, true[:-1], true.upper() if true.upper() != true else "x", self._signature(b"another body"))
        )
        answer = await self._post(f"/wallet/aurora/softswiss/{call.operation}", call.body, {SIGN: forged})
        self._expect(answer, 400, "403", "a forged signature")

    async def babble(self, kind: int) -> None:
        """Send what is not a callback at all."""
        self.calls += 1
        path, signed, status, code = "/wallet/aurora/softswiss/betwin", True, 400, "400"
        body = (b"", b"{", b"\xff\xfe\x00", b"[" * 5000, b"x" * 70_000, b"x" * 2_000_000, b'{"account_id": NaN}')[
            kind % 7
        ]
        if kind % 5 == 1:
            path, code = "/wallet/nobody/softswiss/betwin", "404"
        elif kind % 5 == 2:
            path, code = "/wallet/aurora/softswiss/jackpot", "404"
        elif kind % 5 == 3:
            signed, code = False, "403"
        elif kind % 5 == 4:
            path, status, code = "/wallet/aurora/nobody/betwin", 404, ""
        if len(body) > 65_536 and code == "403":
            code = "400"  # too long to be read at all, and so to be verified
        try:
            answer = await self._post(path, body, {SIGN: self._signature(body)} if signed else {})
        except httpx.TransportError:
            # The server need not listen to megabytes: it may hang up before all was said.
            if len(body) < 1_000_000:
                raise
            return
        self._expect(answer, status, code, f"{path} with {body[:20]!r}")

    def _expect(self, answer: httpx.Response, status: int, code: str, what: str) -> None:
        if answer.status_code >= 500:
            self.unplanned.append(f"{what} was answered {answer.status_code}")
        if answer.status_code != status or (code and read(answer).code != code):
            self.wrong.append(f"{what} was answered {answer.status_code} {answer.text[:200]}")


def read(answer: httpx.Response) -> Told:
    """Return what an answer says."""
    said = answer.json()
    if answer.status_code != 200:
        meta = said.get("meta", {})
        return Told(str(meta.get("api_code", "")), meta.get("balance"), ())
    ids = tuple((step["id_provider"], step["id"]) for step in said.get("transactions", ()))
    return Told("200", said["balance"], ids)
