"""Dumps of whole databases as pg_dump writes them, and databases that are restored from them."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from tests.factories.databases import DatabaseServer, PlaneDatabase

from pitboss.migrations.provision import provision
from pitboss.platform.embedded import wheel_binaries


def run(program: str, *arguments: str) -> bytes:
    done = subprocess.run([wheel_binaries() / program, *arguments], check=True, capture_output=True)
    return done.stdout


@dataclass
class Backup:
    """A dump of the whole database, as pg_dump writes it."""

    file: Path
    server: DatabaseServer
    name: str

    @asynccontextmanager
    async def restored(self) -> AsyncIterator[PlaneDatabase]:
        """Put the dump into a database of its own, reachable by the application's login."""
        admin = await asyncpg.connect(self.server.postgres.admin_url())
        await admin.execute(f"create database {self.name} owner pitboss_owner")
        try:
            address = self.server.postgres.admin_url(self.name)
            await asyncio.to_thread(run, "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", address, "-f", str(self.file))
            urls = self.server.urls("cell", self.name)
            await provision(self.server.postgres.admin_url(), urls)
            yield PlaneDatabase("cell", self.name, urls, address, self.server.keys)
        finally:
            await admin.execute(f"drop database {self.name} with (force)")
            await admin.close()


@contextmanager
def backup(database: PlaneDatabase, server: DatabaseServer, folder: Path, number: int) -> Iterator[Backup]:
    file = folder / f"backup-{number}.sql"
    run("pg_dump", "--no-owner", "-f", str(file), "-d", database.admin_url)
    yield Backup(file, server, f"{database.name}_old_{number}")


KEY_TABLES = ("key_epoch", "keyring", "subject_key", "index_key", "erasure")
"""What a backup needs in its state of today to open who was not erased since."""


def copy_keys(database: PlaneDatabase, file: Path) -> None:
    """Write today's rows of keys, as the guide says."""
    chosen = [part for table in KEY_TABLES for part in ("-t", table)]
    run("pg_dump", "--data-only", "--no-owner", *chosen, "-f", str(file), "-d", database.admin_url)


def put_keys(restored: PlaneDatabase, file: Path) -> None:
    """Put rows of keys into a restored backup instead of its own, as the guide says; triggers guard a live cell alone."""
    session = (
        "-c",
        "set session_replication_role = replica",
        "-c",
        f"truncate {', '.join(KEY_TABLES)}",
        "-f",
        str(file),
    )
    run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", restored.admin_url, *session)
