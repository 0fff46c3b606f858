"""Sealing: puts what checkpoints cover into write-once storage, package after package, each naming the one before."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.contracts import Signer
from pitboss.audit.errors import SealRefused
from pitboss.audit.rules.note import read_checkpoint, split_note
from pitboss.audit.runtime.packages import Put, Span, put_package, thin_out, write_notes
from pitboss.audit.store import proofs
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import TenantScope
from pitboss.platform.worm.port import Mode, Retention, WormStore

SEAL_ENTRIES: Final = 10_000
"""So many entries are sealed at once, whatever the time."""
MAX_ENTRIES: Final = 50_000
"""About how many entries one package holds; it is made in memory."""
STRICT_YEARS: Final = 10
"""How long evidence is kept where no law that was read asks for longer."""
_CHECKPOINTS: Final = 2_000
_DAYS_OF_YEAR: Final = 366
_MOST_YEARS: Final = 100
"""As long as an object can be locked."""

_log = structlog.get_logger(__name__)

OpenTransaction = Callable[[TenantScope], AbstractAsyncContextManager[AsyncSession]]


def choose_years(named: Sequence[int]) -> int:
    """Return for how many years evidence is locked: the longest that a law names, ten at least."""
    return min(max([STRICT_YEARS, *named]), _MOST_YEARS)


def place_of(scope: TenantScope, first: int) -> str:
    """Return the folder of the package that begins at an entry; it ends in a slash."""
    return f"{scope.cell}/{scope.slug}/audit/{first:012}/"


class Sealer:
    """Seals the logs of one process's tenants; any number of processes may, a log is sealed by one at a time.

    What is in the store decides how an interrupted package goes on: nothing is put twice, and the next package begins
    where the last one ended. The row of a seal is written when its package is whole.
    """

    def __init__(
        self,
        transaction: OpenTransaction,
        signer: Signer,
        store: WormStore,
        list_scopes: Callable[[], Sequence[TenantScope]],
        *,
        seal_seconds: float,
        years: int = STRICT_YEARS,
        witnessed: bool,
        observe_wait: Callable[[TenantScope, float], None] = lambda _scope, _seconds: None,
    ) -> None:
        self._transaction = transaction
        self._signer = signer
        self._store = store
        self._list_scopes = list_scopes
        self._seal_seconds = seal_seconds
        self._years = years
        self._witnessed = witnessed
        self._observe_wait = observe_wait

    async def seal_due(self) -> int:
        """Seal whatever is due in each log; return how many packages were made. A log that fails stops no other."""
        made = 0
        for scope in self._list_scopes():
            try:
                while await self.seal_next(scope):
                    made += 1
            except Exception as error:  # noqa: BLE001 - the store or the database is away; what is due stays due
                _log.warning("audit.seal_failed", tenant=scope.slug, exc_info=error)
        return made

    async def seal_next(self, scope: TenantScope) -> bool:
        """Seal the next package of one log, if one is due; return whether it was."""
        async with self._transaction(scope) as session:
            if not await proofs.try_to_seal(session, scope):
                return False
            last = await proofs.find_last_seal(session, scope)
            first, previous = (0, None) if last is None else (last.end, last.manifest.hex())
            waiting = await proofs.fetch_checkpoints(session, scope, above=first, most=_CHECKPOINTS)
            waited_seconds = (utc_now() - waiting[0].made_at).total_seconds() if waiting else 0.0
            self._observe_wait(scope, max(waited_seconds, 0.0))
            begun = await self._find_begun(scope, first)
            chosen = begun_checkpoints(waiting, begun) if begun else self._choose(waiting, first, waited_seconds)
            if not chosen:
                return False
            made_at = chosen[-1].made_at
            span = Span(first, chosen, made_at, previous, keep_until=self._keep_until(made_at))
            log = await proofs.fetch_log(session, scope)
            assert log is not None  # noqa: S101 - it has checkpoints
            packed = await put_package(session, scope, self._signer, log, span, self._putter(scope, span), {})
            await proofs.insert_seal(session, scope, first, span.end, bytes.fromhex(packed.manifest))
        _log.info("audit.sealed", tenant=scope.slug, count=span.end - first)
        return True

    def _choose(self, waiting: Sequence[proofs.Signed], first: int, waited_seconds: float) -> list[proofs.Signed]:
        """Return the checkpoints of the next package; where a witness signs, it ends at one that it signed."""
        closing = [each for each in waiting if each.lines] if self._witnessed else list(waiting)
        if not closing:
            return []
        near = [each for each in closing if each.size <= first + MAX_ENTRIES]
        last = near[-1] if near else closing[0]
        if last.size - first < SEAL_ENTRIES and waited_seconds < self._seal_seconds:
            return []
        return thin_out([each for each in waiting if each.size <= last.size])

    def _keep_until(self, made_at: datetime) -> datetime:
        return made_at.replace(microsecond=0) + timedelta(days=_DAYS_OF_YEAR * self._years)

    async def _find_begun(self, scope: TenantScope, first: int) -> bytes | None:
        """Return the checkpoints of a package that somebody began to put and did not finish."""
        key = f"{place_of(scope, first)}checkpoints.jsonl"
        there = [each for each in await self._store.list_versions(key) if each.key == key]
        return await self._store.get(key, there[0].version) if there else None

    def _putter(self, scope: TenantScope, span: Span) -> Put:
        retention = Retention(Mode.COMPLIANCE, self._keep_until(span.made_at))
        folder = place_of(scope, span.first)

        async def put(name: str, data: bytes) -> bytes:
            key = folder + name
            there = [each for each in await self._store.list_versions(key) if each.key == key]
            if not there:
                await self._store.put(key, data, retention)
                return data
            found = data if there[0].is_of(data) else await self._store.get(key, there[0].version)
            if found != data and not _says_the_same(name, found, data):
                raise SealRefused(f"{key} is in the store already, and is not what belongs there")
            return found

        return put


def begun_checkpoints(waiting: Sequence[proofs.Signed], begun: bytes) -> list[proofs.Signed]:
    """Return the checkpoints that a file in the store names, as they stand there; raise `SealRefused`."""
    by_size = {each.size: each for each in waiting}
    chosen: list[proofs.Signed] = []
    for line in begun.splitlines():
        note = str(msgspec.json.decode(line)["note"])
        known = by_size.get(read_checkpoint(split_note(note)[0]).size)
        # Cosignatures may have come since; what the store has is what the package is made of.
        if known is None or not note.startswith(known.note):
            raise SealRefused("a package was begun under a checkpoint that the log does not have")
        lines = tuple(note.removeprefix(known.note).splitlines())
        chosen.append(msgspec.structs.replace(known, lines=lines))
    if not chosen or write_notes(chosen) != begun:
        raise SealRefused("a package was begun with a file of checkpoints that none of ours writes")
    return chosen


def _says_the_same(name: str, found: bytes, wanted: bytes) -> bool:
    """Return whether an entries' file differs in its compression alone: another release packs otherwise."""
    try:
        return name.endswith(".gz") and gzip.decompress(found) == gzip.decompress(wanted)
    except (OSError, EOFError):
        return False
