"""The drivers of a process: configured for a tenant, guarded, kept until their configuration changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import TenantScope
from pitboss.platform.http import PluginHttpClient
from pitboss.platform.telemetry import Metrics
from pitboss.plughost import store
from pitboss.plughost.contracts import Enablement, LoadedPlugin
from pitboss.plughost.errors import PluginNotEnabled, PluginUnavailable
from pitboss.plughost.runtime.guard import GuardedDriver
from pitboss.plughost.runtime.health import HealthBoard
from pitboss.plughost.service import Secrets, build_plugin, decode_tenant_config
from pitboss_sdk.errors import PitbossError
from pitboss_sdk.manifest import list_egress_hosts
from pitboss_sdk.secrets import list_secrets

_LOG: Final = structlog.get_logger(__name__)


class _Made(NamedTuple):
    """A driver and what it was made of."""

    enabled: Enablement
    version: object
    values: Mapping[str, str]
    driver: GuardedDriver


class Drivers:
    """The configured drivers of a process, each with its own way out and its own guard.

    One is made anew when its configuration or a secret of it changes, and begins healthy. While the secrets cannot be
    read, one that is there goes on with those that it has.
    """

    def __init__(
        self,
        plugins: Mapping[str, LoadedPlugin],
        secrets: Secrets,
        metrics: Metrics | None = None,
        board: HealthBoard | None = None,
    ) -> None:
        self._plugins = plugins
        self._secrets = secrets
        self._metrics = metrics
        self._board = board
        self._made: dict[tuple[int, str], _Made] = {}
        self._clients: list[PluginHttpClient] = []

    async def get(self, session: AsyncSession, scope: TenantScope, slug: str) -> GuardedDriver:
        """Return the tenant's driver of a plugin; raise `PluginNotEnabled`, `PluginUnavailable` or what building raises."""
        enabled = await store.find_enablement(session, scope.tenant_id, slug)
        if enabled is None or not enabled.enabled:
            raise PluginNotEnabled(f"plugin {slug!r} is not enabled")
        plugin = self._plugins.get(slug)
        if plugin is None:
            raise PluginUnavailable(f"plugin {slug!r} is not loaded in this process")
        known = self._made.get((scope.tenant_id, slug))
        if known is not None and known.enabled != enabled:
            known = None
        # Asked before the values, so that what is written meanwhile is seen the next time.
        version = self._secrets.get_version()
        if known is not None and known.version == version:
            return known.driver
        config = decode_tenant_config(plugin, enabled)
        try:
            values = self._secrets.resolve(list_secrets(config))
        except PitbossError as error:
            if known is None:
                raise
            _LOG.warning("plugin.secrets_not_read", tenant=scope.slug, plugin=slug, error_code=error.code)
            return known.driver
        if known is not None and known.values == values:
            self._made[(scope.tenant_id, slug)] = known._replace(version=version)
            return known.driver
        instance = build_plugin(plugin, enabled, self._secrets)
        client = PluginHttpClient(slug, list_egress_hosts(plugin.manifest, config))
        driver = GuardedDriver(
            tenant=scope.slug,
            plugin=slug,
            instance=instance,
            http=client,
            secrets=values.values(),
            metrics=self._metrics,
            board=self._board,
        )
        # The client before stays open until the process ends: a call may be under way, and changes are rare.
        self._clients.append(client)
        self._made[(scope.tenant_id, slug)] = _Made(enabled, version, values, driver)
        return driver

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            await client.close()
