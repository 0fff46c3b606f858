"""The drivers of a process: configured for a tenant, guarded, kept until their configuration changes."""

from __future__ import annotations

from collections.abc import Mapping

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
from pitboss_sdk.manifest import list_egress_hosts
from pitboss_sdk.secrets import list_secrets


class Drivers:
    """The configured drivers of a process, each with its own way out and its own guard.

    One is made anew when its configuration changes, and begins healthy.
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
        self._made: dict[tuple[int, str], tuple[Enablement, GuardedDriver]] = {}
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
        if known is not None and known[0] == enabled:
            return known[1]
        instance = build_plugin(plugin, enabled, self._secrets)
        config = decode_tenant_config(plugin, enabled)
        client = PluginHttpClient(slug, list_egress_hosts(plugin.manifest, config))
        driver = GuardedDriver(
            tenant=scope.slug,
            plugin=slug,
            instance=instance,
            http=client,
            secrets=self._secrets.resolve(list_secrets(config)).values(),
            metrics=self._metrics,
            board=self._board,
        )
        # The client before stays open until the process ends: a call may be under way, and changes are rare.
        self._clients.append(client)
        self._made[(scope.tenant_id, slug)] = (enabled, driver)
        return driver

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            await client.close()
