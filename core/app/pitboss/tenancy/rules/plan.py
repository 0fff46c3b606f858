"""What differs between a tenant's files and what control holds, and which differences are refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from pitboss.directory.contracts import TenantState
from pitboss.tenancy.contracts import BrandRecord, Facts, PlanEntry, TenantFile, TenantRecord

_FROM: Final = {
    TenantState.SUSPENDED: TenantState.ACTIVE,
    TenantState.ACTIVE: TenantState.SUSPENDED,
    TenantState.CLOSED: TenantState.SUSPENDED,
}
"""What a tenant must be before somebody makes it something else; closing is final, so it is never the first step."""
_FIXED: Final = ("public_id", "locality", "cell", "environment")


def record_from_files(tenant: TenantFile) -> TenantRecord:
    """Return what control is to hold of `tenant` once it serves; the number is not known here."""
    return TenantRecord(
        tenant_id=0,
        slug=tenant.slug,
        public_id=tenant.public_id,
        name=tenant.name,
        state=TenantState.ACTIVE,
        locality=tenant.locality,
        cell=tenant.cell,
        environment=tenant.environment,
        currencies=tuple(sorted(tenant.currencies)),
        packs=tuple(sorted(tenant.packs)),
        plugins=tuple(sorted(tenant.plugins)),
        brands=tuple(
            BrandRecord(
                slug=brand.slug,
                name=brand.name,
                domains=tuple(sorted(brand.domains)),
                languages=tuple(sorted(brand.languages)),
                default_language=brand.default_language,
                pack=brand.pack or _only(tenant.packs),
            )
            for brand in sorted(tenant.brands, key=lambda found: found.slug)
        ),
    )


def _only(packs: Sequence[str]) -> str:
    """Return the pack of a brand that names none: the tenant's only one, or empty."""
    return packs[0] if len(packs) == 1 else ""


def merge_record(tenant: TenantFile, actual: TenantRecord | None) -> TenantRecord:
    """Return the record that an apply leaves behind: a suspended or closed tenant stays so."""
    wanted = record_from_files(tenant)
    if actual is None:
        return wanted
    state = TenantState.ACTIVE if actual.state is TenantState.PENDING else actual.state
    return msgspec.structs.replace(wanted, tenant_id=actual.tenant_id, state=state)


def facts_of(record: TenantRecord | None) -> Facts:
    """Return a record as path → value; members of sets are paths of their own with the value True."""
    return {} if record is None else dict(_flatten(record))


def _flatten(record: TenantRecord) -> Iterator[tuple[str, Any]]:
    yield "tenant.public_id", str(record.public_id)
    yield "tenant.name", record.name
    yield "tenant.state", record.state.value
    yield "tenant.locality", record.locality
    yield "tenant.cell", record.cell
    yield "tenant.environment", record.environment
    for kind, values in (("currencies", record.currencies), ("packs", record.packs), ("plugins", record.plugins)):
        for value in values:
            yield f"{kind}.{value}", True
    for brand in record.brands:
        yield f"brands.{brand.slug}.name", brand.name
        yield f"brands.{brand.slug}.languages", list(brand.languages)
        yield f"brands.{brand.slug}.default_language", brand.default_language
        if brand.pack:
            yield f"brands.{brand.slug}.pack", brand.pack
        for domain in brand.domains:
            yield f"domains.{domain}", brand.slug


def diff_facts(actual: Facts, wanted: Facts) -> list[PlanEntry]:
    """Return what turns `actual` into `wanted`, by path."""
    entries: list[PlanEntry] = []
    for path in sorted({*actual, *wanted}):
        before, after = actual.get(path), wanted.get(path)
        if path not in actual:
            entries.append(PlanEntry("+", path, None, after))
        elif path not in wanted:
            entries.append(PlanEntry("-", path, before, None))
        elif before != after:
            entries.append(PlanEntry("~", path, before, after))
    return entries


def find_refusals(tenant: TenantFile, actual: TenantRecord | None) -> list[str]:
    """Return why control may not take over the files: what never changes has changed, or the tenant is closed."""
    if actual is None:
        return []
    wanted = facts_of(record_from_files(tenant))
    held = facts_of(actual)
    refusals = [
        f"{field} never changes: it is {held[path]}, the file says {wanted[path]}"
        for field in _FIXED
        if held[path := f"tenant.{field}"] != wanted[path]
    ]
    if actual.state is TenantState.CLOSED:
        refusals.append("the tenant is closed")
    if actual.state is TenantState.MOVING:
        refusals.append("the tenant is moving to another cell")
    return refusals


def find_state_refusal(actual: TenantState, wanted: TenantState) -> str:
    """Return why a tenant may not become `wanted`, empty where it may or is so already."""
    if actual is wanted or actual is _FROM.get(wanted):
        return ""
    return f"the tenant is {actual}; {wanted} it becomes only when it is {_FROM[wanted]}"
