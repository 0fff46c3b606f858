"""Values of the limits that cross the room's border."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final
from uuid import UUID

import msgspec

LONGEST_WINDOW: Final = timedelta(days=32)
"""No window is as long: a month of 31 days with a change of clocks."""


class LimitKind(IntEnum):
    """What a limit counts: money put in, money staked, or stakes less returns."""

    DEPOSIT = 1
    STAKE = 2
    LOSS = 3


class Period(IntEnum):
    """How long a window is: a day, a week from Monday or a calendar month, in the time zone of the licence."""

    DAY = 1
    WEEK = 2
    MONTH = 3


class Limit(msgspec.Struct, frozen=True):
    """A limit in force for one wallet, in minor units of its currency."""

    kind: LimitKind
    period: Period
    amount_minor: int


class Change(msgspec.Struct, frozen=True):
    """What a limit becomes at a later moment; None takes it away."""

    amount_minor: int | None
    at: datetime


class PlayerLimit(msgspec.Struct, frozen=True):
    """A limit of a wallet with the change that waits for its time, if one does."""

    limit: Limit
    waiting: Change | None = None


class PlayTimeLimit(msgspec.Struct, frozen=True):
    """For how many minutes of a period a player has games open; from `next_from` on for `next_minutes`, or any number."""

    period: Period
    minutes: int
    next_minutes: int | None = None
    next_from: datetime | None = None


class ExclusionKind(IntEnum):
    """A pause of days that the player takes, or an exclusion of months or without an end."""

    TIME_OUT = 1
    SELF_EXCLUSION = 2


class Exclusion(msgspec.Struct, frozen=True):
    """For how long a player is kept from staking and depositing; `ends_at` None is for ever.

    `lifted_from` is the moment from which the end was asked for, where the policy allows it.
    """

    exclusion_id: UUID
    kind: ExclusionKind
    starts_at: datetime
    ends_at: datetime | None
    lifted_from: datetime | None
    reason: str

    @property
    def stands_until(self) -> datetime | None:
        """When it ends, as things are; None for never."""
        ends = [moment for moment in (self.ends_at, self.lifted_from) if moment is not None]
        return min(ends) if ends else None
