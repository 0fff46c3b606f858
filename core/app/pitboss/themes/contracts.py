"""Values of themes that cross the room's border: what a tenant gives, what is derived from it, what is served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from pitboss.tenancy.contracts import Name

MAX_NAMES: Final = 16
Names = Annotated[Mapping[Annotated[str, Meta(max_length=35)], Name], Meta(max_length=MAX_NAMES)]
"""What a brand is called, by language."""
Colour = Annotated[str, Meta(pattern=r"^#[0-9a-fA-F]{6}\Z", description="six hexadecimal digits after #")]
ImageType = Literal["image/png", "image/webp"]

MAX_LOGO_BYTES: Final = 128 * 1024
MIN_LOGO_PIXELS: Final = 16
MAX_LOGO_PIXELS: Final = 1024
"""Least and most of a logo's width and height."""
TEXT_CONTRAST: Final = 4.5
EDGE_CONTRAST: Final = 3.0
"""Least ratios (WCAG 2.2, 1.4.3 and 1.4.11) of words, and of edges that say where one is."""
THEME_FORMAT: Final = 1
"""Version of the derivation: a theme that an older one derived is derived anew by the next apply."""


class BrandThemeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A brand's table in `theme/theme.toml`. `names` are by language, where they differ from the brand's name."""

    colour: Colour
    logo: Annotated[str, Meta(max_length=80)] = ""
    names: Names = {}


class BrandTheme(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tenant gives for a brand, with the logo's content; it travels, so both ends hold it to its shape."""

    colour: Colour
    names: Names = {}
    logo: bytes | None = None


class Tones(msgspec.Struct, frozen=True):
    """The colours of one mode: of the brand, of words on it, and of the ring around what has the focus."""

    brand: str
    on_brand: str
    ring: str
    brand_contrast: float
    on_brand_contrast: float
    ring_contrast: float


class Palette(msgspec.Struct, frozen=True):
    """Everything that is derived from a brand's colour."""

    light: Tones
    dark: Tones


class Image(msgspec.Struct, frozen=True):
    """A logo as its content tells."""

    type: ImageType
    width_pixels: int
    height_pixels: int


class Served(msgspec.Struct, frozen=True):
    """A brand's theme as its pages need it; `version` changes with everything in it."""

    version: str
    stylesheet: str
    names: Mapping[str, str]
    has_logo: bool


class Logo(msgspec.Struct, frozen=True):
    """A logo as it is served."""

    version: str
    type: str
    content: bytes
