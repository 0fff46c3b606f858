"""Values of the sealed log that cross its border."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec


class Signer(Protocol):
    """Signs for logs; a key service may stand behind it."""

    @property
    def current(self) -> bytes:
        """The public key that signs now."""
        ...

    async def sign(self, public_key: bytes, message: bytes) -> bytes:
        """Return a signature."""
        ...


class SealState(msgspec.Struct, frozen=True):
    """Where the sealed log of a tenant stands: entries, right edge of the tree, segments, digest of the last manifest."""

    origin: str
    size: int
    edge: bytes
    segments: int
    last_digest: str
    public_key: bytes


class Segment(msgspec.Struct, frozen=True):
    """A sealed segment: entries `first` up to `size`, and its objects; `lines` and `columns` are empty once stored."""

    number: int
    first: int
    size: int
    opened_at: datetime
    closed_at: datetime
    manifest: bytes
    lines: bytes | None = None
    columns: bytes | None = None


class SealReport(msgspec.Struct, frozen=True):
    """What a check of a tenant's segments looked at and what it found."""

    tenant: str
    segments: int
    entries: int
    unsealed: int
    superseded: int
    findings: tuple[str, ...]
