"""Signed traffic that never gives up: each call is sent with the same ids until it is acknowledged, and kept."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tests.crash.cell import DOMAIN, TENANT, Cell, Seat

from pitboss.cli.simulate.calls import INSUFFICIENT, ROLLED_BACK, Call, Leg, to_decimal
from pitboss.cli.simulate.vendors import Vendor
from pitboss.kernel.clock import utc_now

TIMEOUT_SECONDS = 5.0
PAUSE_SECONDS = 0.06
"""Mean pause of a player between two calls: the machine is not what is tested."""
RETRY_SECONDS = 0.1
RESETS_PER_PLAYER = 3
MAX_STAKE = 5_000
DECIMALS = 2
SHARED, PLAYS_PER_SHARED = 2, 4
AWARDED = frozenset({3, 4})
"""Of five players each, who gets bonus money; one of them has limits too."""
WAGERING_TIMES = 3


@dataclass(frozen=True)
class Answer:
    """Status and body of an acknowledged call."""

    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Wire:
    """A request whose repetition must be answered as the first time; `vendor` is whose dialect it is in, if any."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...]
    vendor: Vendor | None = None
    method: str = "POST"

    def is_settled(self, answer: Answer) -> bool:
        """Return whether an answer is one, and does not ask for the same again: some dialects say that with 200."""
        if answer.status >= 500 or self.vendor is None:
            return answer.status < 500
        read = self.vendor.read(answer.status, answer.body, DECIMALS)
        return read is None or read.status < 500


