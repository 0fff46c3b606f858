"""The databases that tests get: migrated, walled off from each other, gone afterwards."""

from __future__ import annotations

import asyncpg
import pytest
from tests.factories.databases import DatabaseServer, PlaneDatabase


async def test_clone_has_tables_and_a_login_per_role(cell_database: PlaneDatabase) -> None:
    connection = await asyncpg.connect(cell_database.app_url)
    try:
        tables = await connection.fetchval(
            "select count(*) from information_schema.tables where table_schema = 'public'"
        )
        assert tables > 0
        assert await connection.fetchval("select current_user") == "pitboss_app_test_cell"
    finally:
        await connection.close()


async def test_login_of_one_plane_cannot_enter_the_other(
    cell_database: PlaneDatabase, control_database: PlaneDatabase
) -> None:
    foreign = cell_database.app_url.replace(cell_database.name, control_database.name)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(foreign)


def test_clone_is_gone_afterwards(database_server: DatabaseServer) -> None:
    import asyncio

    with database_server.clone("cell") as database:
        url = database.app_url

    async def connect() -> None:
        await asyncpg.connect(url)

    with pytest.raises(asyncpg.InvalidCatalogNameError):
        asyncio.run(connect())
