"""A tenant with two licences: its files, what control and cell hold, what may not be taken away from players."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text
from tests.factories.databases import PlaneDatabase
from tests.factories.players import make_registration, register
from tests.factories.tenants import ROOT, edit, environment_of, read_state, run_apply, tenant_settings
from tests.integration.limits.lawful import BRAZIL_PACK

import pitboss.policy.service as policy
import pitboss.tenancy.service as tenancy
from pitboss.accounts.contracts import BrandTerms, Player
from pitboss.accounts.runtime import Passwords
from pitboss.bootstrap import cli
from pitboss.cli.tenant_apply import Deployment, plan, prepare
from pitboss.directory.rules import verify_snapshot
from pitboss.hosting.errors import OrderRefused
from pitboss.kernel.scope import TenantScope
from pitboss.platform.settings import Settings
from pitboss.tenancy.errors import ChangeRefused, TenantFilesInvalid

BRAZILIAN = """
[[brands]]
slug = "mata"
name = "Mata"
domains = ["mata.localhost"]
languages = ["pt-BR"]
default_language = "pt-BR"
pack = "br_spa"
"""
OF_MALTA = 'default_language = "en"\n'


@pytest.fixture
def settings(
    control_database: PlaneDatabase, cell_database: PlaneDatabase, tenants_dir: Path, tmp_path: Path
) -> Settings:
    """Settings of a deployment whose cell in the EU may run both packs: its file says which laws hold there."""
    cells = tmp_path / "cells"
    cells.mkdir()
    for file in (ROOT / "deploy/cells").glob("*.toml"):
        (cells / file.name).write_text(file.read_text() + (BRAZIL_PACK if file.name == "eu-1.toml" else ""))
    made = tenant_settings(control_database, cell_database, tenants_dir)
    return msgspec.structs.replace(made, cell_file=cells / "eu-1.toml")


@pytest.fixture
def both(tenants_dir: Path) -> Path:
    """The folder of tenants in which Aurora has a second licence, and a brand under it."""
    edit(tenants_dir, "aurora", 'packs = ["mt_mga"]', 'packs = ["mt_mga", "br_spa"]')
    edit(tenants_dir, "aurora", OF_MALTA, f'{OF_MALTA}pack = "mt_mga"\n{BRAZILIAN}')
    return tenants_dir


def run(settings: Settings, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words], env=environment_of(settings))


async def scope_of(deployment: Deployment) -> TenantScope:
    async with deployment.control.transaction() as session:
        return TenantScope((await tenancy.get_tenant(session, "aurora")).tenant_id, "aurora", "eu-1")


async def enter(deployment: Deployment, brand: str, licence: str) -> Player:
    terms = BrandTerms(brand, ("en",), "en", ("EUR",), licence)
    return await register(deployment.cell, Passwords(), make_registration(), await scope_of(deployment), terms)


@pytest.mark.usefixtures("both")
async def test_each_brand_is_applied_under_its_own_pack(deployment: Deployment) -> None:
    await run_apply(deployment)
    assert await run_apply(deployment) == 0
    state = await read_state(deployment)
    assert [(row[1], row[4], row[5]) for row in state["control.brand"] if row[0] == "aurora"] == [
        ("aurora", "en", "mt_mga"),
        ("mata", "pt-BR", "br_spa"),
    ]
    async with deployment.control.transaction() as session:
        published = await tenancy.find_published(session, "eu-1")
    assert published is not None
    (told,) = verify_snapshot(published, "eu-1", deployment.public_keys).content.tenants
    assert {brand.slug: told.licence_of(brand) for brand in told.brands} == {"aurora": "mt_mga", "mata": "br_spa"}
    async with deployment.cell.transaction(await scope_of(deployment)) as session:
        applied = await policy.find_applied(session, await scope_of(deployment))
    assert applied is not None
    assert applied.packs.keys() == {"mt_mga", "br_spa"}


async def test_a_brand_of_several_licences_has_to_say_which(deployment: Deployment, both: Path) -> None:
    edit(both, "aurora", 'pack = "mt_mga"\n', "")
    edit(both, "aurora", 'pack = "br_spa"\n', 'pack = "se_sga"\n')
    with pytest.raises(TenantFilesInvalid) as refused:
        await run_apply(deployment)
    assert [str(problem) for problem in refused.value.problems] == [
        "aurora/tenant.toml: brands[0].pack: missing; a brand is under one of the tenant's packs: mt_mga, br_spa",
        "aurora/tenant.toml: brands[1].pack: se_sga is not among the tenant's packs: mt_mga, br_spa",
    ]


async def test_a_pack_stays_while_players_are_under_it(deployment: Deployment, both: Path) -> None:
    await run_apply(deployment)
    await enter(deployment, "aurora", "mt_mga")
    player = await enter(deployment, "mata", "br_spa")
    assert player.licence == "br_spa"
    # The brand is moved to the other licence: its player stays where he registered, and keeps the pack here.
    edit(both, "aurora", 'pack = "br_spa"', 'pack = "mt_mga"')
    moved = await plan(deployment, deployment.workshop.check("aurora"))
    assert ("brands.mata.pack", "br_spa", "mt_mga") in [(each.path, each.before, each.after) for each in moved.entries]
    assert moved.refusals == ()
    edit(both, "aurora", '"mt_mga", "br_spa"', '"mt_mga"')
    before = await read_state(deployment)
    with pytest.raises(ChangeRefused, match="pack br_spa cannot be removed: 1 player accounts are under it"):
        await run_apply(deployment)
    assert await read_state(deployment) == before
    edit(both, "aurora", '["mt_mga"]', '["mt_mga", "br_spa"]')
    await run_apply(deployment)
    async with deployment.cell.transaction(await scope_of(deployment)) as session:
        assert await session.scalar(text("select licence from player where brand = 'mata'")) == "br_spa"


async def test_a_plan_that_players_overtook_takes_no_pack_from_them(deployment: Deployment, both: Path) -> None:
    await run_apply(deployment)
    edit(both, "aurora", BRAZILIAN, "")
    edit(both, "aurora", '"mt_mga", "br_spa"', '"mt_mga"')
    folder = deployment.workshop.check("aurora")
    assert (await plan(deployment, folder)).refusals == ()
    await enter(deployment, "mata", "br_spa")
    before = await read_state(deployment)
    with pytest.raises(OrderRefused, match="pack br_spa cannot be removed: 1 player accounts"):
        await prepare(deployment, folder)
    assert await read_state(deployment) == before


async def test_a_pack_without_players_goes(deployment: Deployment, both: Path) -> None:
    await run_apply(deployment)
    await enter(deployment, "aurora", "mt_mga")
    edit(both, "aurora", BRAZILIAN, "")
    edit(both, "aurora", '"mt_mga", "br_spa"', '"mt_mga"')
    await run_apply(deployment)
    state = await read_state(deployment)
    assert [row[5] for row in state["control.brand"]] == ["mt_mga"]


async def test_players_without_a_licence_get_none_by_an_apply(deployment: Deployment, tenants_dir: Path) -> None:
    edit(tenants_dir, "aurora", 'packs = ["mt_mga"]', "packs = []")
    await run_apply(deployment)
    await enter(deployment, "aurora", "")
    edit(tenants_dir, "aurora", "packs = []", 'packs = ["mt_mga"]')
    with pytest.raises(ChangeRefused, match="packs cannot be added: 1 player accounts are under none"):
        await run_apply(deployment)


@pytest.mark.usefixtures("both")
async def test_no_login_changes_the_licence_of_a_player_or_a_wallet(deployment: Deployment) -> None:
    await run_apply(deployment)
    await enter(deployment, "mata", "br_spa")
    scope = await scope_of(deployment)
    for table in ("player", "wallet"):
        with pytest.raises(Exception, match="permission denied"):
            async with deployment.cell.transaction(scope) as session:
                await session.execute(text(f"update {table} set licence = 'mt_mga'"))


async def test_what_is_held_is_exported_with_the_packs_of_brands_and_is_no_drift(
    deployment: Deployment, settings: Settings, both: Path, tmp_path: Path
) -> None:
    await run_apply(deployment)
    drift = await asyncio.to_thread(run, settings, "tenant", "drift", "aurora")
    assert (drift.exit_code, drift.output) == (0, "aurora: as its files say\n")
    written = await asyncio.to_thread(run, settings, "tenant", "export", "aurora", "--into", str(tmp_path / "held"))
    assert written.exit_code == 0, written.output
    exported = (tmp_path / "held/aurora/tenant.toml").read_text()
    assert exported.count('pack = "mt_mga"') == exported.count('pack = "br_spa"') == 1
    edit(both, "aurora", 'pack = "br_spa"', 'pack = "mt_mga"')
    moved = await asyncio.to_thread(run, settings, "tenant", "drift", "aurora")
    assert 'brands.mata.pack  file: "mt_mga"  held: "br_spa"' in moved.output


def test_a_new_tenant_of_two_packs_has_a_brand_under_the_first(settings: Settings, tenants_dir: Path) -> None:
    made = run(settings, "tenant", "new", "duo", "--cell=eu-1", "--pack=br_spa", "--pack=mt_mga")
    assert made.exit_code == 0, made.output
    assert 'pack = "br_spa"' in (tenants_dir / "duo/tenant.toml").read_text()
    assert run(settings, "tenant", "check", "duo").exit_code == 0


@pytest.mark.usefixtures("both")
async def test_what_applies_is_explained_for_a_brand_and_for_a_player(
    deployment: Deployment, settings: Settings
) -> None:
    await run_apply(deployment)
    player = await enter(deployment, "mata", "br_spa")

    async def explain(*words: str) -> list[str]:
        shown = await asyncio.to_thread(run, settings, "policy", "explain", "aurora", "--json", *words)
        assert shown.exit_code == 0, shown.output
        return [row["licence"] for row in json.loads(shown.output)]

    assert sorted(await explain()) == ["br_spa", "mt_mga"]
    assert await explain("--licence", "mt_mga") == ["mt_mga"]
    assert await explain("--brand", "mata") == ["br_spa"]
    assert await explain("--brand", "aurora") == ["mt_mga"]
    assert await explain("--player", str(player.public_id)) == ["br_spa"]
    for words, said in (
        (("--brand", "nobody"), "unknown brand nobody; known are aurora, mata"),
        (("--brand", "mata", "--licence", "mt_mga"), "give one of --licence, --brand and --player"),
    ):
        refused = await asyncio.to_thread(run, settings, "policy", "explain", "aurora", *words)
        assert (refused.exit_code != 0, said in refused.output) == (True, True), refused.output