class Connection:
    """One keep-alive connection from an address of this machine, opened anew whenever it breaks."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._port = port
        self._source = source
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, call: Wire) -> Answer:
        """Send once and return the answer; raise OSError, EOFError or TimeoutError when there is none."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self._exchange(call)
        except (OSError, EOFError, ValueError, TimeoutError):
            self.drop()
            raise

    async def _exchange(self, call: Wire) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(self._source, 0))
        reader, writer = self._streams
        headers = "".join(f"{name}: {value}\r\n" for name, value in call.headers)
        head = (
            f"{call.method} {call.path} HTTP/1.1\r\nhost: {DOMAIN}\r\ncontent-length: {len(call.body)}\r\n{headers}\r\n"
        )
        writer.write(head.encode() + call.body)
        await writer.drain()
        answered = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in answered[1:] if ": " in line)
        if "content-length" not in fields:
            raise ValueError("an answer without a length")
        body = await reader.readexactly(int(fields["content-length"]))
        if fields.get("connection") == "close":
            self.drop()
        return Answer(int(answered[0].split(" ")[1]), body)

    def drop(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
        self._streams = None


class Line:
    """A player's two ways to the cell: wallet calls go to their own listener or, for every other player, to the web."""

    def __init__(self, cell: Cell, number: int) -> None:
        self._web = Connection(cell.ports["web"])
        self._wallet = Connection(cell.wallet_port) if number % 2 else self._web

    def turn_to(self, web_port: int, wallet_port: int) -> None:
        """Go to another cell from now on."""
        is_apart = self._wallet is not self._web
        self.drop()
        self._web = Connection(web_port)
        self._wallet = Connection(wallet_port) if is_apart else self._web

    async def send(self, call: Wire) -> Answer:
        """Send once, the way that such calls go."""
        return await (self._wallet if call.path.startswith("/wallet/") else self._web).send(call)

    def drop(self) -> None:
        self._web.drop()
        self._wallet.drop()


@dataclass
class Book:
    """What one player's calls must have led to."""

    seat: Seat
    balance: int = 0
    open_bets: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    resets: int = 0
    staked: int = 0
    """Stakes without those that were taken back; what was won, and what was deposited, likewise in minor units."""
    won: int = 0
    deposited: int = 0
    is_awarded: bool = False
    awards: dict[str, int] = field(default_factory=dict[str, int])
    """What was given under terms, by its id; some of it becomes real money on the way."""
    shared: bool = False
    """Several players' calls meet on this wallet, so that no answer's balance can be foretold, only the last."""


class Traffic:
    """The aggregator and its players in a thread of their own, while the main thread kills."""

    def __init__(self, cell: Cell, seats: list[Seat], seed: int) -> None:
        self.cell = cell
        self.books = [
            Book(seat, is_awarded=number % 5 in AWARDED, shared=number < SHARED) for number, seat in enumerate(seats)
        ]
        self.acknowledged: list[tuple[Wire, Answer]] = []
        self.legs: set[str] = set()
        """References of accepted legs: each has exactly one row in the journal."""
        self.resets = 0
        self.retries = 0
        self.wrong: list[str] = []
        self._seed = seed
        self._number = 0
        self._stopping = threading.Event()
        self._is_abandoned = False
        self._thread = threading.Thread(target=self._run_thread, name="traffic")

    @property
    def count(self) -> int:
        return len(self.acknowledged)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let every player finish the call that is under way, however long it takes to be acknowledged."""
        self._stopping.set()
        self._thread.join(timeout=300)
        assert not self._thread.is_alive(), "a call was never acknowledged"

    def abandon(self) -> None:
        """Let calls that are under way be lost: the run has failed already."""
        self._is_abandoned = True
        self.stop()

    def _run_thread(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        plays: list[Coroutine[Any, Any, None]] = [
            self._play(book, Line(self.cell, number), random.Random(self._seed * 1000 + number * 10 + play))
            for number, book in enumerate(self.books)
            for play in range(PLAYS_PER_SHARED if book.shared else 1)
        ]
        await asyncio.gather(*plays)

    async def _play(self, book: Book, connection: Line, rng: random.Random) -> None:
        try:
            await self._credit(connection, book, 10**9 if book.shared else 100_000)
            if book.is_awarded:
                await self._award(connection, book, 50_000)
            while not self._stopping.is_set():
                await self._act(connection, book, rng)
                await asyncio.sleep(rng.expovariate(1 / PAUSE_SECONDS))
        except Exception as error:  # noqa: BLE001 - told by the test, not swallowed with the thread
            self.wrong.append(f"{book.seat.holder.account}: {error!r}")
        finally:
            connection.drop()

    async def _act(self, connection: Line, book: Book, rng: random.Random) -> None:
        draw = rng.random()
        if draw < 0.40 or not book.open_bets:
            await self._bet(connection, book, rng, win=draw < 0.10)
        elif draw < 0.65:
            await self._win(connection, book, rng)
        elif draw < 0.80:
            await self._roll_back(connection, book, rng)
        elif draw < 0.88:
            await self._roll_back_unknown(connection, book)
        elif draw < 0.96:
            await self._repeat(connection, rng)
        elif draw < 0.98 and book.resets < RESETS_PER_PLAYER:
            await self._ask_for_reset(connection, book)
        elif book.is_awarded:
            await self._award(connection, book, rng.randrange(1, 20_000))
        else:
            await self._credit(connection, book, rng.randrange(1, 20_000))

    def _name(self, kind: str) -> str:
        self._number += 1
        return f"{kind}-{self._seed}-{self._number}"

    async def _bet(self, connection: Line, book: Book, rng: random.Random, *, win: bool) -> None:
        stake, gain = rng.randrange(1, MAX_STAKE), rng.randrange(1, MAX_STAKE)
        prize, round_id = self._name("win"), self._name("round")
        reference = f"{round_id}-bet"
        legs = (Leg("bet", reference, stake), Leg("win", prize, gain))[: 2 if win else 1]
        many = book.seat.vendor.many_in_one
        answer = await self._wallet(connection, book, Call("betwin", round_id, legs if many else legs[:1]))
        if stake > book.balance:
            self._expect(book, answer, 400, INSUFFICIENT)
            return
        book.balance += gain - stake if win and many else -stake
        book.staked += stake
        book.won += gain if win else 0
        self._expect(book, answer, 200)
        if win and not many:
            answer = await self._wallet(connection, book, Call("betwin", round_id, legs[1:]))
            book.balance += gain
            self._expect(book, answer, 200)
        self.legs |= {leg.reference for leg in legs}
        if not win:
            book.open_bets.append((reference, round_id, stake))

    async def _win(self, connection: Line, book: Book, rng: random.Random) -> None:
        _, round_id, _ = book.open_bets.pop(0)
        gain, reference = rng.randrange(1, MAX_STAKE), self._name("win")
        win = Call("betwin", round_id, (Leg("win", reference, gain),), finished=True)
        answer = await self._wallet(connection, book, win)
        book.balance += gain
        book.won += gain
        self._expect(book, answer, 200)
        self.legs.add(reference)

    async def _roll_back(self, connection: Line, book: Book, rng: random.Random) -> None:
        original, round_id, stake = book.open_bets.pop(rng.randrange(len(book.open_bets)))
        reference = self._name("back")
        back = Call("rollback", round_id, (Leg("rollback", reference, original=original),))
        answer = await self._wallet(connection, book, back)
        book.balance += stake
        book.staked -= stake
        self._expect(book, answer, 200)
        self.legs.add(reference)

    async def _roll_back_unknown(self, connection: Line, book: Book) -> None:
        """Take back a bet that never came: the late bet is refused for good."""
        round_id = self._name("round")
        original = f"{round_id}-bet"
        back = Call("rollback", round_id, (Leg("rollback", self._name("back"), original=original),))
        self._expect(book, await self._wallet(connection, book, back), 200)
        late = Call("betwin", round_id, (Leg("bet", original, 10),))
        self._expect(book, await self._wallet(connection, book, late), 400, ROLLED_BACK)

    async def _repeat(self, connection: Line, rng: random.Random) -> None:
        if self.acknowledged:
            call, answer = rng.choice(self.acknowledged[-2000:])
            again = await self._surely(connection, call)
            if again != answer:
                self.wrong.append(f"{call.body!r}: first {answer}, again {again}")

    async def _operate(self, connection: Line, book: Book, what: str, body: dict[str, Any]) -> Answer:
        headers = (
            ("content-type", "application/json"),
            ("authorization", f"Bearer {self.cell.settings.operator_token}"),
        )
        path = f"/api/v1/operator/players/{book.seat.holder.account}/{what}"
        return await self._surely(connection, Wire(path, json.dumps(body).encode(), headers))

    async def _award(self, connection: Line, book: Book, amount_minor: int) -> None:
        """Give bonus money under terms, sent again with its reference until it is acknowledged."""
        terms = {"amount_minor": amount_minor, "reference": self._name("award"), "reason": "test"}
        later = {"expires_at": (utc_now() + timedelta(days=300)).isoformat(), "wagering_times": WAGERING_TIMES}
        answer = await self._operate(connection, book, "awards", {**terms, **later})
        book.balance += amount_minor
        if answer.status != 201 or answer.json()["granted_minor"] != amount_minor:
            self.wrong.append(f"award: {answer}")
            return
        book.awards[answer.json()["award_id"]] = amount_minor
        self.legs.add(answer.json()["award_id"])

    async def _credit(self, connection: Line, book: Book, amount_minor: int) -> None:
        reference = self._name("credit")
        body = {"amount_minor": amount_minor, "currency": "EUR", "reference": reference, "reason": "test"}
        answer = await self._operate(connection, book, "credits", body)
        book.balance += amount_minor
        book.deposited += amount_minor
        told = answer.json().get("playable_after_minor")
        if answer.status != 201 or (told != book.balance and not book.shared):
            self.wrong.append(f"{reference}: {answer}, expected {book.balance}")
        self.legs.add(reference)

    async def _ask_for_reset(self, connection: Line, book: Book) -> None:
        body = json.dumps({"email": book.seat.email}).encode()
        call = Wire("/api/v1/password-reset-requests", body, (("content-type", "application/json"),))
        answer = await self._surely(connection, call)
        book.resets += 1
        if answer.status == 202:
            self.resets += 1
        elif answer.status == 429:  # attempts that were not acknowledged count too
            book.resets = RESETS_PER_PLAYER
        else:
            self.wrong.append(f"password reset: {answer}")

    async def _wallet(self, connection: Line, book: Book, call: Call) -> Answer:
        vendor = book.seat.vendor
        operation, body = vendor.write(call, book.seat.holder)
        path = f"/wallet/{TENANT}/{vendor.plugin}/{operation}"
        wire = Wire(path, body, ((vendor.signature_header, vendor.sign(body)),), vendor)
        answer = await self._surely(connection, wire)
        self.acknowledged.append((wire, answer))
        return answer

    async def _surely(self, connection: Line, call: Wire) -> Answer:
        """Send the same call until it is acknowledged: an answer that is not *try again*."""
        while True:
            try:
                answer = await connection.send(call)
            except (OSError, EOFError, ValueError, TimeoutError):
                answer = None
            if answer is not None and call.is_settled(answer):
                return answer
            if self._is_abandoned:
                raise TimeoutError("never acknowledged")
            self.retries += 1
            await asyncio.sleep(RETRY_SECONDS)

    def _expect(self, book: Book, answer: Answer, status: int, api_code: str = "") -> None:
        read = book.seat.vendor.read(answer.status, answer.body, DECIMALS)
        if read is None:
            self.wrong.append(f"{answer} has no meaning")
            return
        foretold = read.balance if book.shared else to_decimal(book.balance, DECIMALS)
        wanted = "" if api_code == ROLLED_BACK else foretold
        if (read.status, read.api_code, read.balance) != (status, api_code, wanted):
            self.wrong.append(f"{answer}, expected {status} {api_code} {wanted}")

    async def replay_all(self, connections: int = 32) -> list[str]:
        """Send every acknowledged call once more and return those that are answered otherwise."""
        waiting, different = list(self.acknowledged), list[str]()

        async def work(number: int) -> None:
            connection = Line(self.cell, number)
            while waiting:
                call, answer = waiting.pop()
                again = await self._surely(connection, call)
                if again != answer:
                    different.append(f"{call.body!r}: acknowledged {answer}, now {again}")
            connection.drop()

        await asyncio.gather(*[work(number) for number in range(connections)])
        return different
