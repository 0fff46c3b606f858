"""Watches what code does beside computing: network, files, processes, clock and chance."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

_OUTSIDE: Final = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "open")
"""Audit events of the interpreter (or the beginnings of their names) that mean: it leaves the process or touches a file."""
_CLOCK_AND_CHANCE: Final = frozenset(
    {
        *(("time", name) for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "sleep")),
        *(("time", name) for name in ("perf_counter_ns", "process_time", "process_time_ns", "thread_time")),
        *(("time", name) for name in ("thread_time_ns", "clock_gettime", "clock_gettime_ns")),
        # These take a time, and the present one where none is given.
        *(("time", name) for name in ("gmtime", "localtime", "ctime", "asctime", "strftime")),
        ("_uuid", "generate_time_safe"),
        *(("datetime", name) for name in ("now", "utcnow", "today")),
        *(("posix", name) for name in ("urandom", "getrandom")),
        *(("random", name) for name in ("random", "getrandbits", "seed")),
    }
)

_watching = threading.local()
_hooked: list[bool] = []


class OutOfBounds(Exception):
    """Raised into code under watch in place of letting it leave the process."""


@contextmanager
def watch() -> Generator[list[str]]:
    """Yield a list that fills with what the code in the block does outside itself; none of it is carried out.

    Network, files and processes are stopped; clock and chance are only noted. Calls that a C extension makes
    on its own are not seen.
    """
    if not _hooked:
        _hooked.append(True)
        sys.addaudithook(_hear)  # it cannot be taken away again; outside of a watch it does nothing
    seen: list[str] = []
    _watching.seen = seen
    before = sys.getprofile()
    # What others hang on the collector (a test runner looks at the clock there) is not the code's doing.
    collects = gc.isenabled()
    gc.disable()
    sys.setprofile(_look)
    try:
        yield seen
    finally:
        sys.setprofile(before)
        _watching.seen = None
        if collects:
            gc.enable()


def _hear(event: str, _arguments: tuple[Any, ...]) -> None:
    seen: list[str] | None = getattr(_watching, "seen", None)
    if seen is not None and event.startswith(_OUTSIDE):
        seen.append(event)
        raise OutOfBounds(event)


def _look(_frame: FrameType, event: str, called: Any) -> None:
    if event != "c_call":
        return
    owner = getattr(called, "__self__", None)
    if isinstance(owner, type):
        home = owner.__module__
    else:
        home = getattr(called, "__module__", None) or type(owner).__module__
    if (home, called.__name__) in _CLOCK_AND_CHANCE:
        seen: list[str] | None = getattr(_watching, "seen", None)
        if seen is not None:
            seen.append(f"{home}.{called.__name__}")
