"""Packs and `policy.toml` on the way from a tenant's files into control and cell."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from tests.factories.tenants import edit, read_state, run_apply

from pitboss.cli.tenant_apply import Deployment, plan
from pitboss.kernel.scope import TenantScope
from pitboss.tenancy.errors import TenantFilesInvalid


@pytest.mark.parametrize(
    ("packs", "refusal"),
    [
        (
            '["mt_mga", "se_sga"]',
            "aurora/tenant.toml: packs[1]: pack 'se_sga': is not installed; installed are br_spa, mt_mga",
        ),
        (
            '["br_spa"]',
            "aurora/tenant.toml: packs[0]: pack 'br_spa': distribution 'pitboss-pack-br-spa' is not allowed in cell eu-1",
        ),
    ],
)
async def test_a_pack_that_is_not_here_is_refused(
    deployment: Deployment, tenants_dir: Path, packs: str, refusal: str
) -> None:
    edit(tenants_dir, "aurora", 'packs = ["mt_mga"]', f"packs = {packs}")
    before = await read_state(deployment)
    with pytest.raises(TenantFilesInvalid) as refused:
        await run_apply(deployment)
    assert refusal in [str(problem) for problem in refused.value.problems]
    assert await read_state(deployment) == before


@pytest.mark.parametrize(
    ("policy", "refusal"),
    [
        ("minimum_age_years = 17", "aurora/policy.toml: minimum_age_years: 17 is looser than 18 of platform (platform"),
        ("minimum_age = 21", "aurora/policy.toml: minimum_age: is not a key here"),
        ("minimum_age_years = ", "aurora/policy.toml: not TOML: "),
        ("[licences.br_spa]", "aurora/policy.toml: licences.br_spa: tenant.toml does not list this pack"),
    ],
)
async def test_a_policy_that_is_looser_or_wrong_is_refused(
    deployment: Deployment, tenants_dir: Path, policy: str, refusal: str
) -> None:
    (tenants_dir / "aurora/policy.toml").write_text(policy)
    before = await read_state(deployment)
    with pytest.raises(TenantFilesInvalid) as refused:
        await run_apply(deployment)
    (problem,) = map(str, refused.value.problems)
    assert problem.startswith(refusal)
    assert await read_state(deployment) == before


async def test_a_change_of_the_policy_is_planned_applied_and_then_no_change(
    deployment: Deployment, tenants_dir: Path
) -> None:
    await run_apply(deployment)
    (tenants_dir / "aurora/policy.toml").write_text("reality_check_minutes = 20\nminimum_age_years = 21\n")
    folder = deployment.workshop.check("aurora")
    planned = await plan(deployment, folder)
    assert [(entry.action, entry.path, entry.before, entry.after) for entry in planned.entries] == [
        ("+", "policy.figures.minimum_age_years", None, 21),
        ("~", "policy.figures.reality_check_minutes", 30, 20),
    ]
    assert await run_apply(deployment) == 2
    assert await run_apply(deployment) == 0
    async with deployment.control.transaction() as session:
        tenant_id = await session.scalar(text("select tenant_id from tenant where slug = 'aurora'"))
    async with deployment.cell.transaction(TenantScope(int(tenant_id or 0), "aurora", "eu-1")) as session:
        stored = (await session.execute(text("select policy, packs from tenant_policy"))).one()
    assert stored.policy == {"reality_check_minutes": 20, "minimum_age_years": 21}
    assert stored.packs == {"mt_mga": "0.1.0"}
