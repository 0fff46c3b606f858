"""What an apply refuses, because it would break what exists, and who sees what afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories.databases import DatabaseServer, PlaneDatabase
from tests.factories.tenants import (
    count_rows,
    edit,
    open_deployment,
    read_state,
    run_apply,
    twin,
)

import pitboss.directory.service as directory
import pitboss.tenancy.service as tenancy
from pitboss.cli.tenant_apply import Deployment, plan
from pitboss.directory.contracts import SigningKey
from pitboss.directory.errors import SnapshotRefused
from pitboss.kernel.scope import TenantScope
from pitboss.platform.settings import Settings
from pitboss.tenancy.errors import ChangeRefused

JADE = "01a1fbe4-4666-757a-bf99-0000000000aa"


async def refuse(deployment: Deployment, reason: str) -> None:
    """Assert that the apply is refused for `reason` and leaves everything as it was."""
    before = await read_state(deployment)
    with pytest.raises(ChangeRefused, match=reason):
        await run_apply(deployment)
    assert await read_state(deployment) == before


async def add_player(session: AsyncSession, tenant_id: int, brand: str) -> None:
    await session.execute(
        text(
            "insert into player (tenant_id, public_id, brand, language, currency)"
            " values (:tenant, gen_random_uuid(), :brand, 'en', 'EUR')"
        ),
        {"tenant": tenant_id, "brand": brand},
    )


async def live_scope(deployment: Deployment) -> TenantScope:
    async with deployment.control.transaction() as session:
        return TenantScope((await tenancy.get_tenant(session, "aurora")).tenant_id, "aurora", "eu-1")


_SECOND_BRAND = """
[[brands]]
slug = "nova"
name = "Nova"
domains = ["nova.localhost"]
languages = ["pt-BR"]
default_language = "pt-BR"
"""


async def test_a_brand_with_players_stays(deployment: Deployment, tenants_dir: Path) -> None:
    file = tenants_dir / "aurora/tenant.toml"
    file.write_text(file.read_text() + _SECOND_BRAND)
    await run_apply(deployment)
    scope = await live_scope(deployment)
    async with deployment.cell.transaction(scope) as session:
        await add_player(session, scope.tenant_id, "nova")
    edit(tenants_dir, "aurora", _SECOND_BRAND, "")
    await refuse(deployment, "brand nova cannot be removed: it has 1 player accounts")


async def test_an_empty_brand_goes_and_its_domain_is_free(deployment: Deployment, tenants_dir: Path) -> None:
    file = tenants_dir / "aurora/tenant.toml"
    file.write_text(file.read_text() + _SECOND_BRAND)
    await run_apply(deployment)
    edit(tenants_dir, "aurora", _SECOND_BRAND, "")
    edit(tenants_dir, "aurora", '["aurora.localhost"]', '["aurora.localhost", "nova.localhost"]')
    await run_apply(deployment)
    state = await read_state(deployment)
    assert [row[1] for row in state["control.brand"]] == ["aurora"]
    assert state["control.domain"] == [("aurora.localhost", "aurora"), ("nova.localhost", "aurora")]
    types = [row[0] for row in state["control.audit"]]
    assert types[-3:] == ["brand.removed", "domain.updated", "directory.published"]


async def test_a_currency_with_wallets_stays(deployment: Deployment, tenants_dir: Path) -> None:
    edit(tenants_dir, "aurora", 'currencies = ["EUR"]', 'currencies = ["EUR", "BRL"]')
    await run_apply(deployment)
    scope = await live_scope(deployment)
    async with deployment.cell.transaction(scope) as session:
        await session.execute(
            text("insert into wallet (tenant_id, player_id, currency) values (:tenant, 1, 'BRL')"),
            {"tenant": scope.tenant_id},
        )
    edit(tenants_dir, "aurora", 'currencies = ["EUR", "BRL"]', 'currencies = ["EUR"]')
    await refuse(deployment, "currency BRL cannot be removed: 1 wallets are kept in it")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('environment = "demo"', 'environment = "production"', "environment never changes: it is demo"),
        ("01a1fbe4-4666-757a-bf99-969a96f72ab2", JADE, "public_id never changes"),
    ],
)
async def test_identity_never_changes(
    deployment: Deployment, tenants_dir: Path, old: str, new: str, reason: str
) -> None:
    await run_apply(deployment)
    edit(tenants_dir, "aurora", old, new)
    await refuse(deployment, reason)


async def test_a_closed_tenant_is_not_touched(deployment: Deployment, tenants_dir: Path) -> None:
    await run_apply(deployment)
    async with deployment.control.transaction() as session:
        await session.execute(text("update tenant set state = 'closed'"))
    edit(tenants_dir, "aurora", 'name = "Aurora Play"\npublic', 'name = "Other"\npublic')
    await refuse(deployment, "the tenant is closed")


async def test_a_suspended_tenant_stays_suspended(deployment: Deployment, tenants_dir: Path) -> None:
    await run_apply(deployment)
    async with deployment.control.transaction() as session:
        await session.execute(text("update tenant set state = 'suspended'"))
    assert await run_apply(deployment) == 2  # published and stored: the cell learns it
    async with deployment.cell.cell_transaction() as session:
        snapshot = await directory.load_snapshot(session, cell="eu-1", keys=deployment.public_keys)
    assert snapshot is not None
    assert snapshot.content.tenants[0].state == "suspended"


async def test_a_domain_and_a_public_id_belong_to_one_tenant(deployment: Deployment, tenants_dir: Path) -> None:
    """Control refuses what the files of one folder cannot know: the other tenant's folder is gone."""
    await run_apply(deployment)
    twin(tenants_dir, "jade", "01a1fbe4-4666-757a-bf99-969a96f72ab2")
    edit(tenants_dir, "jade", "jade.localhost", "aurora.localhost")
    (tenants_dir / "aurora").rename(tenants_dir / ".aurora")
    before = await read_state(deployment)
    with pytest.raises(ChangeRefused) as refused:
        await run_apply(deployment, "jade")
    assert "public_id 01a1fbe4-4666-757a-bf99-969a96f72ab2 belongs to tenant aurora" in str(refused.value)
    assert "domain aurora.localhost belongs to tenant aurora" in str(refused.value)
    assert await read_state(deployment) == before


