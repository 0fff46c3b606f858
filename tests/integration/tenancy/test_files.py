"""Folders that are begun, written from what is held, and held against what runs."""

from __future__ import annotations

import asyncio
import re
import shutil
import tomllib
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text
from tests.factories.tenants import edit, environment_of, read_state, run_apply

import pitboss.plughost.service as plughost
import pitboss.tenancy.service as tenancy
from pitboss.bootstrap import cli
from pitboss.cli.tenant_apply import Deployment, plan
from pitboss.cli.tenant_state import change_state
from pitboss.directory.contracts import TenantState
from pitboss.kernel.scope import TenantScope
from pitboss.platform.secrets import SecretsUnavailable
from pitboss.platform.settings import Settings

NOVA = (
    "new",
    "nova",
    "--cell=eu-1",
    "--plugin=softswiss",
    "--set=softswiss.casino_id=nova",
    "--set=softswiss.gateway_url=http://127.0.0.1:8070",
)


def run(settings: Settings, *words: str) -> Result:
    """Run a command of `pitboss tenant` in this process."""
    return CliRunner().invoke(cli, ["tenant", *words], env=environment_of(settings))


def read_folder(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def scope_of(deployment: Deployment, slug: str = "aurora") -> TenantScope:
    async with deployment.control.transaction() as session:
        return TenantScope((await tenancy.get_tenant(session, slug)).tenant_id, slug, "eu-1")


def test_a_new_folder_passes_the_check_at_once(settings: Settings, tenants_dir: Path) -> None:
    made = run(settings, *NOVA)
    assert made.exit_code == 0, made.output
    assert "secrets that its cell needs: nova-softswiss-api-secret" in made.output
    checked = run(settings, "check", "nova")
    assert (checked.exit_code, checked.output) == (0, "1 tenants checked, 0 problems\n")
    file = tomllib.loads((tenants_dir / "nova/tenant.toml").read_text())
    assert (file["currencies"], file["packs"], file["locality"]) == (["EUR"], ["mt_mga"], "eu")
    assert (file["brands"][0]["domains"], file["environment"]) == (["nova.localhost"], "demo")


def test_every_option_of_a_new_folder_is_written(settings: Settings, tenants_dir: Path) -> None:
    words = "--cell=br-1 --pack=br_spa --currency=BRL --language=pt-BR --language=es --domain=a.example".split()
    made = run(settings, "new", "vela", '--name=Vela "Azul"', *words, "--domain=b.example", "--colour=#0b6e4f")
    assert made.exit_code == 0, made.output
    file = tomllib.loads((tenants_dir / "vela/tenant.toml").read_text())
    assert file["name"] == 'Vela "Azul"'
    assert (file["cell"], file["locality"], file["currencies"], file["packs"]) == ("br-1", "br", ["BRL"], ["br_spa"])
    (brand,) = file["brands"]
    assert (brand["domains"], brand["languages"]) == (["a.example", "b.example"], ["pt-BR", "es"])
    assert brand["default_language"] == "pt-BR"
    theme = tomllib.loads((tenants_dir / "vela/theme/theme.toml").read_text())
    assert theme["brands"]["vela"]["colour"] == "#0b6e4f"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("new", "aurora"), "aurora exists; nothing was written"),
        (("new", "Nova"), "lower case letters"),
        (("new", "../nova"), "lower case letters"),
        (("new", "nova", "--cell=mars-1"), "unknown cell mars-1; known are br-1, eu-1"),
        (("new", "nova", "--plugin=softswiss"), "--set softswiss.casino_id=… --set softswiss.gateway_url=…"),
        (("new", "nova", "--plugin=nobody"), "plugin 'nobody': is not installed"),
        (("new", "nova", "--pack=br_spa"), "not allowed in cell eu-1"),
        (("new", "nova", "--currency=EURO"), "nova/tenant.toml: currencies[0]: unknown currency EURO"),
        (("new", "nova", "--domain=aurora.localhost"), "domain aurora.localhost is claimed by aurora/tenant.toml too"),
        (("new", "nova", "--domain=no_host"), "is no host name"),
        (("new", "nova", "--set=softswiss.casino=x"), "no such setting: softswiss.casino"),
        (("new", "nova", "--set=casino=x"), "is not PLUGIN.KEY=VALUE"),
        ((*NOVA, "--set=softswiss.gateway_url=http://example.com"), "gateway_url must be an https address"),
    ],
)
def test_a_new_folder_that_would_be_wrong_is_not_written(
    settings: Settings, tenants_dir: Path, words: tuple[str, ...], reason: str
) -> None:
    before = read_folder(tenants_dir)
    made = run(settings, *words)
    assert made.exit_code != 0
    assert reason in re.sub(r"\s+", " ", made.output + str(made.exception))
    assert read_folder(tenants_dir) == before


