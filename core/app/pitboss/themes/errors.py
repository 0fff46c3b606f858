"""Errors of themes that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class ColourUnusable(PitbossError):
    """It is no colour, or no shade of it can be read in light and in dark; then the detail names the nearest that can."""

    code = "themes.colour_unusable"
    kind = ErrorKind.INVALID


class ImageUnusable(PitbossError):
    """A logo is not what it says, or of a size that pages have no place for."""

    code = "themes.image_unusable"
    kind = ErrorKind.INVALID
