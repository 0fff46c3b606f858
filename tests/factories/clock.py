"""The machine's wall clock, set to another moment for one process and one database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from unittest import mock

import asyncpg
from tests.factories.databases import PlaneDatabase

_DATED = "alter table journal alter column created_at set default '{}'"


class Clock:
    """What the standard library tells of the time while a block runs; nothing of the project is touched.

    The database server keeps its own time. What it would date, bookings, is told the moment too; signed contexts end
    by its clock, so that no moment may lie in its past.
    """

    def __init__(self, database: PlaneDatabase) -> None:
        self._database = database
        self._moment_ns: int | None = None

    @contextmanager
    def taken_over(self) -> Iterator[Clock]:
        """Answer for `time.time_ns` until the block ends."""
        real_ns = time.time_ns

        def tell_ns() -> int:
            return real_ns() if self._moment_ns is None else self._moment_ns

        with mock.patch("time.time_ns", tell_ns):
            yield self

    async def set(self, moment: datetime) -> None:
        """Stand still at an aware moment."""
        seconds = int(moment.timestamp())
        self._moment_ns = (seconds * 1_000_000 + moment.microsecond) * 1000
        admin = await asyncpg.connect(self._database.admin_url)
        try:
            await admin.execute(_DATED.format(moment.isoformat()))
        finally:
            await admin.close()
