"""A PostgreSQL 18 cluster as a server that belongs to the process that starts it."""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from pitboss.platform.embedded.binaries import (
    OS_USER,
    OUTSIDE,
    Report,
    ServerFailed,
    can_enter,
    ensure_os_user,
    postgres_binaries,
    server_env,
    silent,
    write_private,
)
from pitboss.platform.processes import (
    FolderLock,
    PortBusy,
    find_free_port,
    is_port_free,
    kill_all,
    processes_in,
    spawn,
    stop_group,
    tail,
    wait_until,
)

POSTGRES_MAJOR: Final = "18"
SUPERUSER: Final = "pitboss_admin"

_MIN_FREE_BYTES: Final = 300 * 1024 * 1024
_MAX_SOCKET_PATH: Final = 90
_START_SECONDS: Final = 120  # recovery after a crash replays the log; a clean start takes under one
_STOP_SECONDS: Final = 20

POSTGRES_OPTIONS: Final[Mapping[str, str]] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "log_line_prefix": "%m [%p] %u@%d ",
    # One log for all databases of this machine: it may quote neither a key's values nor a statement.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
}
"""Settings for a laptop with full durability; callers may add to them or override them by name."""


class PostgresServer:
    """One PostgreSQL cluster in a folder: made on the first start, recovered after a crash, stopped with its owner.

    `directory` holds the password, the log and, where the server's OS user may enter it, data and socket;
    otherwise these are in a folder below `OUTSIDE` that the file `location` names. Without a port a free one is taken.
    """

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        options: Mapping[str, str] | None = None,
        *,
        report: Report = silent,
        start_seconds: int = _START_SECONDS,
    ) -> None:
        self.directory = directory.absolute()
        self.port = port or 0
        self.log = self.directory / "server.log"
        self._chosen_port = port
        self._options = {**POSTGRES_OPTIONS, **(options or {})}
        self._report = report
        self._start_seconds = start_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = FolderLock(self.directory / "lock")

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, or None while it does not run."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    @property
    def place(self) -> Path:
        """The folder with data and socket."""
        pointer = self.directory / "location"
        return Path(pointer.read_text().strip()) if pointer.exists() else self.directory

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.place / "data"

    @property
    def socket_dir(self) -> Path:
        """The folder of the unix socket; a short one in the temporary folder if the natural one is too long."""
        natural = self.place / "run"
        if len(str(natural)) <= _MAX_SOCKET_PATH:
            return natural
        digest = hashlib.sha256(str(natural).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"pitboss-{os.geteuid()}-{digest}"

    def admin_url(self, database: str = "postgres") -> str:
        """Return the URL of the superuser over loopback."""
        return f"postgresql://{SUPERUSER}:{self._password()}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it takes connections; raise `ServerFailed` or `PortBusy`.

        A server left behind by a killed owner is stopped first. Call it from the main thread.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            user_id = self._server_user()
            self._settle(user_id)
            binaries = postgres_binaries(user_id, self._report)
            self.stop_leftover()
            self._check_disk()
            if not self.data.exists():
                self._create(binaries, user_id)
            self._check_version()
            self._launch(binaries, user_id)
        except BaseException:
            self._lock.release()
            raise

    def adopt(self, fill: Callable[[Path], None], password: str) -> None:
        """Take data that `fill` writes into an empty folder instead of making them; a failure leaves none.

        `password` is the superuser's of the cluster that the data come from. Raise `ServerFailed` if there are data.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            user_id = self._server_user()
            self._settle(user_id)
            if self.data.exists():
                raise ServerFailed(f"{self.data} holds data already")
            fresh = self.place / "data.new"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(mode=0o700)
            try:
                fill(fresh)
                if user_id is not None:
                    for path in (fresh, *fresh.rglob("*")):
                        os.chown(path, user_id, pwd.getpwuid(user_id).pw_gid, follow_symlinks=False)
            except BaseException:
                shutil.rmtree(fresh)
                raise
            write_private(self.directory / "password", password + "\n")
            fresh.rename(self.data)
        finally:
            self._lock.release()

    def stop(self) -> None:
        """Stop in order: sessions are cut, a checkpoint is written. Safe to call twice."""
        if self._child is not None:
            stop_group(self._child, signal.SIGINT, _STOP_SECONDS)
            kill_all(processes_in(self.data))
            self._child = None
        self._lock.release()

    def kill(self) -> None:
        """Kill every process of the server at once, as a power cut would; `start` recovers."""
        if self._child is not None:
            os.kill(self._child.pid, signal.SIGKILL)
            self._child.wait()
            wait_until(lambda: not self._kill_remains(), _STOP_SECONDS)
            self._child = None
        self._lock.release()

    def remove(self) -> None:
        """Stop the server and delete its data, also those outside the folder."""
        self.stop()
        place = self.place
        shutil.rmtree(self.socket_dir, ignore_errors=True)
        if place != self.directory:
            shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _password(self) -> str:
        try:
            return (self.directory / "password").read_text().strip()
        except FileNotFoundError:
            raise ServerFailed(
                f"the password of the data in {self.data} is gone ({self.directory / 'password'}); `pitboss reset` starts anew"
            ) from None

    def _server_user(self) -> int | None:
        return ensure_os_user(self._report) if os.geteuid() == 0 else None

    def _settle(self, user_id: int | None) -> None:
        """Decide once where the data live, and make that folder."""
        undecided = not (self.directory / "location").exists() and not self.data.exists()
        if user_id is not None and undecided and not can_enter(self.directory):
            name = hashlib.sha256(str(self.directory).encode()).hexdigest()[:16]
            (self.directory / "location").write_text(f"{OUTSIDE / name}\n")
            self._report(f"data in {OUTSIDE / name}: user {OS_USER} cannot enter {self.directory}")
        for folder in (self.place, self.socket_dir):
            folder.mkdir(parents=True, exist_ok=True)
        self.socket_dir.chmod(0o700)
        if user_id is not None:
            os.chown(self.socket_dir, user_id, pwd.getpwuid(user_id).pw_gid)

    def stop_leftover(self) -> bool:
        """Stop what a killed owner left running on these data; return whether there was anything."""
        pid_file = self.data / "postmaster.pid"
        leftover = processes_in(self.data)
        if not leftover:
            return False
        self._report("stopping a server that an earlier run left behind")
        try:
            postmaster = int(pid_file.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            postmaster = 0
        if postmaster in leftover:
            os.kill(postmaster, signal.SIGINT)
            wait_until(lambda: not processes_in(self.data), _STOP_SECONDS)
        wait_until(lambda: not self._kill_remains(), _STOP_SECONDS)
        return True

    def _kill_remains(self) -> list[int]:
        remains = processes_in(self.data)
        kill_all(remains)
        return remains

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self.place).free
        if free < _MIN_FREE_BYTES:
            raise ServerFailed(
                f"{free // 2**20} MiB free at {self.place}, PostgreSQL wants {_MIN_FREE_BYTES // 2**20}: make room on the disk"
            )

    def _check_version(self) -> None:
        try:
            version = (self.data / "PG_VERSION").read_text().strip()
        except OSError:
            raise ServerFailed(f"{self.data} holds no PostgreSQL data; move it away or `pitboss reset`") from None
        if version != POSTGRES_MAJOR:
            raise ServerFailed(
                f"the data in {self.data} are of PostgreSQL {version}, this is {POSTGRES_MAJOR}:"
                " move them with pg_dump of the old version, or `pitboss reset`"
            )

    def _create(self, binaries: Path, user_id: int | None) -> None:
        """Run initdb beside the final place and rename, so that an interrupted one leaves nothing half-made."""
        password = "demo-" + secrets.token_hex(24)
        write_private(self.directory / "password", password + "\n")
        fresh = self.place / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password_file = self.socket_dir / "password.new"
        write_private(password_file, password + "\n")
        if user_id is not None:
            os.chown(fresh, user_id, pwd.getpwuid(user_id).pw_gid)
            os.chown(password_file, user_id, pwd.getpwuid(user_id).pw_gid)
        argv = [
            str(binaries / "initdb"),
            f"--pgdata={fresh}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--data-checksums",
            "--no-instructions",
        ]
        child = spawn(argv, log=self.log, env=server_env(), user_id=user_id, death_signal=signal.SIGKILL)
        try:
            code = child.wait()
        finally:
            password_file.unlink(missing_ok=True)
        if code != 0:
            raise ServerFailed(self._explain("initdb failed"))
        fresh.rename(self.data)

    def _launch(self, binaries: Path, user_id: int | None) -> None:
        self._password()
        for attempt in range(1 if self._chosen_port else 3):
            self.port = self._chosen_port or find_free_port()
            if not is_port_free(self.port):
                raise PortBusy(f"port {self.port} for PostgreSQL is in use by another program")
            self._child = spawn(
                self._argv(binaries), log=self.log, env=server_env(), user_id=user_id, death_signal=signal.SIGINT
            )
            started = time.monotonic()
            wait_until(self._is_ready_or_gone, self._start_seconds)
            if self._is_ready():
                return
            code = self._child.poll()
            stop_group(self._child, signal.SIGQUIT, _STOP_SECONDS)
            self._child = None
            lost_race = "could not bind" in tail(self.log) and not self._chosen_port
            if not lost_race or attempt == 2:
                waited = int(time.monotonic() - started)
                why = f"did not start in {waited} s" if code is None else f"ended with code {code} while starting"
                raise ServerFailed(self._explain(f"PostgreSQL {why}"))

    def _argv(self, binaries: Path) -> list[str]:
        options = {
            **self._options,
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_dir),
            "password_encryption": "scram-sha-256",
        }
        argv = [str(binaries / "postgres"), "-D", str(self.data)]
        for name, value in options.items():
            argv += ["-c", f"{name}={value}"]
        return argv

    def _is_ready(self) -> bool:
        """Read the state that the postmaster writes into the last line of its pid file."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return (
            len(lines) >= 8
            and self._child is not None
            and lines[0].strip() == str(self._child.pid)
            and lines[7].strip() == "ready"
        )

    def _is_ready_or_gone(self) -> bool:
        return self._child is None or self._child.poll() is not None or self._is_ready()

    def _explain(self, what: str) -> str:
        end = tail(self.log, 12)
        if "No space left on device" in end:
            return f"{what}: the disk at {self.place} is full"
        return f"{what}; the end of {self.log}:\n{end}"
