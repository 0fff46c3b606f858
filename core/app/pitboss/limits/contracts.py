"""Values of the limits that cross the room's border."""

from __future__ import annotations

from enum import IntEnum

import msgspec


class LimitKind(IntEnum):
    """What a limit counts: money put in, money staked, or stakes less returns."""

    DEPOSIT = 1
    STAKE = 2
    LOSS = 3


class Period(IntEnum):
    """How long a window is; windows begin at midnight UTC, weeks on Monday, months on the first."""

    DAY = 1
    WEEK = 2
    MONTH = 3


class Limit(msgspec.Struct, frozen=True):
    """A limit in force for one wallet, in minor units of its currency."""

    kind: LimitKind
    period: Period
    amount_minor: int
