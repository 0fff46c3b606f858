"""Decisions of data quality: how a measure stands, what two books differ in, and when to ask again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pitboss.kernel.clock import to_microseconds
from pitboss.ledger.contracts import Effect, Op, Outcome
from pitboss.quality.contracts import HOUR, SETTLE, Area, Dimension, Fault, FindingKind, Reading, State
from pitboss_sdk.games import LegKind, ListedState, ListedTransaction
from pitboss_sdk.money import CURRENCIES, decimal_from_minor

MILLION: Final = 1_000_000
ROUND_BOUND: Final = timedelta(hours=6)
"""A round that nobody played on for so long should have been closed."""
ORDER_BOUND: Final = timedelta(minutes=1)
"""How soon an ordered deposit is booked."""
HOLD_BOUND: Final = timedelta(minutes=10)
"""How soon a hold ends whose time is over."""
CHECKPOINT_BOUND: Final = timedelta(seconds=90)
"""How soon an event is proved by a checkpoint."""
LOG_BOUND: Final = timedelta(minutes=5)
"""How soon an event has its place in the log at the latest."""
BOOKING_BOUND: Final = timedelta(minutes=1)
"""How far the moment of a booking may be from the aggregator's time, either way."""
MARGIN: Final = timedelta(minutes=5)
"""By how much clocks may differ: the books are asked for so much more on both sides."""
SLICE: Final = timedelta(minutes=15)
"""The span that one request asks for."""
FIRST_PAUSE: Final = timedelta(minutes=5)
MAX_ATTEMPTS: Final = 6
"""How often an aggregator is asked again for a gap, and for an hour that it did not tell of."""


class Bounds(NamedTuple):
    """Up to which share of wrong ones a measure is green, and up to which it is amber, in millionths."""

    green_ppm: int
    amber_ppm: int


_NOTHING: Final = Bounds(0, 0)
_SOME_LATE: Final = Bounds(10_000, 50_000)
_BOUNDS: Final[Mapping[tuple[Area, Dimension], Bounds]] = {
    # Players leave in the middle of a round every day; a gap in the books is grave by itself.
    (Area.ROUNDS, Dimension.COMPLETENESS): Bounds(0, 10_000),
    **{(area, Dimension.TIMELINESS): _SOME_LATE for area in Area},
}
FROM_BOOKS: Final[Mapping[FindingKind, Dimension]] = {
    FindingKind.MISSING_HERE: Dimension.COMPLETENESS,
    FindingKind.LISTED_TWICE: Dimension.UNIQUENESS,
    FindingKind.MISSING_THERE: Dimension.CONSISTENCY,
    FindingKind.AMOUNT_DIFFERS: Dimension.CONSISTENCY,
    FindingKind.STANDS_HERE: Dimension.CONSISTENCY,
}
"""What an aggregator's books may say, and in which respect rounds are then wrong."""
_OPS: Final = {LegKind.BET: Op.BET, LegKind.WIN: Op.WIN}


def get_bounds(area: Area, dimension: Dimension) -> Bounds:
    """Return which shares are green and amber; one wrong record is red where nothing else is said."""
    return _BOUNDS.get((area, dimension), _NOTHING)


