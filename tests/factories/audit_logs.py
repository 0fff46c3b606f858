"""Audit logs for tests: events in bulk, a sequencer over a test's database, and what it made."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA

from pitboss.audit.runtime import FileSigner, Sequencer, WitnessClient
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import ContextSigner
from pitboss.platform.embedded import write_private

# As the application writes it, in bulk; the trigger gives the transaction.
EVENTS = """
insert into audit_event (tenant_id, event_id, category, type, outcome, reason, actor_kind, actor_name, origin,
    target_type, target_id, changes)
select $1, uuidv7(), 'user_action', 'player.status_changed', 'success', '', 'operator', 'ada',
    jsonb_build_object('ip', '192.0.2.' || n % 250, 'salt', md5(random()::text), 'user_agent_hash', 'ab',
        'request_id', gen_random_uuid()::text, 'causation_id', ''),
    'player', gen_random_uuid()::text,
    jsonb_build_array(jsonb_build_object('path', 'status', 'before', 'active', 'after', 'suspended é "' || n))
from generate_series(1, $2::int) n
"""


def write_keys(file: Path, *seeds: bytes) -> Path:
    """Write a file of signing keys: the one that signs, and the one before it."""
    names = ("current", "previous")
    write_private(file, "".join(f'{name} = "{seed.hex()}"\n' for name, seed in zip(names, seeds, strict=False)))
    return file


def public_of(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


class Log:
    """The logs of one test's cell, with a key of their own."""

    def __init__(self, database: PlaneDatabase, folder: Path, scopes: Sequence[TenantScope] = (AURORA,)) -> None:
        self.database = database
        self.scopes = list(scopes)
        self.seed = secrets.token_bytes(32)
        self.keys = write_keys(folder / "audit-keys.toml", self.seed)
        self.contexts = ContextSigner(database.context_keys)

    def sequencer(self, *, witness: WitnessClient | None = None, checkpoint_seconds: float = 0.0) -> Sequencer:
        return Sequencer(
            self.database.sequencer_url,
            self.contexts,
            FileSigner(self.keys),
            lambda: self.scopes,
            witness=witness,
            checkpoint_seconds=checkpoint_seconds,
        )

    @asynccontextmanager
    async def connect(self, url: str = "", scope: TenantScope = AURORA) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection of a login (the application's by default) that sees one tenant."""
        connection = await asyncpg.connect(url or self.database.app_url)
        try:
            token = self.contexts.sign([scope.tenant_id], connection.get_server_pid())
            await connection.execute("select set_config('pitboss.ctx', $1, false)", token)
            yield connection
        finally:
            await connection.close()

    async def write(self, count: int, scope: TenantScope = AURORA) -> None:
        """Let events happen, in one transaction."""
        async with self.connect(scope=scope) as connection:
            await connection.execute(EVENTS, scope.tenant_id, count)

    async def sequence(self, *, witness: WitnessClient | None = None) -> int:
        """Put everything that happened into the logs, with a checkpoint at the end."""
        sequencer = self.sequencer(witness=witness)
        try:
            found = 0
            for _ in range(3):  # a log is begun by one step and grows by the next
                while taken := await sequencer.step():
                    found += taken
            return found
        finally:
            await sequencer.close()

    async def entries(self, scope: TenantScope = AURORA) -> list[tuple[int, bytes]]:
        async with self.connect(scope=scope) as connection:
            rows = await connection.fetch("select log_seq, body from audit_entry order by log_seq")
        return [(row["log_seq"], row["body"]) for row in rows]

    async def count_entries(self, scope: TenantScope = AURORA) -> int:
        """Return how many entries the log has."""
        async with self.connect(scope=scope) as connection:
            return await connection.fetchval("select count(*) from audit_entry")

    async def notes(self, scope: TenantScope = AURORA) -> list[str]:
        async with self.connect(scope=scope) as connection:
            rows = await connection.fetch("select note from audit_checkpoint order by size")
        return [row["note"] for row in rows]

    async def demand_whole(self, scope: TenantScope = AURORA) -> int:
        """Raise unless every event is in the log exactly once, at a place without gaps; return how many there are."""
        async with self.connect(scope=scope) as connection:
            events = {row["event_id"] for row in await connection.fetch("select event_id from audit_event")}
            rows = await connection.fetch("select log_seq, event_id, body from audit_entry order by log_seq")
        assert [row["log_seq"] for row in rows] == list(range(len(rows)))
        assert [str(row["event_id"]) for row in rows] == [msgspec.json.decode(row["body"])["id"] for row in rows]
        ids = [row["event_id"] for row in rows]
        assert len(ids) == len(set(ids))
        assert set(ids) == events
        return len(rows)
