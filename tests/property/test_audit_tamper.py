"""Every way to tamper with a package of an audit log is found, wherever it strikes; clean logs raise no alarm.

A sample by default; PITBOSS_TEST_TAMPER sets the positions of each class, PITBOSS_TEST_CLEAN the number of clean logs
(`make probes`: 50 and 1,000).
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.factories.figures import merge_figures

from pitboss.audit.rules.canonical import SCHEMA, compose_handover, place_event
from pitboss.audit.rules.merkle import TreeEdge, hash_leaf
from pitboss.audit.rules.note import (
    COSIGNATURE,
    Checkpoint,
    NoteKey,
    compose_note,
    cosigned_message,
    write_cosignature,
    write_signature,
)
from pitboss_verify.command import verify
from pitboss_verify.note import parse_checkpoint, parse_key

POSITIONS = int(os.environ.pop("PITBOSS_TEST_TAMPER", "2"))
CLEAN = int(os.environ.pop("PITBOSS_TEST_CLEAN", "10"))
ORIGIN, OTHER = "pitboss.audit/eu-1/aurora", "pitboss.audit/eu-1/jade"
SEGMENT = 40


class Signing:
    """A private key under a name."""

    def __init__(self, draw: random.Random, name: str, algorithm: int = 1) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(draw.randbytes(32))
        self.public = NoteKey(name, self.private.public_key().public_bytes_raw(), algorithm)

    def sign(self, text: str) -> str:
        return write_signature(self.public, self.private.sign(text.encode()))

    def cosign(self, text: str, moment: int = 1_790_000_000) -> str:
        return write_cosignature(self.public, moment, self.private.sign(cosigned_message(text, moment)))


def moment_text(second: int) -> str:
    return f"2026-11-21T{10 + second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.000000Z"


class Maker:
    """Makes a log as the sequencer would, and packs it; whoever holds the keys may also make a false one."""

    def __init__(self, draw: random.Random, origin: str = ORIGIN) -> None:
        self.draw, self.origin = draw, origin
        self.old, self.new = Signing(draw, origin), Signing(draw, origin)
        self.witness = Signing(draw, "pitboss.witness/test", COSIGNATURE)
        self.bodies: list[bytes] = []
        self.turn = 0
        """The place of the entry by which the new key takes over; 0 for none."""

    def event(self, log_seq: int, **changes: Any) -> bytes:
        cell, tenant = self.origin.split("/")[1:]
        found = {
            "schema": SCHEMA,
            "id": f"{self.draw.getrandbits(32):08x}-0000-7000-8000-{self.draw.getrandbits(48):012x}",
            "tenant": tenant,
            "cell": cell,
            "occurred_at": moment_text(log_seq),
            "category": "user_action",
            "type": "player.registered",
            "outcome": "success",
            "reason": "",
            "actor": {"type": "operator", "principal": "ada"},
            "origin": {"request_id": "r", "causation_id": "", "client_digest": ""},
            "target": {"type": "player", "id": f"p{self.draw.getrandbits(30)}"},
            "change": [{"path": "status", "before": None, "after": "active é"}],
        }
        recorded = changes.pop("recorded_at", moment_text(log_seq))
        return place_event({**found, **changes}, log_seq, recorded)

    def fill(self, size: int, turn: int = 0) -> Maker:
        self.turn = turn
        for log_seq in range(len(self.bodies), size):
            self.bodies.append(self.handover(log_seq) if turn and log_seq == turn else self.event(log_seq))
        return self

    def handover(self, log_seq: int, signer: Signing | None = None) -> bytes:
        statement = compose_handover(self.origin, log_seq, self.new.public.text)
        changes = [
            {"path": "key", "before": self.old.public.text, "after": self.new.public.text},
            {"path": "statement", "before": None, "after": (signer or self.old).private.sign(statement).hex()},
        ]
        return self.event(
            log_seq, type="audit.key_rotated", target={"type": "audit_log", "id": self.origin}, change=changes
        )

    def key_at(self, size: int) -> Signing:
        return self.new if self.turn and size > self.turn else self.old

    def root(self, size: int) -> bytes:
        edge = TreeEdge()
        edge.extend([hash_leaf(body) for body in self.bodies[:size]])
        return edge.root()

    def note(self, size: int, *, key: Signing | None = None, root: bytes = b"", witnessed: bool = True) -> str:
        text = Checkpoint(self.origin, size, root or self.root(size)).text
        lines = [(key or self.key_at(size)).sign(text), *([self.witness.cosign(text)] if witnessed else [])]
        return compose_note(text, lines)

    def known_keys(self) -> list[str]:
        return [self.old.public.text, self.witness.public.text]

    def pack(self, folder: Path, sizes: list[int]) -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "entries").mkdir(parents=True)
        for start in range(0, sizes[-1], SEGMENT):
            lines = b"".join(body + b"\n" for body in self.bodies[start : min(start + SEGMENT, sizes[-1])])
            (folder / f"entries/{start:012}.jsonl.gz").write_bytes(gzip.compress(lines, 1, mtime=0))
        notes = [{"note": self.note(size)} for size in sizes]
        (folder / "checkpoints.jsonl").write_text("".join(json.dumps(note) + "\n" for note in notes))
        self.seal(folder, sizes[-1])
        return folder

    def seal(self, folder: Path, end: int, *, key: Signing | None = None) -> None:
        """Write the manifest over what is in the folder, and sign it: what only the holder of the key can do."""
        paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("manifest")]
        files = {
            path.relative_to(folder).as_posix(): {
                "sha256": sha256(path.read_bytes()).hexdigest(),
                "bytes": path.stat().st_size,
            }
            for path in paths
        }
        manifest = {
            "format": "pitboss-audit-package/1",
            "origin": self.origin,
            "first": 0,
            "end": end,
            "made_at": moment_text(9),
            "previous": None,
            "left": [],
            "since": None,
            "files": files,
        }
        data = json.dumps(manifest).encode()
        (folder / "manifest.json").write_bytes(data)
        text = f"pitboss-audit-manifest/1\n{self.origin}\n{sha256(data).hexdigest()}\n"
        (folder / "manifest.note").write_text(compose_note(text, [(key or self.key_at(end)).sign(text)]))


class Case:
    """A sound package, its maker, and the auditor's keys and earlier checkpoint."""

    def __init__(self, draw: random.Random, folder: Path) -> None:
        self.draw = draw
        size = draw.randint(60, 130)
        turn = draw.randint(20, size - 10) if draw.random() < 0.5 else 0
        self.maker = Maker(draw).fill(size, turn)
        self.end = size
        middle = draw.randint(10, size - 5)
        self.sizes = sorted({draw.randint(1, middle), middle, size})
        self.folder = self.maker.pack(folder, self.sizes)
        self.keys = self.maker.known_keys()
        self.since: str | None = self.maker.note(middle, witnessed=False)
        self.middle = middle

    def findings(self) -> list[dict[str, str]]:
        since = None if self.since is None else parse_checkpoint(self.since)
        return verify(self.folder, [parse_key(key) for key in self.keys], since).findings

    # What tampering works with

    def flip(self, path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[self.draw.randrange(len(data))] ^= 1 << self.draw.randrange(8)
        path.write_bytes(bytes(data))

    def segment(self) -> Path:
        return self.draw.choice(sorted((self.folder / "entries").iterdir()))

    def edit_lines(self, edit: Callable[[list[bytes]], object]) -> None:
        """Change the entries of a segment and seal the package again, with the true key: the inside job."""
        path, lines = self.segment(), list[bytes]()
        while len(lines) < 2:  # the last segment may hold one entry, and one cannot be swapped
            path = self.segment()
            lines = gzip.decompress(path.read_bytes()).splitlines()
        edit(lines)
        path.write_bytes(gzip.compress(b"".join(line + b"\n" for line in lines), 1, mtime=0))
        self.maker.seal(self.folder, self.end)

    def edit_event(self, lines: list[bytes], edit: Callable[[dict[str, Any]], object]) -> None:
        at = self.draw.randrange(len(lines))
        event = json.loads(lines[at])
        edit(event)
        lines[at] = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def edit_notes(self, edit: Callable[[list[str]], object]) -> None:
        path = self.folder / "checkpoints.jsonl"
        notes = [json.loads(line)["note"] for line in path.read_text().splitlines()]
        edit(notes)
        path.write_text("".join(json.dumps({"note": note}) + "\n" for note in notes))
        self.maker.seal(self.folder, self.end)

    def rebuild(self, edit: Callable[[list[bytes]], object]) -> None:
        """Change entries and sign everything anew with the true keys: only what others remember can tell."""
        bodies = self.maker.bodies
        edit(bodies)
        self.maker.pack(self.folder, [size for size in self.sizes if size < len(bodies)] + [len(bodies)])


def flip_entry(case: Case) -> None:
    def edit(lines: list[bytes]) -> None:
        at = case.draw.randrange(len(lines))
        where = case.draw.randrange(len(lines[at]))
        lines[at] = lines[at][:where] + bytes([lines[at][where] ^ 1]) + lines[at][where + 1 :]

    case.edit_lines(edit)


def swap_lines(lines: list[bytes], draw: random.Random) -> None:
    at = draw.randrange(len(lines) - 1)
    lines[at], lines[at + 1] = lines[at + 1], lines[at]


def fork(notes: list[str], case: Case) -> None:
    forged = case.maker.note(case.sizes[0], root=case.draw.randbytes(32))
    notes.insert(1, forged)


def resign(notes: list[str], case: Case, key: Signing) -> None:
    at = case.draw.randrange(len(notes))
    notes[at] = case.maker.note(parse_checkpoint(notes[at]).size, key=key)


def retire(case: Case) -> None:
    """A log whose key was handed over, and a last checkpoint by the key that had gone."""
    case.maker = Maker(case.draw).fill(case.end, case.draw.randint(5, case.end - 5))
    case.keys, case.since = case.maker.known_keys(), None
    case.maker.pack(case.folder, case.sizes)
    case.edit_notes(lambda notes: resign_last(notes, case))


def resign_last(notes: list[str], case: Case) -> None:
    notes[-1] = case.maker.note(case.end, key=case.maker.old)


def usurp(case: Case) -> None:
    """A handover that somebody else signed."""
    at = case.draw.randint(5, case.end - 5)
    case.maker = Maker(case.draw).fill(at)
    case.maker.bodies.append(case.maker.handover(at, signer=case.maker.new))
    case.maker.fill(case.end).turn = at
    case.keys, case.since = case.maker.known_keys(), None
    case.maker.pack(case.folder, case.sizes)


def swap_tenants(case: Case) -> None:
    other = Maker(case.draw, OTHER).fill(case.end)
    other.pack(case.folder, case.sizes)


def roll_back(case: Case) -> None:
    """A shorter log, all of it signed and true; the auditor has seen a longer one."""
    case.maker.turn = case.maker.turn if case.maker.turn < case.middle - 1 else 0
    case.maker.pack(case.folder, [max(1, case.middle - case.draw.randint(1, 9))])


def later_history(case: Case) -> None:
    """Another past under the true keys: what the auditor has seen before is not its beginning."""
    at = case.draw.randrange(case.middle)
    while case.maker.turn and at == case.maker.turn:
        at = case.draw.randrange(case.middle)
    case.rebuild(lambda bodies: bodies.__setitem__(at, case.maker.event(at)))


def edit_manifest(case: Case) -> None:
    path = case.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["made_at"] = moment_text(case.draw.randint(10, 999))
    path.write_text(json.dumps(manifest))


def foreign_seal(case: Case) -> None:
    case.maker.seal(case.folder, case.end, key=Signing(case.draw, ORIGIN))


def drop_segment(case: Case) -> None:
    case.segment().unlink()


def drop_and_seal(case: Case) -> None:
    case.segment().unlink()
    case.maker.seal(case.folder, case.end)


def replace_file(case: Case) -> None:
    """A file in its place that was sound once: the version of another day."""
    path = case.segment()
    lines = gzip.decompress(path.read_bytes()).splitlines()[:-1]
    path.write_bytes(gzip.compress(b"".join(line + b"\n" for line in lines), 1, mtime=0))


def blind_witness(notes: list[str], case: Case) -> None:
    notes[-1] = case.maker.note(case.end, witnessed=False)


def false_witness(notes: list[str], case: Case) -> None:
    text = Checkpoint(ORIGIN, case.end, case.maker.root(case.end)).text
    stranger = Signing(case.draw, "pitboss.witness/test", COSIGNATURE)
    notes[-1] = compose_note(text, [case.maker.key_at(case.end).sign(text), stranger.cosign(text)])


def move_cosignature(notes: list[str], case: Case) -> None:
    """The witness's line of another checkpoint under the last one."""
    text = Checkpoint(ORIGIN, case.end, case.maker.root(case.end)).text
    line = case.maker.witness.cosign(Checkpoint(ORIGIN, case.end, case.draw.randbytes(32)).text)
    notes[-1] = compose_note(text, [case.maker.key_at(case.end).sign(text), line])


def swap_origin(notes: list[str], case: Case) -> None:
    other = Maker(case.draw, OTHER)
    other.bodies, other.old = case.maker.bodies, Signing(case.draw, OTHER)
    notes[case.draw.randrange(len(notes))] = other.note(case.sizes[0])


def late(case: Case) -> None:
    """Times that run backwards, signed by the true keys from the beginning; the first visit of the auditor."""
    at = case.draw.randint(1, case.end - 1)
    at = at + 1 if at == case.maker.turn and at + 1 < case.end else at
    at = at - 1 if at == case.maker.turn else at
    before = moment_text(max(0, at - 1)).replace("T1", "T0")
    wrong = {"recorded_at": before, "occurred_at": before}
    case.since = None
    case.rebuild(lambda bodies: bodies.__setitem__(at, case.maker.event(at, **wrong)))


def renumber(case: Case) -> None:
    """A place that says another number, signed by the true keys from the beginning."""
    at = case.draw.randrange(case.end)
    at = at if at != case.maker.turn or not at else at - 1
    case.since = None
    times = {"recorded_at": moment_text(at), "occurred_at": moment_text(at)}
    case.rebuild(lambda bodies: bodies.__setitem__(at, case.maker.event(at + case.draw.randint(1, 9), **times)))


def loosen_form(case: Case) -> None:
    """The same event with a blank in it, or a field too many, signed by the true keys from the beginning."""
    at = case.draw.randrange(case.end)
    at = at if at != case.maker.turn or not at else at - 1
    case.since = None
    body = case.maker.event(at)
    wrong = body.replace(b":", b": ", 1) if case.draw.random() < 0.5 else body[:-1] + b',"zzz":1}'
    case.rebuild(lambda bodies: bodies.__setitem__(at, wrong))


TAMPERINGS: dict[str, Callable[[Case], object]] = {
    "a bit of an entry": flip_entry,
    "a bit of a segment": lambda case: case.flip(case.segment()),
    "a bit of a checkpoint": lambda case: case.flip(case.folder / "checkpoints.jsonl"),
    "a bit of the manifest": lambda case: case.flip(case.folder / "manifest.json"),
    "a bit of the manifest's signature": lambda case: case.flip(case.folder / "manifest.note"),
    "an entry deleted": lambda case: case.edit_lines(lambda lines: lines.pop(case.draw.randrange(len(lines)))),
    "an entry inserted": lambda case: case.edit_lines(
        lambda lines: lines.insert(case.draw.randrange(len(lines)), case.maker.event(case.draw.randrange(case.end)))
    ),
    "two entries swapped": lambda case: case.edit_lines(lambda lines: swap_lines(lines, case.draw)),
    "an entry doubled": lambda case: case.edit_lines(
        lambda lines: lines.insert(case.draw.randrange(len(lines)), case.draw.choice(lines))
    ),
    "an event rewritten": lambda case: case.edit_lines(
        lambda lines: case.edit_event(lines, lambda event: event["actor"].update(principal="mallory"))
    ),
    "a time shifted": lambda case: case.edit_lines(
        lambda lines: case.edit_event(lines, lambda event: event.update(recorded_at="2026-11-22T00:00:00.000000Z"))
    ),
    "times that run backwards": late,
    "a wrong number": renumber,
    "a loose form": loosen_form,
    "the tail cut off": roll_back,
    "another past": later_history,
    "a fork": lambda case: case.edit_notes(lambda notes: fork(notes, case)),
    "a checkpoint of a stranger": lambda case: case.edit_notes(
        lambda notes: resign(notes, case, Signing(case.draw, ORIGIN))
    ),
    "a checkpoint of a retired key": retire,
    "a usurped handover": usurp,
    "another tenant's log": swap_tenants,
    "a checkpoint of another log": lambda case: case.edit_notes(lambda notes: swap_origin(notes, case)),
    "a segment dropped": lambda case: case.draw.choice((drop_segment, drop_and_seal, replace_file))(case),
    "a witness left out or imitated": lambda case: case.edit_notes(
        lambda notes: case.draw.choice((blind_witness, false_witness, move_cosignature))(notes, case)
    ),
}


def test_there_are_twenty_four_classes() -> None:
    assert len(TAMPERINGS) == 24


_found: dict[str, int] = {}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found(name: str, tmp_path: Path) -> None:
    for position in range(POSITIONS):
        seed = random.randrange(2**32)
        case = Case(random.Random(seed), tmp_path / str(position))
        assert case.findings() == [], f"seed {seed}: the package was not sound before"
        TAMPERINGS[name](case)
        assert case.findings() != [], f"seed {seed}: {name} was not found"
        shutil.rmtree(case.folder)
        _found[name] = _found.get(name, 0) + 1
    if len(_found) == len(TAMPERINGS) and POSITIONS >= 50:  # a sample leaves the figure of the long form
        total = sum(_found.values())
        merge_figures("probes", {"tamper_cases": POSITIONS * len(TAMPERINGS), "tamper_found": total})


def test_clean_logs_raise_no_alarm(tmp_path: Path) -> None:
    for number in range(CLEAN):
        seed = random.randrange(2**32)
        case = Case(random.Random(seed), tmp_path / str(number))
        assert case.findings() == [], f"seed {seed}"
        shutil.rmtree(case.folder)


def test_a_manifest_and_its_seal_of_somebody_else_are_found(tmp_path: Path) -> None:
    for tamper in (edit_manifest, foreign_seal):
        case = Case(random.Random(7), tmp_path / tamper.__name__)
        tamper(case)
        assert case.findings() != []


def test_a_flipped_bit_of_base64_padding_is_found_too() -> None:
    """Base64 has spare bits at its end: two texts of one value must not both pass."""
    key = Signing(random.Random(1), ORIGIN).public.text
    assert b64encode(b64decode(key.rpartition("+")[2])).decode() == key.rpartition("+")[2]
    with pytest.raises(ValueError):
        parse_key(key[:-2] + ("B" if key[-2] != "B" else "C") + key[-1])