def compute_share_ppm(found: int, wrong: int) -> int:
    """Return the wrong ones in millionths of those found, rounded up: one is never none."""
    if not wrong:
        return 0
    return min(-(-wrong * MILLION // max(found, wrong)), MILLION)


def decide_state(reading: Reading) -> State:
    """Return how a reading stands."""
    if not reading.is_known or not (reading.found or reading.wrong):
        return State.NO_DATA
    share_ppm = compute_share_ppm(reading.found, reading.wrong)
    bounds = get_bounds(reading.area, reading.dimension)
    if reading.grave or share_ppm > bounds.amber_ppm:
        return State.RED
    return State.AMBER if share_ppm > bounds.green_ppm else State.GREEN


def list_hours(now: datetime, count: int, before: datetime | None = None, settle: timedelta = SETTLE) -> list[datetime]:
    """Return the beginnings of the last closed hours, newest first; those before `before` where one is given."""
    end = (now - settle).replace(minute=0, second=0, microsecond=0)
    hours = [end - HOUR * number for number in range(1, count + 1)]
    return [hour for hour in hours if before is None or hour < before]


def compute_pause(attempts: int) -> timedelta:
    """Return how long to wait after the `attempts`-th time, counted from 0: 5, 10, 20 … minutes."""
    return FIRST_PAUSE * 2 ** min(attempts, MAX_ATTEMPTS)


class Compared(NamedTuple):
    """What came of holding a list against bookings: faults, how many agree, and how many of those far apart in time."""

    faults: list[Fault]
    matched: int
    late: int


def compare_lists(listed: Sequence[ListedTransaction], effects: Mapping[str, Effect]) -> Compared:
    """Hold what an aggregator lists against what became of the same ids here."""
    seen: dict[str, int] = {}
    for one in listed:
        seen[one.reference] = seen.get(one.reference, 0) + 1
    faults: list[Fault] = []
    matched = late = 0
    for one in {each.reference: each for each in listed}.values():
        if seen[one.reference] > 1:
            faults.append(Fault(FindingKind.LISTED_TWICE, one.reference, one.round, f"{seen[one.reference]} times"))
        effect = effects.get(one.reference)
        found = _judge(one, effect)
        if found is not None:
            faults.append(found)
        elif one.state is ListedState.BOOKED:
            matched += 1
            late += effect is not None and _is_far(one, effect)
    return Compared(faults, matched, late)


def find_missing_there(bookings: Iterable[Effect], rounds: Mapping[str, str]) -> list[Fault]:
    """Return bookings that an aggregator does not list as faults; `rounds` are the provider's ids of ours, as text."""
    return [
        Fault(FindingKind.MISSING_THERE, each.reference, rounds.get(str(each.round_id), ""), f"booked {_tell(each)}")
        for each in bookings
    ]


def _judge(one: ListedTransaction, effect: Effect | None) -> Fault | None:
    stands = effect is not None and effect.outcome is Outcome.ACCEPTED and effect.op in {Op.BET, Op.WIN}
    match one.state:
        case ListedState.OPEN:
            return None
        case ListedState.UNDONE:
            if effect is None or not stands or effect.is_reversed:
                return None
            return Fault(FindingKind.STANDS_HERE, one.reference, one.round, f"booked {_tell(effect)}")
        case ListedState.BOOKED:
            pass
    if one.kind is LegKind.ROLLBACK:
        # Whatever became of it: a rollback that found nothing to do, or was refused, is known here.
        return Fault(FindingKind.MISSING_HERE, one.reference, one.round, "rollback") if effect is None else None
    said = f"listed {one.kind.name.lower()} {_tell_money(one.amount_minor, one.currency)}"
    if effect is None or not stands:
        there = "" if effect is None else f", here {effect.outcome.name.lower()}"
        return Fault(FindingKind.MISSING_HERE, one.reference, one.round, said + there)
    same = effect.op == _OPS[one.kind] and abs(effect.moved_minor) == one.amount_minor
    if same and effect.currency == one.currency:
        return None
    return Fault(FindingKind.AMOUNT_DIFFERS, one.reference, one.round, f"{said}, booked {_tell(effect)}")


def _is_far(one: ListedTransaction, effect: Effect) -> bool:
    if effect.booked_at is None or one.kind is LegKind.ROLLBACK:
        return False
    return abs(to_microseconds(effect.booked_at) - one.happened_at_us) > BOOKING_BOUND // timedelta(microseconds=1)


def _tell(effect: Effect) -> str:
    return f"{Op(effect.op).name.lower()} {_tell_money(abs(effect.moved_minor), effect.currency)}"


def _tell_money(amount_minor: int, currency: str) -> str:
    known = CURRENCIES.get(currency)
    return f"{amount_minor if known is None else decimal_from_minor(amount_minor, known.decimals)} {currency}"
