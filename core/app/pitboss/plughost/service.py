"""Use cases of the plugin host: check a configuration, enable and disable plugins, build a tenant's dialects."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final, Protocol, cast

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_event
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.plughost import store
from pitboss.plughost.contracts import ConfiguredPlugins, Enablement, LoadedPlugin
from pitboss.plughost.errors import FileInvalid, PluginNotEnabled
from pitboss.plughost.rules import compute_changes, decode_config, demand_locality
from pitboss_sdk.errors import PitbossError
from pitboss_sdk.secrets import list_secrets

VERSION_KEY: Final = "config_version"
"""A key of every plugin's file, read by the host: the version of the configuration that the file is written in."""


class Secrets(Protocol):
    """Where the values of secrets come from (`pitboss.platform.secrets.SecretStore`)."""

    def resolve(self, names: tuple[str, ...]) -> dict[str, str]:
        """Return the values of `names`; raise a `PitbossError` that names those without one."""
        ...

    def get_version(self) -> object:
        """Return what differs as soon as a value may be another; cheap enough to be asked again and again."""
        ...


def check_config(plugin: LoadedPlugin, table: Mapping[str, Any], *, locality: str, file: str) -> tuple[str, ...]:
    """Return the names of the secrets that a tenant's table refers to.

    Raises `FileInvalid` with file, key and reason where the table is not the plugin's configuration, and
    `LocalityRefused` where the vendor may not process data of `locality`.
    """
    demand_locality(plugin.manifest, locality)
    return list_secrets(decode_config(plugin, _present_table(plugin, table, file), file))


async def list_enabled(session: AsyncSession, scope: TenantScope) -> list[Enablement]:
    """Return the tenant's enabled plugins, by slug."""
    return [found for found in await store.fetch_enablements(session, scope.tenant_id) if found.enabled]


async def plan_plugin(
    session: AsyncSession, scope: TenantScope, plugin: LoadedPlugin, table: Mapping[str, Any]
) -> tuple[Change, ...]:
    """Return what `enable_plugin` would change; nothing when the tenant has the plugin like this already."""
    before = await store.find_enablement(session, scope.tenant_id, plugin.slug)
    return compute_changes(before, plugin, _storable(plugin, table))


async def enable_plugin(
    session: AsyncSession,
    scope: TenantScope,
    plugin: LoadedPlugin,
    table: Mapping[str, Any],
    *,
    locality: str,
    actor: Actor,
    origin: Origin,
) -> bool:
    """Enable a plugin with a configuration, or change it; False when it was so already and nothing was written.

    Secrets are stored as references. Raises what `check_config` raises.
    """
    check_config(plugin, table, locality=locality, file=f"plugins/{plugin.slug}.toml")
    config = _storable(plugin, table)
    values = {
        "kind": plugin.manifest.kind,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "config": config,
        "config_version": plugin.manifest.config_version,
        "enabled": True,
    }
    before = None
    # The insert waits for another first enabling, so that the difference is told from what that one left.
    if not await store.insert_enablement(session, scope.tenant_id, plugin.slug, values):
        before = await store.find_enablement(session, scope.tenant_id, plugin.slug, for_update=True)
    changes = compute_changes(before, plugin, config)
    if not changes:
        return False
    if before is not None:
        await store.update_enablement(session, scope.tenant_id, plugin.slug, values)
    event_type = "plugin.configured" if before is not None and before.enabled else "plugin.enabled"
    await record_event(session, scope, AuditEvent(event_type, actor, origin, "plugin", plugin.slug, changes))
    return True


async def disable_plugin(session: AsyncSession, scope: TenantScope, slug: str, *, actor: Actor, origin: Origin) -> bool:
    """Switch a plugin off and keep its configuration; False when it was off already.

    Raises `PluginNotEnabled` when the tenant never had it.
    """
    before = await store.find_enablement(session, scope.tenant_id, slug, for_update=True)
    if before is None:
        raise PluginNotEnabled(f"plugin {slug!r} was never enabled")
    if not before.enabled:
        return False
    await store.update_enablement(session, scope.tenant_id, slug, {"enabled": False})
    changes = (Change("enabled", before=True, after=False),)
    await record_event(session, scope, AuditEvent("plugin.disabled", actor, origin, "plugin", slug, changes))
    return True


