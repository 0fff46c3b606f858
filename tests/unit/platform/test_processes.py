"""Children that die with their parent, locks, ports and pid files, on real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.factories.ports import free_port

from pitboss.platform.processes import (
    FolderLock,
    FolderLocked,
    is_port_free,
    kill_all,
    processes_marked,
    read_pid,
    spawn,
    start_ticks,
    stop_group,
    wait_until,
    write_pid,
)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and the parent-death signal")

PARENT = """
import sys, time
from pathlib import Path
from pitboss.platform.processes import spawn
child = spawn([sys.executable, "-c", "import time; time.sleep(600)"], log=Path(sys.argv[1]))
print(child.pid, flush=True)
time.sleep(600)
"""


@LINUX
def test_child_dies_with_a_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert start_ticks(child) is not None
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: start_ticks(child) is None, 60)


def test_stop_kills_what_ignores_the_signal_and_its_children(tmp_path: Path) -> None:
    stubborn = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid, flush=True); time.sleep(600)"
    )
    log = tmp_path / "log"
    child = spawn([sys.executable, "-c", stubborn], log=log)
    assert wait_until(lambda: log.read_text().endswith("\n"), 60)
    grandchild = int(log.read_text())
    stop_group(child, signal.SIGTERM, 1)
    assert child.returncode == -signal.SIGKILL
    assert wait_until(lambda: start_ticks(grandchild) is None, 60)


def test_spawn_hands_over_standard_input(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = spawn(["cat"], log=log, stdin=b"password in no argument\n")
    assert child.wait(60) == 0
    assert log.read_text() == "password in no argument\n"


@LINUX
def test_marked_processes_are_found(tmp_path: Path) -> None:
    mark = str(tmp_path)
    child = spawn(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        log=tmp_path / "log",
        env={**os.environ, "MARK_OF_TEST": mark},
    )
    assert wait_until(lambda: processes_marked("MARK_OF_TEST", mark) == [child.pid], 60)
    assert processes_marked("MARK_OF_TEST", mark[:-1]) == []
    kill_all([child.pid])
    child.wait()
    assert processes_marked("MARK_OF_TEST", mark) == []


def test_lock_is_exclusive_names_its_holder_and_goes_with_it(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path / "lock"), FolderLock(tmp_path / "lock")
    assert not first.is_held()
    first.acquire()
    assert second.is_held()
    assert second.holder() == os.getpid()
    with pytest.raises(FolderLocked, match=str(os.getpid())):
        second.acquire()
    first.release()
    assert not second.is_held()
    second.acquire()
    second.release()


@LINUX
def test_pid_file_does_not_mistake_another_process(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    assert read_pid(path) is None
    write_pid(path, os.getpid())
    assert read_pid(path) == os.getpid()
    path.write_text(f"{os.getpid()} 1\n")
    assert read_pid(path) is None
    path.write_text("nonsense")
    assert read_pid(path) is None


def test_port_is_seen_busy_while_somebody_listens() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert not is_port_free(port)
    assert is_port_free(port)
