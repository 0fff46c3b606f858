"""Colours derived from one: shades of a brand's colour that can be read on the platform's own, light and dark.

Lightness is that of OKLab (Björn Ottosson, 2020), in which a shade keeps its hue; contrast is that of WCAG 2.2.
"""

from __future__ import annotations

import math
import re
from typing import Final

import msgspec

from pitboss.themes.contracts import EDGE_CONTRAST, TEXT_CONTRAST, Palette, Tones
from pitboss.themes.errors import ColourUnusable

MAX_SHIFT: Final = 0.40
"""A shade whose lightness (0 to 1) is further away is another colour."""
_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_STEP: Final = 0.005
_HALVINGS: Final = 12


class Mode(msgspec.Struct, frozen=True):
    """What a brand's colour is seen on: backgrounds, and the two colours of words that may stand on it."""

    name: str
    backgrounds: tuple[str, ...]
    words: tuple[str, ...]
    direction: int


LIGHT: Final = Mode("light", ("#f8f9fb", "#ffffff", "#f3f4f7"), ("#ffffff", "#131822"), -1)
DARK: Final = Mode("dark", ("#0f1319", "#171b23", "#1c212b"), ("#0f1319", "#ffffff"), 1)
"""Page, surface and stripe of the platform's own style, and where a shade goes that cannot be read."""

Triple = tuple[float, float, float]


def derive_palette(colour: str) -> Palette:
    """Return the shades of a brand's colour that can be read; raise `ColourUnusable` where one is another colour.

    What is derived stands in a stylesheet as it is, so that what is no colour is refused here too.
    """
    if not _COLOUR.fullmatch(colour):
        raise ColourUnusable(f"{colour!r} is no colour: six hexadecimal digits after #")
    shades = {mode.name: _shift(colour, mode) for mode in (LIGHT, DARK)}
    for mode in (LIGHT, DARK):
        shift = abs(_lightness(shades[mode.name]) - _lightness(colour))
        if shift > MAX_SHIFT:
            raise ColourUnusable(
                f"{colour} has {compute_contrast(colour, _worst(colour, mode)):.1f}:1 on the {mode.name} page,"
                f" words need {TEXT_CONTRAST}:1, and the nearest shade that has it, {shades[mode.name]}, is another"
                f" colour; the nearest that can be used is {find_usable(colour)}"
            )
    return Palette(_tones(colour, shades["light"], LIGHT), _tones(colour, shades["dark"], DARK))


def find_usable(colour: str) -> str:
    """Return the shade of a colour that is nearest to it and can be used."""
    for step in range(round(1 / _STEP)):
        for direction in (1, -1):
            shade = _with_lightness(colour, _lightness(colour) + direction * step * _STEP)
            if all(abs(_lightness(_shift(shade, mode)) - _lightness(shade)) <= MAX_SHIFT for mode in (LIGHT, DARK)):
                return shade
    raise AssertionError("between white and black lies a shade that can be used")


def _tones(colour: str, brand: str, mode: Mode) -> Tones:
    on_brand = max(mode.words, key=lambda words: compute_contrast(words, brand))
    ring = colour.lower() if _is_enough(colour, mode, EDGE_CONTRAST) else brand
    return Tones(
        brand=brand,
        on_brand=on_brand,
        ring=ring,
        brand_contrast=compute_contrast(brand, _worst(brand, mode)),
        on_brand_contrast=compute_contrast(on_brand, brand),
        ring_contrast=compute_contrast(ring, _worst(ring, mode)),
    )


def _shift(colour: str, mode: Mode) -> str:
    """Return the nearest shade that can be read as words on every background of a mode."""
    shade, lightness = colour.lower(), _lightness(colour)
    while not _is_enough(shade, mode, TEXT_CONTRAST):
        lightness += mode.direction * _STEP
        shade = _with_lightness(colour, lightness)
    return shade


def _is_enough(colour: str, mode: Mode, least: float) -> bool:
    return compute_contrast(colour, _worst(colour, mode)) >= least


def _worst(colour: str, mode: Mode) -> str:
    return min(mode.backgrounds, key=lambda background: compute_contrast(colour, background))


def compute_contrast(one: str, other: str) -> float:
    """Return the ratio of two colours' luminance, from 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = _linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(colour: str) -> Triple:
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return red, green, blue


def _hex(linear: Triple) -> str:
    def encode(part: float) -> int:
        part = min(1.0, max(0.0, part))
        return round(255 * (12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055))

    return "#" + "".join(f"{encode(part):02x}" for part in linear)


def _lightness(colour: str) -> float:
    return _oklab(_linear(colour))[0]


def _with_lightness(colour: str, lightness: float) -> str:
    """Return the shade of that lightness with the same hue, and as much of the chroma as a screen can show."""
    if lightness <= 0 or lightness >= 1:
        return "#000000" if lightness <= 0 else "#ffffff"
    _, a, b = _oklab(_linear(colour))
    shown, beyond = 0.0, 2.0
    for _ in range(_HALVINGS):
        share = (shown + beyond) / 2
        if _is_shown(_from_oklab((lightness, a * share, b * share))) and share <= 1:
            shown = share
        else:
            beyond = share
    return _hex(_from_oklab((lightness, a * shown, b * shown)))


def _is_shown(linear: Triple) -> bool:
    return all(-0.0005 <= part <= 1.0005 for part in linear)


def _oklab(linear: Triple) -> Triple:
    red, green, blue = linear
    long = math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    medium = math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    short = math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def _from_oklab(lab: Triple) -> Triple:
    lightness, a, b = lab
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
