"""Applying tenants' files: idempotent and audited, told by a plan before, run from the command line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from click.testing import CliRunner
from sqlalchemy import text
from tests.factories.tenants import (
    State,
    count_rows,
    edit,
    environment_of,
    read_state,
    run_apply,
)

import pitboss.directory.service as directory
import pitboss.plughost.service as plughost
import pitboss.tenancy.service as tenancy
from pitboss.bootstrap import cli
from pitboss.cli.tenant_apply import STEPS, Deployment, apply, plan
from pitboss.kernel.scope import TenantScope
from pitboss.platform.settings import Settings


async def test_an_apply_makes_a_tenant_that_serves(deployment: Deployment, settings: Settings) -> None:
    assert await run_apply(deployment) > 20
    async with deployment.control.transaction() as session:
        tenant = await tenancy.get_tenant(session, "aurora")
    assert tenant.state == "active"
    async with deployment.cell.cell_transaction() as session:
        snapshot = await directory.load_snapshot(session, cell="eu-1", keys=deployment.public_keys)
    assert snapshot is not None
    told = snapshot.content.tenants[0]
    assert (told.tenant_id, told.slug, told.brands[0].domains) == (tenant.tenant_id, "aurora", ("aurora.localhost",))
    assert (told.currencies, told.plugins) == (("EUR",), ("hub88", "softswiss"))
    scope = TenantScope(tenant.tenant_id, "aurora", "eu-1")
    async with deployment.cell.transaction(scope) as session:
        assert [found.slug for found in await plughost.list_enabled(session, scope)] == ["hub88", "softswiss"]


async def test_each_change_is_audited_once(deployment: Deployment, untroubled: State) -> None:
    types = [row[0] for row in untroubled["control.audit"]]
    assert types == [
        "cell.registered",
        "tenant.reserved",
        "tenant.updated",
        "brand.added",
        "domain.added",
        "tenant.activated",
        "directory.published",
    ]
    assert [row[0] for row in untroubled["cell.audit"]] == [
        "keys.prepared",
        "ledger.prepared",
        "plugin.enabled",
        "plugin.enabled",
        "policy.applied",
        "theme.applied",
    ]


async def test_a_second_apply_changes_nothing(deployment: Deployment) -> None:
    await run_apply(deployment)
    before = await read_state(deployment)
    assert await run_apply(deployment) == 0
    assert await read_state(deployment) == before
    for step in STEPS:  # also when every step runs again
        await step(deployment, deployment.workshop.check("aurora"))
    assert await read_state(deployment) == before


async def test_a_plan_changes_nothing(deployment: Deployment) -> None:
    before = await read_state(deployment)
    folder = deployment.workshop.check("aurora")
    first = await plan(deployment, folder)
    assert first.entries
    assert await plan(deployment, folder) == first
    assert await read_state(deployment) == before
    assert count_rows(before) == 0


async def test_a_plan_says_what_the_apply_does(deployment: Deployment) -> None:
    folder = deployment.workshop.check("aurora")
    assert await plan(deployment, folder) == await apply(deployment, folder)


async def test_a_change_is_told_applied_and_audited(deployment: Deployment, tenants_dir: Path) -> None:
    await run_apply(deployment)
    before = await read_state(deployment)
    edit(tenants_dir, "aurora", 'currencies = ["EUR"]', 'currencies = ["EUR", "BRL"]')
    edit(tenants_dir, "aurora", '["aurora.localhost"]', '["aurora.example", "aurora.localhost"]')
    config = tenants_dir / "aurora/plugins/softswiss.toml"
    config.write_text(config.read_text().replace('"aurora"', '"aurora-2"'))
    changes = await apply(deployment, deployment.workshop.check("aurora"))
    assert {(entry.action, entry.path) for entry in changes.entries} == {
        ("+", "currencies.BRL"),
        ("+", "domains.aurora.example"),
        ("~", "directory.eu-1.published"),
        ("~", "directory.eu-1.stored"),
        ("+", "ledger.game_revenue.BRL.hub88"),
        ("+", "ledger.game_revenue.BRL.softswiss"),
        ("+", "ledger.bonus_cost.BRL"),
        ("+", "ledger.adjustments.BRL"),
        ("+", "ledger.clearing.BRL.manual"),
        ("~", "plugin.softswiss.config.casino_id"),
    }
    after = await read_state(deployment)
    assert [row[0] for row in after["control.audit"][len(before["control.audit"]) :]] == [
        "tenant.updated",
        "domain.added",
        "directory.published",
    ]
    assert {row[0] for row in set(after["cell.audit"]) - set(before["cell.audit"])} == {
        "ledger.prepared",
        "plugin.configured",
    }
    assert after["cell.directory"] == [(1, "test1"), (2, "test1")]


async def test_a_plugin_that_the_files_drop_is_switched_off(deployment: Deployment, tenants_dir: Path) -> None:
    await run_apply(deployment)
    edit(tenants_dir, "aurora", 'plugins = ["softswiss", "hub88"]', 'plugins = ["hub88"]')
    (tenants_dir / "aurora/plugins/softswiss.toml").unlink()
    assert await run_apply(deployment) > 0
    state = await read_state(deployment)
    assert [(row[0], row[-1]) for row in state["cell.plugin"]] == [("hub88", True), ("softswiss", False)]
    assert await run_apply(deployment) == 0


async def test_drift_in_control_and_cell_is_told_and_mended(deployment: Deployment) -> None:
    await run_apply(deployment)
    good = await read_state(deployment)
    async with deployment.control.transaction() as session:
        await session.execute(text("update tenant set name = 'Drifted'"))
        number = (await tenancy.get_tenant(session, "aurora")).tenant_id
    scope = TenantScope(number, "aurora", "eu-1")
    async with deployment.cell.transaction(scope) as session:
        by = deployment.by
        await plughost.disable_plugin(session, scope, "softswiss", actor=by.actor, origin=by.origin)
    changes = await apply(deployment, deployment.workshop.check("aurora"))
    assert {(entry.action, entry.path) for entry in changes.entries} == {
        ("~", "tenant.name"),
        ("~", "plugin.softswiss.enabled"),
    }
    mended = await read_state(deployment)
    assert mended["control.tenant"] == good["control.tenant"]
    assert mended["cell.plugin"] == good["cell.plugin"]


def run_command(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    """Run a command in this process, which is quicker."""
    result = CliRunner().invoke(cli, ["tenant", *arguments], env=environment_of(settings))
    return result.exit_code, result.stdout, result.stderr


async def test_the_commands_and_their_exit_codes(settings: Settings, tenants_dir: Path) -> None:
    async def run(*arguments: str) -> tuple[int, str, str]:
        return await asyncio.to_thread(run_command, settings, *arguments)

    code, output, _ = await run("plan", "aurora")
    assert code == 2
    assert "  + domains.aurora.localhost" in output
    code, output, _ = await run("plan", "--all", "--json")
    assert code == 2
    assert {"action": "+", "path": "currencies.EUR", "before": None, "after": True} in msgspec.json.decode(output)[0][
        "entries"
    ]
    assert (await run("apply", "--all"))[0] == 0
    assert (await run("plan", "aurora"))[:2] == (0, "aurora: no change\n")
    for wrong in (["plan"], ["plan", "--nonsense"], ["check", "aurora", "--all"]):
        assert (await run(*wrong))[0] == 1
    edit(tenants_dir, "aurora", '"EUR"', '"EURO"')
    edit(tenants_dir, "aurora", 'plugins = ["softswiss", "hub88"]', 'plugins = ["nobody", "hub88"]')
    for command in ("check", "plan", "apply"):
        code, _, errors = await run(command, "aurora")
        assert code == 1
        assert errors.splitlines()[:3] == [
            "aurora/plugins/softswiss.toml: tenant.toml does not list this plugin",
            "aurora/tenant.toml: currencies[0]: unknown currency EURO; a code of ISO 4217 in capitals, such as EUR",
            "aurora/tenant.toml: plugins[0]: plugin 'nobody': is not installed; installed are hub88, softswiss",
        ]


async def test_a_wrong_plugin_configuration_names_file_and_key(settings: Settings, tenants_dir: Path) -> None:
    config = tenants_dir / "aurora/plugins/softswiss.toml"
    config.write_text(config.read_text().replace("casino_id", "casino"))
    code, output, errors = await asyncio.to_thread(run_command, settings, "check", "aurora", "--json")
    assert (code, errors) == (1, "")
    problems = msgspec.json.decode(output)
    assert problems[0]["file"] == "aurora/plugins/softswiss.toml"
    assert "casino" in problems[0]["key"] + problems[0]["reason"]


async def test_a_secret_without_value_is_told(settings: Settings, tmp_path: Path) -> None:
    secrets_file = tmp_path / "secrets.toml"
    secrets_file.write_text('other = "x"\n')
    secrets_file.chmod(0o600)
    armed = msgspec.structs.replace(settings, secrets_file=secrets_file)
    code, _, errors = await asyncio.to_thread(run_command, armed, "check", "aurora")
    assert code == 1
    assert "no value for demo-softswiss-api-secret" in errors
