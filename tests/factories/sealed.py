"""Sealed logs for tests: a house whose players play rounds, and a sealer over its database and a store of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
from tests.factories.audit_logs import public_of, write_keys
from tests.factories.databases import PlaneDatabase
from tests.factories.money import House, Seat, running
from tests.factories.players import AURORA
from tests.property.asks import make_request
from tests.property.model import Ask, Step

from pitboss.audit.runtime import FileSigner, describe_keys
from pitboss.evidence.contracts import SealReport
from pitboss.evidence.runtime import Sealer, check_segments, count_stored, origin_of
from pitboss.games.rules import compute_round_id
from pitboss.kernel.scope import TenantScope
from pitboss.ledger.contracts import Op
from pitboss.platform.db import ContextSigner
from pitboss.platform.worm.local import LocalWormStore
from pitboss.platform.worm.port import WormStore
from pitboss.wallet.contracts import WalletRequest
from pitboss.wallet.runtime import Lane


class SealedHouse:
    """One tenant's books, and what seals them."""

    def __init__(self, database: PlaneDatabase, folder: Path, scope: TenantScope = AURORA) -> None:
        self.database = database
        self.scope = scope
        self.house = House(database, scope)
        self.folder = folder / "worm"
        self.worm: WormStore = LocalWormStore(self.folder)
        self.seeds = [secrets.token_bytes(32)]
        self.keys_file = write_keys(folder / "keys.toml", *self.seeds)
        self.contexts = ContextSigner(database.context_keys)
        self.seats: list[Seat] = []

    @property
    def origin(self) -> str:
        return origin_of(self.scope.cell, self.scope.slug)

    @property
    def keys(self) -> list[str]:
        """The public keys as an auditor holds them."""
        return describe_keys(self.origin, [public_of(seed) for seed in self.seeds])

    def change_key(self) -> None:
        """Let another key sign from now on; the file keeps the one before it."""
        self.seeds.insert(0, secrets.token_bytes(32))
        write_keys(self.keys_file, *self.seeds[:2])

    def sealer(self, *, most: int = 1000) -> Sealer:
        return Sealer(
            self.database.sequencer_url,
            self.contexts,
            FileSigner(self.keys_file),
            self.worm,
            lambda: [self.scope],
            most=most,
            pause_seconds=0.02,
        )

    async def open(self, players: int = 3) -> None:
        """Open the house, with players who have money."""
        await self.house.open()
        self.seats = await self.house.add_players(players)
        await self.post([self.house.request(seat, Op.DEPOSIT, f"d-{seat.wallet_id}", 1_000_000) for seat in self.seats])

    async def post(self, requests: Sequence[WalletRequest]) -> None:
        """Post requests through a lane; raise if one is refused."""
        lane = Lane(self.house.make_poster(7))
        async with running(lane):
            results = await asyncio.gather(*map(lane.submit, requests))
        assert all(result.refusal is None for result in results), results

    def play(self, seat: Seat, name: str, *steps: Step, finished: bool = False) -> WalletRequest:
        """Return a request of a player in a round."""
        source = self.house.source_id
        return make_request(
            Ask(seat.wallet_id, source, steps, round=name, finished=finished, session=seat.session),
            tenant_id=seat.tenant_id,
            account_id=self.house.revenue[seat.currency],
            wallet_id=seat.wallet_id,
            source_id=source,
            player_id=seat.player_id,
        )

    async def play_rounds(self, count: int, name: str = "r") -> int:
        """Let every player bet in `count` rounds and win in each; return how many bookings that makes."""
        requests = [
            self.play(seat, f"{name}{number}", Step("bet", f"{name}{number}-{seat.wallet_id}-b", 100 + number))
            for seat in self.seats
            for number in range(count)
        ]
        await self.post(requests)
        wins = [
            self.play(seat, f"{name}{number}", Step("win", f"{name}{number}-{seat.wallet_id}-w", 50), finished=True)
            for seat in self.seats
            for number in range(count)
        ]
        await self.post(wins)
        return len(requests) + len(wins)

    def round_id(self, name: str) -> UUID:
        return UUID(compute_round_id(self.house.source_id, name))

    async def seal(self, *, most: int = 1000) -> int:
        """Seal everything that is booked."""
        sealer = self.sealer(most=most)
        try:
            return await sealer.step()
        finally:
            await sealer.close()

    @asynccontextmanager
    async def connect(self, url: str = "") -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection of a login (the application's by default) that sees the tenant."""
        connection = await asyncpg.connect(url or self.database.app_url)
        try:
            token = self.contexts.sign([self.scope.tenant_id], connection.get_server_pid())
            await connection.execute("select set_config('pitboss.ctx', $1, false)", token)
            yield connection
        finally:
            await connection.close()

    async def administer(self, statement: str) -> None:
        """Run statements as the superuser, with triggers out of the way."""
        admin = await asyncpg.connect(self.database.admin_url)
        try:
            await admin.execute("set session_replication_role = replica")
            await admin.execute(statement)
        finally:
            await admin.close()

    async def check(self) -> SealReport:
        """Check all segments against store and journal."""
        stored = await count_stored(self.worm, self.scope)
        async with self.connect() as connection:
            return await check_segments(connection, self.scope, self.worm, self.keys, stored, lambda _: None)
