"""Bringing a database to the newest version: from nothing, again, two at once, and past a busy table."""

from __future__ import annotations

import asyncio
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
from tests.factories.databases import DatabaseServer, PlaneDatabase

from pitboss.kernel.ids import new_uuid
from pitboss.migrations.catalog import find_drift
from pitboss.migrations.provision import provision
from pitboss.migrations.schema import Plane, load_metadata
from pitboss.migrations.upgrade import alembic_config, head_version, upgrade
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
            with pytest.raises(asyncpg.LockNotAvailableError):
                await upgrade(cell_database.migrate_url, "cell", cell_database.context_keys)
        assert time.monotonic() - began > 3.5
        assert await admin.fetchval(policies) == before
        await reading.rollback()
        assert await upgrade(cell_database.migrate_url, "cell", cell_database.context_keys) == head_version("cell")
        assert await find_drift(cell_database.migrate_url, "cell") == []
    finally:
        await admin.close()
        await reader.close()


async def test_an_upgrade_that_died_leaves_no_lock_behind(cell_database: PlaneDatabase) -> None:
    reader = await asyncpg.connect(cell_database.admin_url)
    await reader.execute("comment on schema public is 'an older version of the guards'")
    await reader.execute("begin; lock table wallet in access share mode")
    with pytest.raises(asyncpg.LockNotAvailableError):
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
