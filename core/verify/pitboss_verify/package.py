"""Reads a package of an audit log and says everything that is wrong with it."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from pitboss_verify import ed25519
from pitboss_verify.event import EventCheck
from pitboss_verify.merkle import Stack, is_consistent, root_from_inclusion
from pitboss_verify.note import (
    LOG_KEY,
    WITNESS_KEY,
    Checkpoint,
    Key,
    Malformed,
    is_signed_by,
    parse_checkpoint,
    parse_key,
    parse_note,
)

FORMAT = "pitboss-audit-package/1"
MANIFEST_TITLE = "pitboss-audit-manifest/1"
MAX_FINDINGS = 100
MAX_LINE_BYTES = 8 * 1024 * 1024


@dataclass
class Report:
    """What was looked at and what was wrong."""

    origin: str = ""
    first: int = 0
    end: int = 0
    entries: int = 0
    checkpoints: int = 0
    cosignatures: int = 0
    manifest: str = ""
    packages: int = 0
    objects: int = 0
    locked: int = 0
    unfinished: int | None = None
    """Where a package begins that is not whole yet: the last of an archive may be on its way."""
    findings: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    more: int = 0

    def find(self, check: str, detail: str) -> None:
        """Keep a finding; beyond a hundred they are counted only."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append({"check": check, "detail": detail})
        else:
            self.more += 1


