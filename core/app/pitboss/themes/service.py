"""Use cases of themes: check a tenant's `theme/`, apply it, and serve it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_event
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.tenancy.contracts import Problem
from pitboss.themes import rules, store
from pitboss.themes.contracts import BrandTheme, Logo, Served

Themes = Mapping[str, BrandTheme]
"""A tenant's themes by brand."""


def check_theme(
    slug: str, table: Mapping[str, Any], images: Mapping[str, bytes], brands: Mapping[str, Collection[str]]
) -> tuple[dict[str, BrandTheme], list[Problem]]:
    """Return what a tenant's `theme/` gives each brand, and everything that is wrong with it.

    `table` is `theme.toml`, `images` lie beside it, `brands` are the tenant's with their languages.
    """
    return rules.read_theme(slug, table, images, brands)


def describe_files(themes: Themes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the `theme.toml` and the images that say what is held."""
    tables: dict[str, Any] = {}
    images: dict[str, bytes] = {}
    for brand, theme in themes.items():
        table = tables[brand] = {"colour": theme.colour}
        if theme.logo is not None:
            table["logo"] = f"{brand}.{rules.read_image(theme.logo).type.removeprefix('image/')}"
            images[table["logo"]] = theme.logo
        if theme.names:
            tables[brand] = {**table, "names": dict(theme.names)}
    return {"brands": tables} if tables else {}, images


async def list_themes(session: AsyncSession, scope: TenantScope) -> dict[str, BrandTheme]:
    """Return the themes that are held of a tenant."""
    return {brand: theme for brand, (_, theme) in (await store.fetch_themes(session, scope.tenant_id)).items()}


async def plan_themes(session: AsyncSession, scope: TenantScope, themes: Themes) -> tuple[Change, ...]:
    """Return what `apply_themes` would change, with the contrast that each colour reaches.

    Raises `ColourUnusable` and `ImageUnusable`.
    """
    held = await store.fetch_themes(session, scope.tenant_id)
    found: list[Change] = []
    for brand in sorted({*held, *themes}):
        found += [
            Change(f"{brand}.{change.path}", change.before, change.after)
            for change in _compare(held.get(brand), themes.get(brand))
        ]
    return tuple(found)


async def apply_themes(
    session: AsyncSession, scope: TenantScope, themes: Themes, *, actor: Actor, origin: Origin
) -> None:
    """Make the cell hold a tenant's themes; what is so already is neither written nor audited.

    Raises `ColourUnusable` and `ImageUnusable`.
    """
    held = await store.fetch_themes(session, scope.tenant_id, for_update=True)
    for brand, theme in themes.items():
        values = _columns(theme)
        # The insert waits for another first one, so that the difference is told from what that one left.
        if brand not in held and not await store.insert_theme(session, scope.tenant_id, brand, values):
            held = await store.fetch_themes(session, scope.tenant_id, for_update=True)
        changes = _compare(held.get(brand), theme)
        if changes and brand in held:
            await store.update_theme(session, scope.tenant_id, brand, values)
        if changes:
            await record_event(session, scope, AuditEvent("theme.applied", actor, origin, "theme", brand, changes))
    for brand in held.keys() - themes.keys():
        await store.delete_theme(session, scope.tenant_id, brand)
        changes = _compare(held[brand], None)
        await record_event(session, scope, AuditEvent("theme.removed", actor, origin, "theme", brand, changes))


async def find_served(session: AsyncSession, scope: TenantScope, brand: str) -> Served | None:
    """Return what a brand's pages need of its theme; None for a brand that looks as the platform does."""
    return await store.find_served(session, scope.tenant_id, brand)


async def find_logo(session: AsyncSession, scope: TenantScope, brand: str) -> Logo | None:
    """Return a brand's logo."""
    return await store.find_logo(session, scope.tenant_id, brand)


def _columns(theme: BrandTheme) -> dict[str, Any]:
    stylesheet = rules.render_stylesheet(rules.derive_palette(theme.colour))
    return {
        "version": rules.compute_version(theme, stylesheet),
        "colour": theme.colour,
        "names": dict(theme.names),
        "stylesheet": stylesheet,
        "logo": theme.logo,
        "logo_type": None if theme.logo is None else rules.read_image(theme.logo).type,
    }


def _compare(held: tuple[str, BrandTheme] | None, wanted: BrandTheme | None) -> tuple[Change, ...]:
    before, after = {} if held is None else _facts(held[1]), {} if wanted is None else _facts(wanted)
    if held is not None:
        before["version"] = held[0]
    return tuple(
        Change(path, before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    )


def _facts(theme: BrandTheme) -> dict[str, str]:
    return rules.describe_theme(theme)
