"""The sequencer: gives events their place in the logs of a cell's tenants, signs checkpoints, asks the witness.

One leads in a cell, by a lock of its database session; a second waits. Correctness does not hang on that lock: each
step is one transaction that holds the log's row, so a step happens whole or not at all, and never twice.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
import structlog

from pitboss.audit.contracts import KEY_ROTATED, Category, Entry, LogState, Signer
from pitboss.audit.errors import LogRefused
from pitboss.audit.rules.canonical import SCHEMA, compose_event, compose_handover, place_event, write_moment
from pitboss.audit.rules.merkle import TreeEdge, hash_leaf, hash_range, list_consistency, list_tiles, split_hashes
from pitboss.audit.rules.note import (
    Checkpoint,
    NoteKey,
    compose_note,
    read_key,
    split_note,
    verify_line,
    write_signature,
)
from pitboss.audit.runtime.keys import origin_of
from pitboss.audit.store import growth
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import ContextSigner
from pitboss.platform.leading import Leader, batched_scopes
from pitboss.platform.peer import Unanswered, post_bytes

CHECKPOINT_SECONDS: Final = 60.0
CHECKPOINT_ENTRIES: Final = 10_000
BATCH_ENTRIES: Final = 10_000
IDLE_SECONDS: Final = 0.5
FAILURE_SECONDS: Final = 2.0
NEVER: Final = datetime.fromtimestamp(0, UTC)
_WITNESS_SECONDS: Final = 5.0
_WITNESS_TRIES: Final = 2

_log = structlog.get_logger(__name__)


class WitnessClient(msgspec.Struct, frozen=True):
    """Where the witness is, and the key by which its answers are believed."""

    url: str
    key: NoteKey

    @classmethod
    def read(cls, text: str) -> WitnessClient:
        """Return the witness of a setting `<address> <key>`; raise `NoteInvalid`."""
        url, _, key = text.partition(" ")
        return cls(url.rstrip("/"), read_key(key))


class Sequencer(Leader):
    """The loop of one sequencer process; `list_scopes` gives every tenant of the cell, closed ones too.

    Control's database has no tenants, and so no contexts.
    """

    def __init__(
        self,
        url: str,
        contexts: ContextSigner | None,
        signer: Signer,
        list_scopes: Callable[[], Sequence[TenantScope]],
        *,
        witness: WitnessClient | None = None,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        super().__init__(url, "pitboss sequencer", growth.try_to_lead, command_timeout_seconds=60)
        self._contexts = contexts
        self._signer = signer
        self._list_scopes = list_scopes
        self._witness = witness
        self._checkpoint_seconds = checkpoint_seconds
        self._asked: dict[int, float] = {}
        self.entries = 0
        """Entries that this process has appended."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; a database that is away, or a log that is stuck, is tried again."""
        while not stopping.is_set():
            pause_seconds = IDLE_SECONDS
            try:
                if await self.step():
                    continue
            except Exception as error:  # noqa: BLE001 - nothing may end the sequencer but its own stop
                _log.warning("audit.sequencer_failed", exc_info=error)
                self.drop()
                pause_seconds = FAILURE_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await stopping.wait()
        await self.close()

    async def step(self) -> int:
        """Do what every log needs once; return how many entries were appended. Nothing is done while another leads."""
        connection = await self.lead()
        if connection is None:
            return 0
        taken = 0
        current = self._signer.current
        for scopes in batched_scopes(self._list_scopes()):
            by_id = {scope.tenant_id: scope for scope in scopes}
            async with connection.transaction():
                await self._enter(connection, by_id)
                work = await growth.list_work(connection, list(by_id), current, self._checkpoint_seconds)
            for tenant_id in work:
                taken += await self._grow(connection, by_id[tenant_id], current)
            if self._witness is not None:
                for scope in scopes:
                    await self._cosign(connection, scope, self._witness)
        self.entries += taken
        return taken

    async def complete(self, scope: TenantScope, *, still: bool) -> int:
        """Take what one log lacks, sign it at once, and return its size; all of it where nobody writes any more.

        Another sequencer may lead meanwhile: the row of the log lets one step at a time.
        """
        current = self._signer.current
        connection = await asyncpg.connect(self._url, timeout=10, command_timeout=60)
        try:
            while True:
                await self._grow(connection, scope, current)
                async with connection.transaction():
                    await self._enter(connection, {scope.tenant_id: None})
                    state = await growth.lock_log(connection, scope.tenant_id)
                    left_out = await growth.fetch_left_out(connection, scope.tenant_id, 1)
                if state is not None and not (still and left_out) and state.size == state.checkpoint_size > 0:
                    return state.size
                await asyncio.sleep(IDLE_SECONDS / 5)
        finally:
            await connection.close()

    async def _enter(self, connection: asyncpg.Connection, tenant_ids: Mapping[int, object]) -> None:
        if self._contexts is not None:
            await growth.set_context(connection, self._contexts.sign(tenant_ids, connection.get_server_pid()))

    async def _grow(self, connection: asyncpg.Connection, scope: TenantScope, current: bytes) -> int:
        """Append what is due to one log, in one transaction."""
        async with connection.transaction():
            await self._enter(connection, {scope.tenant_id: None})
            horizon, now = await growth.read_horizon(connection)
            state = await growth.lock_log(connection, scope.tenant_id)
            if state is None:
                origin = origin_of(scope.cell, scope.slug)
                # Its first entries wait for no interval to pass.
                state = LogState(origin, 0, b"", 0, growth.ZERO_ID, now, current, 0, NEVER)
                await growth.insert_log(connection, scope.tenant_id, state)
                return 0  # the next step takes its row's lock
            step = _Step(scope, state, max(now, state.recorded_at))
            await step.change_key(self._signer, current)
            place = await self._take(connection, step, state, horizon)
            await step.write(connection, self._signer, place, self._checkpoint_seconds)
            return len(step.entries)

    async def _take(
        self, connection: asyncpg.Connection, step: _Step, state: LogState, horizon: int
    ) -> tuple[int, UUID]:
        """Append events that are not in the log; return up to which transaction and event it now has all."""
        tenant_id, done = step.scope.tenant_id, (horizon, growth.ZERO_ID)
        if horizon < state.taken_in:
            # A dump was loaded elsewhere, where transactions are numbered anew: what is missing is looked for itself.
            _log.warning("audit.transactions_renumbered", tenant=step.scope.slug)
            rows = await growth.fetch_left_out(connection, tenant_id, BATCH_ENTRIES)
            step.append_events(rows)
            return done if len(rows) < BATCH_ENTRIES else (state.taken_in, state.taken_id)
        rows = await growth.fetch_new_events(connection, tenant_id, state, horizon, BATCH_ENTRIES)
        # Rows of before a dump bear numbers that come again.
        known = await growth.find_logged(connection, tenant_id, [row["event_id"] for row in rows])
        step.append_events([row for row in rows if row["event_id"] not in known])
        return done if len(rows) < BATCH_ENTRIES else (rows[-1]["written_in"], rows[-1]["event_id"])

    async def _cosign(self, connection: asyncpg.Connection, scope: TenantScope, witness: WitnessClient) -> None:
        """Bring the newest checkpoint to the witness, if it has not signed it; what goes wrong never stops the log."""
        loop_seconds = asyncio.get_running_loop().time()
        if self._asked.get(scope.tenant_id, 0.0) > loop_seconds:
            return
        async with connection.transaction():
            await self._enter(connection, {scope.tenant_id: None})
            found = await growth.find_unwitnessed(connection, scope.tenant_id, witness.key.name)
        if found is None:
            return
        self._asked[scope.tenant_id] = loop_seconds + FAILURE_SECONDS
        old = found.seen
        for _ in range(_WITNESS_TRIES):
            proof = await self._prove_growth(connection, scope, found, old)
            body = compose_request(old, proof, found.note)
            try:
                status, answer = await post_bytes(
                    f"{witness.url}/add-checkpoint", body, {}, timeout_seconds=_WITNESS_SECONDS
                )
            except Unanswered:
                _log.warning("audit.witness_silent", tenant=scope.slug)
                return
            if status == 200:
                await self._keep_cosignature(connection, scope, witness, found, answer.decode())
                return
            size = answer.decode(errors="replace").strip()
            if status != 409 or not size.isdigit() or int(size) > found.size:
                _log.error("audit.witness_refused", tenant=scope.slug, status=status)
                return
            old = int(size)

    async def _prove_growth(
        self, connection: asyncpg.Connection, scope: TenantScope, found: growth.Unwitnessed, old: int
    ) -> list[bytes]:
        ranges = list_consistency(old, found.size)
        wanted = list_tiles(ranges)
        async with connection.transaction():
            await self._enter(connection, {scope.tenant_id: None})
            tiles = await growth.fetch_tiles(connection, scope.tenant_id, sorted(wanted))
        edge = TreeEdge.load(found.edge)

        def read(level: int, number: int) -> list[bytes]:
            full = tiles.get((level, number))
            return edge.levels[level] if full is None else split_hashes(full)

        return [hash_range(read, *each) for each in ranges]

    async def _keep_cosignature(
        self,
        connection: asyncpg.Connection,
        scope: TenantScope,
        witness: WitnessClient,
        found: growth.Unwitnessed,
        answer: str,
    ) -> None:
        text, _ = split_note(found.note)
        for line in answer.splitlines():
            if verify_line(text, line, witness.key) is not None:
                async with connection.transaction():
                    await self._enter(connection, {scope.tenant_id: None})
                    await growth.insert_cosignature(connection, scope.tenant_id, found.size, witness.key.name, line)
                self._asked.pop(scope.tenant_id, None)
                return
        _log.error("audit.witness_unbelieved", tenant=scope.slug)


