"""A Redis as a server that belongs to the process that starts it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pitboss.platform.embedded.binaries import ServerFailed, find_redis_server, write_private
from pitboss.platform.processes import (
    FolderLock,
    PortBusy,
    find_free_port,
    is_port_free,
    kill_all,
    read_pid,
    spawn,
    stop_group,
    tail,
    wait_until,
    write_pid,
)

_STOP_SECONDS: Final = 20


class RedisServer:
    """One Redis without persistence: what it holds can be made again from the databases."""

    def __init__(self, directory: Path, port: int | None = None, options: Mapping[str, str] | None = None) -> None:
        self.directory = directory.absolute()
        self.port = port or 0
        self.log = self.directory / "server.log"
        self._chosen_port = port
        self._options = dict(options or {})
        self._password = ""
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = FolderLock(self.directory / "lock")

    @property
    def pid(self) -> int | None:
        """The server's process id, or None while it does not run."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def url(self, database: int = 0) -> str:
        """Return the URL with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it listens; raise `ServerFailed` or `PortBusy`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            self._launch(find_redis_server())
        except BaseException:
            self._lock.release()
            raise

    def _launch(self, binary: Path) -> None:
        pid_file = self.directory / "pid"
        leftover = read_pid(pid_file)
        if leftover is not None:
            kill_all([leftover])
            wait_until(lambda: read_pid(pid_file) is None, _STOP_SECONDS)
        password_file = self.directory / "password"
        if not password_file.exists():
            write_private(password_file, "demo-" + secrets.token_hex(24) + "\n")
        self._password = password_file.read_text().strip()
        for attempt in range(1 if self._chosen_port else 3):
            self.port = self._chosen_port or find_free_port()
            if not is_port_free(self.port):
                raise PortBusy(f"port {self.port} for Redis is in use by another program")
            # Through standard input: a password among the arguments would show in the list of processes.
            self._child = spawn([str(binary), "-"], log=self.log, stdin=self._configuration())
            write_pid(pid_file, self._child.pid)
            wait_until(lambda: self.pid is None or not is_port_free(self.port), _STOP_SECONDS)
            if self.pid is not None:
                return
            stop_group(self._child, signal.SIGTERM, 1)
            self._child = None
            if "Address already in use" not in tail(self.log) or self._chosen_port or attempt == 2:
                raise ServerFailed(f"Redis did not start; the end of {self.log}:\n{tail(self.log, 12)}")

    def _configuration(self) -> bytes:
        options = {
            "save": '""',
            "appendonly": "no",
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
            **self._options,
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": f'"{self.directory}"',
            "requirepass": self._password,
        }
        return "".join(f"{name} {value}\n" for name, value in options.items()).encode()

    def stop(self) -> None:
        """Stop the server. Safe to call twice."""
        if self._child is not None:
            stop_group(self._child, signal.SIGTERM, 5)
            self._child = None
            (self.directory / "pid").unlink(missing_ok=True)
        self._lock.release()

    def kill(self) -> None:
        """Kill the server at once; everything it held is gone."""
        if self._child is not None:
            os.kill(self._child.pid, signal.SIGKILL)
        self.stop()

    def remove(self) -> None:
        """Stop the server and delete its folder."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