async def load_dialects(
    session: AsyncSession, scope: TenantScope, plugins: Mapping[str, LoadedPlugin], secrets: Secrets
) -> ConfiguredPlugins:
    """Build the tenant's enabled plugins of kind `games` with their secrets resolved.

    One that cannot be built is told among the problems and does not keep the others from serving.
    """
    return build_plugins(await list_enabled(session, scope), plugins, secrets, kind="games")


def build_plugins(
    enablements: list[Enablement], plugins: Mapping[str, LoadedPlugin], secrets: Secrets, *, kind: str
) -> ConfiguredPlugins:
    """Build the enabled plugins of one kind; see `load_dialects`."""
    configured = ConfiguredPlugins({}, {})
    for found in enablements:
        if not found.enabled or found.kind != kind:
            continue
        plugin = plugins.get(found.slug)
        if plugin is None:
            configured.problems[found.slug] = "is enabled, but this process did not load it"
            continue
        try:
            configured.instances[found.slug] = build_plugin(plugin, found, secrets)
        except PitbossError as error:
            configured.problems[found.slug] = error.detail
        except Exception as error:  # noqa: BLE001 a plugin's own fault must not stop the process; no value is told
            configured.problems[found.slug] = f"its constructor raised {type(error).__name__}"
    return configured


def build_plugin(plugin: LoadedPlugin, enabled: Enablement, secrets: Secrets) -> Any:
    """Return the plugin configured for one tenant; raise a `PitbossError` that names what is wrong."""
    config = decode_tenant_config(plugin, enabled)
    return plugin.driver(config, secrets.resolve(list_secrets(config)))


def decode_tenant_config(plugin: LoadedPlugin, enabled: Enablement) -> msgspec.Struct:
    """Return what a tenant configured, migrated where it was written for an older plugin; raise `FileInvalid`."""
    file = f"plugins/{plugin.slug}.toml"
    return decode_config(plugin, _migrate(plugin, enabled.config_version, enabled.config, file), file)


def _present_table(plugin: LoadedPlugin, table: Mapping[str, Any], file: str) -> Mapping[str, Any]:
    """Return a tenant's file as the plugin's present version reads it; the file may name the version it is written in."""
    rest = {key: value for key, value in table.items() if key != VERSION_KEY}
    return _migrate(plugin, table.get(VERSION_KEY, plugin.manifest.config_version), rest, file)


def _migrate(plugin: LoadedPlugin, version: object, table: Mapping[str, Any], file: str) -> Mapping[str, Any]:
    present = plugin.manifest.config_version
    if version == present:
        return table
    if type(version) is not int or not 1 <= version < present:
        raise FileInvalid(file, VERSION_KEY, f"{version!r} is not one of the versions 1 to {present} of the plugin")
    try:
        migrated: object = plugin.driver.migrate_config(version, deepcopy(dict(table)))
    except Exception as error:  # noqa: BLE001 whatever the plugin raises; its text may hold values of the table
        reason = f"version {version} cannot be migrated: {type(error).__name__}"
        raise FileInvalid(file, VERSION_KEY, reason) from None
    if not isinstance(migrated, dict):
        raise FileInvalid(file, VERSION_KEY, f"version {version} cannot be migrated: the plugin returns no table")
    return cast("dict[str, Any]", migrated)


def _storable(plugin: LoadedPlugin, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a TOML table as plain JSON values, so that what was applied compares equal to what was stored."""
    present = _present_table(plugin, table, f"plugins/{plugin.slug}.toml")
    return cast("dict[str, Any]", msgspec.to_builtins(present))
