"""What the benchmark reads of the machine: CPU time of processes, memory, the disk, and quantiles."""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pitboss.platform.embedded import wheel_binaries

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Spread(NamedTuple):
    """A figure of several rounds."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return median, least and greatest of `values`."""
    return Spread(statistics.median(values), min(values), max(values))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the sorted `ordered` lie."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def cpu_seconds(pid: int, *, with_children: bool = False) -> float:
    """Return the CPU time that a process has used, with all its threads.

    With children: also that of those that run now and of those that it has waited for, so that a difference of
    two readings misses nobody.
    """
    ticks = _read_ticks(pid, with_waited=with_children)
    if with_children:
        for child in _list_children(pid):
            ticks += _read_ticks(child, with_waited=False)
    return ticks / _TICKS_PER_SECOND


def _read_ticks(pid: int, *, with_waited: bool) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    return sum(int(field) for field in fields[11 : 15 if with_waited else 13])


def _list_children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


def resident_mib(pid: int) -> float:
    """Return how much memory a process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def cpu_model() -> str:
    """Return the name of the processor."""
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1].strip() if found else platform.machine()


def fdatasync_us(folder: Path) -> float:
    """Return what PostgreSQL's own probe measures for one write of 8 KiB and fdatasync in `folder`."""
    argv = [str(wheel_binaries() / "pg_test_fsync"), "-s", "2", "-f", str(folder / "pg_test_fsync.out")]
    said: list[str] = []
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as probe:
        # It goes on to measure much that is of no use here, so it is stopped at the line that is wanted.
        for line in probe.stdout or ():
            said.append(line)
            found = re.match(r"\s+fdatasync\s.*?(\d+) usecs/op", line)
            if found is not None:
                probe.terminate()
                return float(found[1])
    raise ValueError(f"pg_test_fsync said nothing of fdatasync: {''.join(said)[-500:]}")


def free_gib(folder: Path) -> float:
    """Return the free room on the disk of `folder`."""
    return shutil.disk_usage(folder).free / 2**30
