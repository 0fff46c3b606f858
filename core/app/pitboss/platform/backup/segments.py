"""Names and positions in PostgreSQL's write-ahead log, as far as an archive of it has to know them."""

from __future__ import annotations

import re
from typing import Final

SEGMENT_BYTES: Final = 16 * 1024 * 1024
"""The size that initdb gives segments unless told otherwise; an archive refuses others."""
PARTIAL: Final = ".partial"
_NAME: Final = re.compile("[0-9A-F]{24}")
_PER_FILE: Final = 0x1_0000_0000 // SEGMENT_BYTES


def is_segment(name: str) -> bool:
    """Return whether `name` is that of a whole segment."""
    return _NAME.fullmatch(name) is not None


def number_of(name: str) -> int:
    """Return the place of a segment in the log of its timeline."""
    return int(name[8:16], 16) * _PER_FILE + int(name[16:24], 16)


def name_of(timeline: int, number: int) -> str:
    """Return the name of a segment."""
    return f"{timeline:08X}{number // _PER_FILE:08X}{number % _PER_FILE:08X}"


def read_position(text: str) -> int:
    """Return a position, written like 0/3000148, in bytes."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def write_position(position: int) -> str:
    """Return a position in bytes as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
