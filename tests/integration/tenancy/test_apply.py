"""Applying tenants' files: idempotent, audited, healed by a rerun, and refused where it would break what exists."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from click.testing import CliRunner
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories.databases import DatabaseServer, PlaneDatabase
from tests.factories.tenants import copy_tenants, edit, open_deployment, tenant_settings, twin

import pitboss.directory.service as directory
import pitboss.plughost.service as plughost
import pitboss.tenancy.service as tenancy
from pitboss.bootstrap import cli
from pitboss.cli import tenant_apply
from pitboss.cli.tenant_apply import STEPS, Deployment, apply, plan
from pitboss.directory.contracts import SigningKey
from pitboss.directory.errors import SnapshotRefused
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import ControlDatabase, Database
from pitboss.platform.settings import Settings, list_settings
from pitboss.tenancy.errors import ApplyRunning, ChangeRefused

State = dict[str, Any]
JADE = "01a1fbe4-4666-757a-bf99-0000000000aa"


@pytest.fixture
def tenants_dir(tmp_path: Path) -> Path:
    return copy_tenants(tmp_path)


@pytest.fixture
def settings(control_database: PlaneDatabase, cell_database: PlaneDatabase, tenants_dir: Path) -> Settings:
    return tenant_settings(control_database, cell_database, tenants_dir)


@pytest.fixture
async def deployment(settings: Settings) -> AsyncGenerator[Deployment]:
    opened = open_deployment(settings)
    yield opened
    await opened.close()


async def run_apply(deployment: Deployment, slug: str = "aurora") -> int:
    """Apply one tenant as the command does and return how much was changed."""
    return len((await apply(deployment, deployment.workshop.check(slug))).entries)


_CONTROL = {
    "tenant": "select slug, public_id::text, name, state, locality, cell, environment, currencies, packs, plugins,"
    " activated_at is not null from tenant order by slug",
    "brand": "select t.slug, b.slug, b.name, languages, default_language from brand b join tenant t using (tenant_id)"
    " order by 1, 2",
    "domain": "select domain, brand from domain order by 1",
    "cell": "select cell, locality, directory_version from cell order by 1",
    "published": "select cell, version, key_id from published_directory order by 1, 2",
    "audit": "select type, target_type, target_id, changes::text from audit_event order by event_id",
}
_CELL = {
    "house_account": "select kind, currency, provider from house_account order by 1, 2, 3",
    "source": "select name from source order by 1",
    "plugin": "select slug, distribution, version, config::text, enabled from plugin_enablement order by 1",
    "audit": "select type, target_type, target_id, changes::text from audit_event order by type, target_id, changes::text",
    "directory": "select version, key_id from directory_snapshot order by 1",
}


async def read_state(deployment: Deployment) -> State:
    """Return everything that an apply may change, without numbers that a sequence gave."""
    state: State = {}
    async with deployment.control.transaction() as session:
        for name, query in _CONTROL.items():
            state[f"control.{name}"] = [tuple(row) for row in await session.execute(text(query))]
        numbers = [tenant.tenant_id for tenant in await tenancy.list_tenants(session)]
    async with deployment.cell.tenants_transaction(numbers) as session:
        for name, query in _CELL.items():
            state[f"cell.{name}"] = [tuple(row) for row in await session.execute(text(query))]
    return state


def count_rows(state: State) -> int:
    return sum(map(len, state.values()))


@pytest.fixture
async def untroubled(database_server: DatabaseServer, tenants_dir: Path) -> State:
    """What an apply without any interruption leaves behind, on databases of its own."""

    def make() -> State:
        with database_server.clone("control") as control, database_server.clone("cell") as cell:
            return asyncio.run(applied(control, cell))

    async def applied(control: PlaneDatabase, cell: PlaneDatabase) -> State:
        opened = open_deployment(tenant_settings(control, cell, tenants_dir))
        await run_apply(opened)
        state = await read_state(opened)
        await opened.close()
        return state

    return await asyncio.to_thread(make)


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
    assert (told.currencies, told.plugins) == (("EUR",), ("softswiss",))
    scope = TenantScope(tenant.tenant_id, "aurora", "eu-1")
    async with deployment.cell.transaction(scope) as session:
        assert [found.slug for found in await plughost.list_enabled(session, scope)] == ["softswiss"]


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
    assert [row[0] for row in untroubled["cell.audit"]] == ["ledger.prepared", "plugin.enabled"]


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


@pytest.mark.parametrize("done", range(len(STEPS) + 1))
async def test_a_rerun_heals_an_interruption_between_steps(
    deployment: Deployment, untroubled: State, done: int
) -> None:
    folder = deployment.workshop.check("aurora")
    for step in STEPS[:done]:
        await step(deployment, folder)
    await run_apply(deployment)
    assert await read_state(deployment) == untroubled
    assert (await plan(deployment, folder)).entries == ()


class Interrupted(Exception):
    """The step is cut off before its transaction ends."""


class CutControl(ControlDatabase):
    """Control's database, whose transactions end in an interruption after their last statement."""

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncSession]:
        async with super().transaction() as session:
            yield session
            await session.flush()
            raise Interrupted


