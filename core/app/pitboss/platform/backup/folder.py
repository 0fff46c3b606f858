"""The folder that holds a cell's backups: whose it is, what lies where, and whether that is what was written.

- `owner.json`: the cell and the locality that the folder belongs to
- `<system>-<timeline>/`: one history of one cluster; nothing is ever mixed with another
    - `base/<id>/data/`: files as PostgreSQL sent them
    - `base/<id>/SHA256SUMS` and `backup.json`: written last; what has none is no backup
    - `wal/<segment>[.partial]`: the write-ahead log; the one that still grows is partial
    - `wal/SHA256SUMS` of whole segments, `wal/status.json`: how far the log has come
"""

from __future__ import annotations

import hashlib
import hmac
import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from pitboss.platform.backup.errors import BackupDamaged, BackupRefused
from pitboss.platform.backup.segments import PARTIAL, is_segment, name_of, number_of
from pitboss.platform.processes import FolderLock, wait_until

SUMS: Final = "SHA256SUMS"
_FRESH: Final = ".new"
_END_SECONDS: Final = 10
_CHUNK_BYTES: Final = 1 << 20


class Owner(msgspec.Struct, frozen=True):
    """Whose backups a folder holds."""

    cell: str
    locality: str


class Backup(msgspec.Struct, frozen=True):
    """A whole base backup. Databases are those that somebody made: more than one means that cells share a cluster."""

    backup_id: str
    cell: str
    locality: str
    system: str
    timeline: int
    first_segment: str
    begun_at: datetime
    ended_at: datetime
    server_version: str
    databases: int
    files: int
    size_bytes: int
    sums_sha256: str


class ArchiveStatus(msgspec.Struct, frozen=True):
    """How far the archive of the log has come: at `caught_up_at` it held all that the server had made durable."""

    looked_at: datetime
    caught_up_at: datetime
    archived_to: str


class Incarnation:
    """The backups and the log of one history of one cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = folder / "base"
        self.wal = folder / "wal"
        self.status_file = self.wal / "status.json"

    def prepare(self) -> None:
        """Make the folders, closed to others."""
        for each in (self.base, self.wal):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)

    def backups(self) -> list[Backup]:
        """Return the whole backups, oldest first; what was interrupted is none."""
        found = [read_backup(path) for path in sorted(self.base.glob("*/backup.json")) if path.parent.suffix != _FRESH]
        return sorted(found, key=lambda backup: backup.ended_at)

    def place_of(self, backup: Backup) -> Path:
        """Return the folder of a backup."""
        return self.base / backup.backup_id

    def read_status(self) -> ArchiveStatus | None:
        """Return how far the log had come when somebody last looked; None if nobody ever did."""
        try:
            return msgspec.json.decode(self.status_file.read_bytes(), type=ArchiveStatus)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise BackupDamaged(f"{self.status_file}: {error}") from None

    def segments(self) -> list[str]:
        """Return the names of the whole segments, in order."""
        return sorted(path.name for path in self.wal.iterdir() if is_segment(path.name)) if self.wal.exists() else []

    def partial(self) -> str | None:
        """Return the name of the segment that still grows, without its ending."""
        names = sorted(path.name.removesuffix(PARTIAL) for path in self.wal.glob(f"*{PARTIAL}"))
        return names[-1] if names else None

    def seal_segments(self) -> int:
        """Write down the SHA-256 of whole segments that have none yet; return how many there were."""
        sealed = read_sums(self.wal / SUMS) if (self.wal / SUMS).exists() else {}
        waiting = [name for name in self.segments() if name not in sealed]
        for name in waiting:
            with (self.wal / SUMS).open("a") as file:
                file.write(f"{digest_of(self.wal / name)}  {name}\n")
                file.flush()
                os.fsync(file.fileno())
        return len(waiting)

    def log_since(self, first: str) -> list[str]:
        """Return the names of whole segments from `first` on; raise `BackupDamaged` where one is missing.

        The archive may begin after `first`: a base backup holds its own part of the log.
        """
        names = [name for name in self.segments() if name[:8] == first[:8] and name >= first]
        for before, after in pairwise(names):
            if number_of(after) != number_of(before) + 1:
                missing = name_of(int(before[:8], 16), number_of(before) + 1)
                raise BackupDamaged(f"{self.wal}: the segment {missing} is missing, so nothing after it can be used")
        return names


class BackupFolder:
    """All backups of one cell."""

    def __init__(self, folder: Path, owner: Owner) -> None:
        self.folder = folder.absolute()
        self.owner = owner
        self.lock = FolderLock(self.folder / "lock")

    def claim(self) -> None:
        """Make the folder this cell's, or raise `BackupRefused` if it is another's or holds other things."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self.folder / "owner.json"
        if not file.exists():
            ours = {"lock", "receive.lock", file.name + _FRESH}
            others = sorted(path.name for path in self.folder.iterdir() if path.name not in ours)
            if others:
                raise BackupRefused(f"{self.folder} holds other things ({others[0]}, …): backups want their own folder")
            write_durably(file, msgspec.json.encode(self.owner))
        self.check_owner()

    def check_owner(self) -> None:
        """Raise `BackupRefused` unless the folder is this cell's."""
        file = self.folder / "owner.json"
        try:
            found = msgspec.json.decode(file.read_bytes(), type=Owner)
        except FileNotFoundError:
            raise BackupRefused(f"{self.folder} holds no backups: there is no {file.name}") from None
        except msgspec.MsgspecError as error:
            raise BackupDamaged(f"{file}: {error}") from None
        if found != self.owner:
            raise BackupRefused(
                f"{self.folder} belongs to cell {found.cell} of locality {found.locality},"
                f" this is {self.owner.cell} of {self.owner.locality}: backups never leave their cell"
            )

    def incarnation(self, system: str, timeline: int) -> Incarnation:
        """Return the place of one history of one cluster."""
        return Incarnation(self.folder / f"{system}-{timeline}")

    def incarnations(self) -> list[Incarnation]:
        """Return all histories."""
        return [Incarnation(path.parent) for path in sorted(self.folder.glob("*/base"))]

    def backups(self) -> list[tuple[Incarnation, Backup]]:
        """Return every whole backup with its history, oldest first."""
        found = [(place, backup) for place in self.incarnations() for backup in place.backups()]
        return sorted(found, key=lambda pair: pair[1].ended_at)

    def prune(self, keep: int) -> tuple[list[str], int]:
        """Delete all but the newest `keep` backups and the log before them; return their ids and the segments."""
        backups = self.backups()
        old, kept = (backups[:-keep], backups[-keep:]) if keep else ([], backups)
        for place, backup in old:
            # Without its last-written file it is no backup from the first moment on.
            (place.place_of(backup) / "backup.json").unlink()
            shutil.rmtree(place.place_of(backup))
        dropped = 0
        for place in {place.folder: place for place, _ in old}.values():
            firsts = [backup.first_segment for other, backup in kept if other.folder == place.folder]
            for name in place.segments():
                if not firsts or name < min(firsts):
                    (place.wal / name).unlink()
                    dropped += 1
        return [backup.backup_id for _, backup in old], dropped

    def clear_interrupted(self) -> list[str]:
        """Delete what interrupted backups left; call it under the lock. Return the ids."""
        left = [path for place in self.incarnations() for path in sorted(place.base.glob(f"*{_FRESH}"))]
        for path in left:
            _remove(path)
        return [path.stem for path in left]


