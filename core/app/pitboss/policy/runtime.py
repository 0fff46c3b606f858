"""What a process knows of its tenants' policies: the packs that it loaded, and what lanes need to know of them."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import TenantScope
from pitboss.plughost.contracts import LoadedPack
from pitboss.policy.contracts import EffectivePolicy, SpendOrder
from pitboss.policy.service import get_policy
from pitboss_sdk.errors import PitbossError

_LOG = structlog.get_logger("pitboss.policy")


class Policies:
    """The policies of a process's tenants; `zones` and `spend_orders` are kept fresh in the background."""

    def __init__(self, packs: Mapping[str, LoadedPack]) -> None:
        self._packs = packs
        self.zones: dict[int, str] = {}
        """Time zone of the licence by tenant number; a tenant without a policy is not in it."""
        self.spend_orders: dict[int, SpendOrder] = {}
        """Which money stakes take first, by tenant number; a tenant without a policy is not in it."""

    async def get(self, session: AsyncSession, scope: TenantScope) -> EffectivePolicy:
        """Return what applies now, and let lanes know; raise `PolicyMissing`, `LicenceUnknown` or `PackNotLoaded`."""
        policy = await get_policy(session, scope, self._packs, utc_now())
        # Whoever registers first at a tenant that has just come must not wait until it is renewed.
        self.zones[scope.tenant_id], self.spend_orders[scope.tenant_id] = policy.time_zone, policy.spend_order
        return policy

    async def find(self, session: AsyncSession, scope: TenantScope) -> EffectivePolicy | None:
        """Return what applies now, where it is known and no licence has to be chosen."""
        try:
            return await self.get(session, scope)
        except PitbossError:
            return None

    async def renew(self, session: AsyncSession, scope: TenantScope) -> EffectivePolicy | None:
        """Bring what lanes know of one tenant to what its policy says now, and return that where it is known."""
        try:
            return await self.get(session, scope)
        except PitbossError as error:
            self._forget(scope.tenant_id)
            _LOG.error("policy.unknown", tenant=scope.slug, error_code=error.code)
            return None

    def keep_only(self, tenant_ids: AbstractSet[int]) -> None:
        """Forget tenants that are not among `tenant_ids`."""
        for tenant_id in set(self.zones) - tenant_ids:
            self._forget(tenant_id)

    def _forget(self, tenant_id: int) -> None:
        self.zones.pop(tenant_id, None)
        self.spend_orders.pop(tenant_id, None)
