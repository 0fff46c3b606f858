"""Packages for auditors: entries, checkpoints and a signed manifest in a folder that needs nothing of ours to be checked."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.contracts import KEY_ROTATED, Signer
from pitboss.audit.errors import ProofUnavailable
from pitboss.audit.rules.canonical import compose_event, place_event, write_moment
from pitboss.audit.rules.merkle import (
    Range,
    TreeEdge,
    hash_leaf,
    hash_range,
    list_consistency,
    list_inclusion,
    list_peaks,
    list_tiles,
    split_hashes,
)
from pitboss.audit.rules.note import NoteKey, compose_note, read_checkpoint, split_note, write_signature
from pitboss.audit.store import proofs
from pitboss.audit.tables import AuditLogRow
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import TenantScope

FORMAT: Final = "pitboss-audit-package/1"
SEGMENT_ENTRIES: Final = 10_000
_COMPRESSION: Final = 3
_README: Final = """This is a package of the audit log {origin}, entries {first} to {last}.

To check it you need Python 3.11 or later, the program pitboss_verify, and the public keys of the log and of its
witness. Get both from the operator once, by another way than this package; keep the last checkpoint of each visit.

    python -m pitboss_verify <this folder> --keys keys.txt [--since checkpoint.note]

manifest.json      digests of all files, the range of entries, the digest of the package before
manifest.note      the signature of the log's key over it
checkpoints.jsonl  signed checkpoints (C2SP tlog-checkpoint) with the lines of witnesses
entries/           the entries, one a line, as they were hashed: SHA-256 of a zero byte and the line (RFC 9162)
"""


class PackageOrder(msgspec.Struct, frozen=True):
    """What is to be packed: all, or what was recorded in a span; `since` is the size of the auditor's checkpoint."""

    since: int | None = None
    begin: datetime | None = None
    end: datetime | None = None
    previous: str | None = None


class Span(msgspec.Struct, frozen=True):
    """What a package holds: entries from `first` on, under these checkpoints, the last of which is its end."""

    first: int
    checkpoints: list[proofs.Signed]
    made_at: datetime
    previous: str | None
    since: int | None = None
    keep_until: datetime | None = None

    @property
    def end(self) -> int:
        """The place after the last entry."""
        return self.checkpoints[-1].size


Put = Callable[[str, bytes], Awaitable[bytes]]
"""Keeps a file of a package under its name, and returns the bytes that now stand there."""


class Packed(msgspec.Struct, frozen=True):
    """What was packed."""

    origin: str
    first: int
    end: int
    manifest: str


async def write_package(
    session: AsyncSession,
    scope: TenantScope,
    signer: Signer,
    folder: Path,
    order: PackageOrder,
) -> Packed:
    """Write a package into a new folder; raise `ProofUnavailable` where no checkpoint covers what is asked for."""
    log = await demand_log(session, scope)
    first = 0 if order.begin is None else await proofs.find_place(session, scope, order.begin)
    wanted = None if order.end is None else await proofs.find_place(session, scope, order.end)
    if wanted is not None and wanted <= first:
        raise ProofUnavailable("nothing was recorded in that time")
    chosen = _choose(await proofs.fetch_checkpoints(session, scope), first, wanted)
    span = Span(first, chosen, utc_now(), order.previous, order.since)
    if order.since is not None and order.since > span.end:
        raise ProofUnavailable(f"the log has {span.end} entries under a checkpoint, not {order.since}")
    (folder / "entries").mkdir(parents=True)

    async def put(name: str, data: bytes) -> bytes:
        (folder / name).write_bytes(data)
        return data

    readme = _README.format(origin=log.origin, first=first, last=span.end - 1)
    return await put_package(session, scope, signer, log, span, put, {"README.txt": readme.encode()})


