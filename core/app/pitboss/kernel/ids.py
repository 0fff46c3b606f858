"""Identifiers that leave a cell."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

from uuid_utils.compat import uuid7

__all__ = ["derive_uuid", "digest_128", "new_uuid"]


def new_uuid() -> UUID:
    """Return a fresh UUIDv7 (RFC 9562): unique, and sortable by the time it was made."""
    return uuid7()


def digest_128(*parts: str) -> bytes:
    """Return 16 bytes of SHA-256 over `parts`, each preceded by its length so that no two lists collide."""
    text = "".join([f"{len(part)}:{part}" for part in parts])
    return sha256(text.encode()).digest()[:16]


def derive_uuid(*parts: str) -> UUID:
    """Return the UUIDv8 (RFC 9562) that `parts` always give: an id that needs no look-up to be found again."""
    raw = int.from_bytes(digest_128(*parts))
    raw = raw & ~(0xF << 76) | (0x8 << 76)
    raw = raw & ~(0x3 << 62) | (0x2 << 62)
    return UUID(int=raw)
