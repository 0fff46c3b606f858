"""Values of data quality that cross the room's border."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final
from uuid import UUID

import msgspec

MEASURE_JOB: Final = "quality.measure"
"""Measures closed hours; its payload may name in `before` where an earlier run of the same round came to."""
COMPARE_JOB: Final = "quality.compare"

HOUR: Final = timedelta(hours=1)
HOURS_BACK: Final = 24
"""Closed hours that each run measures anew, because data may come late."""
SETTLE: Final = timedelta(minutes=2)
"""How long after its end an hour counts as closed."""
MAX_FAULTS: Final = 100
"""Records that are named of one reading; the rest are counted."""
KEPT: Final = timedelta(days=400)
"""How long measures are kept."""


class Area(IntEnum):
    """What is measured. Payments are what moves money outside of games; by now deposits by hand and holds."""

    ROUNDS = 1
    PAYMENTS = 2
    AUDIT = 3


class Dimension(IntEnum):
    """In which respect."""

    COMPLETENESS = 1
    UNIQUENESS = 2
    CONSISTENCY = 3
    TIMELINESS = 4


class State(IntEnum):
    """How a measure stands; NO_DATA where there was nothing to measure, or nothing to measure it by."""

    NO_DATA = 1
    GREEN = 2
    AMBER = 3
    RED = 4


class FindingKind(IntEnum):
    """What is wrong with one record; stored as a number, so numbers are never reused.

    The first five come from the aggregator's own books, and `here` is this platform.
    """

    MISSING_HERE = 1
    MISSING_THERE = 2
    LISTED_TWICE = 3
    AMOUNT_DIFFERS = 4
    STANDS_HERE = 5
    """The aggregator takes it for undone."""
    ROUND_OPEN = 6
    BOOKED_TWICE = 7
    KEY_MISSING = 8
    CHAIN_BROKEN = 9
    SUMS_DIFFER = 10
    ORDER_NOT_BOOKED = 11
    NOT_ORDERED = 12
    HOLD_NOT_ENDED = 13
    NOT_LOGGED = 14
    PLACES_MISSING = 15
    PLACED_TWICE = 16
    NOT_MATCHED = 17
    """A change without an event, or an event without a change."""


class ComparisonState(IntEnum):
    """Whether an hour was held against an aggregator's books. NOT_OFFERED: its configuration has none to ask for."""

    WAITING = 1
    COMPARED = 2
    NOT_OFFERED = 3
    GIVEN_UP = 4


class Fault(msgspec.Struct, frozen=True):
    """One record that is wrong, as it was just seen. `round` is the provider's id of the round."""

    kind: FindingKind
    reference: str
    round: str = ""
    detail: str = ""


class Reading(msgspec.Struct):
    """What was counted for one area and dimension of an hour. `grave` are those of `wrong` of which one is enough.

    `faults` are the wrong ones by name; they are all of them only where `is_whole`.
    """

    area: Area
    dimension: Dimension
    found: int = 0
    wrong: int = 0
    grave: int = 0
    faults: list[Fault] = msgspec.field(default_factory=list[Fault])
    is_whole: bool = True
    is_known: bool = True
    """Whether there was anything to measure by."""


class Measure(msgspec.Struct, frozen=True):
    """How an hour of a tenant stands in one area and dimension. Shares are in millionths of what was found."""

    hour: datetime
    area: Area
    dimension: Dimension
    found: int
    wrong: int
    share_ppm: int
    threshold_ppm: int
    state: State
    measured_at: datetime


class Finding(msgspec.Struct, frozen=True):
    """One record that is or was wrong; `plugin` where an aggregator's books said so."""

    finding_id: UUID
    hour: datetime
    area: Area
    dimension: Dimension
    kind: FindingKind
    plugin: str
    reference: str
    round: str
    detail: str
    is_open: bool
    attempts: int
    next_at: datetime | None
    opened_at: datetime
    closed_at: datetime | None


class Comparison(msgspec.Struct, frozen=True):
    """How far an hour was held against an aggregator's books. `late` were booked further than a minute from its time."""

    hour: datetime
    plugin: str
    state: ComparisonState
    listed: int
    matched: int
    late: int
    attempts: int
    next_at: datetime
    problem: str


class Totals(msgspec.Struct, frozen=True):
    """What is told of a tenant: the newest measured hour, the worst states of the last ones, how many findings are open."""

    hour: datetime
    measured_at: datetime
    states: dict[tuple[Area, Dimension], State]
    open_findings: int
