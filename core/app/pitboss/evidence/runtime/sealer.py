"""The sealer: takes committed bookings into the sealed logs of a cell's tenants, beside the wallet path and never in it.

Which bookings are still to be taken is said by each wallet's versions, which have no gap and are committed in their
order, so no transaction that commits late can be missed. A segment is one transaction: entries, tree, marks and signed
manifest, with the bytes of its objects; then the objects are stored, and let go of. A sealer that dies leaves a whole
segment or none, and stores the same bytes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

import asyncpg
import structlog

from pitboss.evidence import store
from pitboss.evidence.contracts import SealState, Segment, Signer
from pitboss.evidence.errors import SealRefused
from pitboss.evidence.rules import (
    Built,
    Checkpoint,
    Facts,
    NoteKey,
    Tile,
    TreeEdge,
    build_manifest,
    compose_entries,
    compose_handover,
    compose_note,
    hash_leaf,
    origin_of,
    split_note,
    split_spans,
    write_signature,
)
from pitboss.evidence.runtime.objects import STRICT_YEARS, find_manifest, pack_columns, pack_lines, store_segment
from pitboss.games import service as games
from pitboss.games.contracts import SealedRound
from pitboss.kernel.scope import TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import HouseName, JournalSpan
from pitboss.platform.db import ContextSigner
from pitboss.platform.leading import Leader, batched_scopes
from pitboss.platform.worm.port import ObjectDamaged, WormStore

SEAL_SECONDS: Final = 30.0
SEAL_ENTRIES: Final = 20_000
FAILURE_SECONDS: Final = 5.0
_LOOK_SHARE: Final = 20
"""A pause is at least so many times as long as looking took: a cell of many wallets is looked through more rarely."""

_log = structlog.get_logger(__name__)


class Sealer(Leader):
    """The loop of one sealer; `list_scopes` gives every tenant of the cell, closed ones too."""

    def __init__(
        self,
        url: str,
        contexts: ContextSigner,
        signer: Signer,
        worm: WormStore,
        list_scopes: Callable[[], Sequence[TenantScope]],
        *,
        years: int = STRICT_YEARS,
        most: int = SEAL_ENTRIES,
        pause_seconds: float = SEAL_SECONDS,
    ) -> None:
        super().__init__(url, "pitboss sealer", store.try_to_lead, command_timeout_seconds=120)
        self._contexts = contexts
        self._signer = signer
        self._worm = worm
        self._list_scopes = list_scopes
        self._years = years
        self._most = most
        self._pause_seconds = pause_seconds
        self._began = asyncio.get_running_loop().time()
        self._whole_at = self._began
        self.entries = 0
        """Bookings that this process has sealed."""

    @property
    def behind_seconds(self) -> float:
        """How long ago everything that was booked until then was known to be sealed and stored."""
        return asyncio.get_running_loop().time() - self._whole_at

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; a database or a store that is away is tried again."""
        loop = asyncio.get_running_loop()
        while not stopping.is_set():
            began = loop.time()
            pause_seconds = self._pause_seconds
            try:
                sealed = await self.step()
                looked = loop.time() - began if not sealed else 0.0
                pause_seconds = max(pause_seconds, looked * _LOOK_SHARE)
            except Exception as error:  # noqa: BLE001 - nothing may end the sealer but its own stop
                _log.warning("evidence.sealer_failed", exc_info=error)
                self.drop()
                pause_seconds = FAILURE_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await stopping.wait()
        await self.close()

    async def step(self) -> int:
        """Seal and store what every tenant has; return how many bookings were sealed. Only one sealer of a cell does."""
        began = asyncio.get_running_loop().time()
        connection = await self.lead()
        if connection is None:
            self._whole_at = began  # another one tells how far behind it is
            return 0
        taken = failed = 0
        for scopes in batched_scopes(self._list_scopes()):
            async with connection.transaction():
                await self._enter(connection, *scopes)
                waiting = await ledger.list_unsealed(connection, [scope.tenant_id for scope in scopes])
            for scope in scopes:
                try:
                    taken += await self._seal_tenant(connection, scope, waiting.get(scope.tenant_id, []))
                except SealRefused as error:
                    failed += 1
                    _log.error("evidence.seal_refused", tenant=scope.slug, exc_info=error)
        if not failed:
            self._whole_at = began
        return taken

    async def _enter(self, connection: asyncpg.Connection, *scopes: TenantScope) -> None:
        token = self._contexts.sign([scope.tenant_id for scope in scopes], connection.get_server_pid())
        await store.set_context(connection, token)

    async def _seal_tenant(
        self, connection: asyncpg.Connection, scope: TenantScope, spans: Sequence[JournalSpan]
    ) -> int:
        await self._store_waiting(connection, scope)
        taken = 0
        for piece in split_spans(spans, self._most):
            taken += await self._seal(connection, scope, piece)
            await self._store_waiting(connection, scope)
        return taken

    async def _store_waiting(self, connection: asyncpg.Connection, scope: TenantScope) -> None:
        while True:
            async with connection.transaction():
                await self._enter(connection, scope)
                segment = await store.find_waiting(connection, scope.tenant_id)
                now = await store.read_clock(connection)
            if segment is None:
                return
            await store_segment(self._worm, scope, segment, now, self._years)
            async with connection.transaction():
                await self._enter(connection, scope)
                await store.mark_stored(connection, scope.tenant_id, segment.number)

    async def _seal(self, connection: asyncpg.Connection, scope: TenantScope, spans: Sequence[JournalSpan]) -> int:
        """Seal spans as one segment, in one transaction."""
        async with connection.transaction():
            await self._enter(connection, scope)
            current = self._signer.current
            state = await store.lock_log(connection, scope.tenant_id)
            if state is None:
                state = SealState(origin_of(scope.cell, scope.slug), 0, b"", 0, "", current)
                await store.insert_log(connection, scope.tenant_id, state)
                if await store.lock_log(connection, scope.tenant_id) != state:
                    return 0  # another one began it: the next step sees what it did
            if not await ledger.mark_sealed(connection, scope.tenant_id, spans):
                raise SealRefused("marks of wallets are not where they were seen: somebody else sealed them")
            raw = await _read(connection, scope, spans)
            replaced = await self._find_replaced(scope, state.segments)
            edge = TreeEdge.load(state.edge)
            if edge.size != state.size:
                raise SealRefused("the edge of the tree does not fit the size of the log")
            left = tuple(edge.peaks())
            built, tiles = await asyncio.to_thread(_build, raw, scope, state.size, edge)
            facts = Facts(
                state.origin,
                scope.slug,
                scope.cell,
                state.segments,
                state.size,
                state.last_digest,
                left,
                await store.read_clock(connection),
                replaced,
                await self._hand_over(state, current),
            )
            if replaced:
                _log.error("evidence.segment_superseded", tenant=scope.slug)
            await self._write(connection, scope, state, facts, built, edge, tiles, current)
        self.entries += raw.count
        return raw.count

    async def _find_replaced(self, scope: TenantScope, number: int) -> str:
        """Return the digest of the manifest that the store has of a number, or nothing; what is none stops this log."""
        try:
            found = await find_manifest(self._worm, scope, number)
            return "" if found is None else sha256(split_note(found.decode())[0].encode()).hexdigest()
        except (ValueError, ObjectDamaged) as error:
            raise SealRefused(f"manifest {number} of the store is none ({type(error).__name__})") from None

    async def _hand_over(self, state: SealState, current: bytes) -> tuple[str, str] | None:
        """Let the key that goes state which one follows it; a log without segments has nothing to say."""
        if current == state.public_key or not state.segments:
            return None
        new = NoteKey(state.origin, current).text
        statement = compose_handover(state.origin, state.segments, new)
        return new, (await self._signer.sign(state.public_key, statement)).hex()

    async def _write(
        self,
        connection: asyncpg.Connection,
        scope: TenantScope,
        state: SealState,
        facts: Facts,
        built: Built,
        edge: TreeEdge,
        tiles: Sequence[Tile],
        current: bytes,
    ) -> None:
        key = NoteKey(state.origin, current)
        text = Checkpoint(state.origin, edge.size, edge.root()).text
        line = write_signature(key, await self._signer.sign(current, text.encode()))
        manifest = build_manifest(facts, built, edge.size, compose_note(text, [line]))
        signature = write_signature(key, await self._signer.sign(current, manifest.encode()))
        note = compose_note(manifest, [signature]).encode()
        segment = Segment(
            facts.number, facts.first, edge.size, built.opened_at, built.closed_at, note, built.lines, built.columns
        )
        await store.insert_segment(connection, scope.tenant_id, segment)
        await store.insert_tiles(
            connection, scope.tenant_id, [(each.level, each.number, each.hashes) for each in tiles]
        )
        digest = sha256(manifest.encode()).hexdigest()
        grown = SealState(state.origin, edge.size, edge.dump(), facts.number + 1, digest, current)
        await store.update_log(connection, scope.tenant_id, grown)


