"""Bringing a database to the newest version: from nothing, again, two at once, and past a busy table."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from tests.factories.databases import DatabaseServer, PlaneDatabase, settings_for
from tests.factories.tenants import environment_of

from pitboss.kernel.ids import new_uuid
from pitboss.migrations.catalog import find_drift
from pitboss.migrations.provision import provision
from pitboss.migrations.schema import Plane, load_metadata
from pitboss.migrations.upgrade import (
    _MIGRATION_LOCK,
    LOCK_TIMEOUT_SECONDS,
    TableBusy,
    TablesDiffer,
    alembic_config,
    upgrade,
)
from pitboss.platform.db import ContextSigner, parse_url
from pitboss.platform.settings import ContextKey

PLANES: tuple[Plane, ...] = ("control", "cell")


@pytest.fixture(params=PLANES)
async def empty(request: pytest.FixtureRequest, database_server: DatabaseServer) -> AsyncIterator[PlaneDatabase]:
    """A provisioned database of each plane without a table in it."""
    plane: Plane = request.param
    name = f"pitboss_empty_{new_uuid().hex[-12:]}"
    urls = database_server.urls(plane, name)
    await provision(database_server.postgres.admin_url(), urls)
    keys = database_server.keys if plane == "cell" else ()
    yield PlaneDatabase(plane, name, urls, database_server.postgres.admin_url(name), keys)
    admin = await asyncpg.connect(database_server.postgres.admin_url())
    await admin.execute(f"drop database {name} with (force)")
    await admin.close()


def _compare(connection: Connection, plane: Plane) -> list[object]:
    def ours(_found: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
        return not (kind == "table" and name == "alembic_version")

    options = {"compare_type": True, "compare_server_default": True, "include_object": ours}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, load_metadata(plane)))


def head_version(plane: Plane) -> str:
    return str(ScriptDirectory.from_config(alembic_config(plane)).get_current_head())


async def find_table_differences(database: PlaneDatabase) -> list[object]:
    """Return what differs between the tables of the code and those of the migrated database."""
    engine = create_async_engine(parse_url(database.admin_url).set(drivername="postgresql+asyncpg"))
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_compare, database.plane)
    finally:
        await engine.dispose()


async def test_from_nothing_to_the_newest_and_again(empty: PlaneDatabase) -> None:
    for _ in range(2):
        version = await upgrade(empty.migrate_url, empty.plane, empty.context_keys)
        assert version == head_version(empty.plane)
    assert await find_table_differences(empty) == []
    assert await find_drift(empty.migrate_url, empty.plane) == []


async def test_two_at_once_wait_for_each_other(empty: PlaneDatabase) -> None:
    versions = await asyncio.gather(*[upgrade(empty.migrate_url, empty.plane, empty.context_keys) for _ in range(2)])
    assert versions == [head_version(empty.plane)] * 2
    assert await find_drift(empty.migrate_url, empty.plane) == []


async def test_a_deployment_waits_longer_for_another_than_for_a_table(cell_database: PlaneDatabase) -> None:
    other = await asyncpg.connect(cell_database.migrate_url)
    try:
        await other.execute("select pg_advisory_lock($1::bigint)", _MIGRATION_LOCK)
        waiting = asyncio.create_task(upgrade(cell_database.migrate_url, "cell", cell_database.context_keys))
        await asyncio.sleep(LOCK_TIMEOUT_SECONDS + 1)
        assert not waiting.done()
    finally:
        await other.close()
    assert await waiting == head_version("cell")


async def test_a_busy_table_refuses_the_upgrade_and_keeps_what_is_there(cell_database: PlaneDatabase) -> None:
    """Traffic goes on; the deployment fails after four seconds and may be tried again."""
    admin, reader = await asyncpg.connect(cell_database.admin_url), await asyncpg.connect(cell_database.admin_url)
    try:
        await admin.execute("comment on schema public is 'an older version of the guards'")
        policies = "select count(*) from pg_policies where schemaname = 'public'"
        before = await admin.fetchval(policies)
        reading = reader.transaction()
        await reading.start()
        await reader.execute("lock table wallet in access share mode")
        began = time.monotonic()
        async with asyncio.timeout(120):
            with pytest.raises(TableBusy):
                await upgrade(cell_database.migrate_url, "cell", cell_database.context_keys)
        assert time.monotonic() - began > 3.5
        assert await admin.fetchval(policies) == before
        await reading.rollback()
        assert await upgrade(cell_database.migrate_url, "cell", cell_database.context_keys) == head_version("cell")
        assert await find_drift(cell_database.migrate_url, "cell") == []
    finally:
        await admin.close()
        await reader.close()


async def test_a_refused_upgrade_leaves_nothing_half_done(empty: PlaneDatabase) -> None:
    """Tables, version, context and guards come together: one busy table, and none of them is there."""
    admin = await asyncpg.connect(empty.admin_url)
    try:
        # The guards take every trigger away before they make theirs; the migration itself does not know this table.
        await admin.execute("create table squatter (id int); alter table squatter owner to pitboss_owner")
        await admin.execute(
            "create trigger quiet before update on squatter"
            " for each row execute function suppress_redundant_updates_trigger()"
        )
        catalog = "select string_agg(relname, ',' order by relname) from pg_class where relnamespace = any($1)"
        schemas = await admin.fetchval("select array_agg(oid) from pg_namespace where nspname in ('public', 'ctx')")
        before = await admin.fetchval(catalog, schemas)
        await admin.execute("begin; lock table squatter in access share mode")
        with pytest.raises(TableBusy):
            await upgrade(empty.migrate_url, empty.plane, empty.context_keys)
        await admin.execute("rollback")
        assert await admin.fetchval(catalog, schemas) == before == "squatter"
        assert await upgrade(empty.migrate_url, empty.plane, empty.context_keys) == head_version(empty.plane)
    finally:
        await admin.close()


def run_db(database: PlaneDatabase, word: str) -> subprocess.CompletedProcess[str]:
    settings = settings_for(cell=database)
    return subprocess.run(
        [sys.executable, "-m", "pitboss.bootstrap", "db", word, "cell"],
        check=False,
        env=environment_of(settings),
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("word", ["migrate", "drift"])
async def test_the_command_says_what_keeps_it(cell_database: PlaneDatabase, word: str) -> None:
    reader = await asyncpg.connect(cell_database.admin_url)
    try:
        await reader.execute("comment on schema public is 'an older version of the guards'")
        await reader.execute("begin; lock table wallet, journal in access share mode")
        answer = await asyncio.to_thread(run_db, cell_database, word)
        pid = reader.get_server_pid()
    finally:
        await reader.close()
    assert answer.returncode == 1
    assert answer.stderr.startswith("pitboss: migrations.table_busy: "), answer.stderr
    assert "nothing was changed" in answer.stderr
    assert f"journal, wallet by process {pid}" in answer.stderr
    assert "Traceback" not in answer.stderr
    again = await asyncio.to_thread(run_db, cell_database, "migrate")
    assert again.returncode == 0, again.stderr


async def test_a_database_of_another_first_migration_is_named(cell_database: PlaneDatabase) -> None:
    """Until the first release that file is written anew, and a database of the old one has the same number."""
    admin = await asyncpg.connect(cell_database.admin_url)
    try:
        await admin.execute("alter table outbox_job drop column attempts cascade")
    finally:
        await admin.close()
    settings = settings_for(cell=cell_database)
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "pitboss.bootstrap", "db", "migrate", "cell"],
        check=False,
        env=environment_of(settings),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("pitboss: migrations.tables_differ: ")
    assert "lacks outbox_job.attempts: " in done.stderr
    with pytest.raises(TablesDiffer):
        await upgrade(cell_database.migrate_url, "cell", cell_database.context_keys)


async def test_an_upgrade_that_died_leaves_no_lock_behind(cell_database: PlaneDatabase) -> None:
    reader = await asyncpg.connect(cell_database.admin_url)
    await reader.execute("comment on schema public is 'an older version of the guards'")
    await reader.execute("begin; lock table wallet in access share mode")
    with pytest.raises(TableBusy):
        await upgrade(cell_database.migrate_url, "cell", cell_database.context_keys)
    held = await reader.fetchval("select count(*) from pg_locks where locktype = 'advisory'")
    await reader.close()
    assert held == 0


async def test_keys_are_replaced_without_a_gap(cell_database: PlaneDatabase) -> None:
    old, new = cell_database.context_keys[0], ContextKey("next1", b"n" * 32)

    async def opens(key: ContextKey) -> bool:
        connection = await asyncpg.connect(cell_database.app_url)
        try:
            async with connection.transaction():
                context = ContextSigner([key]).sign([1], connection.get_server_pid())
                await connection.execute("select set_config('pitboss.ctx', $1, true)", context)
                return await connection.fetchval("select ctx.tenants()") == [1]
        finally:
            await connection.close()

    assert [await opens(old), await opens(new)] == [True, False]
    for keys, expected in (((old, new), [True, True]), ((new,), [False, True])):
        await upgrade(cell_database.migrate_url, "cell", keys)
        assert [await opens(old), await opens(new)] == expected


async def test_an_upgrade_without_keys_keeps_those_that_are_there(cell_database: PlaneDatabase) -> None:
    await upgrade(cell_database.migrate_url, "cell", ())
    admin = await asyncpg.connect(cell_database.admin_url)
    keys = await admin.fetch("select key_id from ctx.key")
    await admin.close()
    assert [row["key_id"] for row in keys] == [key.key_id for key in cell_database.context_keys]


@pytest.mark.parametrize("plane", PLANES)
def test_a_tree_is_one_line_and_goes_forward_only(plane: Plane) -> None:
    script = ScriptDirectory.from_config(alembic_config(plane))
    revisions = list(script.walk_revisions())
    assert len(script.get_heads()) == 1
    assert len(revisions) == len(list(Path(script.dir, "versions").glob("*.py")))
    for revision in revisions:
        assert not hasattr(revision.module, "downgrade"), "what was deployed is changed by the next revision"
