"""Child processes that never outlive their parent, pid files that survive pid reuse, ports and locks."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pitboss_sdk.errors import ErrorKind, PitbossError

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)  # loaded here, so that nothing is looked up between fork and exec
_POLL_SECONDS: Final = 0.02


class PortBusy(PitbossError):
    """Somebody else listens on the port; the detail names it."""

    code = "platform.port_busy"
    kind = ErrorKind.CONFLICT


class FolderLocked(PitbossError):
    """Another process holds the folder's lock."""

    code = "platform.folder_locked"
    kind = ErrorKind.CONFLICT


def spawn(
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    user_id: int | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start `argv` in a process group of its own, output appended to `log`.

    On Linux the kernel sends `death_signal` to it when the calling thread ends, however it ends: call this
    from the main thread. `stdin` is handed over and closed. As root, `user_id` is who it runs as.
    """
    parent = os.getpid()

    def bind_to_parent() -> None:
        if sys.platform == "linux":
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    with log.open("ab") as output:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            process_group=0,
            user=user_id,
            group=user_id if user_id is None else _group_of(user_id),
            extra_groups=None if user_id is None else [],
            preexec_fn=bind_to_parent,  # noqa: PLW1509 - runs two system calls
            cwd=None if user_id is None else "/",
        )
    if child.stdin is not None:
        child.stdin.write(stdin)
        child.stdin.close()
    return child


def _group_of(user_id: int) -> int:
    import pwd  # noqa: PLC0415 - absent where there are no users to change to

    return pwd.getpwuid(user_id).pw_gid


def wait_until(condition: Callable[[], bool], timeout_seconds: int) -> bool:
    """Poll `condition` until it holds; return whether it did in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def stop_group(child: subprocess.Popen[bytes], first: signal.Signals, patience_seconds: int) -> None:
    """Ask a child to stop with `first`; what is left of its group after the patience is killed."""
    if child.poll() is None:
        child.send_signal(first)
        wait_until(lambda: child.poll() is not None, patience_seconds)
    kill_group(child.pid)
    child.wait()


def kill_group(group_id: int) -> None:
    """Kill every process of a group; none left is fine."""
    try:
        os.killpg(group_id, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in kernel ticks; None if there is no such process or no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(rest[18])


def write_pid(path: Path, pid: int) -> None:
    """Remember a process in a file, with its start so that a later process of the same number is not it."""
    path.write_text(f"{pid} {start_ticks(pid) or 0}\n")


def read_pid(path: Path) -> int | None:
    """Return the process that `write_pid` remembered if it still runs."""
    try:
        pid_text, ticks_text = path.read_text().split()
        pid, ticks = int(pid_text), int(ticks_text)
    except (OSError, ValueError):
        return None
    return pid if ticks and start_ticks(pid) == ticks else None


def processes_in(folder: Path) -> list[int]:
    """Return the processes whose working directory is `folder`; empty where there is no /proc."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def processes_marked(name: str, value: str) -> list[int]:
    """Return the processes that were started with `name=value` in their environment; empty where there is no /proc."""
    mark = f"{name}={value}".encode()
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            marked = mark in (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if marked and start_ticks(int(entry.name)) is not None:
            found.append(int(entry.name))
    return found


def kill_all(pids: Iterable[int]) -> None:
    """Kill processes by number; those already gone are fine."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def is_port_free(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def find_free_port() -> int:
    """Return a loopback port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class FolderLock:
    """An exclusive lock on a folder that the kernel drops with the process; the file names the holder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock or raise `FolderLocked`, which names the holder."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise FolderLocked(f"process {self.holder() or 'unknown'} uses {self.path.parent}") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> int | None:
        """Return the process that wrote itself into the file last."""
        try:
            return int(self.path.read_text())
        except (OSError, ValueError):
            return None

    def is_held(self) -> bool:
        """Return whether some process holds the lock now."""
        try:
            descriptor = os.open(self.path, os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, for an error that shows why."""
    try:
        text = log.read_bytes()[-16_384:].decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
