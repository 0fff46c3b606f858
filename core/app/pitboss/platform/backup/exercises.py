"""The register of exercises: what was restored, how fast, what was found, each entry hashed with the one before it."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from pathlib import Path
from typing import Final

import msgspec

from pitboss.platform.backup.errors import BackupDamaged
from pitboss.platform.backup.folder import write_durably
from pitboss.platform.processes import FolderLock

_NONE: Final = "0" * 64


class ExerciseFinding(msgspec.Struct, frozen=True):
    """Something that was not as it should be, who sees to it and until when."""

    what: str
    owner: str
    due_on: date


class Exercise(msgspec.Struct, frozen=True, omit_defaults=False):
    """A restore and what it proved. Seconds of None: the scenario does not measure that."""

    exercise_id: str
    begun_at: datetime
    cell: str
    locality: str
    scenario: str
    backup_id: str
    asked_for: str
    lost_at: datetime
    recovered_to: datetime | None
    recovery_point_goal_seconds: int
    recovery_point_seconds: float | None
    recovery_time_goal_seconds: int
    recovery_time_seconds: float
    evidence: tuple[str, ...]
    findings: tuple[ExerciseFinding, ...]

    @property
    def passed(self) -> bool:
        """Whether both goals were reached and nothing was found."""
        point = self.recovery_point_seconds
        return (
            not self.findings
            and self.recovery_time_seconds <= self.recovery_time_goal_seconds
            and (point is None or point <= self.recovery_point_goal_seconds)
        )


class Entry(msgspec.Struct, frozen=True):
    """A line of the register; `sha256` is that of the previous one's, a line feed and the exercise's own bytes."""

    previous: str
    sha256: str
    exercise: msgspec.Raw


class Register:
    """A file of entries, one a line, each bound to all before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "register.jsonl"

    def add(self, exercise: Exercise) -> str:
        """Append an exercise and write it for readers; return the hash that signs it and all before it."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FolderLock(self.folder / "lock")
        lock.acquire()
        try:
            entries = self._read()
            body = msgspec.json.encode(exercise)
            previous = entries[-1].sha256 if entries else _NONE
            digest = sign(previous, body)
            line = msgspec.json.encode(Entry(previous, digest, msgspec.Raw(body)))
            before = self.file.read_bytes() if self.file.exists() else b""
            write_durably(self.file, before + line + b"\n")
            write_durably(self.folder / f"{exercise.exercise_id}.md", write_report(exercise, digest).encode())
        finally:
            lock.release()
        return digest

    def list(self) -> list[tuple[Exercise, str]]:
        """Return all exercises with their hashes, oldest first; raise `BackupDamaged` if one was altered."""
        return [(msgspec.json.decode(entry.exercise, type=Exercise), entry.sha256) for entry in self._read()]

    def _read(self) -> list[Entry]:
        if not self.file.exists():
            return []
        entries: list[Entry] = []
        previous = _NONE
        for number, line in enumerate(self.file.read_bytes().splitlines(), 1):
            try:
                entry = msgspec.json.decode(line, type=Entry)
            except msgspec.MsgspecError as error:
                raise BackupDamaged(f"{self.file}, line {number}: {error}") from None
            if entry.previous != previous or entry.sha256 != sign(previous, bytes(entry.exercise)):
                raise BackupDamaged(f"{self.file}, line {number}: not what was written, or lines before it are missing")
            previous = entry.sha256
            entries.append(entry)
        return entries


def sign(previous: str, body: bytes) -> str:
    """Return the hash of an entry, which vouches for all before it."""
    return hashlib.sha256(previous.encode() + b"\n" + body).hexdigest()


def write_report(exercise: Exercise, digest: str) -> str:
    """Return an exercise as a page for people."""
    point = exercise.recovery_point_seconds
    reached = f"{point:.1f} s" if point is not None else "not measured by this scenario"
    to = exercise.recovered_to.isoformat(timespec="milliseconds") if exercise.recovered_to else "unknown"
    findings = [f"- {each.what} (owner: {each.owner}, due: {each.due_on})" for each in exercise.findings]
    return "\n".join(
        [
            f"# Exercise {exercise.exercise_id}: {'passed' if exercise.passed else 'NOT passed'}",
            "",
            f"- Cell: {exercise.cell} (locality {exercise.locality})",
            f"- Scenario: {exercise.scenario}",
            f"- Backup: {exercise.backup_id}, restored to {exercise.asked_for}",
            f"- Begun: {exercise.begun_at.isoformat(timespec='milliseconds')}",
            f"- Moment of the loss: {exercise.lost_at.isoformat(timespec='milliseconds')}",
            f"- Last transaction recovered: {to}",
            f"- Recovery point: goal {exercise.recovery_point_goal_seconds} s, reached {reached}",
            f"- Recovery time: goal {exercise.recovery_time_goal_seconds} s,"
            f" reached {exercise.recovery_time_seconds:.1f} s",
            "",
            "## Evidence",
            "",
            *[f"- {line}" for line in exercise.evidence],
            "",
            "## Findings",
            "",
            *(findings or ["None."]),
            "",
            f"SHA-256 of this entry and all before it: `{digest}`",
            "",
        ]
    )
