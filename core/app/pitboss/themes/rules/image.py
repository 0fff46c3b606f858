"""What a logo is, told from its content: PNG (W3C, third edition) and WebP (RFC 9649), whole and nothing behind it."""

from __future__ import annotations

import zlib
from typing import Final

from pitboss.themes.contracts import MAX_LOGO_BYTES, MAX_LOGO_PIXELS, MIN_LOGO_PIXELS, Image
from pitboss.themes.errors import ImageUnusable

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_TOO_SHORT: Final = 30


def read_image(content: bytes) -> Image:
    """Return what a logo is; raise `ImageUnusable` with the reason.

    Other formats are refused: SVG may hold script, and an old one is of no use to a page.
    """
    if len(content) > MAX_LOGO_BYTES:
        raise ImageUnusable(f"is {len(content)} bytes long, at most {MAX_LOGO_BYTES} are taken")
    if content.startswith(_PNG):
        image = Image("image/png", *_read_png(content))
    elif content[:4] == b"RIFF" and content[8:12] == b"WEBP" and len(content) >= _TOO_SHORT:
        image = Image("image/webp", *_read_webp(content))
    else:
        raise ImageUnusable("is neither PNG nor WebP by its content")
    for side, pixels in (("wide", image.width_pixels), ("high", image.height_pixels)):
        if not MIN_LOGO_PIXELS <= pixels <= MAX_LOGO_PIXELS:
            raise ImageUnusable(f"is {pixels} pixels {side}, not {MIN_LOGO_PIXELS} to {MAX_LOGO_PIXELS}")
    return image


def _read_png(content: bytes) -> tuple[int, int]:
    place, size, seen = len(_PNG), (0, 0), [b""]
    while seen[-1] != b"IEND":
        length = int.from_bytes(content[place : place + 4])
        kind, end = content[place + 4 : place + 8], place + 12 + length
        if end > len(content):
            raise ImageUnusable("is a PNG that ends in the middle")
        if zlib.crc32(content[place + 4 : end - 4]) != int.from_bytes(content[end - 4 : end]):
            raise ImageUnusable("is a PNG with a broken part")
        if len(seen) == 1:
            if kind != b"IHDR":
                raise ImageUnusable("is a PNG without its header")
            size = (int.from_bytes(content[place + 8 : place + 12]), int.from_bytes(content[place + 12 : place + 16]))
        seen.append(kind)
        place = end
    if place != len(content) or b"IDAT" not in seen:
        raise ImageUnusable("is a PNG without a picture, or with something behind it")
    return size


def _read_webp(content: bytes) -> tuple[int, int]:
    length = int.from_bytes(content[4:8], "little")
    if len(content) != 8 + length:
        raise ImageUnusable("is a WebP that ends in the middle, or has something behind it")
    kind = content[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if kind == b"VP8L" and content[20] == 0x2F:
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        return (
            int.from_bytes(content[26:28], "little") & 0x3FFF,
            int.from_bytes(content[28:30], "little") & 0x3FFF,
        )
    raise ImageUnusable("is a WebP of no known kind")