async def test_an_export_says_what_is_held_and_applies_without_a_change(
    deployment: Deployment, settings: Settings, tenants_dir: Path
) -> None:
    await run_apply(deployment)
    written = await asyncio.to_thread(run, settings, "export", "aurora", "--replace")
    assert written.exit_code == 0, written.output
    assert (await plan(deployment, deployment.workshop.check("aurora"))).entries == ()
    again = read_folder(tenants_dir / "aurora")
    assert (await asyncio.to_thread(run, settings, "export", "aurora", "--replace")).exit_code == 0
    assert read_folder(tenants_dir / "aurora") == again
    assert b'api_secret = { secret = "demo-softswiss-api-secret" }' in again["plugins/softswiss.toml"]
    assert not [name for name in read_folder(tenants_dir) if name.startswith(".")]


async def test_an_export_overwrites_nothing_unless_it_is_told_to(
    deployment: Deployment, settings: Settings, tenants_dir: Path
) -> None:
    await run_apply(deployment)
    before = read_folder(tenants_dir)
    refused = await asyncio.to_thread(run, settings, "export", "aurora")
    assert refused.exit_code == 1
    assert "exists; nothing was written" in str(refused.exception)
    assert read_folder(tenants_dir) == before
    unknown = await asyncio.to_thread(run, settings, "export", "nobody")
    assert "tenant nobody is not registered" in str(unknown.exception)


async def test_no_drift_after_an_apply(deployment: Deployment, settings: Settings) -> None:
    never = await asyncio.to_thread(run, settings, "drift", "aurora")
    assert (never.exit_code, "never applied" in never.output) == (2, True)
    await run_apply(deployment)
    state = await read_state(deployment)
    found = await asyncio.to_thread(run, settings, "drift", "aurora")
    assert (found.exit_code, found.output) == (0, "aurora: as its files say\n")
    assert await read_state(deployment) == state


async def test_drift_names_what_differs_and_who_changed_it(deployment: Deployment, settings: Settings) -> None:
    await run_apply(deployment)
    scope = await scope_of(deployment)
    async with deployment.cell.transaction(scope) as session:
        by = deployment.by
        await plughost.disable_plugin(session, scope, "softswiss", actor=by.actor, origin=by.origin)
    # A state stands in no file: who changed it last changed none of what differs.
    for state in (TenantState.SUSPENDED, TenantState.ACTIVE):
        await change_state(deployment, "aurora", state, "review")
    edit(settings.tenants_dir, "aurora", '["aurora.localhost"]', '["aurora.example", "aurora.localhost"]')
    edit(settings.tenants_dir, "aurora", 'currencies = ["EUR"]', 'currencies = ["EUR", "BRL"]')
    state = await read_state(deployment)
    found = await asyncio.to_thread(run, settings, "drift", "aurora", "--json")
    assert found.exit_code == 2
    (drift,) = msgspec.json.decode(found.stdout)
    told = {each["path"]: (each["file"], each["held"]) for each in drift["differences"]}
    assert told == {
        "currencies.BRL": (True, None),
        "domains.aurora.example": ("aurora", None),
        "plugin.softswiss.enabled": (True, False),
    }
    changed = {each["path"]: each["changed"] for each in drift["differences"]}
    assert changed["plugin.softswiss.enabled"]["type"] == "plugin.disabled"
    assert changed["plugin.softswiss.enabled"]["actor"] == "deployment:tester"
    assert changed["currencies.BRL"]["type"] == "tenant.activated"
    assert await read_state(deployment) == state
    plain = await asyncio.to_thread(run, settings, "drift", "aurora")
    assert "plugin.softswiss.enabled  file: yes  held: false" in plain.output


async def test_an_export_ends_a_drift_on_the_side_of_the_files(deployment: Deployment, settings: Settings) -> None:
    await run_apply(deployment)
    scope = await scope_of(deployment)
    async with deployment.cell.transaction(scope) as session:
        by = deployment.by
        await plughost.disable_plugin(session, scope, "softswiss", actor=by.actor, origin=by.origin)
    assert (await asyncio.to_thread(run, settings, "export", "aurora", "--replace")).exit_code == 0
    assert not (settings.tenants_dir / "aurora/plugins/softswiss.toml").exists()
    changes = await plan(deployment, deployment.workshop.check("aurora"))
    assert {entry.path for entry in changes.entries} == {
        "plugins.softswiss",
        "directory.eu-1.published",
        "directory.eu-1.stored",
    }
    await run_apply(deployment)
    assert (await asyncio.to_thread(run, settings, "drift", "aurora")).exit_code == 0


