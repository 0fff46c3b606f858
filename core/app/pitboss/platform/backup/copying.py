"""Making base backups, and receiving the write-ahead log as it is written."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from pitboss.kernel.clock import utc_now
from pitboss.platform.backup.errors import BackupFailed, BackupRefused
from pitboss.platform.backup.folder import (
    SUMS,
    ArchiveStatus,
    Backup,
    BackupFolder,
    Incarnation,
    fresh_place,
    sync_folder,
    write_durably,
    write_sums,
)
from pitboss.platform.backup.programs import Cluster, System, explain
from pitboss.platform.backup.segments import is_segment, write_position
from pitboss.platform.processes import FolderLock, spawn, stop_group, tail

_OWN_DATABASES: Final = frozenset({"1", "4", "5"})
"""template1, template0 and postgres, which every cluster has under these numbers."""
_STOP_SECONDS: Final = 10
_MAX_PAUSE_SECONDS: Final = 2
_MAX_OBSERVATIONS: Final = 600


def make_base(folder: BackupFolder, cluster: Cluster, *, shared_allowed: bool) -> Backup:
    """Make a base backup; raise `FolderLocked` beside another one, `BackupFailed` or `BackupRefused`.

    A cluster with several databases belongs to several cells: its backup holds them all, so it is made only where
    that is allowed.
    """
    folder.claim()
    folder.lock.acquire()
    try:
        folder.clear_interrupted()
        cluster.ensure_slot()
        seen = cluster.look()
        place = folder.incarnation(seen.system, seen.timeline)
        place.prepare()
        begun_at = utc_now()
        backup_id = begun_at.strftime("%Y%m%dT%H%M%S%fZ")
        fresh = fresh_place(place, backup_id)
        fresh.mkdir(mode=0o700)
        try:
            _fill(fresh, folder, cluster, seen, begun_at, shared_allowed=shared_allowed)
            fresh.rename(place.base / backup_id)
        except OSError as error:
            raise BackupFailed(explain("backup", str(error), fresh)) from None
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        sync_folder(place.base)
    finally:
        folder.lock.release()
    return next(backup for backup in place.backups() if backup.backup_id == backup_id)


def _fill(
    fresh: Path, folder: BackupFolder, cluster: Cluster, seen: System, begun_at: datetime, *, shared_allowed: bool
) -> None:
    data = fresh / "data"
    cluster.copy(data, f"pitboss {folder.owner.cell}")
    databases = len([path for path in (data / "base").iterdir() if path.name not in _OWN_DATABASES])
    if databases > 1 and not shared_allowed:
        raise BackupRefused(
            f"the cluster holds {databases} databases: a backup would hold all of them,"
            " so in production a cell has a cluster of its own"
        )
    files, size_bytes, sums = write_sums(data, fresh / SUMS)
    backup = Backup(
        backup_id=fresh.stem,
        cell=folder.owner.cell,
        locality=folder.owner.locality,
        system=seen.system,
        timeline=seen.timeline,
        first_segment=min(path.name for path in (data / "pg_wal").iterdir() if is_segment(path.name)),
        begun_at=begun_at,
        ended_at=utc_now(),
        server_version=(data / "PG_VERSION").read_text().strip(),
        databases=databases,
        files=files,
        size_bytes=size_bytes,
        sums_sha256=sums,
    )
    write_durably(fresh / "backup.json", msgspec.json.encode(backup))


class Receiver:
    """Keeps `pg_receivewal` running and knows how far behind the archive is.

    The slot lets the server keep its log for as long as nobody receives, `--synchronous` makes what has come durable
    before the server is told. Call `tick` about once a second, from the main thread.
    """

    def __init__(self, folder: BackupFolder, cluster: Cluster) -> None:
        self._folder = folder
        self._cluster = cluster
        self._log = folder.folder / "receive.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._place: Incarnation | None = None
        self._seen: deque[tuple[datetime, int]] = deque(maxlen=_MAX_OBSERVATIONS)
        self._again_at = 0.0
        self._pause_seconds = 0
        self._lock = FolderLock(folder.folder / "receive.lock")
        self._begun_at = utc_now()
        self.caught_up_at: datetime | None = None
        self.problem = "has not begun"

    def open(self) -> None:
        """Take the folder, or raise `BackupRefused` or `FolderLocked`."""
        self._folder.claim()
        self._lock.acquire()

    def behind_seconds(self) -> float:
        """Return how long ago the archive last held everything that the server had made durable."""
        return max(0.0, (utc_now() - (self.caught_up_at or self._begun_at)).total_seconds())

    def newest_base_at(self) -> datetime | None:
        """Return when the newest whole backup of what is received now ended."""
        backups = self._place.backups() if self._place is not None else []
        return backups[-1].ended_at if backups else None

    def tick(self) -> None:
        """Look at the server and at the archive, seal what is whole, and start again what ended."""
        try:
            self._folder.check_owner()
            if self._child is None or self._child.poll() is not None:
                self._start()
            moment = utc_now()
            self._note(moment, self._cluster.look())
        except (BackupFailed, OSError) as error:
            self.problem = str(error)
        if self._place is not None:
            self._place.seal_segments()

    def stop(self) -> None:
        """Stop receiving; what has come stays."""
        if self._child is not None:
            stop_group(self._child, signal.SIGINT, _STOP_SECONDS)
            self._child = None
        if self._place is not None:
            self._place.seal_segments()

    def close(self) -> None:
        """Stop, and let another receive."""
        self.stop()
        self._lock.release()

    def _start(self) -> None:
        if self._child is not None:  # it ended by itself: its last words say why
            self.problem = explain("pg_receivewal", tail(self._log, 3), self._log)
            self._child = None
            self._pause_seconds = min(max(1, self._pause_seconds * 2), _MAX_PAUSE_SECONDS)
            self._again_at = time.monotonic() + self._pause_seconds
        if time.monotonic() < self._again_at:
            raise BackupFailed(self.problem)
        self._cluster.ensure_slot()
        seen = self._cluster.look()
        self._place = self._folder.incarnation(seen.system, seen.timeline)
        self._place.prepare()
        words = ["--directory", str(self._place.wal), "--slot", self._cluster.slot]
        words += ["--synchronous", "--status-interval", "1", "--no-loop"]
        with contextlib.suppress(OSError):
            self._log.write_bytes(b"")
        self._child = spawn(self._cluster.arguments("pg_receivewal", *words), log=self._log, env=self._cluster.environ)

    def _note(self, moment: datetime, seen: System) -> None:
        place = self._folder.incarnation(seen.system, seen.timeline)
        if self._place is not None and place.folder != self._place.folder:
            self.stop()  # another history begins; the next tick receives it beside the old one
            self._seen.clear()
            raise BackupFailed("the server has begun another history")
        self._seen.append((moment, seen.durable_to))
        archived = seen.archived_to or 0
        moved = False
        while self._seen and self._seen[0][1] <= archived:
            self.caught_up_at = self._seen.popleft()[0]
            moved = True
        if moved:
            self._pause_seconds = 0
            self.problem = ""
        if self.caught_up_at is not None:
            status = ArchiveStatus(moment, self.caught_up_at, write_position(archived))
            write_durably(place.status_file, msgspec.json.encode(status))
