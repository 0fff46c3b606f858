"""Values of moves and kits."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from pitboss.directory.contracts import TenantState

KIT_FORMAT = "pitboss-tenant-kit/1"
CERTIFICATE_FORMAT = "pitboss-move-certificate/1"


class MoveState(StrEnum):
    """How far a move has come; each is reached once, in this order, and from one before `switched` it may go back."""

    PLANNED = "planned"
    FROZEN = "frozen"
    EXPORTED = "exported"
    IMPORTED = "imported"
    COMPARED = "compared"
    SWITCHED = "switched"
    SHREDDED = "shredded"
    ROLLED_BACK = "rolled_back"


class Move(msgspec.Struct, frozen=True):
    """A move as control holds it; digests and the root are hexadecimal, empty until they are known."""

    move_id: UUID
    tenant_id: int
    source: str
    target: str
    state: MoveState
    state_before: TenantState
    started_at: datetime
    changed_at: datetime
    manifest: str = ""
    log_size: int = 0
    log_root: str = ""
    certificate: str = ""


class Shape(msgspec.Struct, frozen=True):
    """A table of a tenant's: its columns by name with their types, its key, and which columns a sequence fills."""

    name: str
    columns: dict[str, str]
    key: tuple[str, ...]
    counted: tuple[str, ...]


class TableFacts(msgspec.Struct, frozen=True):
    """What a table holds of the tenant: how many rows, and the SHA-256 over all of them in the order of their key."""

    rows: int
    sha256: str


class PlayerSums(msgspec.Struct, frozen=True):
    """What the wallets of one currency hold together."""

    wallets: int
    real_minor: int
    bonus_minor: int
    held_minor: int
    debt_minor: int


class AccountSum(msgspec.Struct, frozen=True):
    """What one account of the house stands at."""

    account_id: int
    kind: int
    currency: str
    provider: str
    balance_minor: int


class Sums(msgspec.Struct, frozen=True):
    """The ledger of a tenant in sums: wallets by currency, and each account of the house."""

    players: dict[str, PlayerSums]
    house: tuple[AccountSum, ...]


class LogFacts(msgspec.Struct, frozen=True):
    """Where the audit log of the source ended: its name, how many entries, the root over them (hexadecimal)."""

    origin: str
    size: int
    root: str


class TableFile(msgspec.Struct, frozen=True):
    """A table in a kit: its file, its rows, the digest of the lines unpacked, and the type of each column."""

    file: str
    rows: int
    sha256: str
    columns: dict[str, str]
    key: tuple[str, ...]


class PackedFile(msgspec.Struct, frozen=True):
    """A file of a kit as it lies there."""

    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True):
    """Everything that a kit says of itself; `schema` is the digest of all tables and their columns."""

    format: str
    made_at: str
    cell: str
    locality: str
    tenant: str
    tenant_id: int
    schema: str
    tables: dict[str, TableFile]
    sums: Sums
    log: LogFacts
    files: dict[str, PackedFile]


class CellReport(msgspec.Struct, frozen=True):
    """A tenant's whole data in one cell, in figures."""

    tables: dict[str, TableFacts]
    sums: Sums
