"""Errors of themes that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class ColourUnusable(PitbossError):
    """No shade of the colour can be read both in light and in dark; the detail names the nearest that can."""

    code = "themes.colour_unusable"
    kind = ErrorKind.INVALID


class ImageUnusable(PitbossError):
    """A logo is not what it says, or of a size that pages have no place for."""

    code = "themes.image_unusable"
    kind = ErrorKind.INVALID
