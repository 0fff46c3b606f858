"""A tenant goes from a test cell to a live one by its files: contents go with it; ids, players and secrets do not."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text
from tests.factories.databases import DatabaseServer, PlaneDatabase
from tests.factories.tenants import (
    ROOT,
    edit,
    environment_of,
    open_deployment,
    run_apply,
    tenant_settings,
    write_plugin_secrets,
)

import pitboss.tenancy.service as tenancy
from pitboss.bootstrap import cli
from pitboss.cli.tenant_apply import Deployment, Held, plan, read_held
from pitboss.kernel.scope import TenantScope
from pitboss.platform.settings import Settings
from pitboss.tenancy.errors import TenantFilesInvalid


def give_cells(folder: Path, *names: str) -> Path:
    """Write the files of cells in Europe, each like `eu-1`, and return the folder."""
    folder.mkdir(parents=True)
    for name in names:
        content = (ROOT / "deploy/cells/eu-1.toml").read_text()
        (folder / f"{name}.toml").write_text(content.replace('"eu-1"', f'"{name}"'))
    return folder


@pytest.fixture
def test_settings(
    control_database: PlaneDatabase, cell_database: PlaneDatabase, tenants_dir: Path, tmp_path: Path
) -> Settings:
    """An installation for tests: its one cell is `eu-test`, and Aurora lives there."""
    shutil.rmtree(tenants_dir / "jangada")
    edit(tenants_dir, "aurora", 'cell = "eu-1"', 'cell = "eu-test"')
    edit(tenants_dir, "aurora", '["aurora.localhost"]', '["aurora.test.example"]')
    file = give_cells(tmp_path / "test-cells", "eu-test", "eu-1") / "eu-test.toml"
    secrets_file = tmp_path / "test-secrets.toml"
    write_plugin_secrets(secrets_file, tenants_dir)
    settings = tenant_settings(control_database, cell_database, tenants_dir)
    return msgspec.structs.replace(settings, cell="eu-test", cell_file=file, secrets_file=secrets_file)


@asynccontextmanager
async def open_live(server: DatabaseServer, tmp_path: Path) -> AsyncGenerator[Deployment]:
    """Open another installation, with a control, a cell, and a secret store of its own."""
    planes = [server.clone("control"), server.clone("cell")]
    control, cell = [await asyncio.to_thread(plane.__enter__) for plane in planes]
    file = give_cells(tmp_path / "live-cells", "eu-1") / "eu-1.toml"
    secrets_file = tmp_path / "live-secrets.toml"
    write_plugin_secrets(secrets_file, tmp_path / "live")
    settings = tenant_settings(control, cell, tmp_path / "live")
    live = open_deployment(msgspec.structs.replace(settings, cell_file=file, secrets_file=secrets_file))
    try:
        yield live
    finally:
        await live.close()
        for plane in planes:
            await asyncio.to_thread(plane.__exit__, None, None, None)


async def export(settings: Settings, *words: str) -> Result:
    environ = environment_of(settings)
    return await asyncio.to_thread(CliRunner().invoke, cli, ["tenant", "export", *words], env=environ)


def contents(held: Held) -> object:
    """Return what a tenant is, without who and where it is."""
    folder = held.folder
    brands = [msgspec.structs.replace(brand, domains=()) for brand in folder.tenant.brands]
    lists = (folder.tenant.currencies, folder.tenant.packs, folder.tenant.plugins)
    return (folder.tenant.name, brands, lists, folder.plugins, folder.policy, folder.theme, folder.images)


async def test_a_tenant_goes_live_by_file(
    test_settings: Settings, database_server: DatabaseServer, tmp_path: Path
) -> None:
    tried = open_deployment(test_settings)
    await run_apply(tried)
    async with tried.control.transaction() as session:
        number = (await tenancy.get_tenant(session, "aurora")).tenant_id
    async with tried.cell.transaction(TenantScope(number, "aurora", "eu-test")) as session:
        await session.execute(
            text(
                "insert into player (tenant_id, public_id, brand, language, currency)"
                " values (:tenant, gen_random_uuid(), 'aurora', 'en', 'EUR')"
            ),
            {"tenant": number},
        )
    words = ("--cell", "eu-1", "--environment", "production", "--domain", "aurora.example")
    written = await export(test_settings, "aurora", "--into", str(tmp_path / "live"), *words)
    assert written.exit_code == 0, written.output
    assert "before it can be applied" not in written.stderr
    assert "lobby_url = 'http://aurora.localhost:8081/' is an address" in written.stderr
    whole = b"".join(path.read_bytes() for path in (tmp_path / "live").rglob("*") if path.is_file())
    assert test_settings.secrets_file is not None
    values = [line.partition(" = ")[2].strip('"') for line in test_settings.secrets_file.read_text().splitlines()]
    assert len(values) >= 3
    assert not [value for value in values if value.encode() in whole]
    async with open_live(database_server, tmp_path) as live:
        await run_apply(live)
        before, after = await read_held(tried, "aurora"), await read_held(live, "aurora")
        async with live.cell.transaction(TenantScope(after.record.tenant_id, "aurora", "eu-1")) as session:
            assert await session.scalar(text("select count(*) from player")) == 0
    await tried.close()
    assert contents(after) == contents(before)
    assert after.record.public_id != before.record.public_id
    assert (after.record.cell, after.record.environment) == ("eu-1", "production")
    assert after.record.brands[0].domains == ("aurora.example",)


async def test_a_secret_that_the_live_cell_lacks_is_named(
    test_settings: Settings, database_server: DatabaseServer, tmp_path: Path
) -> None:
    tried = open_deployment(test_settings)
    await run_apply(tried)
    await tried.close()
    assert (await export(test_settings, "aurora", "--into", str(tmp_path / "live"), "--cell", "eu-1")).exit_code == 0
    async with open_live(database_server, tmp_path) as live:
        assert live.workshop.settings.secrets_file is not None
        live.workshop.settings.secrets_file.write_text('other = "x"\n')
        with pytest.raises(TenantFilesInvalid, match="no value for demo-softswiss-api-secret"):
            await run_apply(live)


@pytest.fixture
def live_cell(database_server: DatabaseServer) -> Iterator[PlaneDatabase]:
    """The database of a second cell."""
    with database_server.clone("cell") as database:
        yield database


async def test_in_one_installation_a_promoted_tenant_is_another_one(
    test_settings: Settings, live_cell: PlaneDatabase
) -> None:
    tried = open_deployment(test_settings)
    await run_apply(tried)
    assert (await export(test_settings, "aurora", "--replace", "--cell", "eu-1")).exit_code == 0
    file = test_settings.cell_file.parent / "eu-1.toml"
    both = msgspec.structs.replace(test_settings, cell="eu-1", cell_file=file, cell_database_url=live_cell.app_url)
    elsewhere = open_deployment(both)
    refused = (await plan(elsewhere, elsewhere.workshop.check("aurora"))).refusals
    assert "cell never changes: it is eu-test, the file says eu-1" in refused
    assert [refusal for refusal in refused if refusal.startswith("public_id never changes")]
    words = ("--as", "aurora-live", "--cell", "eu-1", "--domain", "aurora.example")
    assert (await export(test_settings, "aurora", *words)).exit_code == 0
    assert await run_apply(elsewhere, "aurora-live") > 20
    async with tried.control.transaction() as session:
        found = {record.slug: record for record in await tenancy.list_tenants(session)}
    await tried.close()
    await elsewhere.close()
    assert {slug: record.cell for slug, record in found.items()} == {"aurora": "eu-test", "aurora-live": "eu-1"}
    assert found["aurora"].public_id != found["aurora-live"].public_id


async def test_a_promotion_into_another_zone_is_held_against_it(test_settings: Settings, tmp_path: Path) -> None:
    tried = open_deployment(test_settings)
    await run_apply(tried)
    await tried.close()
    shutil.copy(ROOT / "deploy/cells/br-1.toml", test_settings.cell_file.parent)
    written = await export(test_settings, "aurora", "--into", str(tmp_path / "live"), "--cell", "br-1")
    assert written.exit_code == 0
    assert 'locality = "br"' in (tmp_path / "live/aurora/tenant.toml").read_text()
    assert "pack 'mt_mga': distribution 'pitboss-pack-mt-mga' is not allowed in cell br-1" in written.stderr
    edit(tmp_path / "live", "aurora", 'locality = "br"', 'locality = "eu"')
    moved = open_deployment(msgspec.structs.replace(test_settings, tenants_dir=tmp_path / "live"))
    with pytest.raises(TenantFilesInvalid, match="locality: cell br-1 lies in br, not in eu"):
        moved.workshop.check("aurora")
    await moved.close()


async def test_several_brands_are_given_domains_in_the_file(test_settings: Settings, tmp_path: Path) -> None:
    file = test_settings.tenants_dir / "aurora/tenant.toml"
    brand = '\n[[brands]]\nslug = "nova"\nname = "Nova"\ndomains = ["nova.example"]\n'
    file.write_text(file.read_text() + brand + 'languages = ["es"]\ndefault_language = "es"\n')
    tried = open_deployment(test_settings)
    await run_apply(tried)
    await tried.close()
    refused = await export(test_settings, "aurora", "--into", str(tmp_path / "live"), "--domain", "a.example")
    assert refused.exit_code == 2
    assert "there are several brands" in refused.output
    assert not (tmp_path / "live/aurora").exists()
