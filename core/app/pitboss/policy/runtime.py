"""What a process knows of its tenants' policies: the packs that it loaded, and what lanes need to know of them."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import TenantScope
from pitboss.plughost.contracts import LoadedPack
from pitboss.policy.contracts import EffectivePolicy, LicenceKey, PlayLaw
from pitboss.policy.service import compute_policy, get_applied, get_policy
from pitboss_sdk.errors import PitbossError

_LOG = structlog.get_logger("pitboss.policy")


class Policies:
    """The policies of a process's tenants; `laws` are kept fresh in the background."""

    def __init__(self, packs: Mapping[str, LoadedPack]) -> None:
        self._packs = packs
        self.laws: dict[LicenceKey, PlayLaw] = {}
        """What lanes need to know, by tenant number and licence; one whose policy is not known is not in it."""

    async def get(self, session: AsyncSession, scope: TenantScope, licence: str) -> EffectivePolicy:
        """Return what applies now to players of a licence, and let lanes know.

        Raises `PolicyMissing`, `LicenceUnknown` or `PackNotLoaded`.
        """
        policy = await get_policy(session, scope, self._packs, utc_now(), licence=licence)
        # Whoever registers first at a tenant that has just come must not wait until it is renewed.
        self.laws[scope.tenant_id, licence] = policy.play_law
        return policy

    async def find(self, session: AsyncSession, scope: TenantScope, licence: str) -> EffectivePolicy | None:
        """Return what applies now to players of a licence, where it is known."""
        try:
            return await self.get(session, scope, licence)
        except PitbossError:
            return None

    async def renew(self, session: AsyncSession, scope: TenantScope) -> list[EffectivePolicy]:
        """Bring what lanes know of one tenant to what applies now to each of its licences; return what is known."""
        known: list[EffectivePolicy] = []
        try:
            applied = await get_applied(session, scope)
            for licence in applied.packs or [""]:
                try:
                    known.append(compute_policy(applied, self._packs, utc_now(), licence=licence))
                except PitbossError as error:
                    _LOG.error("policy.unknown", tenant=scope.slug, licence=licence, error_code=error.code)
        except PitbossError as error:
            _LOG.error("policy.unknown", tenant=scope.slug, error_code=error.code)
        fresh = {(scope.tenant_id, policy.licence): policy.play_law for policy in known}
        for gone in [law for law in self.laws if law[0] == scope.tenant_id and law not in fresh]:
            del self.laws[gone]
        self.laws |= fresh
        return known

    def keep_only(self, tenant_ids: AbstractSet[int]) -> None:
        """Forget tenants that are not among `tenant_ids`."""
        for law in [law for law in self.laws if law[0] not in tenant_ids]:
            del self.laws[law]
