"""The aggregator of the benchmark: a process of its own that signs wallet calls and waits for their answers.

It reads its plan from the file that is its one argument and then one JSON command a line from standard input,
each answered by one JSON line. Every connection is closed loop, where the next call leaves when the answer is there,
unless a rate is given: then calls fall due whatever is answered, and whoever waits for a connection waits from then on.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import random
import sys
from collections import deque
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Final

import uvloop
from tests.bench.draws import HTTP_MIX, Ask, draw_asks, draw_ranks
from tests.bench.measure import quantile

_STALL_SECONDS: Final = 30
_TICK_SECONDS: Final = 0.001
_OPEN_BETS: Final = 64
_REPEATABLE: Final = 16
_RANKS: Final = 1 << 20
"""Draws of players: fewer would come round again within a run, and meet a process that remembers all of them."""


class Plan:
    """What the generator is told once, and the draws that all connections share."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.host = str(plan["host"])
        self.port = int(plan["port"])
        secret = str(plan["secret"]).encode()
        self._signer = hmac.new(secret, digestmod="sha256")
        self._heads = {
            (slug, operation): (
                f"POST /wallet/{slug}/{plan['plugin']}/{operation} HTTP/1.1\r\nHost: {slug}.localhost\r\n"
                "Content-Type: application/json\r\nX-REQUEST-SIGN: "
            ).encode()
            for slug in plan["tenants"]
            for operation in ("betwin", "rollback", "balance")
        }
        rng = random.Random(plan["seed"])
        # Account and session of a player never change, so the beginning of every body is made once.
        self.crowds = {
            crowd: [
                (
                    slug,
                    f'{{"account_id":"{account}","currency":"EUR","game_id":"{plan["game"]}","session_id":"{session}"',
                )
                for slug, account, session in players
            ]
            for crowd, players in plan["players"].items()
        }
        for players in self.crowds.values():
            random.Random(1).shuffle(players)
        self.ranks_of = {crowd: draw_ranks(len(players), rng, _RANKS) for crowd, players in self.crowds.items()}
        self.asks = draw_asks(HTTP_MIX, rng)
        self.amounts = [f"{rng.randrange(10, 500) / 100:.2f}" for _ in self.asks]
        self.choose(next(iter(self.crowds)))
        self.prefix = f"{rng.getrandbits(80):020x}"
        self.number = 0

    def choose(self, crowd: str) -> None:
        """Let the calls be those of one crowd of players."""
        self.players: list[tuple[str, str]] = self.crowds[crowd]
        self.ranks: list[int] = self.ranks_of[crowd]

    def draw_player(self) -> tuple[str, str]:
        """Return who plays next: the tenant, and the beginning of the body."""
        return self.players[self.ranks[self.number % _RANKS]]

    def sign(self, slug: str, operation: str, body: bytes) -> bytes:
        """Return the whole request as it goes over the wire."""
        signer = self._signer.copy()
        signer.update(body)
        return b"%s%s\r\nContent-Length: %d\r\n\r\n%s" % (
            self._heads[slug, operation],
            signer.hexdigest().encode(),
            len(body),
            body,
        )


class Tally:
    """What all connections of one run have seen."""

    def __init__(self) -> None:
        self.began = perf_counter()
        self.until = 0.0
        self.latencies: list[float] = []
        self.wrong: list[str] = []
        self.statuses: dict[str, int] = {}
        self.last_answer = self.began

    def note_wrong(self, what: str) -> None:
        """Keep a few examples of what should not have been answered."""
        if len(self.wrong) < 5:
            self.wrong.append(what)
        self.statuses["wrong"] = self.statuses.get("wrong", 0) + 1


