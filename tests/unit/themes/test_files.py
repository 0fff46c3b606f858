"""What a tenant's `theme/` may hold: strict, each fault with its file, key and reason; and what becomes of it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pitboss.themes.contracts import MAX_LOGO_BYTES, BrandTheme
from pitboss.themes.errors import ImageUnusable
from pitboss.themes.rules import (
    compute_version,
    derive_palette,
    describe_theme,
    read_image,
    read_theme,
    render_stylesheet,
)

ROOT = Path(__file__).parents[3]
BRANDS = {"nova": ("en", "es")}


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def make_png(width: int = 32, height: int = 32, *, more: bytes = b"") -> bytes:
    """Return a black picture; `more` are bytes of the header's end."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (width + 1) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def make_webp(kind: bytes, body: bytes) -> bytes:
    part = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(part)) + b"WEBP" + part


LOSSLESS = make_webp(b"VP8L", b"\x2f" + struct.pack("<I", 39 | 19 << 14) + b"\0" * 8)
LOSSY = make_webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 40, 20) + b"\0" * 8)
EXTENDED = make_webp(b"VP8X", b"\0\0\0\0" + (39).to_bytes(3, "little") + (19).to_bytes(3, "little"))


def read(table: Any, **images: bytes) -> tuple[dict[str, BrandTheme], list[str]]:
    themes, problems = read_theme("nova", table, {f"{name}.png": content for name, content in images.items()}, BRANDS)
    return themes, [str(problem) for problem in problems]


def test_a_theme_is_read() -> None:
    table = {"brands": {"nova": {"colour": "#0B6E4F", "logo": "logo.png", "names": {"es": "Nova Sol"}}}}
    themes, problems = read(table, logo=make_png())
    assert problems == []
    assert themes == {"nova": BrandTheme(colour="#0b6e4f", logo=make_png(), names={"es": "Nova Sol"})}
    assert read({}) == ({}, [])


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"brand": {}}, "nova/theme/theme.toml: brand: unknown key; known is brands"),
        ({"brands": []}, "nova/theme/theme.toml: brands: must be a table"),
        ({"brands": {"nova": "red"}}, "nova/theme/theme.toml: brands.nova: must be a table"),
        ({"brands": {"nova": {}}}, "nova/theme/theme.toml: brands.nova.colour: missing"),
        (
            {"brands": {"other": {"colour": "#0b6e4f"}}},
            "nova/theme/theme.toml: brands.other: tenant.toml has no brand other",
        ),
        (
            {"brands": {"nova": {"colour": "#0b6e4f", "critical": "#00ff00"}}},
            "nova/theme/theme.toml: brands.nova.critical: unknown key; known are colour, logo, names",
        ),
        (
            {"brands": {"nova": {"colour": "#0b6e4f", "names": {"fr": "Nova"}}}},
            "nova/theme/theme.toml: brands.nova.names.fr: fr is not among the brand's languages",
        ),
        (
            {"brands": {"nova": {"colour": "#0b6e4f", "logo": "../aurora/theme/aurora.png"}}},
            "nova/theme/theme.toml: brands.nova.logo: '../aurora/theme/aurora.png' is no PNG or WebP file beside this one",
        ),
    ],
)
def test_a_fault_names_file_key_and_reason(table: Any, problem: str) -> None:
    assert read(table) == ({}, [problem])


@pytest.mark.parametrize("colour", ["red", "#fff", "#0b6e4g", "0b6e4f", "#0b6e4f;}", "#0b6e4f\n", 7])
def test_what_is_no_colour_is_refused(colour: Any) -> None:
    themes, (problem,) = read({"brands": {"nova": {"colour": colour}}})
    assert themes == {}
    assert problem == (
        'nova/theme/theme.toml: brands.nova.colour: must be six hexadecimal digits after #, such as "#0b6e4f"'
    )


def test_a_colour_out_of_reach_is_refused_with_one_in_reach() -> None:
    _, (problem,) = read({"brands": {"nova": {"colour": "#ffffff"}}})
    assert "brands.nova.colour: #ffffff has 1.0:1 on the light page" in problem
    assert problem.endswith("the nearest that can be used is #ebebeb")


def test_a_file_that_no_brand_names_is_a_fault() -> None:
    table = {"brands": {"nova": {"colour": "#0b6e4f"}}}
    assert read(table, old=make_png())[1] == ["nova/theme/old.png: no brand names this file"]


@pytest.mark.parametrize(
    ("content", "type_", "size"),
    [
        (make_png(), "image/png", (32, 32)),
        (LOSSLESS, "image/webp", (40, 20)),
        (LOSSY, "image/webp", (40, 20)),
        (EXTENDED, "image/webp", (40, 20)),
        ((ROOT / "tenants/aurora/theme/aurora.png").read_bytes(), "image/png", (96, 96)),
    ],
)
def test_a_logo_is_known_by_its_content(content: bytes, type_: str, size: tuple[int, int]) -> None:
    image = read_image(content)
    assert (image.type, image.width_pixels, image.height_pixels) == (type_, *size)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "neither PNG nor WebP"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "neither PNG nor WebP"),
        (b"GIF89a" + b"\0" * 40, "neither PNG nor WebP"),
        (make_png() + b"<script>", "something behind it"),
        (make_png()[:-4], "ends in the middle"),
        (make_png().replace(b"IDAT", b"IDAX"), "broken part"),
        (make_png(more=chunk(b"tEXt", b"x" * MAX_LOGO_BYTES)), f"at most {MAX_LOGO_BYTES}"),
        (make_png(15, 32), "15 pixels wide"),
        (make_png(32, 1025), "1025 pixels high"),
        (LOSSLESS + b"x", "something behind it"),
        (make_webp(b"JUNK", b"\0" * 20), "no known kind"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), "without its header"),
    ],
)
def test_a_logo_that_is_none_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ImageUnusable, match=reason):
        read_image(content)


def test_a_stylesheet_declares_three_colours_twice_and_no_more() -> None:
    text = render_stylesheet(derive_palette("#0b6e4f"))
    names = [
        part.partition(":")[0].strip() for part in text.replace("{", ";").split(";") if part.strip().startswith("--")
    ]
    assert names == ["--brand", "--on-brand", "--ring"] * 2
    assert "--crit" not in text


def test_a_version_changes_with_everything_that_is_seen() -> None:
    theme = BrandTheme(colour="#0b6e4f", names={"es": "Nova"}, logo=make_png())
    sheet = render_stylesheet(derive_palette(theme.colour))
    others = [
        (theme, sheet + " "),
        (msgspec.structs.replace(theme, names={"es": "Nave"}), sheet),
        (msgspec.structs.replace(theme, names={}), sheet),
        (msgspec.structs.replace(theme, logo=make_png(33)), sheet),
        (msgspec.structs.replace(theme, logo=None), sheet),
    ]
    versions = {compute_version(theme, sheet), *(compute_version(*other) for other in others)}
    assert len(versions) == 1 + len(others)
    assert compute_version(theme, sheet) == compute_version(msgspec.structs.replace(theme), sheet)


def test_a_description_says_what_contrast_is_reached() -> None:
    told = describe_theme(BrandTheme(colour="#0b6e4f", logo=make_png(), names={"es": "Nova"}))
    assert told["light"] == "#0b6e4f 5.6:1, words on it #ffffff 6.2:1, ring #0b6e4f 5.6:1"
    assert told["dark"] == "#429775 4.5:1, words on it #0f1319 5.2:1, ring #429775 4.5:1"
    assert told["logo"] == f"image/png 32x32 {len(make_png())} bytes"
    assert told["names.es"] == "Nova"