async def put_package(
    session: AsyncSession,
    scope: TenantScope,
    signer: Signer,
    log: AuditLogRow,
    span: Span,
    put: Put,
    extra: Mapping[str, bytes],
) -> Packed:
    """Put the files of a package: the checkpoints first, which say how far it goes, and the signature last.

    The same span gives the same bytes each time, so that who was interrupted can begin again.
    """
    first, end, since = span.first, span.end, span.since
    files: dict[str, dict[str, Any]] = {}

    async def keep(name: str, data: bytes) -> None:
        there = await put(name, data)
        files[name] = {"sha256": sha256(there).hexdigest(), "bytes": len(there)}

    await keep("checkpoints.jsonl", write_notes(span.checkpoints))
    for name, data in extra.items():
        await keep(name, data)
    await _put_entries(session, scope, (first, end), keep)
    left = list_peaks(first)
    growth = [] if since is None or since >= first else list_consistency(since, first)
    read = await _tile_reader(session, scope, log, [*left, *growth])
    facts: dict[str, Any] = {
        "format": FORMAT,
        "origin": log.origin,
        "first": first,
        "end": end,
        "made_at": write_moment(span.made_at),
        "previous": span.previous,
        "left": [hash_range(read, *each).hex() for each in left],
        "since": None
        if since is None
        else {"size": since, "proof": [hash_range(read, *each).hex() for each in growth]},
        "files": files,
    }
    if span.keep_until is not None:
        facts["keep_until"] = write_moment(span.keep_until)
    manifest = await put("manifest.json", msgspec.json.format(msgspec.json.encode(facts), indent=1))
    digest = sha256(manifest).hexdigest()
    text = f"pitboss-audit-manifest/1\n{log.origin}\n{digest}\n"
    signature = await signer.sign(log.public_key, text.encode())
    note = compose_note(text, [write_signature(NoteKey(log.origin, log.public_key), signature)])
    await put("manifest.note", note.encode())
    return Packed(log.origin, first, end, digest)


def write_notes(checkpoints: Sequence[proofs.Signed]) -> bytes:
    """Return the file of checkpoints, one a line."""
    return b"".join(msgspec.json.encode({"note": join_note(each)}) + b"\n" for each in checkpoints)


async def prove_event(session: AsyncSession, scope: TenantScope, event_id: UUID) -> bytes:
    """Return the proof that one event is in the log, as JSON; raise `ProofUnavailable`."""
    log = await demand_log(session, scope)
    entry = await proofs.find_entry(session, scope, event_id)
    signed = _choose(await proofs.fetch_checkpoints(session, scope), 0, None)[-1]
    if entry is None or entry.log_seq >= signed.size:
        raise ProofUnavailable(f"event {event_id} is under no checkpoint of {log.origin}")
    ranges = list_inclusion(entry.log_seq, signed.size)
    read = await _tile_reader(session, scope, log, ranges)
    return msgspec.json.format(
        msgspec.json.encode(
            {
                "log_seq": entry.log_seq,
                "entry": entry.body.decode(),
                "proof": [hash_range(read, *each).hex() for each in ranges],
                "checkpoint": join_note(signed),
            }
        ),
        indent=1,
    )


async def read_last_note(session: AsyncSession, scope: TenantScope) -> str:
    """Return the newest checkpoint that a witness has signed (the newest of all where none ever did)."""
    return join_note(_choose(await proofs.fetch_checkpoints(session, scope), 0, None)[-1])


async def list_faults(session: AsyncSession, scope: TenantScope) -> list[str]:
    """Hold the log's own tables against each other and against the events as they stand; return what does not fit.

    This is the view from inside: it finds rows that were changed, taken away or slipped in behind the log's back.
    """
    log = await demand_log(session, scope)
    faults: list[str] = []
    signed = {
        each.size: read_checkpoint(split_note(each.note)[0]) for each in await proofs.fetch_checkpoints(session, scope)
    }
    faults += [
        f"the checkpoint of size {size} speaks of {found.origin} and {found.size}"
        for size, found in signed.items()
        if (found.origin, found.size) != (log.origin, size)
    ]
    edge = TreeEdge()
    async for entry, row in proofs.read_events(session, scope, 0, log.size):
        if entry.log_seq != edge.size:
            faults.append(f"entry {edge.size} is missing")
            break
        faults += find_row_faults(entry, row, scope)
        for tile in edge.extend([hash_leaf(entry.body)]):
            stored = await proofs.fetch_tiles(session, scope, [(tile.level, tile.number)])
            if stored.get((tile.level, tile.number)) != tile.hashes:
                faults.append(f"tile {tile.level}/{tile.number} does not follow from the entries")
        if edge.size in signed and signed.pop(edge.size).root != edge.root():
            faults.append(f"the entries do not lead to the checkpoint of size {edge.size}")
    if edge.size != log.size or edge.dump() != log.edge:
        faults.append(f"the log says that it has {log.size} entries, and another edge than they give")
    faults += [f"no entries lead to the checkpoint of size {size}" for size in signed]
    left_out = await proofs.count_left_out(session, scope, log)
    if left_out:
        faults.append(f"{left_out} events of transactions that the log has passed are not in it")
    return faults


