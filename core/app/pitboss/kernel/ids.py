"""Identifiers that leave a cell."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

from uuid_utils.compat import uuid7

__all__ = ["derive_uuid_text", "new_uuid"]


def new_uuid() -> UUID:
    """Return a fresh UUIDv7 (RFC 9562): unique, and sortable by the time it was made."""
    return uuid7()


def derive_uuid_text(name: str) -> str:
    """Return the UUIDv8 (RFC 9562), as text, that `name` always gives: an id found again without a look-up."""
    digits = sha256(name.encode()).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"
