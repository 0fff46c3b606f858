"""The directory inside a process: one copy, looked up without I/O, refreshed from the database by version."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.directory import service
from pitboss.directory.contracts import (
    DirectoryBrand,
    DirectoryContent,
    DirectorySnapshot,
    DirectoryTenant,
    ForeignTenant,
    PublicKey,
    Refresh,
    TenantState,
)
from pitboss.directory.errors import SnapshotRefused, TenantMoving, TenantUnknown
from pitboss.kernel.clock import monotonic_seconds
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import Database, is_unavailable

REFRESH_SECONDS = 2
"""How often a process looks for a newer version."""


class Directory:
    """The last good snapshot of one cell; empty until the first refresh."""

    def __init__(self, cell: str, keys: Sequence[PublicKey]) -> None:
        self.cell = cell
        self._keys = tuple(keys)
        self._looked_at: float | None = None
        self.version = 0
        self._use(DirectoryContent())

    async def refresh(self, database: Database) -> Refresh:
        """Take over a newer snapshot, if there is one.

        Never raises for a database that is away or a snapshot that cannot be believed: the last good copy
        goes on serving and the answer names the problem.
        """
        try:
            async with AsyncSession(database.engine) as session:
                version = await service.get_version(session)
                if version == self.version:
                    snapshot = None
                else:
                    snapshot = await service.load_snapshot(session, cell=self.cell, keys=self._keys)
        except SnapshotRefused as refused:
            return Refresh(changed=False, problem=refused.detail)
        except Exception as error:
            if not is_unavailable(error):
                raise
            return Refresh(changed=False, problem=f"the database did not answer ({type(error).__name__})")
        self._looked_at = monotonic_seconds()
        return self._take(snapshot)

    def _take(self, snapshot: DirectorySnapshot | None) -> Refresh:
        if snapshot is None or snapshot.version == self.version:
            return Refresh(changed=False, problem="" if self.version else "no directory snapshot is stored yet")
        if snapshot.version < self.version:
            return Refresh(changed=False, problem=f"version {snapshot.version} is older than {self.version}")
        self._use(snapshot.content)
        self.version = snapshot.version
        return Refresh(changed=True)

    def _use(self, content: DirectoryContent) -> None:
        self._by_id = {tenant.tenant_id: tenant for tenant in content.tenants}
        self._by_slug = {tenant.slug: tenant for tenant in content.tenants}
        self._by_domain = {
            domain: (tenant, brand) for tenant in content.tenants for brand in tenant.brands for domain in brand.domains
        }
        self._elsewhere = {domain: foreign for foreign in content.elsewhere for domain in foreign.domains}
        self._elsewhere_by_slug = {foreign.slug: foreign for foreign in content.elsewhere}

    @property
    def is_loaded(self) -> bool:
        """Whether there is a snapshot to serve from."""
        return self.version > 0

    async def find_problem(self) -> str:
        """Return what keeps a process from serving from this copy, or an empty text."""
        return "" if self.is_loaded else "no signed snapshot has been loaded yet"

    def age_seconds(self) -> float | None:
        """Return the time since the database last confirmed the copy; None before the first time."""
        return None if self._looked_at is None else monotonic_seconds() - self._looked_at

    def tenants(self) -> list[DirectoryTenant]:
        """Return this cell's tenants by slug, whatever their state."""
        return list(self._by_slug.values())

    def find_tenant_by_slug(self, slug: str) -> DirectoryTenant | None:
        """Return a tenant of this cell, whatever its state."""
        return self._by_slug.get(slug)

    def find_tenant_by_domain(self, domain: str) -> DirectoryTenant | None:
        """Return the tenant of this cell that owns `domain` (lower case, no port), whatever its state."""
        found = self._by_domain.get(domain)
        return found[0] if found else None

    def find_brand_by_domain(self, domain: str) -> DirectoryBrand | None:
        """Return the brand of this cell behind `domain` (lower case, no port)."""
        found = self._by_domain.get(domain)
        return found[1] if found else None

    def find_elsewhere(self, domain: str) -> ForeignTenant | None:
        """Return the tenant of another cell that owns `domain`: the answer is 421."""
        return self._elsewhere.get(domain)

    def find_elsewhere_by_slug(self, slug: str) -> ForeignTenant | None:
        """Return the tenant of another cell by its slug."""
        return self._elsewhere_by_slug.get(slug)

    def tenant(self, scope: TenantScope) -> DirectoryTenant:
        """Return the tenant of `scope`; raise `TenantUnknown`, and `TenantMoving` for one that nobody serves."""
        found = self._by_id.get(scope.tenant_id)
        if found is None or scope.cell != self.cell:
            raise TenantUnknown(f"tenant {scope.slug} is not in cell {self.cell}")
        if found.state is TenantState.MOVING:
            raise TenantMoving("try again")
        return found

    def scope_of(self, tenant: DirectoryTenant) -> TenantScope:
        """Return the scope of one of this cell's tenants."""
        return TenantScope(tenant_id=tenant.tenant_id, slug=tenant.slug, cell=self.cell)

    def scopes(self) -> list[TenantScope]:
        """Return the scopes of all tenants that have work to do here: every one that is neither closed nor moving."""
        idle = {TenantState.CLOSED, TenantState.MOVING}
        return [self.scope_of(tenant) for tenant in self._by_id.values() if tenant.state not in idle]
