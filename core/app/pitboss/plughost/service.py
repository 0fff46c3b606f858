"""Use cases of the plugin host: check a configuration, enable and disable plugins, build a tenant's dialects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import deepcopy
from datetime import timedelta
from typing import Any, Final, Protocol, cast

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_event
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.platform.outbox import enqueue
from pitboss.plughost import store
from pitboss.plughost.contracts import (
    WEBHOOK_JOB,
    ConfiguredPlugins,
    Enablement,
    LoadedPlugin,
    ParkedWebhook,
    Settled,
    Webhook,
    WebhookState,
)
from pitboss.plughost.errors import FileInvalid, PluginNotEnabled, ReceiverHeld
from pitboss.plughost.rules import (
    MAX_WEBHOOK_ATTEMPTS,
    compute_changes,
    compute_webhook_pause_seconds,
    decode_config,
    demand_locality,
)
from pitboss_sdk.errors import PitbossError
from pitboss_sdk.secrets import list_secrets
from pitboss_sdk.webhooks import RawWebhook, Untranslatable

VERSION_KEY: Final = "config_version"
"""A key of every plugin's file, read by the host: the version of the configuration that the file is written in."""

MAX_REASON: Final = 300
"""Characters of why a webhook could not be carried out that are kept."""


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


class Translator(Protocol):
    """A tenant's receiver behind its guard (`pitboss.plughost.runtime.GuardedReceiver`)."""

    async def translate(self, raw: RawWebhook) -> tuple[Any, ...]:
        """Return the events of a webhook; raise `Untranslatable`, or `ReceiverUnavailable` for every other failure."""
        ...


async def store_webhook(session: AsyncSession, scope: TenantScope, webhook: Webhook) -> bool:
    """Keep a webhook that was accepted and leave a job behind; False for a repetition, which changes nothing.

    The vendor may be told that it arrived once the transaction is committed, and not before.
    """
    if not await store.insert_webhook(session, scope.tenant_id, webhook):
        return False
    await enqueue(session, scope, WEBHOOK_JOB, {"plugin": webhook.plugin, "event_id": webhook.accepted.event_id})
    return True


async def settle_webhook(
    session: AsyncSession,
    scope: TenantScope,
    translator: Translator,
    plugin: str,
    event_id: str,
    carry_out: Callable[[Any], Awaitable[None]],
    *,
    again: bool = False,
) -> Settled | None:
    """Carry out a stored webhook: translate it, and hand its events to `carry_out` unless a newer one was before it.

    What fails leaves nothing but a count, a reason and a job for later; after `MAX_WEBHOOK_ATTEMPTS` it is parked.
    With `again` one that is parked has all its attempts anew. None when there is nothing to do any more.
    """
    found = await store.take_webhook(session, scope.tenant_id, plugin, event_id)
    if found is None or found.state is not (WebhookState.PARKED if again else WebhookState.STORED):
        return None
    attempts = 0 if again else found.attempts
    is_held = False
    try:
        async with session.begin_nested():
            settled = await _carry_out(session, scope, translator, found.webhook, carry_out)
    except Untranslatable as error:
        settled = Settled(WebhookState.PARKED, error.detail[:MAX_REASON])
    except Exception as error:  # noqa: BLE001 an event that no statement can take would come again for ever, unseen
        is_held = isinstance(error, ReceiverHeld)
        attempts += not is_held
        is_last = attempts >= MAX_WEBHOOK_ATTEMPTS
        settled = Settled(WebhookState.PARKED if is_last else WebhookState.STORED, _tell_failure(error)[:MAX_REASON])
    await store.update_webhook(session, scope.tenant_id, plugin, event_id, settled, attempts)
    if settled.state is WebhookState.STORED:
        due_at = utc_now() + timedelta(seconds=compute_webhook_pause_seconds(attempts, is_held=is_held))
        await enqueue(session, scope, WEBHOOK_JOB, {"plugin": plugin, "event_id": event_id}, available_at=due_at)
    return settled


def _tell_failure(error: Exception) -> str:
    """Return why, without what a stranger sent: the text of an error that is not ours may hold it."""
    return f"{error.code}: {error.detail}" if isinstance(error, PitbossError) else type(error).__name__


async def _carry_out(
    session: AsyncSession,
    scope: TenantScope,
    translator: Translator,
    webhook: Webhook,
    carry_out: Callable[[Any], Awaitable[None]],
) -> Settled:
    accepted = webhook.accepted
    events = await translator.translate(webhook.raw)
    if accepted.object_id and not await store.advance_object(
        session, scope.tenant_id, webhook.plugin, accepted.object_id, accepted.sequence
    ):
        return Settled(WebhookState.SUPERSEDED, "a newer event of the same object was carried out before")
    for event in events:
        await carry_out(event)
    return Settled(WebhookState.DONE)


async def list_parked(
    session: AsyncSession, scope: TenantScope, *, plugin: str | None = None, event_id: str | None = None, most: int
) -> list[ParkedWebhook]:
    """Return webhooks that nobody could carry out, the oldest first; of one plugin or with one id where given."""
    return await store.list_parked(session, scope.tenant_id, plugin, event_id, most)


async def try_parked_again(
    session: AsyncSession, scope: TenantScope, webhooks: Sequence[ParkedWebhook], actor: Actor, origin: Origin
) -> None:
    """Leave a job for each parked webhook that carries it out as if it had just come, and say who asked."""
    for each in webhooks:
        name = {"plugin": each.plugin, "event_id": each.event_id}
        await enqueue(session, scope, WEBHOOK_JOB, {**name, "again": True})
        await record_event(
            session, scope, AuditEvent("webhook.tried_again", actor, origin, "webhook", ":".join(name.values()))
        )


async def count_parked(session: AsyncSession, scope: TenantScope) -> dict[str, int]:
    """Return how many webhooks of each plugin nobody could carry out."""
    return await store.count_parked(session, scope.tenant_id)
