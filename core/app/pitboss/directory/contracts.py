"""Values of the directory that cross its border."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

import msgspec

SNAPSHOT_FORMAT = 1
"""Shape of `DirectorySnapshot`; a cell refuses a shape that it does not know."""

LANGUAGES = ("en", "es", "pt-BR")
"""Languages (BCP 47) that the platform's own texts exist in; a brand chooses among them."""


class TenantState(StrEnum):
    """Reserved and not yet served; served; without new business; on its way to another cell; no longer served."""

    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    MOVING = "moving"
    CLOSED = "closed"


class DirectoryBrand(msgspec.Struct, frozen=True):
    """What players see. Domains are lower case, without a port; `pack` is the law that players register under.

    A snapshot that was signed before brands had packs has none: the tenant's only one is meant.
    """

    slug: str
    name: str
    domains: tuple[str, ...]
    languages: tuple[str, ...]
    default_language: str
    pack: str = ""


class DirectoryTenant(msgspec.Struct, frozen=True):
    """One tenant of this cell. `plugins` are the slugs of those that its files name."""

    tenant_id: int
    slug: str
    public_id: UUID
    name: str
    state: TenantState
    brands: tuple[DirectoryBrand, ...]
    currencies: tuple[str, ...]
    packs: tuple[str, ...]
    plugins: tuple[str, ...]

    def licence_of(self, brand: DirectoryBrand) -> str:
        """Return the licence of who registers with a brand; empty where the tenant has none, or names none."""
        return brand.pack or (self.packs[0] if len(self.packs) == 1 else "")


class ForeignTenant(msgspec.Struct, frozen=True):
    """A tenant of another cell: only where it lives."""

    slug: str
    domains: tuple[str, ...]
    cell: str
    address: str


class DirectoryContent(msgspec.Struct, frozen=True):
    """What one cell is told: its own tenants, and where the others are. Every list is sorted."""

    tenants: tuple[DirectoryTenant, ...] = ()
    elsewhere: tuple[ForeignTenant, ...] = ()


class DirectorySnapshot(msgspec.Struct, frozen=True):
    """A version of the directory for one cell; versions of a cell only grow."""

    format: int
    cell: str
    version: int
    content: DirectoryContent


class SignedSnapshot(msgspec.Struct, frozen=True):
    """The canonical bytes of a snapshot and control's Ed25519 signature over them."""

    version: int
    key_id: str
    body: bytes
    signature: bytes


class SigningKey(msgspec.Struct, frozen=True):
    """Control's Ed25519 key; `seed` is its 32 secret bytes."""

    key_id: str
    seed: bytes

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id!r})"


class PublicKey(msgspec.Struct, frozen=True):
    """An Ed25519 key that a cell believes, 32 bytes; more than one while keys are rotated."""

    key_id: str
    public: bytes


class Refresh(msgspec.Struct, frozen=True):
    """What one look at the database brought; with a `problem` the last good directory stays."""

    changed: bool
    problem: str = ""
