"""Bring a database to what the code says: versions, then context, policies, grants, functions and triggers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import cast

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from pitboss.kernel.clock import utc_now
from pitboss.migrations.schema import Plane, revoke_statement, wanted_digest, wanted_statements
from pitboss.platform.db import ContextKey, parse_url

_HERE = Path(__file__).parent
_MIGRATION_LOCK = 7220252
KEY_LIFETIME_DAYS = 3650


def alembic_config(plane: Plane, connection: Connection | None = None) -> Config:
    """Return Alembic's configuration for the tree of `plane`."""
    config = Config()
    config.set_main_option("script_location", str(_HERE / plane))
    config.set_main_option("path_separator", "os")
    config.attributes["plane"] = plane
    config.attributes["connection"] = connection
    return config


async def upgrade(migrate_url: str, plane: Plane, context_keys: Sequence[ContextKey] = ()) -> str:
    """Migrate the database behind `migrate_url` to the newest version and return that version.

    Takes an advisory lock, so that two deployments wait for each other, and a lock timeout of 4 s, so that
    a busy table refuses the migration instead of stopping the traffic.
    """
    engine = create_async_engine(parse_url(migrate_url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            version = await connection.run_sync(_upgrade, plane, context_keys)
    finally:
        await engine.dispose()
    return version


def _upgrade(connection: Connection, plane: Plane, context_keys: Sequence[ContextKey]) -> str:
    connection.execute(text("select pg_advisory_lock(:lock)"), {"lock": _MIGRATION_LOCK})
    connection.execute(text("set lock_timeout = '4s'"))
    connection.commit()
    if plane == "cell":
        connection.execute(text("set local role pitboss_ctx"))
        apply_context(connection)
        _write_keys(connection, context_keys)
        connection.commit()
    connection.execute(text("set role pitboss_owner"))
    connection.commit()
    command.upgrade(alembic_config(plane, connection), "head")
    connection.commit()
    wanted = f"pitboss {wanted_digest(plane)}"
    current = connection.execute(text("select obj_description('public'::regnamespace, 'pg_namespace')")).scalar()
    if current != wanted:
        apply_guards(connection, plane)
        connection.execute(text(f"comment on schema public is '{wanted}'"))
    version = str(MigrationContext.configure(connection).get_current_revision())
    connection.commit()
    connection.execute(text("reset role"))
    connection.execute(text("select pg_advisory_unlock(:lock)"), {"lock": _MIGRATION_LOCK})
    connection.commit()
    return version


def apply_context(connection: Connection) -> None:
    """Write the signed context's table and function; runs as `pitboss_ctx`, which owns both."""
    run_script(connection, revoke_statement("ctx"))
    run_script(connection, (_HERE / "sql" / "context.sql").read_text())


def apply_guards(connection: Connection, plane: Plane) -> None:
    """Write policies, grants, functions and triggers anew inside the current transaction."""
    for statement in wanted_statements(plane):
        run_script(connection, statement)


def run_script(connection: Connection, script: str) -> None:
    """Run a script of several statements as it stands; the driver's simple protocol takes them all."""
    raw = cast("AdaptedConnection", connection.connection.dbapi_connection)
    connection.exec_driver_sql("select 1")
    raw.run_async(lambda driver: driver.execute(script))


def _write_keys(connection: Connection, keys: Sequence[ContextKey]) -> None:
    until = utc_now() + timedelta(days=KEY_LIFETIME_DAYS)
    for key in keys:
        block = key.secret.ljust(64, b"\0")
        if len(block) != 64:
            raise ValueError("a context key has at most 64 bytes")
        connection.execute(
            text(
                "insert into ctx.key (key_id, inner_pad, outer_pad, valid_until) values (:id, :inner, :outer, :until)"
                " on conflict (key_id) do update set inner_pad = excluded.inner_pad, outer_pad = excluded.outer_pad"
                " where ctx.key.inner_pad <> excluded.inner_pad"
            ),
            {
                "id": key.key_id,
                "inner": bytes(byte ^ 0x36 for byte in block),
                "outer": bytes(byte ^ 0x5C for byte in block),
                "until": until,
            },
        )
    if keys:
        connection.execute(
            text("delete from ctx.key where not key_id = any(:ids)"), {"ids": [key.key_id for key in keys]}
        )


def head_version(plane: Plane) -> str:
    """Return the newest version that the code knows."""
    return str(ScriptDirectory.from_config(alembic_config(plane)).get_current_head())
