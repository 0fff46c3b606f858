"""Where archives are read from: a tree of files, or the local write-once store with its journal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

JOURNAL = "journal.jsonl"
COMPLIANCE = "COMPLIANCE"

Find = Callable[[str, str], None]


@dataclass(frozen=True)
class Version:
    """A version of an object, and until when the store says that it keeps it; None where it does not say."""

    key: str
    version: str
    mode: str | None = None
    until: datetime | None = None


class Store(Protocol):
    """What an archive is read from."""

    locks: bool
    """Whether the store tells of locks: a copy of its files does not."""

    def list_versions(self, find: Find) -> list[Version]:
        """Return every version of every object, oldest first; tell `find` what is wrong with the store itself."""
        ...

    def read(self, version: Version) -> bytes:
        """Return the content of a version; raise `OSError` or `ValueError`."""
        ...


class TreeStore:
    """A folder with the objects of an archive as files, such as a bucket was copied into."""

    locks = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def list_versions(self, find: Find) -> list[Version]:  # noqa: ARG002 - files tell nothing of themselves
        """Return every file."""
        files = sorted(path for path in self._folder.rglob("*") if path.is_file())
        return [Version(path.relative_to(self._folder).as_posix(), "") for path in files]

    def read(self, version: Version) -> bytes:
        """Return the file."""
        return (self._folder / version.key).read_bytes()


class JournalStore:
    """The folder of a local write-once store; its journal is a chain of digests, and says what became of each version."""

    locks = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[tuple[str, str], str] = {}

    def list_versions(self, find: Find) -> list[Version]:
        """Return the versions that the journal tells of."""
        found: dict[tuple[str, str], Version] = {}
        before = "0" * 64
        for number, line in enumerate((self._folder / JOURNAL).read_bytes().splitlines(keepends=True)):
            try:
                entry = json.loads(line)
                if entry["before"] != before:
                    find("store", f"line {number + 1} of the journal does not follow the one before it")
                self._take(entry, found, find)
            except (ValueError, KeyError, TypeError, AttributeError):
                find("store", f"line {number + 1} of the journal cannot be read")
            before = hashlib.sha256(line).hexdigest()
        known = {self._file(each).name for each in found.values()}
        for path in sorted(self._folder.iterdir()):
            # What begins with a dot is of a put that never ended.
            if path.name not in known and path.name != JOURNAL and not path.name.startswith("."):
                find("store", f"nobody put {path.name} into the store")
        return sorted(found.values(), key=lambda each: (each.key, each.version))

    def read(self, version: Version) -> bytes:
        """Return the content, if it is what was put."""
        content = self._file(version).read_bytes()
        if hashlib.sha256(content).hexdigest() != self._digests[version.key, version.version]:
            raise ValueError("it is not what was put")
        return content

    def _file(self, version: Version) -> Path:
        return self._folder / f"{version.key.replace('/', '%')}@{version.version}"

    def _take(self, entry: dict[str, Any], found: dict[tuple[str, str], Version], find: Find) -> None:
        place = (str(entry["key"]), str(entry["version"]))
        mode, until = entry.get("mode"), entry.get("until")
        moment = datetime.fromisoformat(until) if until else None
        if entry["what"] == "put":
            found[place] = Version(*place, mode, moment)
            self._digests[place] = str(entry["sha256"])
        elif entry["what"] == "destroyed":
            kept = found.pop(place).until
            if kept is not None and datetime.fromisoformat(entry["at"]) < kept:
                find("lock", f"{place[0]} was destroyed before its time")
        elif entry["what"] == "retention":
            found[place] = replace(found[place], mode=mode, until=moment)


def open_store(folder: Path) -> Store | None:
    """Return the archive that a folder is; None for a folder that is a package."""
    if (folder / JOURNAL).is_file():
        return JournalStore(folder)
    if (folder / "manifest.json").exists() or not any(folder.glob("**/manifest.json")):
        return None
    return TreeStore(folder)


def read_moment(text: str) -> datetime:
    """Return a moment of a manifest."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