async def test_a_tenant_of_another_cell_is_not_applied_here(deployment: Deployment, settings: Settings) -> None:
    elsewhere = open_deployment(msgspec.structs.replace(settings, cell="eu-2"))
    with pytest.raises(ChangeRefused, match="lives in cell eu-1, for which there is no database login here"):
        await run_apply(elsewhere)
    await elsewhere.close()
    assert count_rows(await read_state(deployment)) == 0


async def test_a_cell_that_does_not_know_the_key_keeps_what_it_has(deployment: Deployment, settings: Settings) -> None:
    await run_apply(deployment)
    rotated = open_deployment(settings)
    rotated.signing_key = SigningKey("new", b"\3" * 32)
    with pytest.raises(SnapshotRefused):
        await run_apply(rotated)
    async with deployment.cell.cell_transaction() as session:
        assert await directory.get_version(session) == 1
    await rotated.close()
    assert await run_apply(deployment) > 0  # signed with the known key again
    async with deployment.cell.cell_transaction() as session:
        assert await directory.get_version(session) == 3


async def test_a_control_that_lost_versions_is_refused(
    deployment: Deployment, database_server: DatabaseServer, settings: Settings, cell_database: PlaneDatabase
) -> None:
    """A control restored from an old copy must not talk a cell back into an old directory."""
    edit(settings.tenants_dir, "aurora", 'name = "Aurora Play"\npublic', 'name = "First"\npublic')
    await run_apply(deployment)
    edit(settings.tenants_dir, "aurora", "First", "Second")
    await run_apply(deployment)
    async with deployment.control.transaction() as session:
        with pytest.raises(Exception, match="permission denied"):
            await session.execute(text("delete from published_directory"))
    restored = database_server.clone("control")
    control = await asyncio.to_thread(restored.__enter__)
    try:
        behind = open_deployment(msgspec.structs.replace(settings, control_database_url=control.app_url))
        found = await plan(behind, behind.workshop.check("aurora"))
        assert found.refusals == ("cell eu-1 holds directory 2, control has published only 1",)
        await behind.close()
    finally:
        await asyncio.to_thread(restored.__exit__, None, None, None)


async def test_rows_of_one_tenant_are_nothing_to_another(deployment: Deployment, tenants_dir: Path) -> None:
    twin(tenants_dir, "jade", JADE)
    await run_apply(deployment)
    await run_apply(deployment, "jade")
    async with deployment.control.transaction() as session:
        numbers = {tenant.slug: tenant.tenant_id for tenant in await tenancy.list_tenants(session)}
    queries = {
        table: text(f"select count(*) from {table} where tenant_id = :other")
        for table in ("house_account", "source", "plugin_enablement", "audit_event")
    }
    for slug, other in (("aurora", "jade"), ("jade", "aurora")):
        async with deployment.cell.transaction(TenantScope(numbers[slug], slug, "eu-1")) as session:
            for query in queries.values():
                assert await session.scalar(query, {"other": numbers[slug]}) > 0
                assert await session.scalar(query, {"other": numbers[other]}) == 0
    async with deployment.cell.cell_transaction() as session:
        for query in queries.values():
            assert await session.scalar(query, {"other": numbers["jade"]}) == 0


async def test_other_cells_learn_only_where_a_tenant_lives(deployment: Deployment) -> None:
    async with deployment.control.transaction() as session:
        await session.execute(
            text("insert into cell (cell, locality, address) values ('br-1', 'br', 'https://br-1.example')")
        )
    await run_apply(deployment)
    async with deployment.control.transaction() as session:
        published = await tenancy.find_published(session, "br-1")
    assert published is not None
    assert b"aurora.localhost" in published.body
    for private in (b"Aurora Play", b"EUR", b"softswiss", b"tenant_id", b"01a1fbe4"):
        assert private not in published.body
