"""What control tells each cell about the tenants of the world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pitboss.directory.contracts import (
    DirectoryBrand,
    DirectoryContent,
    DirectoryTenant,
    ForeignTenant,
    SignedSnapshot,
    SigningKey,
    TenantState,
)
from pitboss.directory.rules import sign_snapshot
from pitboss.tenancy.contracts import CellPlace, TenantRecord


def build_content(cell: str, tenants: Iterable[TenantRecord], cells: Mapping[str, CellPlace]) -> DirectoryContent:
    """Return the directory of `cell`: everything about its own tenants, of others only where they live."""
    served = sorted(
        (tenant for tenant in tenants if tenant.state is not TenantState.PENDING), key=lambda tenant: tenant.slug
    )
    return DirectoryContent(
        tenants=tuple(_own(tenant) for tenant in served if tenant.cell == cell),
        elsewhere=tuple(
            ForeignTenant(
                slug=tenant.slug,
                domains=tuple(sorted(domain for brand in tenant.brands for domain in brand.domains)),
                cell=tenant.cell,
                address=cells[tenant.cell].address,
            )
            for tenant in served
            if tenant.cell != cell
        ),
    )


def _own(tenant: TenantRecord) -> DirectoryTenant:
    return DirectoryTenant(
        tenant_id=tenant.tenant_id,
        slug=tenant.slug,
        public_id=tenant.public_id,
        name=tenant.name,
        state=tenant.state,
        brands=tuple(
            DirectoryBrand(
                slug=brand.slug,
                name=brand.name,
                domains=brand.domains,
                languages=brand.languages,
                default_language=brand.default_language,
                pack=brand.pack,
            )
            for brand in tenant.brands
        ),
        currencies=tenant.currencies,
        packs=tenant.packs,
        plugins=tenant.plugins,
    )


def renew_snapshot(
    cell: str, published: SignedSnapshot | None, content: DirectoryContent, key: SigningKey
) -> SignedSnapshot | None:
    """Return the next snapshot of `cell`, or None while what is published says the same under the same key."""
    if published is None:
        return sign_snapshot(cell, 1, content, key)
    same = sign_snapshot(cell, published.version, content, key)
    if (same.key_id, same.body) == (published.key_id, published.body):
        return None
    return sign_snapshot(cell, published.version + 1, content, key)
