"""The deliveries to SIEMs that a worker keeps going beside its jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from pitboss.audit.runtime import Exporter
from pitboss.directory.runtime import Directory
from pitboss.platform.background import Repeating, keep_repeating
from pitboss.platform.db import Database
from pitboss.platform.secrets import SecretStore
from pitboss.platform.telemetry import Metrics

LOOK_SECONDS: Final = 1


@asynccontextmanager
async def keep_exporting(
    database: Database, directory: Directory, secrets: SecretStore, metrics: Metrics
) -> AsyncGenerator[None]:
    """Send the events of the cell's tenants while the block runs."""
    exporter = Exporter(database, secrets, directory.scopes, metrics)
    try:
        async with keep_repeating(Repeating("audit.export", LOOK_SECONDS, exporter.step)):
            yield
    finally:
        await exporter.close()