class CutCell(Database):
    """A cell's database, whose transactions end in an interruption after their last statement."""

    @asynccontextmanager
    async def tenants_transaction(self, tenant_ids: Any) -> AsyncGenerator[AsyncSession]:
        async with super().tenants_transaction(tenant_ids) as session:
            yield session
            raise Interrupted

    @asynccontextmanager
    async def cell_transaction(self) -> AsyncGenerator[AsyncSession]:
        async with super().cell_transaction() as session:
            yield session
            raise Interrupted


@pytest.mark.parametrize("done", range(len(STEPS)))
async def test_a_rerun_heals_an_interruption_just_before_a_commit(
    deployment: Deployment, settings: Settings, untroubled: State, done: int
) -> None:
    folder = deployment.workshop.check("aurora")
    for step in STEPS[:done]:
        await step(deployment, folder)
    before = await read_state(deployment)
    cut = open_deployment(settings)
    if STEPS[done] in {tenant_apply.reserve, tenant_apply.activate}:
        cut.control = CutControl(cut.control.engine)
    else:
        cut.cell = CutCell(cut.cell.engine, "eu-1", cut.cell._signer)
    with pytest.raises(Interrupted):
        await STEPS[done](cut, folder)
    await cut.close()
    assert await read_state(deployment) == before
    await run_apply(deployment)
    assert await read_state(deployment) == untroubled


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables that give a process these settings."""

    def write(value: Any) -> str:
        if isinstance(value, tuple):
            return ",".join(map(write, value))
        if isinstance(value, msgspec.Struct):
            return ":".join(part.hex() if isinstance(part, bytes) else part for part in msgspec.structs.astuple(value))
        return str(value)

    values = {doc.variable: getattr(settings, doc.field) for doc in list_settings()}
    given = {variable: write(value) for variable, value in values.items() if value not in {None, ()}}
    return {**{key: value for key, value in os.environ.items() if not key.startswith("PITBOSS_")}, **given}


_KILLED = """
import asyncio, os, signal
from pitboss.cli.tenant_apply import STEPS, Deployment, Workshop
from pitboss.kernel.scope import Origin
from pitboss.permissions.service import deployment_actor
from pitboss.platform.settings import load_settings
from pitboss.tenancy.contracts import By

async def main(done):
    deployment = Deployment(Workshop(load_settings()), By(deployment_actor(), Origin()))
    folder = deployment.workshop.check("aurora")
    async with deployment.alone():
        for step in STEPS[:done]:
            await step(deployment, folder)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(int(os.environ["DONE"])))
