"""What a process knows of its tenants' policies: the packs that it loaded, and the time zones that lanes count in."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import TenantScope
from pitboss.plughost.contracts import LoadedPack
from pitboss.policy.contracts import EffectivePolicy
from pitboss.policy.service import get_policy
from pitboss_sdk.errors import PitbossError

_LOG = structlog.get_logger("pitboss.policy")


class Policies:
    """The policies of a process's tenants; `zones` is kept fresh in the background."""

    def __init__(self, packs: Mapping[str, LoadedPack]) -> None:
        self._packs = packs
        self.zones: dict[int, str] = {}
        """Time zone of the licence by tenant number; a tenant without a policy is not in it."""

    async def get(self, session: AsyncSession, scope: TenantScope) -> EffectivePolicy:
        """Return what applies now; raise `PolicyMissing`, `LicenceUnknown` or `PackNotLoaded`."""
        return await get_policy(session, scope, self._packs, utc_now())

    async def renew(self, session: AsyncSession, scope: TenantScope) -> None:
        """Bring the time zone of one tenant to what its policy says now."""
        try:
            self.zones[scope.tenant_id] = (await self.get(session, scope)).time_zone
        except PitbossError as error:
            self.zones.pop(scope.tenant_id, None)
            _LOG.error("policy.unknown", tenant=scope.slug, error_code=error.code)

    def keep_only(self, tenant_ids: AbstractSet[int]) -> None:
        """Forget tenants that are not among `tenant_ids`."""
        for tenant_id in set(self.zones) - tenant_ids:
            del self.zones[tenant_id]