def _remove(folder: Path) -> None:
    """Delete a folder, also while a program whose owner was killed writes its last file there."""
    wait_until(lambda: not shutil.rmtree(folder, ignore_errors=True) and not folder.exists(), _END_SECONDS)


def fresh_place(place: Incarnation, backup_id: str) -> Path:
    """Return the folder in which a backup is made; renamed once it is whole."""
    return place.base / f"{backup_id}{_FRESH}"


def read_backup(file: Path) -> Backup:
    """Return what was written of a whole backup; raise `BackupDamaged`."""
    try:
        backup = msgspec.json.decode(file.read_bytes(), type=Backup)
    except (OSError, msgspec.MsgspecError) as error:
        raise BackupDamaged(f"{file}: {error}") from None
    if backup.backup_id != file.parent.name:
        raise BackupDamaged(f"{file} is that of backup {backup.backup_id}")
    return backup


def list_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, in order."""
    yield from sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())


def write_sums(data: Path, file: Path) -> tuple[int, int, str]:
    """Write the SHA-256 of every file below `data`; return how many, their bytes, and the SHA-256 of the list."""
    lines: list[str] = []
    size_bytes = 0
    for path in list_files(data):
        if path.is_symlink():
            raise BackupRefused(f"{path.relative_to(data)} leads out of the data: tablespaces are not backed up")
        lines.append(f"{digest_of(path)}  {path.relative_to(data)}\n")
        size_bytes += path.stat().st_size
    text = "".join(lines).encode()
    write_durably(file, text)
    return len(lines), size_bytes, hashlib.sha256(text).hexdigest()


def read_sums(file: Path) -> dict[str, str]:
    """Return the SHA-256 of each name in a list as `sha256sum` writes it; raise `BackupDamaged`."""
    sums: dict[str, str] = {}
    for line in file.read_text().splitlines():
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != hashlib.sha256().digest_size * 2:
            raise BackupDamaged(f"{file}: {line[:80]!r} is no line of it")
        sums[name] = digest
    return sums


def check_base(folder: Path, backup: Backup) -> dict[str, str]:
    """Return the SHA-256 of each file that belongs to a backup; raise `BackupDamaged` unless just those are there."""
    file = folder / SUMS
    if not file.exists() or digest_of(file) != backup.sums_sha256:
        raise BackupDamaged(f"{file} is not the list that was written with backup {backup.backup_id}")
    sums = read_sums(file)
    there = {str(path.relative_to(folder / "data")) for path in list_files(folder / "data")}
    for name in sorted(there ^ sums.keys()):
        raise BackupDamaged(f"{folder / 'data' / name} {'is missing' if name in sums else 'does not belong there'}")
    return sums


def check_file(path: Path, digest: str) -> None:
    """Raise `BackupDamaged` if a file is not the one that was written."""
    if digest_of(path) != digest:
        raise BackupDamaged(f"{path} is not the file that was written: its SHA-256 differs")


def copy_checked(source: Path, target: Path, digest: str | None) -> None:
    """Copy a file and hash what is copied; raise `BackupDamaged` if that is not what was written."""
    told = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            told.update(chunk)
            writer.write(chunk)
    if digest is not None and not hmac.compare_digest(told.hexdigest(), digest):
        raise BackupDamaged(f"{source} is not the file that was written: its SHA-256 differs")


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, whatever happens."""
    fresh = path.with_name(path.name + _FRESH)
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
