"""The check of all segments of a tenant: chain, signatures, tree and balances by the verifier, then against the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import asyncpg
import msgspec

from pitboss.evidence import store
from pitboss.evidence.contracts import SealReport
from pitboss.evidence.rules import name_object
from pitboss.evidence.runtime.objects import least_end, read_object, unpack_columns, unpack_lines
from pitboss.kernel.scope import TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import JournalSum
from pitboss.platform.worm.port import WormStore
from pitboss_verify.note import parse_key
from pitboss_verify.segment import SegmentCheck

_AMOUNTS = ("real", "bonus", "held", "debt", "counter")
_PROGRESS = 100


async def check_segments(
    connection: asyncpg.Connection,
    scope: TenantScope,
    worm: WormStore,
    keys: Sequence[str],
    stored: int,
    report: Callable[[str], None],
) -> SealReport:
    """Check every segment of a tenant against the store, the chain and the journal, in one snapshot.

    `keys` are public keys of the log as auditors are given them. `stored` is how many segments the store had before the
    snapshot began: a log that ends before them was cut off. What was booked and is not sealed yet is counted.
    """
    check = SegmentCheck([parse_key(key) for key in keys])
    findings: list[str] = []
    state = await store.find_log(connection, scope.tenant_id)
    segments = 0 if state is None else state.segments
    if stored > segments:
        findings.append(f"the store has {stored} segments, the table {segments}: the end of the log is not in it")
    for number in range(segments):
        segment = await store.fetch_segment(connection, scope.tenant_id, number)
        if segment is None:
            findings.append(f"segment {number} is not in the table")
            break
        lines, columns = segment.lines or b"", segment.columns or b""
        manifest = check.take(segment.manifest, lines, columns) if segment.lines is not None else None
        if segment.lines is None:
            lines, columns, oddities = await _fetch(worm, scope, number, segment.manifest)
            findings += oddities
            manifest = check.take(segment.manifest, lines, columns)
        if manifest is not None:
            findings += _compare_columns(number, lines, columns)
        if number % _PROGRESS == _PROGRESS - 1:
            report(f"{number + 1} of {segments} segments, {check.report.entries} entries")
    report("the journal")
    findings += [f"{each['check']}: {each['detail']}" for each in check.report.findings]
    findings += [f"{check.report.more} findings more"] if check.report.more else []
    findings += await _compare_journal(connection, scope, check)
    waiting = await ledger.list_unsealed(connection, [scope.tenant_id])
    unsealed = sum(span.upto - span.above for spans in waiting.values() for span in spans)
    return SealReport(scope.slug, segments, check.report.entries, unsealed, check.superseded, tuple(findings))


async def _fetch(worm: WormStore, scope: TenantScope, number: int, note: bytes) -> tuple[bytes, bytes, list[str]]:
    """Return what the store has of a segment, and what is odd about it there."""
    try:
        manifest: dict[str, Any] = msgspec.json.decode(note.rpartition(b"\n\n")[0])
        digests = {"jsonl.gz": manifest["lines"]["sha256"], "parquet": manifest["columns"]["sha256"]}
        until = least_end(manifest["made_at"])
    except (ValueError, KeyError, TypeError):
        return b"", b"", []  # the verifier says so
    digests["manifest"] = sha256(note).hexdigest()
    found: dict[str, bytes] = {}
    oddities: list[str] = []
    for kind, digest in digests.items():
        found[kind], oddity = await read_object(worm, scope, number, kind, digest, until)
        oddities += [oddity] if oddity else []
        key = name_object(scope.cell, scope.slug, number, kind)
        count = sum(each.key == key for each in await worm.list_versions(key))
        if count > 1 and manifest.get("supersedes") is None:
            oddities.append(f"{key}: {count} versions, where one was sealed")
    return found["jsonl.gz"], found["parquet"], oddities


def _compare_columns(number: int, lines: bytes, columns: bytes) -> list[str]:
    """Hold Parquet against the lines, field by field: a reader of either sees the same."""
    try:
        rows, entries = unpack_columns(columns), unpack_lines(lines)
        expected = [flatten(msgspec.json.decode(body)) for body in entries]
    except (ValueError, OSError, KeyError, TypeError, AttributeError, EOFError):
        return [f"segment {number}: its columns or its lines cannot be read"]
    return [] if rows == expected else [f"segment {number}: its columns say something else than its lines"]


def flatten(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry as the row of Parquet that tells the same."""
    account: dict[str, Any] = entry["account"] or {}
    named: dict[str, Any] = entry["round"] or {}
    row: dict[str, Any] = {
        name: entry[name]
        for name in ("currency", "log_seq", "op", "reference", "reverses", "source", "version", "wallet")
    }
    row |= {f"after_{name}": int(value) for name, value in entry["after"].items()}
    row |= {f"delta_{name}": int(value) for name, value in entry["delta"].items()}
    row |= {f"account_{name}": account.get(name) for name in ("kind", "provider")}
    row |= {f"round_{name}": named.get(name) for name in ("game", "plugin", "reference", "version")}
    row |= {"batch": int(entry["batch"]), "at": datetime.fromisoformat(entry["at"]), "round": named.get("id")}
    return dict(sorted(row.items()))


async def _compare_journal(connection: asyncpg.Connection, scope: TenantScope, check: SegmentCheck) -> list[str]:
    """Hold what is sealed against the journal as it stands: the last version of each wallet, counts and sums."""
    findings: list[str] = []
    marks = await ledger.fetch_marks(connection, scope.tenant_id)
    differ = [
        wallet
        for wallet in marks.keys() | check.bookings.versions.keys()
        if marks.get(wallet, 0) != check.bookings.versions.get(wallet, 0)
    ]
    if differ:
        findings.append(
            f"journal: {len(differ)} wallets are marked as sealed to another version, such as {min(differ)}"
        )
    journal = await ledger.fetch_sealed_sums(connection, scope.tenant_id)
    for currency in sorted(journal.keys() | check.bookings.sums.keys()):
        sums = check.bookings.sums.get(currency)
        sealed = JournalSum() if sums is None else JournalSum(sums["entries"], *(sums[name] for name in _AMOUNTS))
        booked = journal.get(currency, JournalSum())
        if sealed != booked:
            findings.append(f"journal: {currency}: {booked} is booked, {sealed} is sealed")
    return findings
