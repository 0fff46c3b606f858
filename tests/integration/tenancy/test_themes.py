"""Themes of a tenant's files: planned with their contrast, applied once, audited, and gone when the files drop them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.factories.tenants import read_state, run_apply, twin

import pitboss.tenancy.service as tenancy
import pitboss.themes.service as themes
from pitboss.cli.tenant_apply import Deployment, apply, plan
from pitboss.cli.tenant_drift import find_drift
from pitboss.kernel.scope import TenantScope
from pitboss.tenancy.errors import TenantFilesInvalid

GREEN = '[brands.aurora]\ncolour = "#0B6E4F"\nnames = { es = "Aurora Sur" }\n'


async def scope_of(deployment: Deployment, slug: str = "aurora") -> TenantScope:
    async with deployment.control.transaction() as session:
        return TenantScope((await tenancy.get_tenant(session, slug)).tenant_id, slug, "eu-1")


async def test_a_change_is_planned_with_its_contrast_and_audited(deployment: Deployment, tenants_dir: Path) -> None:
    await run_apply(deployment)
    (tenants_dir / "aurora/theme/theme.toml").write_text(GREEN)
    (tenants_dir / "aurora/theme/aurora.png").unlink()
    changes = await apply(deployment, deployment.workshop.check("aurora"))
    told = {entry.path: (entry.action, entry.after) for entry in changes.entries}
    assert told.pop("theme.aurora.version")[0] == "~"
    assert told == {
        "theme.aurora.colour": ("~", "#0b6e4f"),
        "theme.aurora.light": ("~", "#0b6e4f 5.6:1, words on it #ffffff 6.2:1, ring #0b6e4f 5.6:1"),
        "theme.aurora.dark": ("~", "#429775 4.5:1, words on it #0f1319 5.2:1, ring #429775 4.5:1"),
        "theme.aurora.logo": ("-", None),
        "theme.aurora.names.es": ("+", "Aurora Sur"),
    }
    assert (await plan(deployment, deployment.workshop.check("aurora"))).entries == ()
    state = await read_state(deployment)
    assert [row[0] for row in state["cell.audit"]].count("theme.applied") == 2
    ((brand, _, colour, _, sheet, logo, logo_type),) = state["cell.theme"]
    assert (brand, colour, logo, logo_type) == ("aurora", "#0b6e4f", None, None)
    assert "--brand: #429775;" in sheet


async def test_a_theme_that_the_files_drop_is_gone(deployment: Deployment, tenants_dir: Path) -> None:
    await run_apply(deployment)
    shutil.rmtree(tenants_dir / "aurora/theme")
    await run_apply(deployment)
    state = await read_state(deployment)
    assert state["cell.theme"] == []
    assert "theme.removed" in [row[0] for row in state["cell.audit"]]
    assert await run_apply(deployment) == 0


async def test_a_theme_of_an_older_derivation_is_derived_anew(deployment: Deployment) -> None:
    await run_apply(deployment)
    good = (await read_state(deployment))["cell.theme"]
    scope = await scope_of(deployment)
    async with deployment.cell.transaction(scope) as session:
        await session.execute(text("update brand_theme set version = 'old', stylesheet = ''"))
    drift = await find_drift(deployment, "aurora")
    assert [(each.path, each.held) for each in drift.differences] == [("theme.aurora.version", "old")]
    assert drift.differences[0].changed is not None
    assert drift.differences[0].changed.type == "theme.applied"
    await run_apply(deployment)
    assert (await read_state(deployment))["cell.theme"] == good


async def test_a_colour_out_of_reach_changes_nothing(deployment: Deployment, tenants_dir: Path) -> None:
    await run_apply(deployment)
    before = await read_state(deployment)
    file = tenants_dir / "aurora/theme/theme.toml"
    file.write_text(file.read_text().replace("#7a3fc4", "#000000"))
    with pytest.raises(TenantFilesInvalid, match="on the dark page, words need"):
        await run_apply(deployment)
    assert await read_state(deployment) == before


async def test_one_tenant_neither_sees_nor_changes_the_theme_of_another(
    deployment: Deployment, tenants_dir: Path
) -> None:
    await run_apply(deployment)
    twin(tenants_dir, "jade", "01a1fbe4-4666-757a-bf99-0000000000aa")
    await run_apply(deployment, "jade")
    aurora, jade = await scope_of(deployment), await scope_of(deployment, "jade")
    by = deployment.by
    async with deployment.cell.transaction(jade) as session:
        assert list(await themes.list_themes(session, jade)) == ["jade"]
        assert await themes.find_served(session, aurora, "aurora") is None  # asked under the context of another
        await themes.apply_themes(session, jade, {}, actor=by.actor, origin=by.origin)
    async with deployment.cell.transaction(aurora) as session:
        assert list(await themes.list_themes(session, aurora)) == ["aurora"]
