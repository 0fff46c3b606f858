"""The directory in a real cell database: kept, refused, refreshed, served while the database is away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.factories.databases import PlaneDatabase
from tests.factories.keys import derive_public_key
from tests.factories.ports import free_port

from pitboss.directory import service
from pitboss.directory.contracts import (
    DirectoryBrand,
    DirectoryContent,
    DirectoryTenant,
    ForeignTenant,
    SignedSnapshot,
    SigningKey,
    TenantState,
)
from pitboss.directory.errors import SnapshotRefused, TenantUnknown
from pitboss.directory.rules import sign_snapshot
from pitboss.directory.runtime import Directory
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.platform.embedded import PostgresServer

KEY = SigningKey("k1", b"\1" * 32)
KEYS = [derive_public_key(KEY)]


def tenant(number: int, slug: str, state: TenantState = TenantState.ACTIVE) -> DirectoryTenant:
    brand = DirectoryBrand(slug, slug.title(), (f"{slug}.example", f"www.{slug}.example"), ("en",), "en")
    return DirectoryTenant(number, slug, UUID(int=number), slug.title(), state, (brand,), ("EUR",), (), ("softswiss",))


CONTENT = DirectoryContent(
    tenants=(tenant(1, "aurora"), tenant(2, "closed", TenantState.CLOSED), tenant(3, "paused", TenantState.SUSPENDED)),
    elsewhere=(ForeignTenant("jade", ("jade.example",), "br-1", "https://br-1.example"),),
)


def signed(version: int, content: DirectoryContent = CONTENT, cell: str = "eu-1") -> SignedSnapshot:
    return sign_snapshot(cell, version, content, KEY)


@pytest.fixture
async def cell(cell_database: PlaneDatabase) -> AsyncIterator[Database]:
    database = Database(create_engine(cell_database.app_url), "eu-1", ContextSigner(cell_database.context_keys))
    yield database
    await database.engine.dispose()


async def store(cell: Database, snapshot: SignedSnapshot) -> bool:
    async with cell.cell_transaction() as session:
        return await service.store_snapshot(session, snapshot, cell="eu-1", keys=KEYS)


async def versions(cell: Database) -> list[int]:
    async with cell.cell_transaction() as session:
        return list(await session.scalars(text("select version from directory_snapshot order by version")))


async def test_a_snapshot_is_kept_once(cell: Database) -> None:
    assert await store(cell, signed(1))
    assert not await store(cell, signed(1))
    assert await store(cell, signed(4))
    assert await versions(cell) == [1, 4]
    async with cell.cell_transaction() as session:
        loaded = await service.load_snapshot(session, cell="eu-1", keys=KEYS)
    assert loaded is not None
    assert (loaded.version, loaded.content) == (4, CONTENT)


@pytest.mark.parametrize(
    "offered",
    [
        signed(3),
        signed(4, DirectoryContent()),
        signed(9, cell="br-1"),
        sign_snapshot("eu-1", 9, CONTENT, SigningKey("k1", b"\2" * 32)),
        sign_snapshot("eu-1", 9, CONTENT, SigningKey("k9", KEY.seed)),
        msgspec.structs.replace(signed(8), version=9),
    ],
    ids=["older", "other content", "other cell", "forged", "unknown key", "renumbered"],
)
async def test_a_refusal_changes_nothing(cell: Database, offered: SignedSnapshot) -> None:
    await store(cell, signed(4))
    with pytest.raises(SnapshotRefused):
        await store(cell, offered)
    assert await versions(cell) == [4]


@pytest.mark.parametrize(
    "statement",
    [
        "update directory_snapshot set body = body",
        "delete from directory_snapshot",
        "truncate directory_snapshot",
    ],
)
async def test_no_login_rewrites_the_directory(cell: Database, cell_database: PlaneDatabase, statement: str) -> None:
    await store(cell, signed(4))
    with pytest.raises(DBAPIError, match="permission denied"):
        async with cell.cell_transaction() as session:
            await session.execute(text(statement))
    # The guard holds for the server's administrator too.
    admin = create_engine(cell_database.admin_url)
    with pytest.raises(DBAPIError, match="append-only"):
        async with admin.begin() as connection:
            await connection.execute(text(statement))
    await admin.dispose()
    assert await versions(cell) == [4]


async def test_the_table_itself_refuses_an_older_version(cell: Database) -> None:
    await store(cell, signed(4))
    with pytest.raises(DBAPIError, match="is not newer than 4"):
        async with cell.cell_transaction() as session:
            await session.execute(
                text("insert into directory_snapshot (version, key_id, body, signature) values (3, 'k1', '', '')")
            )


@pytest.mark.parametrize("login", ["pitboss_worker", "pitboss_relay"])
async def test_worker_and_relay_read_but_do_not_write(cell: Database, cell_database: PlaneDatabase, login: str) -> None:
    await store(cell, signed(4))
    other = Database(create_engine(cell_database.urls[login]), "eu-1", ContextSigner(cell_database.context_keys))
    directory = Directory("eu-1", KEYS)
    assert (await directory.refresh(other)).changed
    with pytest.raises(DBAPIError, match="permission denied"):
        await store(other, signed(5))
    await other.engine.dispose()


async def test_a_process_takes_over_newer_versions_only(cell: Database) -> None:
    directory = Directory("eu-1", KEYS)
    assert directory.age_seconds() is None
    assert (await directory.refresh(cell)).problem == "no directory snapshot is stored yet"
    assert not directory.is_loaded
    await store(cell, signed(1, DirectoryContent()))
    assert (await directory.refresh(cell)).changed
    assert directory.scopes() == []
    await store(cell, signed(2))
    assert (await directory.refresh(cell)).changed
    again = await directory.refresh(cell)
    assert (again.changed, again.problem, directory.version) == (False, "", 2)


async def test_lookups(cell: Database) -> None:
    await store(cell, signed(1))
    directory = Directory("eu-1", KEYS)
    await directory.refresh(cell)
    aurora = directory.find_tenant_by_slug("aurora")
    assert aurora == CONTENT.tenants[0]
    assert directory.find_tenant_by_domain("www.aurora.example") == aurora
    assert directory.find_tenant_by_domain("jade.example") is None
    assert directory.find_tenant_by_slug("jade") is None
    assert directory.find_elsewhere("jade.example") == directory.find_elsewhere_by_slug("jade") == CONTENT.elsewhere[0]
    assert directory.find_elsewhere("aurora.example") is None
    brand = directory.find_brand_by_domain("aurora.example")
    assert brand is not None
    assert brand.slug == "aurora"
    assert directory.find_brand_by_domain("nobody.example") is None
    assert [scope.slug for scope in directory.scopes()] == ["aurora", "paused"]
    assert directory.tenant(TenantScope(1, "aurora", "eu-1")) == aurora
    for foreign in (TenantScope(1, "aurora", "br-1"), TenantScope(9, "nobody", "eu-1")):
        with pytest.raises(TenantUnknown):
            directory.tenant(foreign)


async def test_a_forged_row_is_told_and_not_served(cell: Database) -> None:
    await store(cell, signed(1))
    directory = Directory("eu-1", KEYS)
    await directory.refresh(cell)
    forged = sign_snapshot("eu-1", 2, DirectoryContent(), SigningKey("k1", b"\2" * 32))
    async with cell.cell_transaction() as session:
        await session.execute(
            text("insert into directory_snapshot (version, key_id, body, signature) values (2, 'k1', :body, :mark)"),
            {"body": forged.body, "mark": forged.signature},
        )
    refresh = await directory.refresh(cell)
    assert (refresh.changed, refresh.problem) == (False, "directory snapshot 2 has a bad signature")
    assert directory.find_tenant_by_slug("aurora") is not None


async def test_the_last_good_copy_serves_while_the_database_is_away(
    server_folder: Path, cell_database: PlaneDatabase
) -> None:
    """A server of its own is stopped and started under the directory's connections."""
    from pitboss.migrations.provision import provision
    from pitboss.migrations.upgrade import upgrade

    server = PostgresServer(server_folder / "directory-postgres", free_port(), {"fsync": "off"})
    server.start()
    try:
        urls = {group: f"postgresql://{group}_away:secret@127.0.0.1:{server.port}/away" for group in cell_database.urls}
        await provision(server.admin_url(), urls)
        await upgrade(urls["pitboss_migrate"], "cell", cell_database.context_keys)
        cell = Database(create_engine(urls["pitboss_app"]), "eu-1", ContextSigner(cell_database.context_keys))
        await store(cell, signed(1))
        directory = Directory("eu-1", KEYS)
        await directory.refresh(cell)
        server.stop()
        for _ in range(2):
            refresh = await directory.refresh(cell)
            assert not refresh.changed
            assert refresh.problem.startswith("the database did not answer")
            assert directory.find_tenant_by_domain("aurora.example") is not None
        server.start()
        assert (await directory.refresh(cell)).problem == ""
        await store(cell, signed(2, DirectoryContent()))
        assert (await directory.refresh(cell)).changed
        assert directory.find_tenant_by_domain("aurora.example") is None
        await cell.engine.dispose()
    finally:
        server.remove()