"""


def start(settings: Settings, arguments: Sequence[str], **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**environment_of(settings), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_process(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    process = start(settings, ["-m", "pitboss.bootstrap", "tenant", *arguments])
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def run_command(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    """Run a command in this process, which is quicker."""
    result = CliRunner().invoke(cli, ["tenant", *arguments], env=environment_of(settings))
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.crash
@pytest.mark.parametrize("done", range(len(STEPS)))
async def test_a_rerun_heals_a_killed_process(
    deployment: Deployment, settings: Settings, untroubled: State, done: int
) -> None:
    """The process dies by SIGKILL between two transactions, while it holds the lock of applies."""
    process = start(settings, ["-c", _KILLED], DONE=str(done))
    _, errors = await asyncio.to_thread(process.communicate, timeout=120)
    assert process.returncode == -signal.SIGKILL, errors
    code, output, errors = await asyncio.to_thread(run_process, settings, "apply", "aurora")
    assert (code, errors) == (0, "")
    assert "aurora: applied" in output
    assert await read_state(deployment) == untroubled


@pytest.mark.crash
@pytest.mark.parametrize(
    ("step", "table"),
    [("reserve", "tenant"), ("prepare", "plugin_enablement"), ("activate", "brand"), ("store", "directory_snapshot")],
)
async def test_a_rerun_heals_a_kill_inside_a_transaction(
    deployment: Deployment,
    settings: Settings,
    untroubled: State,
    control_database: PlaneDatabase,
    cell_database: PlaneDatabase,
    step: str,
    table: str,
) -> None:
    """The command is held in the middle of a step by a lock on a table that the step writes, and killed there."""
    database = control_database if step in {"reserve", "activate"} else cell_database
    admin = await asyncpg.connect(database.admin_url)
    watcher = await asyncpg.connect(database.admin_url)
    async with admin.transaction():
        await admin.execute(f"lock table {table} in share mode")
        process = start(settings, ["-m", "pitboss.bootstrap", "tenant", "apply", "aurora"])
        waiting = "select count(*) from pg_locks where not granted and relation = $1::regclass"
        async with asyncio.timeout(60):
            while not await watcher.fetchval(waiting, table):
                assert process.poll() is None, process.communicate()
                await asyncio.sleep(0.02)
        process.kill()
        await asyncio.to_thread(process.communicate)
    await admin.close()
    await watcher.close()
    assert process.returncode == -signal.SIGKILL
    await run_apply(deployment)
    assert await read_state(deployment) == untroubled


async def test_two_applies_at_once_are_one_after_the_other(
    deployment: Deployment, settings: Settings, untroubled: State
) -> None:
    others = [open_deployment(settings) for _ in range(3)]
    changed = await asyncio.gather(*[run_apply(each) for each in [deployment, *others]])
    for each in others:
        await each.close()
    assert sorted(changed)[:3] == [0, 0, 0]
    assert await read_state(deployment) == untroubled


async def test_an_apply_does_not_wait_for_ever(
    deployment: Deployment, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenant_apply, "_LOCK_WAIT", "100ms")
    other = open_deployment(settings)
    async with other.alone():
        with pytest.raises(ApplyRunning):
            await run_apply(deployment)
    await other.close()
    assert count_rows(await read_state(deployment)) == 0
    assert await run_apply(deployment) > 0


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
    edit(tenants_dir, "aurora", 'plugins = ["softswiss"]', "plugins = []")
    (tenants_dir / "aurora/plugins/softswiss.toml").unlink()
    assert await run_apply(deployment) > 0
    state = await read_state(deployment)
    assert [row[-1] for row in state["cell.plugin"]] == [False]
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


async def refuse(deployment: Deployment, reason: str) -> None:
    """Assert that the apply is refused for `reason` and leaves everything as it was."""
    before = await read_state(deployment)
    with pytest.raises(ChangeRefused, match=reason):
        await run_apply(deployment)
    assert await read_state(deployment) == before


Insert = Callable[[AsyncSession, int], Awaitable[Any]]


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
    with pytest.raises(ChangeRefused, match="lives in cell eu-1, this deployment is eu-2"):
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
    edit(tenants_dir, "aurora", 'plugins = ["softswiss"]', 'plugins = ["nobody"]')
    for command in ("check", "plan", "apply"):
        code, _, errors = await run(command, "aurora")
        assert code == 1
        assert errors.splitlines()[:3] == [
            "aurora/plugins/softswiss.toml: tenant.toml does not list this plugin",
            "aurora/tenant.toml: currencies[0]: unknown currency EURO",
            "aurora/tenant.toml: plugins[0]: plugin 'nobody': is not installed",
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
