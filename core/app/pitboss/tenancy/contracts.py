"""Values of tenancy that cross its border: a tenant's files, what control holds, and the plan between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from pitboss.directory.contracts import TenantState
from pitboss.kernel.scope import Actor, Origin

Slug = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{1,39}\Z", description="lower case, digits, hyphen")]
Name = Annotated[str, Meta(min_length=1, max_length=80)]
Environment = Literal["demo", "production"]


POLICY_FILE: Final = "policy.toml"
"""What a tenant tightens, beside its `tenant.toml`."""
THEME_FILE: Final = "theme/theme.toml"
"""How a tenant's brands look."""
MAX_FILE_BYTES: Final = 256 * 1024
MAX_FOLDER_BYTES: Final = 1024 * 1024
"""A tenant's whole folder travels to its cell in one call."""


class BrandFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A brand as `tenant.toml` writes it; its `pack` may be left out where the tenant has no other."""

    slug: Slug
    name: Name
    domains: tuple[str, ...]
    languages: tuple[str, ...]
    default_language: str
    pack: str = ""


class TenantFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tenant.toml`: what a tenant is to be. Slug, public id, locality, cell and environment never change."""

    slug: Slug
    name: Name
    public_id: UUID
    locality: Slug
    cell: Slug
    environment: Environment
    currencies: tuple[str, ...]
    brands: tuple[BrandFile, ...]
    packs: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()


class Problem(msgspec.Struct, frozen=True, order=True):
    """Why a file is refused: which file below the folder of tenants, which key (empty for the whole file)."""

    file: str
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.reason}" if self.key else f"{self.file}: {self.reason}"


class TenantFolder(msgspec.Struct, frozen=True):
    """A tenant's files as tables: `plugins` by slug, `policy`, `theme`; and `images` by name, beside `theme.toml`."""

    tenant: TenantFile
    plugins: Mapping[str, Mapping[str, Any]]
    policy: Mapping[str, Any] = {}
    theme: Mapping[str, Any] = {}
    images: Mapping[str, bytes] = {}


class CellPlace(msgspec.Struct, frozen=True):
    """A cell that deployments name: its legal zone, and where other cells send its visitors (may be empty)."""

    cell: str
    locality: str
    address: str = ""


class Offer(msgspec.Struct, frozen=True):
    """What tenants may name here: cells. Their plugins and packs are those that the cell allows."""

    cells: Mapping[str, CellPlace]


class BrandRecord(msgspec.Struct, frozen=True):
    """A brand as control holds it; lists are sorted. `pack` is empty only for a tenant without packs."""

    slug: str
    name: str
    domains: tuple[str, ...]
    languages: tuple[str, ...]
    default_language: str
    pack: str = ""


class TenantRecord(msgspec.Struct, frozen=True):
    """A tenant as control holds it; lists are sorted. `tenant_id` is 0 while it is only planned."""

    tenant_id: int
    slug: str
    public_id: UUID
    name: str
    state: TenantState
    locality: str
    cell: str
    environment: str
    currencies: tuple[str, ...]
    packs: tuple[str, ...]
    plugins: tuple[str, ...]
    brands: tuple[BrandRecord, ...]


class By(msgspec.Struct, frozen=True):
    """Who changes the register, and from where; both go into the audit log."""

    actor: Actor
    origin: Origin


Facts = Mapping[str, Any]
"""A state flattened into path → value, so that two states are compared entry by entry."""


class PlanEntry(msgspec.Struct, frozen=True):
    """One difference: `+` to be added, `~` to be changed, `-` to be removed."""

    action: Literal["+", "~", "-"]
    path: str
    before: Any = None
    after: Any = None


class Plan(msgspec.Struct, frozen=True):
    """What an apply would do, and why it may not."""

    tenant: str
    entries: tuple[PlanEntry, ...]
    refusals: tuple[str, ...] = ()
