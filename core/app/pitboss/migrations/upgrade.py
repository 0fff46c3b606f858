"""Bring a database to what the code says: versions, then context, policies, grants, functions and triggers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar, cast

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from pitboss.kernel.clock import utc_now
from pitboss.migrations.schema import Plane, load_metadata, revoke_statement, wanted_digest, wanted_statements
from pitboss.platform.db import ContextKey, parse_url
from pitboss_sdk.errors import ErrorKind, PitbossError

T = TypeVar("T")

_HERE = Path(__file__).parent
LOCK_TIMEOUT_SECONDS: Final = 4
_HOLDERS = """
select string_agg(distinct c.relname, ', ') as tables, l.pid, coalesce(a.usename, '?') as login
from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
left join pg_stat_activity a on a.pid = l.pid
where l.granted and l.pid <> pg_backend_pid() and n.nspname in ('public', 'ctx') and c.relkind in ('r', 'p')
    and l.database = (select oid from pg_database where datname = current_database())
group by l.pid, a.usename order by l.pid limit 5
"""
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


class TableBusy(PitbossError):
    """Transactions of others kept tables for too long; the same command may succeed later."""

    code = "migrations.table_busy"
    kind = ErrorKind.UNAVAILABLE


class TablesDiffer(PitbossError):
    """The database was migrated by files that were written anew since, as the first one is until the first release."""

    code = "migrations.tables_differ"
    kind = ErrorKind.CONFLICT


async def upgrade(migrate_url: str, plane: Plane, context_keys: Sequence[ContextKey] = ()) -> str:
    """Migrate the database behind `migrate_url` to the newest version and return that version.

    Takes an advisory lock, so that two deployments wait for each other, and a lock timeout of 4 s, so that
    a busy table refuses the migration instead of stopping the traffic. All of it is one transaction: after
    `TableBusy`, or anything else that is raised, the database is what it was.
    """
    return await run_exclusively(migrate_url, lambda connection: _upgrade(connection, plane, context_keys))


async def run_exclusively(migrate_url: str, work: Callable[[Connection], T]) -> T:
    """Give `work` a connection with a lock timeout of 4 s; raise `TableBusy` when that was not enough."""
    engine = create_async_engine(parse_url(migrate_url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.execute(text(f"set lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
            await connection.commit()
            try:
                return await connection.run_sync(work)
            except (asyncpg.LockNotAvailableError, DBAPIError) as error:
                if getattr(getattr(error, "orig", error), "sqlstate", "") != asyncpg.LockNotAvailableError.sqlstate:
                    raise
                await connection.rollback()
                holders = await connection.execute(text(_HOLDERS))
                held = [f"{row.tables} by process {row.pid} ({row.login})" for row in holders]
                raise TableBusy(_describe(held)) from error
    finally:
        await engine.dispose()


def _describe(held: Sequence[str]) -> str:
    now = f"now {'; '.join(held)}" if held else "by now they have ended"
    return f"other transactions hold tables for more than {LOCK_TIMEOUT_SECONDS} s ({now}); nothing was changed"


def _upgrade(connection: Connection, plane: Plane, context_keys: Sequence[ContextKey]) -> str:
    # The other deployment may take its time, so the lock timeout is not for this one. It ends with the connection.
    connection.execute(text("set local lock_timeout = 0"))
    connection.execute(text("select pg_advisory_lock(:lock)"), {"lock": _MIGRATION_LOCK})
    connection.commit()
    if plane == "cell":
        connection.execute(text("set local role pitboss_ctx"))
        apply_context(connection)
        _write_keys(connection, context_keys)
    connection.execute(text("set local role pitboss_owner"))
    command.upgrade(alembic_config(plane, connection), "head")
    _demand_columns(connection, plane)
    wanted = f"pitboss {wanted_digest(plane)}"
    current = connection.execute(text("select obj_description('public'::regnamespace, 'pg_namespace')")).scalar()
    if current != wanted:
        apply_guards(connection, plane)
        connection.execute(text(f"comment on schema public is '{wanted}'"))
    version = str(MigrationContext.configure(connection).get_current_revision())
    connection.commit()
    return version


def _demand_columns(connection: Connection, plane: Plane) -> None:
    """Raise `TablesDiffer` where the newest version lacks what the code reads; no migration would bring it."""
    found = connection.execute(text("select table_name, column_name from information_schema.columns"))
    there = {(row.table_name, row.column_name) for row in found}
    wanted = {(table.name, column.name) for table in load_metadata(plane).tables.values() for column in table.columns}
    lacking = sorted(f"{table}.{column}" for table, column in wanted - there)
    if lacking:
        raise TablesDiffer(
            f"the database is at the newest version and lacks {', '.join(lacking[:5])}{' and more' * (len(lacking) > 5)}:"
            " it was made before the first release by a first migration that was written anew; nothing was changed."
            " `make reset` deletes what `make run` made here, another database must be made again"
        )


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