def find_row_faults(entry: Any, row: Any, scope: TenantScope) -> list[str]:
    """Return what is wrong between an entry and the event as the application wrote it."""
    if row is None:
        kind = msgspec.json.decode(entry.body).get("type")
        return [] if kind == KEY_ROTATED else [f"entry {entry.log_seq}: its event is gone"]
    columns = {name: getattr(row, name) for name in row.__table__.columns.keys()}  # noqa: SIM118 - no mapping
    event = compose_event(columns, tenant=scope.slug, cell=scope.cell)
    if place_event(event, entry.log_seq, write_moment(entry.recorded_at)) != entry.body:
        return [f"entry {entry.log_seq}: its event was changed after it was logged"]
    return []


def join_note(signed: proofs.Signed) -> str:
    """Return a checkpoint with the lines of its witnesses."""
    return signed.note + "".join(f"{line}\n" for line in signed.lines)


async def demand_log(session: AsyncSession, scope: TenantScope) -> AuditLogRow:
    """Return where a log stands; raise `ProofUnavailable` before its first checkpoint."""
    log = await proofs.fetch_log(session, scope)
    if log is None or log.checkpoint_size == 0:
        raise ProofUnavailable(f"the log of {scope.slug} has no checkpoint yet")
    return log


def _choose(signed: list[proofs.Signed], first: int, wanted: int | None) -> list[proofs.Signed]:
    """Return the checkpoints of a package: one a segment, and at the end the first that covers all that is wanted.

    Where a witness signs, the last one is one that it signed.
    """
    witnessed = [each for each in signed if each.lines] or signed
    covering = [each for each in witnessed if each.size > first and (wanted is None or each.size >= wanted)]
    last = covering[-1] if covering and wanted is None else covering[0] if covering else None
    if last is None:
        raise ProofUnavailable("no signed checkpoint covers this yet")
    return thin_out([each for each in signed if first < each.size <= last.size])


def thin_out(signed: Sequence[proofs.Signed]) -> list[proofs.Signed]:
    """Return the first checkpoint of each segment's length, and the last of all."""
    *others, last = signed
    strides = {each.size // SEGMENT_ENTRIES: each for each in reversed(others)}
    return [*sorted(strides.values(), key=lambda each: each.size), last]


async def _put_entries(
    session: AsyncSession, scope: TenantScope, span: Range, keep: Callable[[str, bytes], Awaitable[None]]
) -> None:
    first, end = span
    place = first
    for start in range(first, end, SEGMENT_ENTRIES):
        lines: list[bytes] = []
        async for log_seq, body in proofs.read_bodies(session, scope, start, min(start + SEGMENT_ENTRIES, end)):
            if log_seq != place:
                raise ProofUnavailable(f"entry {place} is missing; `pitboss audit check` says more")
            lines.append(body + b"\n")
            place += 1
        await keep(f"entries/{start:012}.jsonl.gz", gzip.compress(b"".join(lines), _COMPRESSION, mtime=0))
    if place != end:
        raise ProofUnavailable(f"entry {place} is missing; `pitboss audit check` says more")


async def _tile_reader(
    session: AsyncSession, scope: TenantScope, log: AuditLogRow, ranges: list[Range]
) -> Callable[[int, int], list[bytes]]:
    tiles = await proofs.fetch_tiles(session, scope, list_tiles(ranges)) if ranges else {}
    edge = TreeEdge.load(log.edge)

    def read(level: int, number: int) -> list[bytes]:
        full = tiles.get((level, number))
        return edge.levels[level] if full is None else split_hashes(full)

    return read
