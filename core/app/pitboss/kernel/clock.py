"""The one place that reads the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)


def epoch_seconds() -> int:
    """Return whole seconds since 1970 of the wall clock."""
    return int(time.time())


def epoch_microseconds() -> int:
    """Return whole microseconds since 1970 of the wall clock."""
    return time.time_ns() // 1000


def monotonic_seconds() -> float:
    """Return seconds of a clock that never steps back; only differences mean anything."""
    return time.monotonic()
