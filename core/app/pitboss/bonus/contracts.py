"""Values of the bonus room that cross its border."""

from __future__ import annotations

from datetime import datetime
from enum import Enum, StrEnum
from uuid import UUID

import msgspec


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What a decision on an award depends on; they change only with a version of its wallet.

    `ends_at_us` is in microseconds since 1970, 0 for an award that was cancelled.
    """

    required_minor: int
    ends_at_us: int


class Fate(Enum):
    """What happens to the money that is left of an award."""

    STAYS = 1
    BECOMES_REAL = 2
    IS_TAKEN_BACK = 3


class AwardState(StrEnum):
    """Where an award stands, as people are told.

    ORDERED is written down and not booked; USED_UP has no money left and its requirement was not met, but what a bet
    of it still wins comes back to it.
    """

    ORDERED = "ordered"
    ACTIVE = "active"
    COMPLETED = "completed"
    USED_UP = "used_up"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class AwardOrder(msgspec.Struct, frozen=True):
    """What an award by hand is to be. `reference` is the caller's idempotency key."""

    reference: str
    amount_minor: int
    required_minor: int
    """How much bonus money of the award is to be staked before the rest becomes real."""
    expires_at: datetime
    reason: str


class Award(msgspec.Struct, frozen=True):
    """An award as it was ordered, and what was decided about it since."""

    award_id: UUID
    wallet_id: int
    order: AwardOrder
    ordered_at: datetime
    cancelled_at: datetime | None = None
    cancel_reason: str = ""

    @property
    def booking_reference(self) -> str:
        """The reference under which the ledger books it."""
        return str(self.award_id)


class AwardStanding(msgspec.Struct, frozen=True):
    """An award with its money: what is left of it, and what was staked of it."""

    award: Award
    remaining_minor: int
    wagered_minor: int
    state: AwardState
