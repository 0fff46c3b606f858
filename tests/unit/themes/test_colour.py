"""Shades that are derived from one colour: legible on the platform's own, or refused with what would be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitboss.themes.contracts import EDGE_CONTRAST, TEXT_CONTRAST
from pitboss.themes.errors import ColourUnusable
from pitboss.themes.rules.colour import DARK, LIGHT, compute_contrast, derive_palette, find_usable

STYLE = (Path(__file__).parents[3] / "core/app/pitboss/web/static/pages.css").read_text()
COLOURS = st.integers(0, 0xFFFFFF).map("#{:06x}".format)


@settings(deadline=None)
@given(COLOURS)
def test_whatever_is_derived_can_be_read(colour: str) -> None:
    try:
        palette = derive_palette(colour)
    except ColourUnusable as refused:
        nearest = re.search(r"can be used is (#[0-9a-f]{6})\Z", refused.detail)
        assert nearest
        palette = derive_palette(nearest[1])
    for tones, mode in ((palette.light, LIGHT), (palette.dark, DARK)):
        for background in mode.backgrounds:
            assert compute_contrast(tones.brand, background) >= TEXT_CONTRAST
            assert compute_contrast(tones.ring, background) >= EDGE_CONTRAST
        assert compute_contrast(tones.on_brand, tones.brand) >= TEXT_CONTRAST


def test_contrast_is_that_of_wcag() -> None:
    assert compute_contrast("#000000", "#ffffff") == pytest.approx(21)
    assert compute_contrast("#ffffff", "#ffffff") == 1
    assert compute_contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert compute_contrast("#1f53b8", "#ffffff") == compute_contrast("#FFFFFF", "#1F53B8")


def test_a_colour_that_can_be_read_is_kept() -> None:
    assert derive_palette("#1F53B8").light.brand == "#1f53b8"
    assert derive_palette("#ffe600").dark.brand == "#ffe600"


def test_a_shade_keeps_its_hue() -> None:
    assert derive_palette("#ff0000").light.brand == "#e20000"
    assert derive_palette("#ffe600").light.brand == "#7d7000"
    assert derive_palette("#001a4d").dark.brand == "#6589c5"


@pytest.mark.parametrize(
    ("colour", "mode", "usable"), [("#ffffff", "light", "#ebebeb"), ("#000000", "dark", "#1d1d1d")]
)
def test_a_colour_that_would_become_another_is_refused(colour: str, mode: str, usable: str) -> None:
    with pytest.raises(ColourUnusable) as refused:
        derive_palette(colour)
    assert f"on the {mode} page" in refused.value.detail
    assert refused.value.detail.endswith(f"can be used is {usable}")
    assert find_usable(usable) == usable


def test_the_backgrounds_are_those_of_the_style() -> None:
    light, dark = re.findall(r":root \{([^}]*)\}", STYLE)
    for mode, declared in ((LIGHT, light), (DARK, dark)):
        tokens = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", declared))
        assert mode.backgrounds == (tokens["page"], tokens["surface"], tokens["stripe"])


def test_the_platforms_own_brand_is_as_legible() -> None:
    for mode, declared in zip((LIGHT, DARK), re.findall(r":root \{([^}]*)\}", STYLE), strict=True):
        tokens = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", declared))
        for background in mode.backgrounds:
            assert compute_contrast(tokens["brand"], background) >= TEXT_CONTRAST
            assert compute_contrast(tokens["ring"], background) >= EDGE_CONTRAST
        assert compute_contrast(tokens["on-brand"], tokens["brand"]) >= TEXT_CONTRAST


@pytest.mark.parametrize("colour", ["red", "", "#12345", "#1234567", "#1f53b8; } body { display: none", "#1f53b8\n"])
def test_what_is_no_colour_is_refused(colour: str) -> None:
    with pytest.raises(ColourUnusable, match="is no colour"):
        derive_palette(colour)
