"""The one place that reads the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return from_microseconds(time.time_ns() // 1000)


def from_microseconds(moment_us: int) -> datetime:
    """Return a moment that is given in microseconds since 1970, aware, in UTC."""
    return _EPOCH + timedelta(microseconds=moment_us)


def to_microseconds(moment: datetime) -> int:
    """Return an aware moment in whole microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def epoch_seconds() -> int:
    """Return whole seconds since 1970 of the wall clock."""
    return time.time_ns() // 1_000_000_000


def epoch_microseconds() -> int:
    """Return whole microseconds since 1970 of the wall clock."""
    return time.time_ns() // 1000


def monotonic_seconds() -> float:
    """Return seconds of a clock that never steps back; only differences mean anything."""
    return time.monotonic()