class _Raw:
    """What was read for one segment."""

    def __init__(
        self,
        rows: Sequence[Any],
        spans: Sequence[JournalSpan],
        houses: dict[int, HouseName],
        sources: dict[int, str],
        rounds: dict[tuple[str, int], SealedRound],
    ) -> None:
        self.rows = rows
        self.count = len(rows)
        self.currencies = {span.wallet_id: span.currency for span in spans}
        self.houses = houses
        self.sources = sources
        self.rounds = rounds


async def _read(connection: asyncpg.Connection, scope: TenantScope, spans: Sequence[JournalSpan]) -> _Raw:
    rows = await ledger.fetch_spans(connection, scope.tenant_id, spans)
    wanted = sum(span.upto - span.above for span in spans)
    if len(rows) != wanted:
        raise SealRefused(f"the journal has {len(rows)} rows where the versions of wallets say {wanted}")
    names = {(row[17], row[0]) for row in rows if row[17] is not None}
    return _Raw(
        rows,
        spans,
        await ledger.fetch_house_names(connection, scope.tenant_id),
        await ledger.fetch_source_names(connection, scope.tenant_id),
        await games.fetch_sealed_rounds(connection, scope, names),
    )


def _build(raw: _Raw, scope: TenantScope, first: int, edge: TreeEdge) -> tuple[Built, list[Tile]]:
    """Make the bytes of a segment and grow the tree by it; in a thread, since nothing else waits for it."""
    entries, columns, sums = compose_entries(
        raw.rows,
        first=first,
        tenant=scope.slug,
        cell=scope.cell,
        currencies=raw.currencies,
        houses=raw.houses,
        sources=raw.sources,
        rounds=raw.rounds,
    )
    tiles = edge.extend([hash_leaf(each) for each in entries])
    times = columns.values["at"]
    return Built(pack_lines(entries), pack_columns(columns), sums, min(times), max(times)), tiles
