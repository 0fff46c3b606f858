"""Write-once storage in a folder: for the demo and for tests, honest through its own calls and telling beyond them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import AsyncIterable, Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from pitboss.kernel.clock import monotonic_seconds, utc_now
from pitboss.platform.worm.port import (
    Mode,
    ObjectDamaged,
    ObjectMissing,
    Retention,
    StoredVersion,
    WormRefused,
    check_key,
    check_retention,
)

_JOURNAL: Final = "journal.jsonl"
_START: Final = "0" * 64


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the journal: what became of a version, and the digest of the line before."""

    before: str
    at: datetime
    what: str
    key: str
    version: str
    size_bytes: int = 0
    sha256: str = ""
    mode: Mode | None = None
    until: datetime | None = None
    hold: bool = False


class LocalWormStore:
    """Versions as read-only files, and a journal of what happened to each, every line with the digest of the last.

    Nothing is refused to root or to the owner of the files, who reach past this class: `find_damage` tells what they
    did, unless they also wrote the journal anew; that shows against a digest of it that was kept elsewhere
    (`journal_digest`). Time passes by the monotonic clock: setting the wall clock forward ends no retention while
    the process lives. At its start the wall clock is believed, but never to be earlier than the last line.
    """

    def __init__(
        self,
        folder: Path,
        *,
        wall: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = monotonic_seconds,
    ) -> None:
        self._folder = folder
        self._monotonic = monotonic
        self._began = monotonic()
        self._base = wall()
        self._read_bytes = 0
        self._last = _START
        self._versions: dict[tuple[str, str], StoredVersion] = {}
        self._hidden: set[str] = set()
        self._count: dict[str, int] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / _JOURNAL).touch(mode=0o600)
        with self._journal():
            pass

    def now(self) -> datetime:
        """Return the moment by which retention is judged."""
        return self._base + timedelta(seconds=self._monotonic() - self._began)

    async def put(self, key: str, content: bytes, retention: Retention, *, hold: bool = False) -> StoredVersion:
        """Store a version as a file that is never written again."""
        return self._store(check_key(key), [content], check_retention(retention, self.now()), hold)

    async def put_parts(self, key: str, parts: AsyncIterable[bytes], retention: Retention) -> StoredVersion:
        """Store a version from parts."""
        checked = check_retention(retention, self.now())
        return self._store(check_key(key), [part async for part in parts], checked, hold=False)

    async def get(self, key: str, version: str = "") -> bytes:
        """Return the content; raise `ObjectMissing` or `ObjectDamaged`."""
        found = await self.head(key, version)
        try:
            content = self._path(found.key, found.version).read_bytes()
        except OSError:
            raise ObjectDamaged(f"{key} {found.version}: its file cannot be read") from None
        if not found.is_of(content):
            raise ObjectDamaged(f"{key} {found.version}: its file is not what was put")
        return content

    async def head(self, key: str, version: str = "") -> StoredVersion:
        """Return what the journal tells of a version."""
        with self._journal():
            return self._find(key, version)

    async def list_versions(self, prefix: str = "") -> list[StoredVersion]:
        """Return every version of the keys that begin with `prefix`."""
        with self._journal():
            return sorted(
                (each for each in self._versions.values() if each.key.startswith(prefix)),
                key=lambda each: (each.key, each.version),
            )

    async def extend_retention(self, key: str, version: str, until: datetime) -> StoredVersion:
        """Keep a version longer, in its mode."""
        found = await self.head(key, version)
        mode = found.retention.mode if found.retention else Mode.GOVERNANCE
        retention = check_retention(Retention(mode, until), self.now())
        if found.retention and retention.until < found.retention.until:
            raise WormRefused(f"{key} {version}: retention is never shortened")
        await self.set_retention(key, version, retention)
        return await self.head(key, version)

    async def set_hold(self, key: str, version: str, *, on: bool) -> StoredVersion:
        """Put a hold on a version or take it off."""
        with self._journal():
            found = self._find(key, version)
            self._append("hold", key, found.version, hold=on)
            return self._find(key, found.version)

    async def close(self) -> None:
        """Do nothing: nothing is held open."""

    async def delete_version(self, key: str, version: str, *, bypass: bool = False) -> None:
        """Destroy a version whose retention is over, and under governance earlier with `bypass`."""
        with self._journal():
            found = self._find(key, version)
            if found.hold or self._is_kept(found, bypass=bypass):
                raise WormRefused(f"{key} {version}: it is kept")
            self._append("destroyed", key, found.version)
            self._path(key, found.version).unlink(missing_ok=True)

    async def delete_versions(self, versions: Sequence[tuple[str, str]], *, bypass: bool = False) -> None:
        """Destroy several; those that must stay do, and then it raises."""
        kept = 0
        for key, version in versions:
            try:
                await self.delete_version(key, version, bypass=bypass)
            except WormRefused:
                kept += 1
        if kept:
            raise WormRefused(f"{kept} of {len(versions)} versions are kept")

    async def hide(self, key: str) -> None:
        """Let the newest version of a key no longer be found without naming it."""
        with self._journal():
            self._append("hidden", key, self._find(key, "").version)

    async def set_retention(self, key: str, version: str, retention: Retention | None, *, bypass: bool = False) -> None:
        """Replace the retention of a version: under compliance only by a longer one, under governance by `bypass`."""
        with self._journal():
            found = self._find(key, version)
            before = found.retention
            longer = retention is not None and (before is None or retention.until >= before.until)
            weaker = before is not None and (
                retention is None or (before.mode is Mode.COMPLIANCE and retention.mode is Mode.GOVERNANCE)
            )
            if (weaker or not longer) and self._is_kept(found, bypass=bypass):
                raise WormRefused(f"{key} {version}: retention is never shortened or weakened")
            mode, until = (retention.mode, retention.until) if retention else (None, None)
            self._append("retention", key, found.version, mode=mode, until=until)

    async def suspend_versioning(self) -> None:
        """Refuse: there is no store without versions."""
        raise WormRefused("this store always keeps versions")

    def find_damage(self) -> list[str]:
        """Return every version whose file is not what was put, and every file that the journal does not know."""
        with self._journal():
            known = {self._path(key, version): found for (key, version), found in self._versions.items()}
        damage: list[str] = []
        for path, found in known.items():
            content = path.read_bytes() if path.is_file() else None
            if content is None:
                damage.append(f"{found.key} {found.version}: its file is gone")
            elif not found.is_of(content):
                damage.append(f"{found.key} {found.version}: its file is not what was put")
        strange = {path for path in self._folder.iterdir() if path.name != _JOURNAL} - set(known)
        return sorted(damage + [f"{path.name}: nobody put this file" for path in strange])

    def journal_digest(self) -> str:
        """Return the digest of the journal's last line, which stands for all before it."""
        with self._journal():
            return self._last

    def _store(self, key: str, parts: Sequence[bytes], retention: Retention, hold: bool) -> StoredVersion:
        digest = hashlib.sha256()
        with self._journal():
            version = f"{1 + self._count.get(key, 0):08d}"
            path = self._path(key, version)
            draft = path.with_name(f".{secrets.token_hex(8)}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
            with os.fdopen(descriptor, "wb") as file:
                for part in parts:
                    digest.update(part)
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            path.unlink(missing_ok=True)  # of an attempt that never reached the journal
            draft.rename(path)
            self._append(
                "put",
                key,
                version,
                size_bytes=sum(map(len, parts)),
                sha256=digest.hexdigest(),
                mode=retention.mode,
                until=retention.until,
                hold=hold,
            )
            return self._versions[key, version]

    def _path(self, key: str, version: str) -> Path:
        return self._folder / f"{key.replace('/', '%')}@{version}"

    def _find(self, key: str, version: str) -> StoredVersion:
        if not version:
            named = [each for each in self._versions.values() if each.key == key]
            if not named or key in self._hidden:
                raise ObjectMissing(f"there is no {key}")
            return max(named, key=lambda each: each.version)
        if (key, version) not in self._versions:
            raise ObjectMissing(f"there is no version {version} of {key}")
        return self._versions[key, version]

    def _is_kept(self, found: StoredVersion, *, bypass: bool) -> bool:
        retention = found.retention
        if retention is None or retention.until <= self.now():
            return False
        return retention.mode is Mode.COMPLIANCE or not bypass

    @contextmanager
    def _journal(self) -> Generator[None]:
        """Hold the journal against other processes, with every line of it read."""
        with (self._folder / _JOURNAL).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(self._read_bytes)
            for line in file.read().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break  # a write that was cut off, and so never acknowledged
                self._take(line)
            yield

    def _append(self, what: str, key: str, version: str, **facts: Any) -> None:
        entry = Entry(self._last, self.now(), what, key, version, **facts)
        line = msgspec.json.encode(entry) + b"\n"
        with (self._folder / _JOURNAL).open("r+b") as file:
            file.truncate(self._read_bytes)
            file.seek(self._read_bytes)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._take(line)

    def _take(self, line: bytes) -> None:
        entry = msgspec.json.decode(line, type=Entry)
        if entry.before != self._last:
            raise ObjectDamaged(f"{_JOURNAL}: a line does not follow the one before it")
        self._last = hashlib.sha256(line).hexdigest()
        self._read_bytes += len(line)
        if entry.at > self.now():
            self._base += entry.at - self.now()
        place = (entry.key, entry.version)
        retention = Retention(entry.mode, entry.until) if entry.mode and entry.until else None
        if entry.what == "put":
            self._count[entry.key] = self._count.get(entry.key, 0) + 1
            self._hidden.discard(entry.key)
            self._versions[place] = StoredVersion(
                entry.key, entry.version, entry.size_bytes, entry.sha256, retention, entry.hold
            )
        elif entry.what == "destroyed":
            del self._versions[place]
        elif entry.what == "hidden":
            self._hidden.add(entry.key)
        elif entry.what == "hold":
            self._versions[place] = msgspec.structs.replace(self._versions[place], hold=entry.hold)
        else:
            self._versions[place] = msgspec.structs.replace(self._versions[place], retention=retention)
