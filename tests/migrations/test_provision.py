"""Who may connect where after provisioning, on a server of our own and on one that others use too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from tests.factories.databases import DatabaseServer

from pitboss.migrations.provision import _close_maintenance_databases, list_open_databases, provision
from pitboss.platform.embedded import PostgresServer


@pytest.fixture(scope="module")
def fresh_server(server_folder: Path) -> Iterator[DatabaseServer]:
    """A server that nobody has provisioned yet: what is revoked stays so for a whole server."""
    server = PostgresServer(server_folder / "fresh", options={"fsync": "off"})
    server.start()
    yield DatabaseServer(server)
    server.remove()


@asynccontextmanager
async def administrator(server: DatabaseServer) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(server.postgres.admin_url())
    try:
        yield connection
    finally:
        await connection.close()


async def may_connect(url: str, database: str) -> bool:
    try:
        connection = await asyncpg.connect(url.rpartition("/")[0] + f"/{database}")
    except asyncpg.InsufficientPrivilegeError:
        return False
    await connection.close()
    return True


async def test_logins_reach_their_own_database_and_no_other(fresh_server: DatabaseServer) -> None:
    server = fresh_server
    admin_url = server.postgres.admin_url()
    cell, control = server.urls("cell", "pitboss_provision_cell"), server.urls("control", "pitboss_provision_control")
    async with administrator(server) as admin:
        # Somebody else is here: what everybody may is left as it is, and told.
        await admin.execute("grant connect on database postgres, template1 to public")
        await admin.execute("create role stranger login password 'stranger'")
        await admin.execute("create database strangers owner stranger")
        await provision(admin_url, cell)
        stranger = f"postgresql://stranger:stranger@127.0.0.1:{server.postgres.port}/postgres"
        assert await may_connect(stranger, "postgres")
        assert await may_connect(cell["pitboss_app"], "postgres")
        assert await list_open_databases(admin_url, cell) == ["postgres", "strangers", "template1"]
        assert not await may_connect(stranger, "pitboss_provision_cell")
        # Now the server is ours alone.
        await admin.execute("drop database strangers")
        await admin.execute("drop role stranger")
        for _ in range(2):
            await provision(admin_url, cell)
        await provision(admin_url, control)
        assert await list_open_databases(admin_url, cell) == []
        assert await list_open_databases(admin_url, control) == []
    for plane, urls in (("cell", cell), ("control", control)):
        for url in urls.values():
            found = {
                name: await may_connect(url, name)
                for name in ("postgres", "template1", "pitboss_provision_cell", "pitboss_provision_control")
            }
            own = f"pitboss_provision_{plane}"
            assert found == {name: name == own for name in found}, url.partition("@")[0].partition(":")[0]


async def test_an_administrator_who_is_no_superuser_keeps_the_way_in(fresh_server: DatabaseServer) -> None:
    server = fresh_server
    async with administrator(server) as admin:
        await admin.execute("create role manager login createdb createrole password 'manager'")
        for group in ("pitboss_owner", "pitboss_ctx"):
            await admin.execute(f"do $$ begin create role {group}; exception when duplicate_object then null; end $$")
        await admin.execute("grant pitboss_owner, pitboss_ctx to manager with admin option")
        owner = await admin.fetchval("select datdba::regrole::text from pg_database where datname = 'postgres'")
        try:
            await admin.execute("alter database postgres owner to manager")
            await admin.execute("grant connect on database postgres to public")
            manager = f"postgresql://manager:manager@127.0.0.1:{server.postgres.port}/postgres"
            connection = await asyncpg.connect(manager)
            await _close_maintenance_databases(connection)
            await connection.close()
            assert await may_connect(manager, "postgres")
            assert "postgres" not in await admin.fetchval(
                "select array_agg(datname::text) from pg_database d where exists"
                " (select from aclexplode(coalesce(datacl, acldefault('d', datdba))) where grantee = 0"
                " and privilege_type = 'CONNECT')"
            )
        finally:
            await admin.execute(f"alter database postgres owner to {owner}")
            await admin.execute("drop owned by manager")
            await admin.execute("drop role manager")