class _Step:
    """What one transaction appends to one log."""

    def __init__(self, scope: TenantScope, state: LogState, recorded_at: datetime) -> None:
        self.entries: list[Entry] = []
        self.scope = scope
        self._state = state
        self._recorded_at = recorded_at
        self._recorded_text = write_moment(recorded_at)
        self._key = state.public_key
        self._size = state.size

    def _append(self, event_id: UUID, event: dict[str, Any]) -> None:
        self.entries.append(Entry(self._size, event_id, place_event(event, self._size, self._recorded_text)))
        self._size += 1

    async def change_key(self, signer: Signer, current: bytes) -> None:
        """Let the key that goes state, as an entry of the log, which one follows it; an empty log has nothing to say."""
        if current == self._key:
            return
        if self._size > 0:
            old, new = (NoteKey(self._state.origin, raw).text for raw in (self._key, current))
            statement = compose_handover(self._state.origin, self._size, new)
            signature = await signer.sign(self._key, statement)
            event_id = new_uuid()
            self._append(event_id, self._handover(event_id, old, new, signature))
        self._key = current

    def _handover(self, event_id: UUID, old: str, new: str, signature: bytes) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "id": str(event_id),
            "tenant": self.scope.slug,
            "cell": self.scope.cell,
            "occurred_at": self._recorded_text,
            "category": Category.SECURITY.value,
            "type": KEY_ROTATED,
            "outcome": "success",
            "reason": "",
            "actor": {"type": "service", "principal": "sequencer"},
            "origin": {"request_id": "", "causation_id": "", "client_digest": ""},
            "target": {"type": "audit_log", "id": self._state.origin},
            "change": [
                {"path": "key", "before": old, "after": new},
                {"path": "statement", "before": None, "after": signature.hex()},
            ],
        }

    def append_events(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append the events of rows, in their order."""
        tenant, cell = self.scope.slug, self.scope.cell
        for row in rows:
            self._append(row["event_id"], compose_event(row, tenant=tenant, cell=cell))

    async def write(
        self, connection: asyncpg.Connection, signer: Signer, place: tuple[int, UUID], every_seconds: float
    ) -> None:
        """Write entries, tiles, a checkpoint if one is due, and where the log stands now."""
        tenant_id, state = self.scope.tenant_id, self._state
        edge = TreeEdge.load(state.edge)
        if edge.size != state.size:
            raise LogRefused("the edge of the tree does not fit the size of the log")
        tiles = edge.extend([hash_leaf(each.body) for each in self.entries])
        if self.entries:
            await growth.insert_entries(connection, tenant_id, self._recorded_at, self.entries)
        if tiles:
            await growth.insert_tiles(connection, tenant_id, [(each.level, each.number, each.hashes) for each in tiles])
        signed, signed_at = state.checkpoint_size, state.checkpoint_at
        behind = self._size - signed
        waited = self._recorded_at - signed_at >= timedelta(seconds=every_seconds)
        if behind >= CHECKPOINT_ENTRIES or (behind > 0 and waited):
            text = Checkpoint(state.origin, self._size, edge.root()).text
            signature = await signer.sign(self._key, text.encode())
            note = compose_note(text, [write_signature(NoteKey(state.origin, self._key), signature)])
            await growth.insert_checkpoint(connection, tenant_id, self._size, self._recorded_at, note)
            signed, signed_at = self._size, self._recorded_at
        grown = LogState(
            state.origin,
            self._size,
            edge.dump(),
            *place,
            self._recorded_at,
            self._key,
            signed,
            signed_at,
        )
        await growth.update_log(connection, tenant_id, grown)


def compose_request(old: int, proof: Sequence[bytes], note: str) -> bytes:
    """Return what a witness is asked (C2SP tlog-witness): the size it knows, the proof, the checkpoint."""
    return "".join([f"old {old}\n", *(f"{b64encode(each).decode()}\n" for each in proof), "\n", note]).encode()
