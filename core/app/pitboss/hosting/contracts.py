"""Values of the calls that control makes to a cell."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec

from pitboss.directory.contracts import (
    DirectoryBrand,
    DirectoryContent,
    DirectorySnapshot,
    DirectoryTenant,
    ForeignTenant,
    SignedSnapshot,
)
from pitboss.kernel.classes import Sort
from pitboss.kernel.scope import Actor, Origin
from pitboss.plughost.contracts import LoadedPack, LoadedPlugin
from pitboss.tenancy.contracts import PlanEntry, Slug
from pitboss.themes.contracts import BrandTheme
from pitboss_sdk.manifest import Slug as PluginSlug

CALLS_PATH = "/control/v1/calls"
"""Where the web of a cell takes calls."""
SIGNATURE_HEADER = "x-pitboss-signature"
"""`<key id>:<hex of the Ed25519 signature>` over the body."""
MAX_CALL_BYTES = 4 * 1024 * 1024
"""A directory of some ten thousand tenants."""
MAX_AGE_SECONDS = 60
"""How far the clocks of control and a cell may differ, and for how long a call may travel."""


class Installed(Protocol):
    """The plugins and packs that the cell has loaded; what is not raises with the gate that holds it back."""

    def get_plugin(self, slug: str) -> LoadedPlugin:
        """Return a plugin."""
        ...

    def get_pack(self, slug: str) -> LoadedPack:
        """Return a jurisdiction pack."""
        ...


class CallKind(StrEnum):
    """Everything that control may ask of a cell. None of it asks for, or answers with, anything about a player."""

    PLAN_TENANT = "tenant.plan"
    READ_TENANT = "tenant.read"
    PREPARE_TENANT = "tenant.prepare"
    STORE_DIRECTORY = "directory.store"


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The signed body: which cell is asked what, when, under an id that is used once.

    `trace` is the traceparent of who asks, where that is traced; being signed, only control can set it.
    """

    cell: str
    call_id: UUID
    issued_at: int
    kind: CallKind
    content: msgspec.Raw
    trace: str | None = None


class TenantOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tenant that the cell is to serve as control's files say; `tenant_id` is 0 where none is reserved yet.

    `plugins` is slug → configuration with references for secrets, `policy` the table that tightens the packs,
    `themes` what each brand gives for its looks. `leaving` are brands and currencies that the
    files drop: the cell refuses while players or wallets hang on them, and while players are under a licence that is
    not among `packs`.
    """

    tenant_id: int
    slug: str
    cell: str
    locality: str
    currencies: tuple[str, ...]
    plugins: Mapping[PluginSlug, Mapping[str, Any]]
    packs: tuple[str, ...] = ()
    policy: Mapping[str, Any] = {}
    themes: Mapping[Slug, BrandTheme] = {}
    leaving_brands: tuple[str, ...] = ()
    leaving_currencies: tuple[str, ...] = ()


class TenantCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is planned or prepared, and who asks; both go into the cell's audit log."""

    order: TenantOrder
    actor: Actor
    origin: Origin


class CellPlan(msgspec.Struct, frozen=True):
    """What preparing a tenant would change in the cell, why it may not, and which directory the cell has."""

    entries: tuple[PlanEntry, ...]
    refusals: tuple[str, ...]
    directory_version: int


class HeldPlugin(msgspec.Struct, frozen=True):
    """A plugin that the cell has enabled for a tenant; secrets are references."""

    slug: PluginSlug
    config: Mapping[str, Any]
    config_version: int


class Touch(msgspec.Struct, frozen=True):
    """Who changed something last: the target as the audit log names it, the event's type, the actor, when."""

    target: str
    type: str
    actor: str
    at: datetime


class HeldTenant(msgspec.Struct, frozen=True):
    """What the cell holds of a tenant's files; no player, and no secret's value."""

    plugins: tuple[HeldPlugin, ...]
    policy: Mapping[str, Any]
    themes: Mapping[Slug, BrandTheme]
    touches: tuple[Touch, ...]


class Stored(msgspec.Struct, frozen=True):
    """Whether a snapshot was new to the cell."""

    is_new: bool


CALLS: Final[Mapping[CallKind, tuple[type[msgspec.Struct], ...]]] = {
    CallKind.PLAN_TENANT: (TenantCall, CellPlan),
    CallKind.READ_TENANT: (TenantCall, HeldTenant),
    CallKind.PREPARE_TENANT: (TenantCall,),
    CallKind.STORE_DIRECTORY: (SignedSnapshot, DirectorySnapshot, Stored),
}
"""What each call carries there and back; nothing else passes between control and a cell."""
CROSSING: Final[Mapping[type[msgspec.Struct], Mapping[Sort, str]]] = {
    Call: {"tenant": "cell", "register": "call_id issued_at kind content trace"},
    TenantCall: {},
    Actor: {"staff": "kind name"},
    Origin: {"staff": "request_id ip user_agent_hash causation_id"},
    TenantOrder: {
        "tenant": "tenant_id slug cell",
        "register": "locality currencies packs leaving_brands leaving_currencies",
        "configuration": "plugins policy",
    },
    BrandTheme: {"configuration": "colour names logo"},
    CellPlan: {"configuration": "refusals", "register": "directory_version"},
    PlanEntry: {"configuration": "action path before after"},
    HeldTenant: {"configuration": "policy"},
    HeldPlugin: {"configuration": "slug config config_version"},
    Touch: {"configuration": "target type at", "staff": "actor"},
    SignedSnapshot: {"register": "version body", "evidence": "key_id signature"},
    DirectorySnapshot: {"tenant": "cell", "register": "format version"},
    DirectoryContent: {},
    DirectoryTenant: {
        "tenant": "tenant_id slug public_id",
        "register": "name state currencies packs plugins",
    },
    DirectoryBrand: {"tenant": "slug", "register": "name domains languages default_language pack"},
    ForeignTenant: {"tenant": "slug cell", "register": "domains address"},
    Stored: {"register": "is_new"},
}
"""What the fields of those values hold; a field that holds another of them is left to that one."""
