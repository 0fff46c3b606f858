"""The verifier gets through a large package in the time that is promised for a million entries."""

from __future__ import annotations

import gzip
import json
import os
import random
import time
from hashlib import sha256
from pathlib import Path

from tests.factories.figures import merge_figures
from tests.property.test_audit_tamper import Maker, moment_text

from pitboss.audit.rules.merkle import TreeEdge, hash_leaf
from pitboss.audit.rules.note import Checkpoint, compose_note
from pitboss_verify.command import verify
from pitboss_verify.note import parse_key

ENTRIES = int(os.environ.pop("PITBOSS_TEST_VERIFIED", "20000"))
"""`make probes`: 1,000,000."""
SEGMENT = 10_000


def test_a_million_entries_in_a_minute(tmp_path: Path) -> None:
    maker = Maker(random.Random(3))
    (tmp_path / "entries").mkdir()
    edge, notes = TreeEdge(), list[str]()
    for start in range(0, ENTRIES, SEGMENT):
        bodies = [
            maker.event(at, occurred_at=moment_text(0), recorded_at=moment_text(1))
            for at in range(start, min(start + SEGMENT, ENTRIES))
        ]
        edge.extend([hash_leaf(body) for body in bodies])
        packed = gzip.compress(b"".join(body + b"\n" for body in bodies), 3, mtime=0)
        (tmp_path / f"entries/{start:012}.jsonl.gz").write_bytes(packed)
        text = Checkpoint(maker.origin, edge.size, edge.root()).text
        notes.append(compose_note(text, [maker.old.sign(text), maker.witness.cosign(text)]))
    (tmp_path / "checkpoints.jsonl").write_text("".join(json.dumps({"note": note}) + "\n" for note in notes))
    maker.seal(tmp_path, ENTRIES)
    began = time.process_time()
    report = verify(tmp_path, [parse_key(key) for key in maker.known_keys()])
    seconds = time.process_time() - began
    assert (report.findings, report.entries, report.checkpoints) == ([], ENTRIES, len(notes))
    assert sha256((tmp_path / "manifest.json").read_bytes()).hexdigest() == report.manifest
    million = seconds / ENTRIES * 1_000_000
    print(f"{ENTRIES:,} entries in {seconds:.1f} s of one core, {million:.0f} s a million")
    merge_figures("audit", {"verified_entries": ENTRIES, "verify_million_seconds": round(million, 1)})
    assert million < 180, "the promised figure is 60 s on a quiet machine; this only finds what grew slow"