async def test_drift_of_all_finds_what_has_no_folder(
    deployment: Deployment, settings: Settings, tenants_dir: Path
) -> None:
    await run_apply(deployment)
    (tenants_dir / "jangada").rename(tenants_dir / ".jangada")
    (tenants_dir / "aurora").rename(tenants_dir / ".aurora")
    found = await asyncio.to_thread(run, settings, "drift", "--all")
    assert found.exit_code == 2
    assert 'aurora: 1 differences\n  tenant  file: nothing  held: "held, but it has no folder"' in found.output


async def test_drift_of_all_tells_of_the_others_where_one_cannot_be_told(
    deployment: Deployment, settings: Settings, tenants_dir: Path
) -> None:
    await run_apply(deployment)
    shutil.rmtree(tenants_dir / "jangada")
    (tenants_dir / "aardvark").mkdir()
    found = await asyncio.to_thread(run, settings, "drift", "--all")
    assert found.exit_code == 1
    assert "aurora: as its files say" in found.output
    assert "aardvark: cannot be told: aardvark/tenant.toml: missing" in found.output
    as_json = await asyncio.to_thread(run, settings, "drift", "--all", "--json")
    assert as_json.exit_code == 1
    told = {each["tenant"]: each["fault"] for each in msgspec.json.decode(as_json.stdout)}
    assert told == {"aardvark": "aardvark/tenant.toml: missing", "aurora": ""}


async def test_a_closed_tenant_needs_no_folder(deployment: Deployment, settings: Settings, tenants_dir: Path) -> None:
    await run_apply(deployment)
    async with deployment.control.transaction() as session:
        await session.execute(text("update tenant set state = 'closed'"))
    (tenants_dir / "aurora").rename(tenants_dir / ".aurora")
    found = await asyncio.to_thread(run, settings, "drift", "aurora")
    assert (found.exit_code, "note: the tenant is closed, and its folder is gone" in found.output) == (0, True)
    nobody = await asyncio.to_thread(run, settings, "drift", "nobody")
    assert (nobody.exit_code, "is not registered" in str(nobody.exception)) == (1, True)


async def test_a_suspended_tenant_is_no_drift_but_told(deployment: Deployment, settings: Settings) -> None:
    await run_apply(deployment)
    async with deployment.control.transaction() as session:
        await session.execute(text("update tenant set state = 'suspended'"))
    found = await asyncio.to_thread(run, settings, "drift", "aurora")
    assert (found.exit_code, "note: the tenant is suspended" in found.output) == (0, True)
    written = await asyncio.to_thread(run, settings, "export", "aurora", "--replace")
    assert "aurora is suspended; files say nothing of that" in written.stderr


def test_secrets_are_named_and_never_shown(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "secrets.toml"
    file.write_text('demo-softswiss-api-secret = "canary-value"\n')
    file.chmod(0o600)
    armed = msgspec.structs.replace(settings, secrets_file=file)
    found = run(armed, "secrets", "aurora")
    assert found.exit_code == 1
    assert "demo-softswiss-api-secret: has a value\n" in found.output
    assert "demo-hub88-operator-private-key: has no value\n" in found.output
    made = run(armed, "secrets", "aurora", "--make-demo")
    assert (made.exit_code, "has no value" in made.output) == (0, False)
    assert "demo-softswiss-api-secret: has a value\n" in made.output
    assert "demo-hub88-operator-private-key: is made up now\n" in made.output
    kept = tomllib.loads(file.read_text())
    assert kept["demo-softswiss-api-secret"] == "canary-value"
    assert file.stat().st_mode & 0o777 == 0o600
    for value in kept.values():
        assert value not in found.output + made.output


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [("", 0o644, "set its mode to 0600"), ("x = ", 0o600, "is not TOML"), (None, 0, "No such file")],
)
def test_secrets_that_cannot_be_read_are_not_called_missing(
    settings: Settings, tmp_path: Path, content: str | None, mode: int, reason: str
) -> None:
    file = tmp_path / "secrets.toml"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    found = run(msgspec.structs.replace(settings, secrets_file=file), "secrets", "aurora")
    assert found.exit_code == 1
    assert isinstance(found.exception, SecretsUnavailable)
    assert reason in found.exception.detail
    assert "has no value" not in found.output


def test_no_secret_of_production_is_made_up(settings: Settings, tenants_dir: Path, tmp_path: Path) -> None:
    edit(tenants_dir, "aurora", 'environment = "demo"', 'environment = "production"')
    armed = msgspec.structs.replace(settings, secrets_file=tmp_path / "secrets.toml")
    refused = run(armed, "secrets", "aurora", "--make-demo")
    assert (refused.exit_code, "secrets of production" in refused.output) == (1, True)
    assert not (tmp_path / "secrets.toml").exists()
