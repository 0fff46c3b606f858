"""The objects of segments: how they are written, put into write-once storage, and found there again."""

from __future__ import annotations

import gzip
import hmac
import io
from datetime import datetime, timedelta
from hashlib import sha256
from importlib import import_module
from typing import Any, Final

from pitboss.evidence.contracts import Segment
from pitboss.evidence.rules import Columns, name_object
from pitboss.kernel.scope import TenantScope
from pitboss.platform.worm.port import Mode, ObjectDamaged, ObjectMissing, Retention, WormStore

STRICT_YEARS: Final = 10
"""How long segments are kept where no pack asks for longer: no verified period for money records is known yet, and what
has none is never purged, so whoever runs the cell extends what has to stay."""
_DAYS_OF_YEAR: Final = 366
_COMPRESSION: Final = 3


def pack_lines(entries: list[bytes]) -> bytes:
    """Return entries as compressed JSON lines."""
    return gzip.compress(b"\n".join([*entries, b""]), _COMPRESSION, mtime=0)


def unpack_lines(data: bytes) -> list[bytes]:
    """Return the entries of compressed JSON lines."""
    return gzip.decompress(data).split(b"\n")[:-1]


def pack_columns(columns: Columns) -> bytes:
    """Return entries as Parquet, for readers who ask for a round, a wallet or a sum among millions."""
    arrow, parquet = _load()

    kinds: dict[str, Any] = {"at": arrow.timestamp("us", tz="UTC"), "op": arrow.string(), "reverses": arrow.int64()}
    arrays: dict[str, Any] = {
        name: arrow.array(values, kinds.get(name) or (arrow.int64() if name in _NUMBERS else arrow.string()))
        for name, values in sorted(columns.values.items())
    }
    sink = io.BytesIO()
    parquet.write_table(arrow.table(arrays), sink, compression="zstd", compression_level=1, version="2.6")
    return sink.getvalue()


def _load() -> tuple[Any, Any]:
    """Return the library and its part for Parquet: half a second and 80 MB, which only who seals or checks pays."""
    return import_module("pyarrow"), import_module("pyarrow.parquet")


def unpack_columns(data: bytes) -> list[dict[str, Any]]:
    """Return the rows of Parquet that `pack_columns` wrote."""
    _, parquet = _load()

    return parquet.read_table(io.BytesIO(data)).to_pylist()


_NUMBERS: Final = frozenset(
    "wallet version batch log_seq delta_real delta_bonus delta_held delta_debt delta_counter after_real after_bonus"
    " after_held after_debt".split()
)


async def store_segment(
    store: WormStore, scope: TenantScope, segment: Segment, now: datetime, years: int = STRICT_YEARS
) -> None:
    """Put the objects of a segment where none of them is yet; the manifest last, so that it never stands for nothing."""
    retention = Retention(Mode.COMPLIANCE, now + timedelta(days=_DAYS_OF_YEAR * years))
    objects = {"jsonl.gz": segment.lines, "parquet": segment.columns, "manifest": segment.manifest}
    for kind, content in objects.items():
        key = name_object(scope.cell, scope.slug, segment.number, kind)
        there = [each for each in await store.list_versions(key) if each.key == key]
        if content is not None and not any(each.is_of(content) for each in there):
            await store.put(key, content, retention)


async def find_manifest(store: WormStore, scope: TenantScope, number: int) -> bytes | None:
    """Return the newest manifest of that number in the store."""
    try:
        return await store.get(name_object(scope.cell, scope.slug, number, "manifest"))
    except ObjectMissing:
        return None


async def count_stored(store: WormStore, scope: TenantScope) -> int:
    """Return how many segments the store has manifests of, up to the last one."""
    first = name_object(scope.cell, scope.slug, 0, "manifest")
    folder, kind = first[: first.rindex("/") + 1], ".manifest"
    names = [each.key.removeprefix(folder) for each in await store.list_versions(folder) if each.key.endswith(kind)]
    return 1 + max((int(name.removesuffix(kind)) for name in names), default=-1)


def least_end(made_at: str) -> datetime:
    """Return until when the objects of a segment are kept at least that was made at a moment of a manifest."""
    return datetime.fromisoformat(made_at) + timedelta(days=_DAYS_OF_YEAR * STRICT_YEARS)


async def read_object(
    store: WormStore, scope: TenantScope, number: int, kind: str, digest: str, until: datetime | None = None
) -> tuple[bytes, str]:
    """Return an object by its digest, whatever versions lie beside it, and what is odd about it.

    Odd is also an object that is not locked, or no longer to `until`.
    """
    key = name_object(scope.cell, scope.slug, number, kind)
    versions = [each for each in await store.list_versions(key) if each.key == key]
    found, oddity = b"", ""
    for each in versions:
        try:
            content = await store.get(key, each.version)
        except (ObjectDamaged, ObjectMissing):
            oddity = f"{key}: version {each.version} is not what was put"
            continue
        if hmac.compare_digest(sha256(content).hexdigest(), digest):
            found = content
            kept = each.retention
            if kept is None or kept.mode is not Mode.COMPLIANCE:
                oddity = f"{key}: version {each.version} is not kept by compliance"
            elif until is not None and kept.until < until:
                oddity = f"{key}: version {each.version} is kept until {kept.until.date()}, not until {until.date()}"
    if not found and not oddity:
        oddity = f"{key} is not in the store"
    return found, oddity
