"""Real databases for tests: one server a session, one migrated template a plane, a clone for whoever asks."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

import asyncpg
from tests.factories.keys import key_folder

from pitboss.migrations.provision import provision
from pitboss.migrations.upgrade import upgrade
from pitboss.platform.embedded import PostgresServer
from pitboss.platform.settings import ContextKey, NamedKey, Settings

Plane = Literal["control", "cell"]
GROUPS: dict[Plane, tuple[str, ...]] = {
    "control": ("pitboss_app", "pitboss_seq", "pitboss_migrate"),
    "cell": ("pitboss_app", "pitboss_worker", "pitboss_relay", "pitboss_seq", "pitboss_migrate"),
}


@dataclass(frozen=True)
class PlaneDatabase:
    """One database with a URL for each login, and the keys that its signed context believes."""

    plane: Plane
    name: str
    urls: dict[str, str]
    admin_url: str
    context_keys: tuple[ContextKey, ...]

    @property
    def app_url(self) -> str:
        return self.urls["pitboss_app"]

    @property
    def worker_url(self) -> str:
        return self.urls["pitboss_worker"]

    @property
    def relay_url(self) -> str:
        return self.urls["pitboss_relay"]

    @property
    def sequencer_url(self) -> str:
        return self.urls["pitboss_seq"]

    @property
    def migrate_url(self) -> str:
        return self.urls["pitboss_migrate"]


@dataclass
class DatabaseServer:
    """The session's PostgreSQL with its templates."""

    postgres: PostgresServer
    realm: str = "test"
    """Part of the names of logins: cells have their own, and so has each realm."""
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    keys: tuple[ContextKey, ...] = field(default_factory=lambda: (ContextKey("test1", secrets.token_bytes(32)),))
    _templates: dict[Plane, str] = field(default_factory=dict[Plane, str])
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def urls(self, plane: Plane, database: str) -> dict[str, str]:
        """Return the URL of each login of `plane` in `database`."""
        address = f"127.0.0.1:{self.postgres.port}/{database}"
        return {
            group: f"postgresql://{group}_{self.realm}_{plane}:{self.password}@{address}" for group in GROUPS[plane]
        }

    @contextmanager
    def clone(self, plane: Plane) -> Iterator[PlaneDatabase]:
        """Make a database like the template of `plane`, migrating the template first if it is the first clone."""
        template = self._templates.get(plane)
        if template is None:
            template = f"pitboss_template_{self.realm}_{plane}"
            asyncio.run(self._make_template(plane, template))
            self._templates[plane] = template
        name = f"pitboss_{self.realm}_{plane}_{next(self._numbers)}"
        asyncio.run(self._run(f"create database {name} template {template} owner pitboss_owner"))
        # A template hands on tables and schemas, but not who may connect.
        asyncio.run(provision(self.postgres.admin_url(), self.urls(plane, name)))
        try:
            yield PlaneDatabase(plane, name, self.urls(plane, name), self.postgres.admin_url(name), self.keys)
        finally:
            asyncio.run(self._run(f"drop database {name} with (force)"))

    async def _make_template(self, plane: Plane, name: str) -> None:
        urls = self.urls(plane, name)
        await provision(self.postgres.admin_url(), urls)
        await upgrade(urls["pitboss_migrate"], plane, self.keys if plane == "cell" else ())

    async def _run(self, statement: str) -> None:
        connection = await asyncpg.connect(self.postgres.admin_url())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def settings_for(
    *, cell: PlaneDatabase | None = None, control: PlaneDatabase | None = None, redis_url: str | None = None
) -> Settings:
    """Return the settings of a process that uses these servers, with fresh directory keys and operator token."""
    # Imported late: making keys is not every test's business.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signing = Ed25519PrivateKey.generate()
    return Settings(
        control_database_url=control.app_url if control else None,
        control_sequencer_database_url=control.sequencer_url if control else None,
        control_migrate_url=control.migrate_url if control else None,
        cell_database_url=cell.app_url if cell else None,
        cell_worker_database_url=cell.worker_url if cell else None,
        cell_relay_database_url=cell.relay_url if cell else None,
        cell_sequencer_database_url=cell.sequencer_url if cell else None,
        cell_migrate_url=cell.migrate_url if cell else None,
        redis_url=redis_url,
        context_keys=cell.context_keys if cell else (),
        directory_signing_key=NamedKey("test1", signing.private_bytes_raw()),
        directory_public_keys=(NamedKey("test1", signing.public_key().public_bytes_raw()),),
        operator_token=secrets.token_urlsafe(24),
        key_service=f"file:{key_folder()}",
    )
