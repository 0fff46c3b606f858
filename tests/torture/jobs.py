"""Work that is left behind while everything breaks: notices of an aggregator, forgotten passwords; and probes beside it."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import tomllib
from collections.abc import Coroutine
from typing import Any

import asyncpg
from tests.crash.cell import TENANT, Seat
from tests.crash.traffic import Answer, Connection, Line, Wire
from tests.torture.gates import administering
from tests.torture.world import GAMES, PASSWORD, BrokenPromise, World

from pitboss.cli.simulate.calls import Call, Leg
from pitboss.kernel.clock import epoch_seconds
from pitboss.plughost.contracts import WebhookState
from pitboss_sdk.testing import Notice, NoticeSender

NOTICE_SECRET = "demo-softswiss-notice-secret"
PAUSE_SECONDS = 0.4
RESET_SECONDS = 0.5
RETRY_SECONDS = 0.1
ATTEMPTS = 20
PROBE_SECONDS = 0.25
PROBE_STAKE_MINOR = 5_000
RESETS_A_PLAYER = 3
LOST = (OSError, EOFError, ValueError, TimeoutError)


class Jobs:
    """Senders in a thread of their own; `done` counts effects of jobs as they become visible."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.done = 0
        self.notices: list[str] = []
        """Ids of notices that were acknowledged: each is to be carried out once."""
        self.resets = 0
        self.probes = 0
        self.weak: list[str] = []
        """Decisions that a fault made weaker."""
        self.unseated: list[str] = []
        """When the session of somebody who is signed in was not taken for one."""
        self.redis_away = threading.Event()
        self.wrong: list[str] = []
        self.blind: list[str] = []
        """Why what was carried out could not be looked at, each time."""
        self._seed = seed
        self._tokens = 0
        self._pending: set[str] = set()
        self._settled: dict[str, asyncio.Event] = {}
        self._stopping = threading.Event()
        self._is_abandoned = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="jobs")

    def start(self) -> None:
        self._thread.start()

    def abandon(self) -> None:
        """Let what is under way be lost: the run has failed already."""
        self._is_abandoned = True
        self.stop()

    def stop(self, patience_seconds: int = 300) -> None:
        """Let every notice that is under way be carried out."""
        self._stopping.set()
        self._thread.join(timeout=patience_seconds)
        if self._thread.is_alive():
            lost = sorted(self._pending)
            self._is_abandoned = True
            self._thread.join(timeout=60)
            raise BrokenPromise(f"never carried out: {lost[:5]}")

    async def _run(self) -> None:
        try:
            token = await self._prepare()
        except Exception as error:  # noqa: BLE001 - told by the test, not swallowed with the thread
            self.wrong.append(repr(error))
            return
        senders = [self._tell(f"noticed-{number}", random.Random(self._seed + number)) for number in range(GAMES)]
        watched: list[Coroutine[Any, Any, None]] = [
            self._forget_passwords(),
            self._probe(self.world.limited, "limited"),
            self._probe(self.world.excluded, "excluded"),
            self._stay_signed_in(token),
        ]
        watcher = asyncio.create_task(self._watch())
        await asyncio.gather(*(self._told(work) for work in (*senders, *watched)))
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)

    async def _told(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - told by the test, not swallowed with the thread
            self.wrong.append(repr(error))

    async def _prepare(self) -> str:
        """Give those who may not play money, then restrict them; sign one in who may, and return the token."""
        connection = Connection(self.world.ports["web"])
        headers = (
            ("content-type", "application/json"),
            ("authorization", f"Bearer {self.world.settings.operator_token}"),
        )
        for seat in (self.world.limited, self.world.excluded):
            body = {"amount_minor": 10**6, "currency": "EUR", "reference": f"purse-{seat.wallet_id}", "reason": "test"}
            path = f"/api/v1/operator/players/{seat.holder.account}/credits"
            await self._surely(connection, Wire(path, json.dumps(body).encode(), headers))
        await self.world.restrict()
        body = {"email": self.world.resident.email, "password": PASSWORD}
        answer = await self._surely(connection, Wire("/api/v1/sessions", json.dumps(body).encode(), headers[:1]))
        connection.drop()
        return str(answer.json()["token"])

    async def _tell(self, game: str, rng: random.Random) -> None:
        """Tell of a game, in turns that it is out of play and back, each time when the last was carried out."""
        assert self.world.settings.secrets_file is not None
        secret = str(tomllib.loads(self.world.settings.secrets_file.read_text())[NOTICE_SECRET])
        sender, connection = NoticeSender(TENANT, secret), Connection(self.world.ports["web"])
        sequence = 0
        while not self._stopping.is_set():
            sequence += 1
            event = "games.game_suspended" if sequence % 2 else "games.game_resumed"
            event_id = f"{game}-{sequence}"
            settled = self._settled[event_id] = asyncio.Event()
            self._pending.add(event_id)
            answer: Answer | None = None
            while (answer is None or answer.status != 202) and not self._is_abandoned:
                notice = Notice(event, event_id, epoch_seconds() * 1_000_000, game, sequence)
                body = sender.write(notice) or b""
                answer = await self._try(
                    connection, Wire(f"/webhooks/{TENANT}/softswiss", body, tuple(sender.sign(notice, body).items()))
                )
                if answer is not None and answer.status < 500 and answer.status != 202:
                    raise AssertionError(f"{event_id}: {answer}")
            self.notices.append(event_id)
            while not (settled.is_set() or self._is_abandoned):  # noqa: ASYNC110 - ends from another thread too
                await asyncio.sleep(0.05)
            await asyncio.sleep(rng.expovariate(1 / PAUSE_SECONDS))
        connection.drop()

    async def _forget_passwords(self) -> None:
        for email, source in self.world.forgetful:
            connection = Connection(self.world.ports["web"], source)
            body = json.dumps({"email": email}).encode()
            wire = Wire("/api/v1/password-reset-requests", body, (("content-type", "application/json"),))
            asked = 0
            while asked < RESETS_A_PLAYER and not self._stopping.is_set():
                answer = await self._try(connection, wire)
                if answer is not None and answer.status == 202:
                    self.resets, asked = self.resets + 1, asked + 1
                    await asyncio.sleep(RESET_SECONDS)
                elif answer is not None and answer.status == 429:  # attempts that were not acknowledged count too
                    break
            connection.drop()

    async def _probe(self, seat: Seat, name: str) -> None:
        """Try to stake what may not be staked, once with each reference: no fault makes anybody accept it."""
        line, number = Line(self.world, 1), 0
        while not self._stopping.is_set():
            number += 1
            reference = f"probe-{name}-{number}"
            operation, body = seat.vendor.write(
                Call("betwin", reference, (Leg("bet", reference, PROBE_STAKE_MINOR),)), seat.holder
            )
            path = f"/wallet/{TENANT}/{seat.vendor.plugin}/{operation}"
            answer = await self._try(line, Wire(path, body, ((seat.vendor.signature_header, seat.vendor.sign(body)),)))
            if answer is not None:
                read = seat.vendor.read(answer.status, answer.body, 2)
                self.probes += 1
                if read is not None and read.status == 200:
                    self.weak.append(f"{reference}: {answer}")
            await asyncio.sleep(PROBE_SECONDS)
        line.drop()

    async def _stay_signed_in(self, token: str) -> None:
        connection = Connection(self.world.ports["web"])
        wire = Wire("/api/v1/me", b"", (("authorization", f"Bearer {token}"),), method="GET")
        while not self._stopping.is_set():
            was_away = self.redis_away.is_set()
            answer = await self._try(connection, wire)
            is_refused = answer is not None and answer.status == 401
            # Sessions are in the database: without Redis alone, nobody may notice.
            is_down = (answer is None or answer.status != 200) and was_away and self.redis_away.is_set()
            if is_refused or is_down:
                self.unseated.append(f"redis away: {was_away}, answer: {answer}")
            await asyncio.sleep(PROBE_SECONDS)
        connection.drop()

    async def _surely(self, connection: Connection, wire: Wire) -> Answer:
        """Send what makes something until it is made; the same again makes nothing more that matters."""
        for _ in range(ATTEMPTS):
            answer = await self._try(connection, wire)
            if answer is not None and answer.status == 201:
                return answer
        raise AssertionError(f"{wire.path} is not answered")

    async def _try(self, connection: Connection | Line, wire: Wire) -> Answer | None:
        try:
            answer = await connection.send(wire)
        except LOST:
            answer = None
        if answer is None or answer.status >= 500:
            await asyncio.sleep(RETRY_SECONDS)
        return answer

    async def _watch(self) -> None:
        """See what was carried out, over a connection that is opened anew whenever it breaks."""
        while True:
            try:
                async with administering(self.world.database.admin_url) as admin:
                    await self._look(admin)
            except Exception as error:  # noqa: BLE001 - a driver whose server dies has many words for it
                self.blind.append(repr(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def _look(self, admin: asyncpg.Connection) -> None:
        query = "select event_id from webhook where event_id = any($1::text[]) and state = $2"
        while True:
            rows = await admin.fetch(query, list(self._pending), WebhookState.DONE.value, timeout=5)
            tokens = await admin.fetchval("select count(*) from password_reset", timeout=5)
            for row in rows:
                self._pending.discard(row["event_id"])
                self._settled.pop(row["event_id"]).set()
            self.done += len(rows) + tokens - self._tokens
            self._tokens = tokens
            await asyncio.sleep(0.1)
