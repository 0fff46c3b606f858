"""Plugins of a tenant in a real database: enabling, changing, disabling, building, and whose rows they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.factories.databases import PlaneDatabase

from pitboss.audit.contracts import EventFilter
from pitboss.audit.service import list_events
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.platform.secrets import SecretStore
from pitboss.plughost.contracts import LoadedPlugin
from pitboss.plughost.errors import FileInvalid, LocalityRefused, PluginNotEnabled
from pitboss.plughost.runtime import load_host, read_cell_file
from pitboss.plughost.service import (
    disable_plugin,
    enable_plugin,
    list_enabled,
    load_dialects,
    plan_plugin,
)
from pitboss.plughost.store import fetch_enablements
from pitboss_plugins.games.softswiss.config import SoftswissConfig
from pitboss_sdk.games import DialectRefusal, RawCall, Refusal


class SoftswissLike:
    """A dialect with the configuration of a real one."""

    Config = SoftswissConfig

    def __init__(self, config: SoftswissConfig, secrets: dict[str, str]) -> None:
        self.config = config


AURORA = TenantScope(7, "aurora", "eu-1")
BOREAL = TenantScope(8, "boreal", "eu-1")
ACTOR = Actor(ActorKind.DEPLOYMENT, "tests")
ORIGIN = Origin("request-1")
TABLE: dict[str, Any] = {
    "casino_id": "aurora",
    "gateway_url": "https://gateway.example",
    "api_secret": {"secret": "softswiss-current"},
}


@pytest.fixture(scope="module")
def plugins() -> dict[str, LoadedPlugin]:
    cell_file = Path(__file__).parents[3] / "deploy/cells/eu-1.toml"
    return dict(load_host(read_cell_file(cell_file)).plugins)


@pytest.fixture
async def database(cell_database: PlaneDatabase) -> AsyncIterator[Database]:
    engine = create_engine(cell_database.app_url)
    yield Database(engine, "eu-1", ContextSigner(cell_database.context_keys))
    await engine.dispose()


async def enable(
    database: Database, scope: TenantScope, plugin: LoadedPlugin, table: dict[str, Any], locality: str = "eu"
) -> bool:
    async with database.transaction(scope) as session:
        return await enable_plugin(session, scope, plugin, table, locality=locality, actor=ACTOR, origin=ORIGIN)


async def events(database: Database, scope: TenantScope) -> list[tuple[str, dict[str, tuple[Any, Any]]]]:
    async with database.transaction(scope) as session:
        page = await list_events(session, scope, EventFilter(target="plugin:softswiss"))
    return [
        (event.type, {change.path: (change.before, change.after) for change in event.changes})
        for event in reversed(page.items)
    ]


async def test_enabling_is_audited_once_and_repeating_it_changes_nothing(
    database: Database, plugins: dict[str, LoadedPlugin]
) -> None:
    plugin = plugins["softswiss"]
    assert await enable(database, AURORA, plugin, TABLE)
    assert not await enable(database, AURORA, plugin, dict(reversed(TABLE.items())))
    async with database.transaction(AURORA) as session:
        (stored,) = await list_enabled(session, AURORA)
        assert await plan_plugin(session, AURORA, plugin, TABLE) == ()
    assert (stored.slug, stored.kind, stored.config, stored.enabled) == ("softswiss", "games", TABLE, True)
    ((event_type, changes),) = await events(database, AURORA)
    assert event_type == "plugin.enabled"
    assert changes["enabled"] == (None, True)
    assert changes["config.casino_id"] == (None, "aurora")


async def test_a_change_and_a_switch_off_tell_what_changed(
    database: Database, plugins: dict[str, LoadedPlugin]
) -> None:
    plugin = plugins["softswiss"]
    await enable(database, AURORA, plugin, TABLE)
    changed = {**TABLE, "gateway_url": "https://other.example"}
    async with database.transaction(AURORA) as session:
        planned = await plan_plugin(session, AURORA, plugin, changed)
    assert [change.path for change in planned] == ["config.gateway_url"]
    assert await enable(database, AURORA, plugin, changed)
    async with database.transaction(AURORA) as session:
        assert await disable_plugin(session, AURORA, "softswiss", actor=ACTOR, origin=ORIGIN)
        assert not await disable_plugin(session, AURORA, "softswiss", actor=ACTOR, origin=ORIGIN)
        assert await list_enabled(session, AURORA) == []
        (off,) = await fetch_enablements(session, AURORA.tenant_id)
        assert off.config == changed
    assert await enable(database, AURORA, plugin, changed)
    assert [(event_type, list(changes)) for event_type, changes in (await events(database, AURORA))[1:]] == [
        ("plugin.configured", ["config.gateway_url"]),
        ("plugin.disabled", ["enabled"]),
        ("plugin.enabled", ["enabled"]),
    ]


async def test_a_refused_change_writes_nothing(database: Database, plugins: dict[str, LoadedPlugin]) -> None:
    plugin = plugins["softswiss"]
    bound = replace(plugin, manifest=replace(plugin.manifest, processing_localities=("br",)))
    with pytest.raises(LocalityRefused):
        await enable(database, AURORA, bound, TABLE)
    with pytest.raises(FileInvalid, match=r"plugins/softswiss\.toml: api_secret: is a secret"):
        await enable(database, AURORA, plugin, {**TABLE, "api_secret": "in the clear"})
    async with database.transaction(AURORA) as session:
        assert await fetch_enablements(session, AURORA.tenant_id) == []
        with pytest.raises(PluginNotEnabled):
            await disable_plugin(session, AURORA, "softswiss", actor=ACTOR, origin=ORIGIN)
    assert await events(database, AURORA) == []


async def test_two_applies_at_once_leave_one_row_and_no_event_for_nothing(
    database: Database, plugins: dict[str, LoadedPlugin]
) -> None:
    plugin = plugins["softswiss"]
    await asyncio.gather(*(enable(database, AURORA, plugin, TABLE) for _ in range(4)))
    async with database.transaction(AURORA) as session:
        assert len(await fetch_enablements(session, AURORA.tenant_id)) == 1
    assert len(await events(database, AURORA)) == 1


async def test_tenants_do_not_see_or_touch_each_others_plugins(
    database: Database, plugins: dict[str, LoadedPlugin]
) -> None:
    plugin = plugins["softswiss"]
    await enable(database, AURORA, plugin, TABLE)
    async with database.transaction(BOREAL) as session:
        assert await fetch_enablements(session, AURORA.tenant_id) == []
        assert await fetch_enablements(session, BOREAL.tenant_id) == []
        with pytest.raises(PluginNotEnabled):
            await disable_plugin(session, AURORA, "softswiss", actor=ACTOR, origin=ORIGIN)
        moved = await session.execute(text("update plugin_enablement set enabled = false"))
        assert moved.rowcount == 0  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(DBAPIError, match="row-level security"):
        async with database.transaction(BOREAL) as session:
            await enable_plugin(session, AURORA, plugin, TABLE, locality="eu", actor=ACTOR, origin=ORIGIN)
    async with database.transaction(AURORA) as session:
        assert [found.enabled for found in await fetch_enablements(session, AURORA.tenant_id)] == [True]


async def test_the_application_cannot_delete_an_enablement(
    database: Database, plugins: dict[str, LoadedPlugin]
) -> None:
    await enable(database, AURORA, plugins["softswiss"], TABLE)
    with pytest.raises(DBAPIError, match="permission denied"):
        async with database.transaction(AURORA) as session:
            await session.execute(text("delete from plugin_enablement"))


async def test_dialects_are_built_with_their_secrets(
    database: Database, plugins: dict[str, LoadedPlugin], tmp_path: Path
) -> None:
    await enable(database, AURORA, plugins["softswiss"], TABLE)
    secrets = tmp_path / "secrets.toml"
    secrets.touch(mode=0o600)
    store = SecretStore(secrets)

    async def load(scope: TenantScope, known: dict[str, LoadedPlugin]) -> Any:
        async with database.transaction(scope) as session:
            return await load_dialects(session, scope, known, store)

    lacking = await load(AURORA, plugins)
    assert lacking.instances == {}
    assert "no value for softswiss-current" in lacking.problems["softswiss"]

    secrets.write_text('softswiss-current = "secret"\n')
    dialect = (await load(AURORA, plugins)).instances["softswiss"]
    signature = "77325902caca812dc259733aacd046b73817372c777b8d95b402647474516e13"
    dialect.verify(RawCall("balance", {"x-request-sign": signature}, b"{}"))
    secrets.write_text('softswiss-current = "another"\n')
    with pytest.raises(DialectRefusal) as caught:
        (await load(AURORA, plugins)).instances["softswiss"].verify(
            RawCall("balance", {"x-request-sign": signature}, b"{}")
        )
    assert caught.value.refusal is Refusal.SIGNATURE_INVALID

    assert (await load(AURORA, {})).problems == {"softswiss": "is enabled, but this process did not load it"}
    assert (await load(BOREAL, plugins)).instances == {}


class Renamed(SoftswissLike):
    """The next version of a plugin, in which a key has another name."""

    @classmethod
    def migrate_config(cls, version: int, table: dict[str, Any]) -> dict[str, Any]:
        assert version == 1
        if table["gateway"] == "boom":
            raise RuntimeError(str(table))
        table["gateway_url"] = table.pop("gateway")
        return table


OLD_TABLE = {"casino_id": "aurora", "gateway": "https://gateway.example", "api_secret": {"secret": "softswiss-current"}}


def next_version(plugin: LoadedPlugin) -> LoadedPlugin:
    return replace(plugin, driver=Renamed, manifest=replace(plugin.manifest, config_version=2))


async def store_old_row(database: Database, gateway: str = "https://gateway.example") -> None:
    async with database.transaction(AURORA) as session:
        await session.execute(
            text(
                "insert into plugin_enablement"
                " (tenant_id, slug, kind, distribution, version, config, config_version, enabled)"
                " values (7, 'softswiss', 'games', 'made', '0', cast(:config as jsonb), 1, true)"
            ),
            {"config": msgspec.json.encode({**OLD_TABLE, "gateway": gateway}).decode()},
        )


async def test_a_configuration_of_an_older_plugin_is_migrated_when_it_is_built(
    database: Database, plugins: dict[str, LoadedPlugin], tmp_path: Path
) -> None:
    plugin = next_version(plugins["softswiss"])
    await store_old_row(database)
    secrets = tmp_path / "secrets.toml"
    secrets.touch(mode=0o600)
    secrets.write_text('softswiss-current = "secret"\n')
    async with database.transaction(AURORA) as session:
        built = await load_dialects(session, AURORA, {"softswiss": plugin}, SecretStore(secrets))
        (stored,) = await list_enabled(session, AURORA)
    assert built.problems == {}
    assert built.instances["softswiss"].config.gateway_url == "https://gateway.example"
    assert (stored.config_version, stored.config["gateway"]) == (1, "https://gateway.example"), "reading writes nothing"


async def test_a_migration_that_fails_is_told_without_a_value(
    database: Database, plugins: dict[str, LoadedPlugin]
) -> None:
    await store_old_row(database, "boom")
    async with database.transaction(AURORA) as session:
        built = await load_dialects(
            session, AURORA, {"softswiss": next_version(plugins["softswiss"])}, SecretStore(None)
        )
    problem = "plugins/softswiss.toml: config_version: version 1 cannot be migrated: RuntimeError"
    assert built.problems == {"softswiss": problem}


async def test_a_file_names_the_version_it_is_written_in_and_the_present_one_is_stored(
    database: Database, plugins: dict[str, LoadedPlugin]
) -> None:
    plugin = next_version(plugins["softswiss"])
    old_file = {**OLD_TABLE, "config_version": 1}
    assert await enable(database, AURORA, plugin, old_file)
    assert not await enable(database, AURORA, plugin, TABLE), "the same, in the present version"
    assert not await enable(database, AURORA, plugin, {**TABLE, "config_version": 2})
    async with database.transaction(AURORA) as session:
        (stored,) = await list_enabled(session, AURORA)
        assert await plan_plugin(session, AURORA, plugin, old_file) == ()
    assert (stored.config_version, stored.config) == (2, TABLE)


@pytest.mark.parametrize("version", [0, 3, -1, "1", True, 1.0, None])
async def test_a_version_that_the_plugin_never_had_is_refused(
    database: Database, plugins: dict[str, LoadedPlugin], version: Any
) -> None:
    with pytest.raises(FileInvalid, match=r"config_version: .* is not one of the versions 1 to 2"):
        await enable(database, AURORA, next_version(plugins["softswiss"]), {**OLD_TABLE, "config_version": version})
    async with database.transaction(AURORA) as session:
        assert await fetch_enablements(session, AURORA.tenant_id) == []