class Connection(asyncio.Protocol):
    """One keep-alive connection; it owns the rounds that it opened, so that its wins follow their bets."""

    def __init__(self, plan: Plan, tally: Tally, finished: asyncio.Future[None], pacer: Pacer | None) -> None:
        self._plan = plan
        self._tally = tally
        self._finished = finished
        self._pacer = pacer
        self._transport: Any = None
        self._buffer = b""
        self._bets: deque[tuple[tuple[str, str], str, str]] = deque(maxlen=_OPEN_BETS)
        self._recent: deque[tuple[bytes, bytes]] = deque(maxlen=_REPEATABLE)
        self._asked_at = 0.0
        self._request = b""
        self._wanted: bytes | None = None
        self._bet: tuple[tuple[str, str], str, str] | None = None
        self._is_repeatable = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def begin(self) -> None:
        """Send the first call, or be there for those that fall due."""
        if self._pacer is None:
            self._ask()
        else:
            self._pacer.take(self)

    def ask_since(self, due: float) -> None:
        """Send a call whose caller has waited since `due`."""
        self._ask()
        self._asked_at = due

    def end(self) -> None:
        """Expect nothing more."""
        if not self._finished.done():
            self._finished.set_result(None)

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._finished.done():
            self._tally.note_wrong(f"the connection was lost: {exc}")
            self._finished.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        head_end = data.find(b"\r\n\r\n")
        if head_end >= 0:
            length = _content_length(data, head_end)
            if len(data) >= head_end + 4 + length:
                self._buffer = b""
                self._answered(data[9:12], data[head_end + 4 :])
                return
        self._buffer = data

    def _answered(self, status: bytes, body: bytes) -> None:
        now = perf_counter()
        tally = self._tally
        if now <= tally.until:
            tally.latencies.append(now - self._asked_at)
        tally.last_answer = now
        if status != b"200":
            tally.note_wrong(f"{status.decode()} {body.decode()[:200]} to {self._request.decode()[-300:]}")
        elif self._wanted is not None and body != self._wanted:
            tally.note_wrong(f"a repeated call was told {body.decode()[:200]}, first {self._wanted.decode()[:200]}")
        elif self._is_repeatable:
            self._recent.append((self._request, body))
            if self._bet is not None:
                self._bets.append(self._bet)
        if self._pacer is not None:
            self._pacer.take(self)
        elif now < tally.until:
            self._ask()
        else:
            self.end()

    def _ask(self) -> None:
        plan = self._plan
        plan.number += 1
        drawn = plan.number % len(plan.asks)
        ask = plan.asks[drawn]
        self._wanted = self._bet = None
        self._is_repeatable = True
        if ask == Ask.DUPLICATE and self._recent:
            self._request, self._wanted = self._recent.popleft()
            self._is_repeatable = False
        elif ask == Ask.BALANCE:
            slug, start = plan.draw_player()
            self._request = plan.sign(slug, "balance", f"{start}}}".encode())
            self._is_repeatable = False
        else:
            self._request = self._play(ask, drawn)
        self._asked_at = perf_counter()
        self._transport.write(self._request)

    def _play(self, ask: int, drawn: int) -> bytes:
        plan = self._plan
        reference = f"{plan.prefix}-{plan.number:015x}"
        if ask == Ask.WIN and self._bets:
            (slug, start), round_text, _ = self._bets.popleft()
            movement = f'{{"id_provider":"{reference}","type":"win","amount":"{plan.amounts[drawn]}"}}'
            body = f'{start},"round_id":"{round_text}","finished":true,"transactions":[{movement}]}}'
            return plan.sign(slug, "betwin", body.encode())
        if ask == Ask.ROLLBACK and self._bets:
            (slug, start), round_text, bet = self._bets.popleft()
            movement = f'{{"id_provider":"{reference}","type":"rollback","original_id_provider":"{bet}"}}'
            body = f'{start},"round_id_provider":"{round_text}","finished":true,"transactions":[{movement}]}}'
            return plan.sign(slug, "rollback", body.encode())
        player = plan.draw_player()
        round_text = f"r{reference}"
        self._bet = (player, round_text, reference)
        movement = f'{{"id_provider":"{reference}","type":"bet","amount":"{plan.amounts[drawn]}"}}'
        body = f'{player[1]},"round_id":"{round_text}","finished":false,"transactions":[{movement}]}}'
        return plan.sign(player[0], "betwin", body.encode())


class Pacer:
    """Lets calls fall due at random moments, `rate` a second on average, until a moment; idle connections send them."""

    def __init__(self, rate: float, seed: int) -> None:
        self._rate = rate
        self._rng = random.Random(seed)
        self._due: deque[float] = deque()
        self._idle: list[Connection] = []
        self._next = self._until = 0.0

    def start(self, until: float) -> None:
        """Begin to let calls fall due."""
        self._next, self._until = perf_counter(), until
        self._tick()

    def take(self, connection: Connection) -> None:
        """Give an idle connection the call that waits longest, or let it wait for one."""
        if self._due:
            connection.ask_since(self._due.popleft())
        elif self._next > self._until > 0:
            connection.end()
        else:
            self._idle.append(connection)

    def _tick(self) -> None:
        now = perf_counter()
        while self._next <= min(now, self._until):
            self._due.append(self._next)
            self._next += self._rng.expovariate(self._rate)
        while self._due and self._idle:
            self._idle.pop().ask_since(self._due.popleft())
        if self._next <= self._until:
            asyncio.get_running_loop().call_later(max(_TICK_SECONDS, self._next - now), self._tick)
            return
        while self._idle:
            self._idle.pop().end()


def _content_length(data: bytes, head_end: int) -> int:
    lowered = data[:head_end].lower()
    start = lowered.find(b"content-length:")
    if start < 0:
        return 0
    end = lowered.find(b"\r\n", start)
    return int(lowered[start + 15 : end if end >= 0 else head_end])


async def load(plan: Plan, connections: int, seconds: float, rate: float = 0) -> dict[str, Any]:
    """Call for `seconds` and return what was seen; calls answered after the end do not count.

    All `connections` are busy all the time, or `rate` calls a second fall due and each goes over one that is idle.
    """
    loop = asyncio.get_running_loop()
    tally = Tally()
    pacer = Pacer(rate, plan.number) if rate else None
    finished = [loop.create_future() for _ in range(connections)]
    opened: list[Connection] = []
    for future in finished:
        _, connection = await loop.create_connection(
            lambda future=future: Connection(plan, tally, future, pacer), plan.host, plan.port
        )
        opened.append(connection)
    cpu_began, tally.began = process_time(), perf_counter()
    tally.until = tally.began + seconds
    for connection in opened:
        connection.begin()
    if pacer is not None:
        pacer.start(tally.until)
    _, waiting = await asyncio.wait(finished, timeout=seconds + _STALL_SECONDS)
    took, cpu_seconds = min(seconds, tally.last_answer - tally.began), process_time() - cpu_began
    for connection in opened:
        connection.close()
    if waiting:
        tally.note_wrong(f"{len(waiting)} calls were not answered within {_STALL_SECONDS} s")
    tally.latencies.sort()
    return {
        "calls": len(tally.latencies),
        "seconds": took,
        "p50_ms": quantile(tally.latencies, 0.5) * 1000 if tally.latencies else 0.0,
        "p99_ms": quantile(tally.latencies, 0.99) * 1000 if tally.latencies else 0.0,
        "cpu_seconds": cpu_seconds,
        "wrong": tally.statuses.get("wrong", 0),
        "examples": tally.wrong,
    }


def main() -> None:
    """Serve commands until standard input ends."""
    plan = Plan(json.loads(Path(sys.argv[1]).read_bytes()))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        plan.choose(command["crowd"])
        seen = uvloop.run(load(plan, int(command["connections"]), float(command["seconds"]), float(command["rate"])))
        print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
