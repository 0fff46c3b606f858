"""The proof of a round: its bookings out of the store, and the path of each to the newest checkpoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from pitboss.evidence import store
from pitboss.evidence.contracts import SealState, Segment
from pitboss.evidence.errors import RoundUnproven
from pitboss.evidence.rules import (
    TreeEdge,
    hash_range,
    list_inclusion,
    list_tiles,
    split_hashes,
    split_note,
)
from pitboss.evidence.runtime.objects import read_object, unpack_lines
from pitboss.games.contracts import Round
from pitboss.kernel.scope import TenantScope
from pitboss.platform.worm.port import WormStore

PROOF_FORMAT = "pitboss-round-proof/1"
_README = """These are the segments of the sealed log {origin}, from the first to number {last}.

To check them you need Python 3.11 or later, the program pitboss_verify, and the public key of the log. Get both from the
operator once, by another way than this folder.

    python -m pitboss_verify <this folder> --keys keys.txt

<number>.manifest   signed: the range, the digests of the other two, the sums, the manifest before, a checkpoint
<number>.jsonl.gz   the entries, one a line, as they were hashed: SHA-256 of a zero byte and the line (RFC 9162)
<number>.parquet    the same as columns; its digest stands in the manifest
"""


async def prove_round(
    connection: asyncpg.Connection, scope: TenantScope, worm: WormStore, round_id: UUID, parts: Sequence[Round]
) -> bytes:
    """Return the proof of a round as JSON; raise `RoundUnproven` where a booking of it is in no stored segment."""
    begin = min(part.summary.started_at for part in parts)
    end = max(booking.created_at for part in parts for booking in part.bookings)
    wanted = {(booking.wallet_id, booking.version) for part in parts for booking in part.bookings}
    begin = min([begin, *(booking.created_at for part in parts for booking in part.bookings)])
    entries: list[tuple[int, bytes]] = []
    manifests: list[str] = []
    for segment in await store.list_between(connection, scope.tenant_id, begin, end):
        lines = await read_lines(worm, scope, segment)
        found = [
            (segment.first + at, body)
            for at, body in enumerate(lines)
            if str(round_id).encode() in body and _is_of(body, round_id)
        ]
        entries += found
        manifests += [segment.manifest.decode()] if found else []
    missing = wanted - {_name(body) for _, body in entries}
    if missing or not entries:
        raise RoundUnproven(f"{len(missing)} of {len(wanted)} bookings of round {round_id} are in no segment yet")
    return await _compose(connection, scope, round_id, entries, manifests)


async def export_segments(
    connection: asyncpg.Connection, scope: TenantScope, worm: WormStore, folder: Path
) -> tuple[str, int]:
    """Copy every stored segment into a new folder that can be checked by itself; return the log's name and how many."""
    state = await find_state(connection, scope)
    await asyncio.to_thread(folder.mkdir, parents=True)
    for number in range(state.segments):
        segment = await store.fetch_segment(connection, scope.tenant_id, number)
        if segment is None or segment.lines is not None:
            raise RoundUnproven(f"segment {number} is not stored yet")
        for kind, content in (await read_segment(worm, scope, segment)).items():
            (folder / f"{number:010}.{kind}").write_bytes(content)
    (folder / "README.txt").write_text(_README.format(origin=state.origin, last=state.segments - 1))
    return state.origin, state.segments


async def find_state(connection: asyncpg.Connection, scope: TenantScope) -> SealState:
    """Return where the tenant's log stands; raise `RoundUnproven` where there is none."""
    state = await store.find_log(connection, scope.tenant_id)
    if state is None:
        raise RoundUnproven(f"nothing of {scope.slug} is sealed yet")
    return state


async def read_lines(worm: WormStore, scope: TenantScope, segment: Segment) -> list[bytes]:
    """Return the entries of a segment, from its row while it is not stored yet; raise `RoundUnproven`."""
    if segment.lines is not None:
        return unpack_lines(segment.lines)
    return unpack_lines((await read_segment(worm, scope, segment))["jsonl.gz"])


async def read_segment(worm: WormStore, scope: TenantScope, segment: Segment) -> dict[str, bytes]:
    """Return the objects of a stored segment as they were sealed; raise `RoundUnproven`."""
    manifest: dict[str, Any] = json.loads(split_note(segment.manifest.decode())[0])
    digests = {
        "jsonl.gz": manifest["lines"]["sha256"],
        "parquet": manifest["columns"]["sha256"],
        "manifest": sha256(segment.manifest).hexdigest(),
    }
    found: dict[str, bytes] = {}
    for kind, digest in digests.items():
        content, oddity = await read_object(worm, scope, segment.number, kind, digest)
        if not content:
            raise RoundUnproven(oddity)
        found[kind] = content
    return found


async def _compose(
    connection: asyncpg.Connection,
    scope: TenantScope,
    round_id: UUID,
    entries: Sequence[tuple[int, bytes]],
    manifests: Sequence[str],
) -> bytes:
    state = await find_state(connection, scope)
    last = await store.fetch_segment(connection, scope.tenant_id, state.segments - 1)
    if last is None:
        raise RoundUnproven("the last segment is gone")
    ranges = [list_inclusion(place, state.size) for place, _ in entries]
    wanted = list_tiles(each for found in ranges for each in found)
    tiles = await store.fetch_tiles(connection, scope.tenant_id, sorted(wanted))
    edge = TreeEdge.load(state.edge)

    def read(level: int, number: int) -> list[bytes]:
        full = tiles.get((level, number))
        return edge.levels[level] if full is None else split_hashes(full)

    proof = {
        "format": PROOF_FORMAT,
        "round": str(round_id),
        "entries": [
            {"log_seq": place, "entry": body.decode(), "proof": [hash_range(read, *each).hex() for each in found]}
            for (place, body), found in zip(entries, ranges, strict=True)
        ],
        "checkpoint": json.loads(split_note(last.manifest.decode())[0])["checkpoint"],
        "manifests": list(manifests),
    }
    return msgspec.json.format(msgspec.json.encode(proof), indent=1)


def _is_of(body: bytes, round_id: UUID) -> bool:
    found = msgspec.json.decode(body)["round"]
    return found is not None and found["id"] == str(round_id)


def _name(body: bytes) -> tuple[int, int]:
    found = msgspec.json.decode(body)
    return found["wallet"], found["version"]
