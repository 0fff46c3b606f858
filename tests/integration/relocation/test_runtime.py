"""A freeze waits for whoever began before it, stops whoever comes after, and touches nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.factories.databases import PlaneDatabase

from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import ContextSigner, Database, create_engine, is_unavailable
from pitboss.relocation.errors import StillBusy
from pitboss.relocation.runtime import CellEnd

LEAVING, STAYING = TenantScope(1, "aurora", "eu-1"), TenantScope(2, "boreal", "eu-1")
WRITE = "insert into source (tenant_id, name) values (:tenant, :name)"


@pytest.fixture
async def database(module_cell_database: PlaneDatabase) -> AsyncIterator[Database]:
    contexts = ContextSigner(module_cell_database.context_keys)
    opened = Database(create_engine(module_cell_database.app_url), "eu-1", contexts)
    yield opened
    await opened.engine.dispose()


@pytest.fixture
async def end(module_cell_database: PlaneDatabase) -> AsyncIterator[CellEnd]:
    contexts = ContextSigner(module_cell_database.context_keys)
    async with CellEnd(module_cell_database.admin_url, contexts, LEAVING, "eu") as opened:
        yield opened
        await opened.thaw()


async def _write(database: Database, scope: TenantScope, name: str) -> None:
    async with database.transaction(scope) as session:
        await session.execute(text(WRITE), {"tenant": scope.tenant_id, "name": name})


async def test_a_transaction_that_began_before_is_waited_for(database: Database, end: CellEnd) -> None:
    async with database.transaction(LEAVING) as session:
        await session.execute(text(WRITE), {"tenant": 1, "name": "late"})
        with pytest.raises(StillBusy, match="have not ended"):
            await end.freeze(timeout_seconds=0.3)
    await end.freeze(timeout_seconds=5)
    assert (await end.count())["source"] >= 1, "what was acknowledged is there to be packed"


async def test_a_frozen_tenant_is_written_and_read_by_nobody_and_others_by_all(
    database: Database, end: CellEnd, module_cell_database: PlaneDatabase
) -> None:
    await _write(database, LEAVING, "before")
    await end.freeze()
    before = await end.count()
    for statement in (WRITE, "select count(*) from source where tenant_id = :tenant or name = :name"):
        with pytest.raises(DBAPIError, match="not served here") as refused:
            async with database.transaction(LEAVING) as session:
                await session.execute(text(statement), {"tenant": 1, "name": "after"})
        assert is_unavailable(refused.value)
    await _write(database, STAYING, "after")
    # A connection that serves many tenants at once goes on for the others, and shows nothing of the frozen one.
    async with database.tenants_transaction([1, 2]) as session:
        found = set(await session.scalars(text("select distinct tenant_id from source")))
        with pytest.raises(DBAPIError, match="row-level security"):
            await session.execute(text(WRITE), {"tenant": 1, "name": "beside"})
    assert found == {2}
    assert await end.count() == before
    await end.thaw()
    await _write(database, LEAVING, "again")


async def test_no_login_of_the_cell_can_lift_a_freeze(end: CellEnd, module_cell_database: PlaneDatabase) -> None:
    await end.freeze()
    for group, url in module_cell_database.urls.items():
        if group == "pitboss_migrate":
            continue
        connection = await asyncpg.connect(url)
        try:
            for statement in (
                "delete from ctx.frozen",
                "select * from ctx.frozen",
                "insert into ctx.frozen values (2)",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        finally:
            await connection.close()


async def test_shredding_leaves_nothing_of_the_tenant_and_all_of_the_others(database: Database, end: CellEnd) -> None:
    await _write(database, LEAVING, "shredded")
    await _write(database, STAYING, "kept")
    await end.freeze()
    assert await end.shred() > 0
    assert await end.is_empty()
    async with database.transaction(STAYING) as session:
        assert await session.scalar(text("select count(*) from source where name = 'kept'")) == 1
