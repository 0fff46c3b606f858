"""Values of data subjects' requests that cross the room's border."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec

from pitboss.kernel.classes import Sort

EXPORT_JOB: Final = "subjects.make_export"
"""Outbox job; its payload names the export."""
ROOM: Final = "subjects"
"""Where the files of exports stand in a tenant's folder."""
EXPORT_LIFETIME: Final = timedelta(days=7)
"""How long an export may be fetched before its file is removed."""
SOON: Final = timedelta(days=5)
"""A case is shown as due soon this long before its day."""


class CaseKind(IntEnum):
    """What the subject asks for. Stored as a number, so numbers are never reused."""

    ACCESS = 1
    RECTIFICATION = 2
    ERASURE = 3
    RESTRICTION = 4
    PORTABILITY = 5


class CaseState(IntEnum):
    """Where a case stands; the last three are final. Stored as a number, so numbers are never reused."""

    RECEIVED = 1
    IDENTITY_CHECKED = 2
    IN_PROGRESS = 3
    COMPLETED = 4
    PARTIAL = 5
    REFUSED = 6

    @property
    def is_final(self) -> bool:
        """Return whether no state follows."""
        return self >= CaseState.COMPLETED


class CaseReason(StrEnum):
    """Why a case was carried out in part or refused; codes, so that a case holds no free words about a person."""

    IDENTITY_NOT_PROVEN = "identity_not_proven"
    UNFOUNDED = "manifestly_unfounded"
    EXCESSIVE = "excessive"
    KEPT_BY_LAW = "kept_by_law"
    LEGAL_HOLD = "legal_hold"
    OPEN_MATTER = "open_matter"
    RIGHTS_OF_OTHERS = "rights_of_others"
    NOTHING_WRONG = "nothing_wrong"
    WITHDRAWN = "withdrawn"


class Clock(StrEnum):
    """How a case stands against its day."""

    RUNNING = "running"
    SOON = "soon"
    OVERDUE = "overdue"
    MET = "met"
    LATE = "late"


class Case(msgspec.Struct, frozen=True):
    """A case; `player` is the public id. `effect_at` is when what was asked for had its effect."""

    case_id: UUID
    player: UUID
    player_id: int
    kind: CaseKind
    state: CaseState
    reasons: tuple[CaseReason, ...]
    reference: str
    received_at: datetime
    due_at: datetime
    changed_at: datetime
    effect_at: datetime | None
    ended_at: datetime | None


class CaseOrder(msgspec.Struct, frozen=True):
    """A request as it came in. The same reference with the same content again opens nothing."""

    player: UUID
    kind: CaseKind
    reference: str
    received_at: datetime
    answer_days: int


class CaseFilter(msgspec.Struct, frozen=True):
    """Which cases are asked for; what is None is not asked about."""

    is_open: bool | None = None
    kind: CaseKind | None = None
    player: UUID | None = None


class Export(msgspec.Struct, frozen=True):
    """A file for a subject; it is there from `made_at` until `expires_at`. `sha256` is of what is fetched."""

    export_id: UUID
    case_id: UUID
    asked_at: datetime
    made_at: datetime | None
    expires_at: datetime
    removed_at: datetime | None
    size_bytes: int
    sha256: bytes

    def is_there(self, now: datetime) -> bool:
        """Return whether it can be fetched."""
        return self.made_at is not None and self.removed_at is None and now < self.expires_at


class Ground(StrEnum):
    """Why a player's data are kept from use."""

    REQUESTED = "requested"
    KEPT_BY_LAW = "kept_by_law"


class Restriction(msgspec.Struct, frozen=True):
    """A restriction of processing, by the case that placed it."""

    case_id: UUID
    ground: Ground
    placed_at: datetime


class Correction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be put right; None leaves a field as it is. The address is not among it: it signs in."""

    first_name: str | None = None
    last_name: str | None = None
    birth_date: date | None = None
    country: str | None = None
    phone: str | None = None

    def __repr__(self) -> str:
        return "Correction(…)"


class ColumnShape(msgspec.Struct, frozen=True):
    """A column as its table declares it."""

    name: str
    sort: Sort
    is_key: bool
    is_uuid: bool
    is_bytes: bool


class TableShape(msgspec.Struct, frozen=True):
    """A table as far as an export has to know it."""

    name: str
    columns: tuple[ColumnShape, ...]


Row = Mapping[str, Any]
"""A row by the names of its columns."""


class Held(msgspec.Struct, frozen=True):
    """What one table holds of a subject, with the columns whose content is not told, and why."""

    table: str
    sorts: Mapping[str, Sort]
    withheld: Mapping[str, str]
    rows: Sequence[Row]


class Subject(msgspec.Struct, frozen=True):
    """Whom an export is about, by every name that rows know."""

    player_id: int
    public_id: UUID
    wallet_ids: tuple[int, ...]


class Folder(Protocol):
    """Where files of one tenant stand, apart from those of all others."""

    def put(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all."""
        ...

    def get(self, name: str) -> bytes | None:
        """Return a file, or None."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is removed."""
        ...
