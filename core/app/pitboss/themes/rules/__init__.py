"""Decisions of themes: colours derived from one, what a logo is, what is wrong with a tenant's `theme/`."""

from pitboss.themes.rules.colour import derive_palette
from pitboss.themes.rules.files import compute_version, describe_theme, read_theme, render_stylesheet
from pitboss.themes.rules.image import read_image

__all__ = ["compute_version", "derive_palette", "describe_theme", "read_image", "read_theme", "render_stylesheet"]
