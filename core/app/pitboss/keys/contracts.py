"""What callers name and get: places of fields, indexes, states of subjects, certificates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Protocol
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import TenantScope


class FieldPlace(msgspec.Struct, frozen=True):
    """Where a sealed field stands and whose it is; `row` is the row's key as text. Sealed here, it opens nowhere else."""

    subject_id: UUID
    table: str
    column: str
    row: str


class IndexedField(msgspec.Struct, frozen=True):
    """A column that is searched by a blind index.

    `form` names how values are made comparable, with its version (`email.1`): a new form is another index. `bits`
    below 256 makes values collide on purpose, where what a whole digest tells is too much.
    """

    table: str
    column: str
    form: str
    bits: int = 256


class SubjectState(IntEnum):
    """What may be done with a subject's fields."""

    ACTIVE = 1
    RESTRICTED = 2
    ERASED = 3


class EpochState(IntEnum):
    """An epoch wraps and unwraps, has handed its keys on, or cannot be opened by anyone any more."""

    OPEN = 1
    RETIRED = 2
    DESTROYED = 3


class Epoch(msgspec.Struct, frozen=True):
    """An epoch of a tenant; `key_version` is the version of the tenant's key that its own key is wrapped under."""

    epoch: int
    key_version: int
    state: EpochState
    started_at: datetime
    changed_at: datetime


class EpochStep(msgspec.Struct, frozen=True):
    """What a piece of a change of epoch did: whether another must follow, and the epochs that nobody opens any more.

    The keys of those that are retired are taken away; those that are destroyed are gone from the key service too.
    """

    is_done: bool
    retired: tuple[int, ...] = ()
    destroyed: tuple[int, ...] = ()


class SubjectKey(msgspec.Struct, frozen=True):
    """A version of a subject's key as it is stored, with the wrapped key of its epoch, both of one moment."""

    subject_id: UUID
    version: int
    state: SubjectState
    wrapped_key: bytes | None
    epoch: int
    epoch_version: int
    epoch_key: bytes | None


class Obstacle(msgspec.Struct, frozen=True):
    """Why a subject may not be erased yet: a code such as `legal_hold`, and until when, if that is known."""

    code: str
    until: datetime | None = None


class ErasureCheck(Protocol):
    """Asked before an erasure, in its transaction: what stands against it."""

    async def __call__(self, session: AsyncSession, scope: TenantScope, subject_id: UUID) -> Sequence[Obstacle]:
        """Return every obstacle."""
        ...


class Remover(Protocol):
    """Called in the transaction of an erasure that nothing stands against: takes the subject's rows away."""

    async def __call__(self) -> Mapping[str, int]:
        """Return how many rows went, by table."""
        ...


class ErasureOrder(msgspec.Struct, frozen=True):
    """What is to be erased, and under which version of the tenant's policy."""

    subject_id: UUID
    policy_version: str


class Certificate(msgspec.Struct, frozen=True):
    """What an erasure did. Copies made before it open until the epoch's key is destroyed: that is `backups_closed_at`."""

    certificate_id: UUID
    subject_id: UUID
    erased_at: datetime
    policy_version: str
    epoch: int
    keys_destroyed: int
    removed: Mapping[str, int]
    backups_closed_at: datetime | None


class ErasureOutcome(msgspec.Struct, frozen=True):
    """A certificate, or the obstacles because of which the subject was restricted instead."""

    certificate: Certificate | None
    obstacles: tuple[Obstacle, ...]
