"""What an audit event says, how the log is asked, and what a log is made of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, Protocol
from uuid import UUID

import msgspec

from pitboss.kernel.classes import Sort
from pitboss.kernel.scope import Actor, Origin, TenantScope


class Sealed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A personal value of a player, sealed under the player's own key, in base64.

    `state` says why it was asked for and not opened: `erased`, `restricted` or `unreadable`; empty where nobody asked.
    """

    sealed: str
    state: str = ""


CONTROL_SCOPE: Final = TenantScope(0, "platform", "control")
"""The log of the control plane: it is kept as that of a tenant that no cell has."""

Value = str | int | bool | None | list[str] | Sealed
"""A value before or after a change; JSON without floats, so that money stays exact."""

MASK: Final = "changed"
"""Stands where a classified value would: the row says that it changed, never from what to what."""


class Category(StrEnum):
    """Why the event is kept."""

    USER_ACTION = "user_action"
    CONFIG_CHANGE = "config_change"
    DATA_ACCESS = "data_access"
    SECURITY = "security"
    SYSTEM = "system"


class Outcome(StrEnum):
    """How it ended."""

    SUCCESS = "success"
    DENIED = "denied"
    ERROR = "error"


class Change(msgspec.Struct, frozen=True):
    """One changed path of the target, such as `status` or `brands.aurora.domains`."""

    path: str
    before: Value
    after: Value


class AuditEvent(msgspec.Struct, frozen=True):
    """An event as a use case hands it in. `reason` is a code, never free text, so it carries nothing personal."""

    type: str
    actor: Actor
    origin: Origin
    target_type: str
    target_id: str
    changes: tuple[Change, ...] = ()
    outcome: str = "success"
    reason: str = ""


class Access(msgspec.Struct, frozen=True):
    """What somebody was shown: ids of its rows, names of its fields, the sorts of what stands in them.

    `query` is what was asked for, without the page's size.
    """

    mode: Literal["read", "write", "export", "reveal"]
    sorts: tuple[Sort, ...]
    ids: tuple[str, ...]
    fields: frozenset[str] = frozenset()
    query: Mapping[str, str] = {}


class RecordedEvent(msgspec.Struct, frozen=True):
    """An event as the log is read: the network address that it came from stays in the log."""

    event_id: UUID
    occurred_at: datetime
    category: Category
    type: str
    outcome: Outcome
    reason: str
    actor: Actor
    request_id: str
    causation_id: str
    target_type: str
    target_id: str
    changes: tuple[Change, ...]


class ToldEvent(msgspec.Struct, frozen=True):
    """An event that tells of rows, with the transaction that wrote it."""

    written_in: int
    occurred_at: datetime
    event_id: UUID
    type: str
    target_id: str


class EventFilter(msgspec.Struct, frozen=True):
    """Which events are asked for; what is empty is not asked about.

    `target` is a type, or a type and an id as `player:0190…`; `actor` a kind, or a kind and a name as
    `operator:ada`. `since` belongs to the span, `until` does not.
    """

    type: str = ""
    target: str = ""
    actor: str = ""
    since: datetime | None = None
    until: datetime | None = None


class LogFacts(msgspec.Struct, frozen=True):
    """What the log made of the events of a span, for measures.

    `telling` are events that tell of rows. `unlogged` are ids of events that have no place in the log, some of them;
    `places` is how many places there are from the first to the last of the others, `entries` how many of these are
    taken and `told` by how many events. `late` are those that no checkpoint proved in time.
    """

    events: int = 0
    telling: int = 0
    missing: int = 0
    unlogged: tuple[str, ...] = ()
    places: int = 0
    entries: int = 0
    told: int = 0
    late: int = 0


class EventMatch(msgspec.Struct, frozen=True):
    """An `EventFilter` that was found to make sense, as columns and the values that they must have."""

    columns: tuple[tuple[str, str], ...]
    since: datetime | None
    until: datetime | None


class Signer(Protocol):
    """Where the private keys of logs are: a file, or a service that never gives them out."""

    @property
    def current(self) -> bytes:
        """The public key, 32 bytes of Ed25519, that signs now."""
        ...

    async def sign(self, public_key: bytes, message: bytes) -> bytes:
        """Return a signature; raise `KeyMissing` for a key that is not there."""
        ...


class LogState(msgspec.Struct, frozen=True):
    """Where a log stands, as its sequencer left it."""

    origin: str
    size: int
    edge: bytes
    taken_in: int
    taken_id: UUID
    recorded_at: datetime
    public_key: bytes
    checkpoint_size: int
    checkpoint_at: datetime


class Entry(msgspec.Struct, frozen=True):
    """An entry at its place: the event's id, and the bytes that are hashed."""

    log_seq: int
    event_id: UUID
    body: bytes


class Rows(StrEnum):
    """Which rows of a table an event tells of; those written in one transaction with it."""

    NAMED = "named"
    """The one that bears the target's id."""
    SHARED = "shared"
    """The one that bears the target's id, of which another event may tell too."""
    ONE = "one"
    """One, whose key the event does not bear."""
    MAYBE = "maybe"
    """One, whose key the event does not bear, or none."""
    KIN = "kin"
    """Those of one and the same first part of the key, as all versions of a subject's key are; or none."""
    SOME = "some"
    """One or many."""
    ANY = "any"
    """Many, or none."""


class Written(msgspec.Struct, frozen=True):
    """What an event says was written: `rows` of a table, or of one out of several (by their names, with spaces)."""

    tables: str
    rows: Rows = Rows.NAMED


class Destination(msgspec.Struct, frozen=True):
    """Where a tenant's events go, and how far it has got; `secret` is the name of one, `problem` why it waits."""

    name: str
    kind: str
    address: str
    secret: str
    next_seq: int
    attempts: int
    delivered_at: datetime | None
    problem: str
