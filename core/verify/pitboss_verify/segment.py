"""Segments of a sealed log: a chain of signed manifests, each with the digests of its objects and a checkpoint."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from pitboss_verify import ed25519
from pitboss_verify.booking import BookingCheck
from pitboss_verify.merkle import Stack, root_from_inclusion
from pitboss_verify.note import (
    LOG_KEY,
    Checkpoint,
    Key,
    Malformed,
    is_signed_by,
    parse_checkpoint,
    parse_key,
    parse_note,
)
from pitboss_verify.package import Report

FORMAT = "pitboss-round-segment/1"
PROOF_FORMAT = "pitboss-round-proof/1"
_MAX_BYTES = 1024 * 1024 * 1024


class SegmentCheck:
    """Takes segments in their order, from the first on; keys come from who checks, everything else from the store."""

    def __init__(self, keys: Sequence[Key], since: Checkpoint | None = None) -> None:
        self.report = Report()
        self._since = since
        self._seen_since = since is None or since.size == 0
        self.superseded = 0
        self.bookings = BookingCheck("", self.report.find, whole=True)
        self._keys = list(keys)
        self._active: Key | None = None
        self._number = 0
        self._digest: str | None = None
        self._stack = Stack()

    def take(self, note: bytes, lines: bytes, columns: bytes) -> dict[str, Any] | None:
        """Check the next segment; return its manifest, None where it is none."""
        number, self._number = self._number, self._number + 1
        try:
            text, signatures = parse_note(note.decode())
            manifest = cast("dict[str, Any]", json.loads(text))
            checkpoint = _take_fields(manifest)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.report.find("manifest", f"manifest {number} is not what it must be ({type(error).__name__})")
            return None
        if not number:
            self._begin(manifest)
        self._check_place(manifest, number)
        self._digest = sha256(text.encode()).hexdigest()
        self.superseded += manifest["supersedes"] is not None
        self._turn(manifest, checkpoint, number)
        key = self._active
        for what, signed, lines_of in (
            ("manifest", text, signatures),
            ("checkpoint", checkpoint.text, checkpoint.signatures),
        ):
            if key is None or not any(is_signed_by(signed, each, key) is not None for each in lines_of):
                self.report.find("signature", f"the {what} of segment {number} is not signed by the key of its time")
        self._check_objects(manifest, number, lines, columns)
        self._walk(manifest, number, lines)
        if (checkpoint.origin, checkpoint.size) != (self.report.origin, manifest["end"]):
            self.report.find("checkpoint", f"the checkpoint of segment {number} is of another log or size")
        if checkpoint.size != self._stack.size or checkpoint.root != self._stack.root():
            self.report.find("root", f"the entries do not lead to the checkpoint of segment {number}")
        self._hold_against_since()
        self.report.checkpoints += 1
        return manifest

    def finish(self) -> Report:
        """Return the report when the last segment was taken."""
        if self._since is not None and not self._seen_since:
            self.report.find("consistency", f"no segment ends at {self._since.size}, where a checkpoint was kept")
        return self.report

    def _hold_against_since(self) -> None:
        """A checkpoint that somebody kept shows what was cut off, and what was written anew with the right key."""
        since = self._since
        if since is None or since.size != self._stack.size:
            return
        self._seen_since = True
        if (since.origin, since.root) != (self.report.origin, self._stack.root()):
            self.report.find("consistency", f"the entries do not lead to the checkpoint that was kept, of {since.size}")

    def _begin(self, manifest: dict[str, Any]) -> None:
        self.report.origin = manifest["origin"]
        self._keys = [key for key in self._keys if key.name == manifest["origin"] and key.algorithm == LOG_KEY]
        if not self._keys:
            self.report.find("signature", f"no public key of {manifest['origin']} was given")
        self.bookings = BookingCheck(manifest["origin"], self.report.find, whole=True)

    def _check_place(self, manifest: dict[str, Any], number: int) -> None:
        if manifest["origin"] != self.report.origin:
            self.report.find("manifest", f"segment {number} is of the log {manifest['origin']}")
        if (manifest["number"], manifest["first"]) != (number, self._stack.size):
            self.report.find(
                "sequence", f"segment {number} says that it is {manifest['number']}, from {manifest['first']}"
            )
        if manifest["previous"] != self._digest:
            self.report.find("chain", f"segment {number} does not name the manifest before it")
        if manifest["left"] != [each.hex() for each in self._stack.peaks]:
            self.report.find("root", f"segment {number} does not begin where the tree before it ended")

    def _turn(self, manifest: dict[str, Any], checkpoint: Checkpoint, number: int) -> None:
        """Choose the key of the time: the one that signs the first segment, later one that the key before it named."""
        given = manifest["handover"]
        if given is None:
            if self._active is None and self._keys:
                self._active = next((key for key in self._keys if _is_under(checkpoint, key)), None)
            return
        try:
            after, statement = parse_key(given["key"]), bytes.fromhex(given["statement"])
        except (Malformed, KeyError, TypeError, ValueError, AttributeError):
            self.report.find("key", f"segment {number} has a statement of a key that is none")
            return
        message = f"pitboss-round-key/1\n{self.report.origin}\n{number}\n{after.text}\n".encode()
        before = self._active
        if before is None or after.name != self.report.origin or not ed25519.verify(before.raw, message, statement):
            self.report.find("key", f"segment {number}: the key that signed until here has not named the next one")
            return
        self._active = after

    def _check_objects(self, manifest: dict[str, Any], number: int, lines: bytes, columns: bytes) -> None:
        for name, data in (("lines", lines), ("columns", columns)):
            wanted = manifest[name]
            if (len(data), sha256(data).hexdigest()) != (wanted["bytes"], wanted["sha256"]):
                self.report.find("digest", f"the {name} of segment {number} are not those that were sealed")

    def _walk(self, manifest: dict[str, Any], number: int, lines: bytes) -> None:
        before = {currency: dict(sums) for currency, sums in self.bookings.sums.items()}
        for body in unpack(
            lines, lambda detail: self.report.find("sequence", f"the lines of segment {number} {detail}")
        ):
            self.bookings.read(body, self._stack.size)
            self._stack.append(body)
            self.report.entries += 1
        self.report.end = self._stack.size
        moved = {
            currency: {name: value - before.get(currency, {}).get(name, 0) for name, value in sums.items()}
            for currency, sums in self.bookings.sums.items()
        }
        moved = {currency: sums for currency, sums in moved.items() if sums["entries"]}
        if moved != manifest["sums"]:
            self.report.find("sums", f"the entries of segment {number} do not come to its sums")


def _is_under(checkpoint: Checkpoint, key: Key) -> bool:
    return any(is_signed_by(checkpoint.text, each, key) is not None for each in checkpoint.signatures)


def unpack(data: bytes, find: Callable[[str], None]) -> list[bytes]:
    """Return the lines of a compressed file; tell of what cannot be read to its end."""
    try:
        unpacker = zlib.decompressobj(wbits=31)
        text = unpacker.decompress(data, _MAX_BYTES)
        if not unpacker.eof or unpacker.unused_data:
            find("end too early, or go on after their end")
    except zlib.error as error:
        find(f"cannot be read ({type(error).__name__})")
        return []
    if text and not text.endswith(b"\n"):
        find("end in the middle of an entry")
    return text.removesuffix(b"\n").split(b"\n") if text else []


def _take_fields(manifest: dict[str, Any]) -> Checkpoint:
    """Return the checkpoint of a manifest; raise if a field that is used is not what it must be."""
    if manifest["format"] != FORMAT:
        raise Malformed(f"the segment is not of format {FORMAT}")
    for name in ("first", "end", "number"):
        whole(manifest[name])
    for name in ("lines", "columns"):
        if not isinstance(manifest[name]["sha256"], str) or whole(manifest[name]["bytes"]) < 0:
            raise Malformed("an object has no digest")
    if not all(isinstance(manifest[name], str) for name in ("origin", "checkpoint")):
        raise Malformed("a text is none")
    if type(manifest["left"]) is not list or type(manifest["sums"]) is not dict:
        raise Malformed("the left edge or the sums are none")
    if missing := {"previous", "handover", "supersedes"} - manifest.keys():
        raise Malformed(f"fields are missing: {', '.join(sorted(missing))}")
    return parse_checkpoint(manifest["checkpoint"])


def whole(value: object) -> int:
    """Return a count; raise `Malformed`."""
    if type(value) is not int or value < 0:
        raise Malformed("no count")
    return value


def check_segments(folder: Path, keys: Sequence[Key], since: Checkpoint | None = None) -> Report:
    """Check a folder of segments, as they were copied out of the store, from the first one on."""
    check = SegmentCheck(keys, since)
    names = sorted(path.name for path in folder.iterdir())
    count = sum(name.endswith(".manifest") for name in names)
    wanted = {f"{number:010}.{kind}" for number in range(count) for kind in ("manifest", "jsonl.gz", "parquet")}
    for name in sorted(set(names) - wanted - {"README.txt"}):
        check.report.find("manifest", f"{name} belongs to no segment of this chain")
    for number in range(count):
        files: list[bytes] = []
        for kind in ("manifest", "jsonl.gz", "parquet"):
            path = folder / f"{number:010}.{kind}"
            if not path.is_file():
                check.report.find("manifest", f"{path.name} is missing")
            files.append(path.read_bytes() if path.is_file() else b"")
        check.take(*files)
    return check.finish()


def read_round(data: bytes) -> dict[str, Any] | None:
    """Return a file as the proof of a round, None where it is something else."""
    try:
        found = cast("dict[str, Any]", json.loads(data))
    except (ValueError, RecursionError):
        return None
    return found if type(found) is dict and found.get("format") == PROOF_FORMAT else None


def check_round(found: dict[str, Any], keys: Sequence[Key]) -> Report:
    """Check the proof of a round: its bookings, the path of each to one checkpoint, and the manifests they stand in."""
    report = Report()
    try:
        checkpoint = parse_checkpoint(found["checkpoint"])
        entries = [(whole(each["log_seq"]), each["entry"].encode(), each["proof"]) for each in found["entries"]]
        proofs = [[bytes.fromhex(step) for step in proof] for _, _, proof in entries]
        named = str(found["round"])
        notes = [str(each) for each in found["manifests"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        report.find("schema", f"this is no proof of a round: {error}")
        return report
    report.origin, report.end, report.entries, report.checkpoints = checkpoint.origin, checkpoint.size, len(entries), 1
    mine = [key for key in keys if key.name == checkpoint.origin and key.algorithm == LOG_KEY]
    if not any(_is_under(checkpoint, key) for key in mine):
        report.find("signature", "the checkpoint is not signed by a key of the log")
    if not entries:
        report.find("round", "the proof holds no booking")
    check = BookingCheck(checkpoint.origin, report.find, whole=False)
    for (index, body, _), proof in zip(entries, proofs, strict=True):
        entry = check.read(body, index)
        if entry is not None and (entry["round"] is None or entry["round"].get("id") != named):
            report.find("round", f"entry {index} is not of round {named}")
        if root_from_inclusion(body, index, checkpoint.size, proof) != checkpoint.root:
            report.find("inclusion", f"the entry is not at place {index} of the log")
    places = [index for index, _, _ in entries]
    if places != sorted(set(places)):
        report.find("sequence", "an entry stands twice in the proof, or out of its order")
    report.first = min(places, default=0)
    _check_manifests(notes, places, mine, report)
    return report


def _check_manifests(notes: Sequence[str], places: Sequence[int], keys: Sequence[Key], report: Report) -> None:
    covered: set[int] = set()
    for note in notes:
        try:
            text, signatures = parse_note(note)
            manifest = cast("dict[str, Any]", json.loads(text))
            _take_fields(manifest)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            report.find("manifest", f"a manifest is not what it must be ({type(error).__name__})")
            continue
        if manifest["origin"] != report.origin:
            report.find("manifest", f"a manifest is of the log {manifest['origin']}")
        if not any(is_signed_by(text, each, key) is not None for each in signatures for key in keys):
            report.find("signature", f"the manifest of segment {manifest['number']} is not signed by a key of the log")
        covered.update(place for place in places if manifest["first"] <= place < manifest["end"])
    for place in sorted(set(places) - covered):
        report.find("manifest", f"no manifest of the proof holds entry {place}")