class PackageCheck:
    """One pass over one package: keys come from the auditor, everything else from the folder.

    `since` must be proved to be before the package or in it; each of `passed` counts if the package reaches it.
    """

    def __init__(
        self, folder: Path, keys: Sequence[Key], since: Checkpoint | None = None, passed: Sequence[Checkpoint] = ()
    ) -> None:
        self._folder = folder
        self._keys = list(keys)
        self._since = since
        self._known = [*passed, *([since] if since else [])]
        self.loaded: list[Checkpoint] = []
        self._manifest: dict[str, Any] = {}
        self._active: Key | None = None
        self._turns: list[int] = []
        self._trusted: list[Key] = []
        self.report = Report()

    def run(self) -> Report:
        """Check everything that can still be checked after what was found before."""
        raw = self._read("manifest.json")
        if raw is None or not self._take_manifest(raw):
            return self.report
        self._check_files()
        self._choose_key()
        checkpoints = self.loaded = self._load_checkpoints()
        self._walk(checkpoints)
        self._check_manifest_signature(raw)
        return self.report

    @property
    def keys(self) -> list[Key]:
        """The keys that were given, and those that the log's own entries named."""
        return [*self._keys, *(key for key in self._trusted if key not in self._keys)]

    @property
    def previous(self) -> str | None:
        """The digest of the manifest before, as this one names it."""
        return self._manifest.get("previous")

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except OSError:
            self.report.find("manifest", f"{name} is missing or cannot be read")
            return None

    def _take_manifest(self, raw: bytes) -> bool:
        self.report.manifest = sha256(raw).hexdigest()
        try:
            found = json.loads(raw)
            if found["format"] != FORMAT:
                raise Malformed(f"the package is of format {found['format']!r}, this reads {FORMAT}")
            left, previous = [bytes.fromhex(each) for each in found["left"]], found["previous"]
            self._stack = Stack(_whole(found["first"]), left)
            self.report.origin, self.report.first = str(found["origin"]), found["first"]
            self.report.end = _whole(found["end"])
            if previous is not None and len(bytes.fromhex(previous)) != 32:
                raise Malformed("the digest of the previous manifest is none")
            if not all(
                isinstance(each["sha256"], str) and _whole(each["bytes"]) >= 0 for each in found["files"].values()
            ):
                raise Malformed("a file has no digest")
            if found["first"] > found["end"] or any(len(each) != 32 for each in left):
                raise Malformed("the range of entries is none")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.report.find("manifest", f"manifest.json is not what it must be: {error}")
            return False
        self._manifest = found
        return True

    def _check_files(self) -> None:
        """Every file has its digest, and no file is there that has none."""
        named = set(self._manifest["files"])
        there = {path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*") if not path.is_dir()}
        for name in sorted(there - named - {"manifest.json", "manifest.note"}):
            self.report.find("manifest", f"{name} is not in the manifest")
        for name in sorted(named):
            wanted, data = self._manifest["files"][name], None
            if ".." in Path(name).parts or Path(name).is_absolute():
                self.report.find("manifest", f"{name} lies outside of the package")
            else:
                data = self._read(name)
            if data is not None and (len(data), sha256(data).hexdigest()) != (wanted["bytes"], wanted["sha256"]):
                self.report.find("manifest", f"{name} is not the file that was packed")

    def _choose_key(self) -> None:
        mine = [key for key in self._keys if key.name == self.report.origin and key.algorithm == LOG_KEY]
        if not mine:
            self.report.find("signature", f"no public key of {self.report.origin} was given")
        self._trusted = mine

    def _load_checkpoints(self) -> list[Checkpoint]:
        found: list[Checkpoint] = []
        for number, line in enumerate((self._read("checkpoints.jsonl") or b"").splitlines()):
            try:
                checkpoint = parse_checkpoint(json.loads(line)["note"])
            except (ValueError, KeyError, TypeError) as error:
                self.report.find("checkpoint", f"line {number + 1} is no checkpoint: {error}")
                continue
            if checkpoint.origin != self.report.origin:
                self.report.find("checkpoint", f"line {number + 1} is of the log {checkpoint.origin}")
            if not self.report.first <= checkpoint.size <= self.report.end:
                self.report.find("checkpoint", f"size {checkpoint.size} lies outside of the package")
            found.append(checkpoint)
        sizes = [each.size for each in found]
        if sizes != sorted(set(sizes)):
            self.report.find("checkpoint", "two checkpoints of one size, or not in their order")
        if not sizes or max(sizes) != self.report.end:
            self.report.find("checkpoint", f"no checkpoint of size {self.report.end} closes the package")
        return found

    def _walk(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Rebuild the tree entry by entry, and hold every checkpoint against it where its size is reached."""
        waiting: dict[int, list[Checkpoint]] = {}
        for checkpoint in checkpoints:
            waiting.setdefault(checkpoint.size, []).append(checkpoint)
        since, stack = self._since, self._stack
        if since is not None:
            self._check_since(since)
        for known in self._known:
            if self.report.first <= known.size and (known is since or known.size <= self.report.end):
                waiting.setdefault(known.size, []).append(known)
        check = EventCheck(self.report.origin, self.report.find)
        for checkpoint in waiting.pop(stack.size, ()):
            self._judge(checkpoint, stack)
        for body in self._entries():
            event = check.read(body, stack.size)
            stack.append(body)
            self.report.entries += 1
            if event is not None and event["type"] == "audit.key_rotated":
                self._turn(event, stack.size - 1)
            if stack.size in waiting:
                for checkpoint in waiting.pop(stack.size):
                    self._judge(checkpoint, stack)
        if stack.size != self.report.end:
            self.report.find("sequence", f"the entries end at {stack.size}, the package says {self.report.end}")
        for size in waiting:
            self.report.find("root", f"no entries lead to the checkpoint of size {size}")

    def _entries(self) -> Iterator[bytes]:
        for name in sorted(name for name in self._manifest["files"] if name.startswith("entries/")):
            try:
                with gzip.open(self._folder / name) as lines:
                    for line in iter(lambda: lines.readline(MAX_LINE_BYTES), b""):
                        yield line.removesuffix(b"\n")
            except (OSError, EOFError, zlib.error) as error:
                self.report.find("sequence", f"{name} cannot be read to its end ({type(error).__name__})")

    def _judge(self, checkpoint: Checkpoint, stack: Stack) -> None:
        if checkpoint.root != stack.root():
            self.report.find("root", f"the entries do not lead to the root of the checkpoint of size {checkpoint.size}")
        self._check_signatures(checkpoint)

    def _check_signatures(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is signed by the key of its moment, and the last one by every witness whose key was given."""
        self.report.checkpoints += 1
        key = self._key_of(checkpoint)
        if key is not None and self._active is None:
            self._active = key
        if key is None or key != self._active:
            self.report.find(
                "signature", f"the checkpoint of size {checkpoint.size} is not signed by the key of its time"
            )
        for witness in self._keys:
            if (
                witness.algorithm == WITNESS_KEY
                and checkpoint.size == self.report.end
                and not any(checkpoint is known for known in self._known)
            ):
                stated = [is_signed_by(checkpoint.text, each, witness) for each in checkpoint.signatures]
                self.report.cosignatures += any(stated)
                if not any(stated):
                    self.report.find(
                        "witness", f"{witness.name} has not signed the checkpoint of size {checkpoint.size}"
                    )

    def _key_of(self, checkpoint: Checkpoint) -> Key | None:
        for key in self._trusted:
            for signature in checkpoint.signatures:
                if is_signed_by(checkpoint.text, signature, key) is not None:
                    return key
        return None

    def _check_since(self, since: Checkpoint) -> None:
        if since.origin != self.report.origin:
            self.report.find("consistency", f"the earlier checkpoint is of the log {since.origin}")
        if since.size > self.report.end:
            self.report.find("consistency", f"the log has {self.report.end} entries, it had {since.size} before")
        if since.size < self.report.first:
            self._check_growth(since)

    def _check_growth(self, since: Checkpoint) -> None:
        """The package begins after the earlier checkpoint, so it must bring the proof."""
        try:
            given = self._manifest["since"]
            proof = [bytes.fromhex(each) for each in given["proof"]]
            fits = given["size"] == since.size and is_consistent(
                since.size, since.root, self.report.first, self._stack.root(), proof
            )
        except (KeyError, TypeError, ValueError):
            fits = False
        if not fits:
            self.report.find("consistency", f"nothing proves that the log grew out of the checkpoint of {since.size}")
        if self._key_of(since) is None:
            self.report.find("signature", "the earlier checkpoint is not signed by a key of the log")

    def _turn(self, event: dict[str, Any], log_seq: int) -> None:
        """Let another key sign from here on, if the one before has said so."""
        try:
            changes = {each["path"]: each for each in event["change"]}
            before, after = parse_key(changes["key"]["before"]), parse_key(changes["key"]["after"])
            signature = bytes.fromhex(changes["statement"]["after"])
        except (Malformed, KeyError, TypeError, ValueError, AttributeError):
            self.report.find("key", f"entry {log_seq} is no statement of a key")
            return
        message = f"pitboss-audit-key/1\n{self.report.origin}\n{log_seq}\n{after.text}\n".encode()
        known = before in self._trusted and self._active in (None, before)
        if not (known and after.name == self.report.origin and ed25519.verify(before.raw, message, signature)):
            self.report.find("key", f"entry {log_seq}: the key that signed until here has not named the next one")
            return
        self._active = after
        self._turns.append(log_seq)
        if after not in self._trusted:
            self._trusted.append(after)

    def _check_manifest_signature(self, raw: bytes) -> None:
        note = self._read("manifest.note")
        if note is None:
            return
        try:
            text, signatures = parse_note(note.decode())
        except (Malformed, UnicodeDecodeError) as error:
            self.report.find("manifest", f"manifest.note is none: {error}")
            return
        if text != f"{MANIFEST_TITLE}\n{self.report.origin}\n{sha256(raw).hexdigest()}\n":
            self.report.find("manifest", "manifest.note is about another manifest")
        keys = self._trusted if self._active is None else [self._active]
        if not any(is_signed_by(text, each, key) is not None for each in signatures for key in keys):
            self.report.find("signature", "the manifest is not signed by the key of the log")


def check_record(data: bytes, keys: Sequence[Key]) -> Report:
    """Check the proof of one entry: its bytes, the path to the root, and the checkpoint above it."""
    report = Report()
    try:
        found = json.loads(data)
        body, proof = found["entry"].encode(), [bytes.fromhex(each) for each in found["proof"]]
        checkpoint = parse_checkpoint(found["checkpoint"])
        index = _whole(found["log_seq"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        report.find("schema", f"this is no proof of an entry: {error}")
        return report
    report.origin, report.first, report.end, report.entries, report.checkpoints = (
        checkpoint.origin,
        index,
        index + 1,
        1,
        1,
    )
    EventCheck(checkpoint.origin, report.find).read(body, index)
    if root_from_inclusion(body, index, checkpoint.size, proof) != checkpoint.root:
        report.find("inclusion", f"the entry is not at place {index} of the log")
    mine = [key for key in keys if key.name == checkpoint.origin and key.algorithm == LOG_KEY]
    if not any(is_signed_by(checkpoint.text, each, key) is not None for each in checkpoint.signatures for key in mine):
        report.find("signature", "the checkpoint is not signed by a key of the log")
    for witness in (key for key in keys if key.algorithm == WITNESS_KEY):
        if not any(is_signed_by(checkpoint.text, each, witness) for each in checkpoint.signatures):
            report.find("witness", f"{witness.name} has not signed the checkpoint")
        else:
            report.cosignatures += 1
    return report


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Malformed(f"{value!r} is no count")
    return value
