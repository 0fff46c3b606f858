"""Reads the archive of a log, package after package, out of a write-once store, and checks its locks where it tells."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pitboss_verify.note import LOG_KEY, Checkpoint, Key, Malformed
from pitboss_verify.package import PackageCheck, Report
from pitboss_verify.stores import COMPLIANCE, Store, Version, read_moment

_PLACE = re.compile(r"(?:.*/)?(?P<place>[^/]+/[^/]+)/audit/(?P<first>\d{12})/(?P<name>.+)")
_ORIGIN = "pitboss.audit/"


class ArchiveCheck:
    """One pass over the packages of the log whose key was given."""

    def __init__(self, store: Store, keys: Sequence[Key], since: Checkpoint | None = None) -> None:
        self._store = store
        self._keys = list(keys)
        self._since = since
        self.report = Report()

    def run(self) -> Report:
        """Check each package by itself, and that each follows from the one before."""
        origins = {key.name for key in self._keys if key.algorithm == LOG_KEY and key.name.startswith(_ORIGIN)}
        if len(origins) != 1:
            raise Malformed("an archive is checked with the keys of one log")
        self.report.origin = origins.pop()
        packages = self._group(self._store.list_versions(self.report.find))
        if not packages:
            self.report.find("archive", f"there is no package of {self.report.origin}")
        keys, end = self._keys, 0
        previous: str | None = None
        last: Checkpoint | None = None
        for first in sorted(packages):
            files = packages[first]
            if "manifest.note" not in files and first == max(packages):
                self.report.unfinished = first
                break
            if first != end:
                self.report.find("sequence", f"a package begins at {first}, the one before it ended at {end}")
            check = self._check_package(files, keys, last)
            self._follow(check, previous)
            keys, previous, end = check.keys, check.report.manifest, check.report.end
            last = check.loaded[-1] if check.loaded else last
        if packages and not self.report.packages:
            self.report.find("archive", f"no package of {self.report.origin} is whole: nothing is proved")
        self.report.end, self.report.manifest = end, previous or ""
        if self._since is not None and self._since.size > end:
            self.report.find("consistency", f"the archive ends at {end}, the log had {self._since.size} before")
        return self.report

    def _group(self, versions: Sequence[Version]) -> dict[int, dict[str, list[Version]]]:
        packages: dict[int, dict[str, list[Version]]] = {}
        for version in versions:
            found = _PLACE.fullmatch(version.key)
            if found is not None and found["place"] == self.report.origin.removeprefix(_ORIGIN):
                packages.setdefault(int(found["first"]), {}).setdefault(found["name"], []).append(version)
        return packages

    def _check_package(
        self, files: dict[str, list[Version]], keys: Sequence[Key], last: Checkpoint | None
    ) -> PackageCheck:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for path, versions in files.items():
                self._fetch(folder / path, versions)
            self._check_locks(folder, files)
            check = PackageCheck(folder, keys, last, [self._since] if self._since else [])
            check.run()
            return check

    def _fetch(self, file: Path, versions: list[Version]) -> None:
        key = versions[0].key
        if len(versions) > 1:
            self.report.find("lock", f"{key} was put {len(versions)} times: something replaces what was put first")
        if ".." in Path(key).parts:
            self.report.find("archive", f"{key} lies outside of the archive")
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        self.report.objects += 1
        try:
            file.write_bytes(self._store.read(versions[0]))
        except (OSError, ValueError, KeyError) as error:
            self.report.find("archive", f"{key} cannot be read: {error}")

    def _check_locks(self, folder: Path, files: dict[str, list[Version]]) -> None:
        """Every object is kept, under compliance, as long as the signed manifest says."""
        if not self._store.locks:
            return
        try:
            until = read_moment(json.loads((folder / "manifest.json").read_bytes())["keep_until"])
        except (OSError, ValueError, KeyError, TypeError):
            self.report.find("lock", "a manifest does not say how long its package is kept")
            return
        for versions in files.values():
            oldest = versions[0]
            if oldest.mode != COMPLIANCE or oldest.until is None or oldest.until < until:
                self.report.find("lock", f"{oldest.key} is not locked until {until.date()}, as it was when it was put")
            else:
                self.report.locked += 1

    def _follow(self, check: PackageCheck, previous: str | None) -> None:
        found, report = check.report, self.report
        for finding in found.findings:
            report.find(finding["check"], f"package {found.first}: {finding['detail']}")
        report.more += found.more
        if found.origin and found.origin != report.origin:
            report.find("tenant", f"package {found.first} is of the log {found.origin}")
        if check.previous != previous:
            report.find("manifest", f"package {found.first} does not follow from the one before it")
        report.packages += 1
        report.entries += found.entries
        report.checkpoints += len(check.loaded)
        report.cosignatures += found.cosignatures
