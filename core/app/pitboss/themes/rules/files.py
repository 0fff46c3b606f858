"""What is wrong with a tenant's `theme/`, and what a theme says as facts and as a stylesheet."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from math import floor
from typing import Any, Final, cast

import msgspec

from pitboss.plughost.rules import describe_fault
from pitboss.tenancy.contracts import THEME_FILE, Problem
from pitboss.themes.contracts import THEME_FORMAT, BrandTheme, BrandThemeFile, Palette, Tones
from pitboss.themes.errors import ColourUnusable, ImageUnusable
from pitboss.themes.rules.colour import derive_palette
from pitboss.themes.rules.image import read_image

_FIELDS: Final = {field.encode_name: field for field in msgspec.structs.fields(BrandThemeFile)}


def read_theme(
    slug: str, table: Mapping[str, Any], images: Mapping[str, bytes], brands: Mapping[str, Collection[str]]
) -> tuple[dict[str, BrandTheme], list[Problem]]:
    """Return the themes of a tenant's brands as far as they are right, and everything that is wrong.

    `brands` are the languages of each brand of `tenant.toml`; a brand without a table looks as the platform does.
    """
    file = f"{slug}/{THEME_FILE}"
    problems = [Problem(file, key, "unknown key; known is brands") for key in table if key != "brands"]
    given: Any = table.get("brands", {})
    if not isinstance(given, dict):
        return {}, [*problems, Problem(file, "brands", "must be a table")]
    themes: dict[str, BrandTheme] = {}
    used: set[str] = set()
    for brand, one in cast("dict[str, Any]", given).items():
        found = [Problem(file, key, reason) for key, reason in _find_misfits(f"brands.{brand}", one)]
        if not found:
            read = msgspec.convert(one, BrandThemeFile)
            used.add(read.logo)
            found = list(_judge(slug, brand, read, images, brands))
            if not found:
                themes[brand] = BrandTheme(colour=read.colour.lower(), names=read.names, logo=images.get(read.logo))
        problems += found
    problems += [Problem(f"{slug}/theme/{name}", "", "no brand names this file") for name in sorted({*images} - used)]
    return themes, problems


def _find_misfits(key: str, one: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(one, dict):
        yield key, "must be a table"
        return
    table = cast("dict[str, Any]", one)
    for name, value in table.items():
        if name not in _FIELDS:
            yield f"{key}.{name}", f"unknown key; known are {', '.join(_FIELDS)}"
            continue
        try:
            msgspec.convert(value, _FIELDS[name].type)
        except msgspec.ValidationError as error:
            below, reason = describe_fault(error)
            if name == "colour":
                reason = 'must be six hexadecimal digits after #, such as "#0b6e4f"'
            yield ".".join(filter(None, (key, name, below))), reason
    if "colour" not in table:
        yield f"{key}.colour", "missing"


def _judge(
    slug: str, brand: str, read: BrandThemeFile, images: Mapping[str, bytes], brands: Mapping[str, Collection[str]]
) -> Iterator[Problem]:
    file, key = f"{slug}/{THEME_FILE}", f"brands.{brand}"
    if brand not in brands:
        yield Problem(file, key, f"tenant.toml has no brand {brand}")
        return
    for language in read.names:
        if language not in brands[brand]:
            yield Problem(file, f"{key}.names.{language}", f"{language} is not among the brand's languages")
    try:
        derive_palette(read.colour)
    except ColourUnusable as fault:
        yield Problem(file, f"{key}.colour", fault.detail)
    if not read.logo:
        return
    if read.logo not in images:
        yield Problem(file, f"{key}.logo", f"{read.logo!r} is no PNG or WebP file beside this one")
        return
    try:
        read_image(images[read.logo])
    except ImageUnusable as fault:
        yield Problem(f"{slug}/theme/{read.logo}", "", fault.detail)


def render_stylesheet(palette: Palette) -> str:
    """Return the stylesheet of a brand: its own three colours in both modes, and nothing else."""
    return (
        f":root {{ {_declare(palette.light)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_declare(palette.dark)} }} }}\n"
    )


def _declare(tones: Tones) -> str:
    return f"--brand: {tones.brand}; --on-brand: {tones.on_brand}; --ring: {tones.ring};"


def compute_version(theme: BrandTheme, stylesheet: str) -> str:
    """Return what changes when anything changes that a brand's visitors see of its theme."""
    parts = (str(THEME_FORMAT), stylesheet, msgspec.json.encode(theme.names, order="deterministic"), theme.logo or b"")
    whole = sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        whole.update(len(content).to_bytes(8) + content)
    return whole.hexdigest()[:12]


def describe_theme(theme: BrandTheme) -> dict[str, str]:
    """Return a theme as path → value for plan and audit, with the contrast that was reached."""
    palette = derive_palette(theme.colour)
    facts = {"colour": theme.colour, "version": compute_version(theme, render_stylesheet(palette))}
    facts |= {"light": _describe_tones(palette.light), "dark": _describe_tones(palette.dark)}
    facts |= {f"names.{language}": name for language, name in theme.names.items()}
    if theme.logo is not None:
        image = read_image(theme.logo)
        facts["logo"] = f"{image.type} {image.width_pixels}x{image.height_pixels} {len(theme.logo)} bytes"
    return facts


def _describe_tones(tones: Tones) -> str:
    return (
        f"{tones.brand} {_ratio(tones.brand_contrast)}, words on it {tones.on_brand}"
        f" {_ratio(tones.on_brand_contrast)}, ring {tones.ring} {_ratio(tones.ring_contrast)}"
    )


def _ratio(contrast: float) -> str:
    return f"{floor(contrast * 10) / 10:.1f}:1"
