"""Which windows movements and time count in, what still fits, and what a limit becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from pitboss.limits.contracts import Change, Exclusion, Limit, LimitKind, Period, PlayerLimit, PlayTimeLimit
from pitboss.policy.rules import compute_first_day, compute_window
from pitboss_sdk.jurisdiction import LimitPeriod

_LAW: Final = {period: LimitPeriod[period.name] for period in Period}
"""Periods, stored as numbers, under the names that packs use."""


def compute_earliest_window(today: date) -> date:
    """Return the first day of the longest window that is open on `today`."""
    return min(compute_first_day(period, today) for period in LimitPeriod)


def compute_first_needed(today: date) -> date:
    """Return the first day of the earliest window that anybody may still count in; `today` is the day in UTC.

    Nothing is added to a window that does not hold the day of the movement, nor to one that does not hold both days
    where a movement undoes another; licences' own days begin up to a day before and after UTC's, and clocks differ.
    """
    return compute_earliest_window(today - timedelta(days=2))


def name_window(limit: Limit, today: date) -> tuple[int, int, date]:
    """Return the window of a limit that is open on `today`: kind, period, first day."""
    return (int(limit.kind), int(limit.period), compute_first_day(_LAW[limit.period], today))


def decide_limits(
    limits: Sequence[Limit],
    used_minor: Mapping[tuple[int, int, date], int],
    movement: Mapping[LimitKind, int],
    today: date,
) -> Limit | None:
    """Return the first limit that `movement` (minor units by kind) would exceed, or None.

    Only a movement that uses a limit up is held against it: money coming back is always taken.
    """
    for limit in limits:
        change_minor = movement.get(limit.kind, 0)
        if change_minor <= 0:
            continue
        if used_minor.get(name_window(limit, today), 0) + change_minor > limit.amount_minor:
            return limit
    return None


def compute_usage(
    limits: Sequence[Limit], movement: Mapping[LimitKind, int], today: date, counted_on: date | None = None
) -> dict[tuple[int, int, date], int]:
    """Return what `movement` adds to each counted window; negative where a movement is undone.

    What undoes a movement that was `counted_on` an earlier day changes the windows that hold both days: money that
    was staked yesterday leaves no more to stake today.
    """
    day = today if counted_on is None else counted_on
    return {
        window: movement[limit.kind]
        for limit in limits
        if movement.get(limit.kind) and (window := name_window(limit, today)) == name_window(limit, day)
    }


def decide_change(
    found: PlayerLimit | None, kind: LimitKind, period: Period, wanted_minor: int | None, now: datetime, wait: timedelta
) -> PlayerLimit | None:
    """Return what a limit is once a change was asked for; None when there is none, and None wanted.

    Stricter acts at once and takes back what was waiting; looser, or no limit at all, waits.
    """
    before = None
    if found is not None:
        waiting = found.waiting
        before = _Bound(
            found.limit.amount_minor,
            None if waiting is None else waiting.amount_minor,
            None if waiting is None else waiting.at,
        )
    after = _decide_bound(before, wanted_minor, now, wait)
    if after is None:
        return None
    change = None if after.next_from is None else Change(after.next_value, after.next_from)
    return PlayerLimit(Limit(kind, period, after.value), change)


def decide_play_time(
    found: PlayTimeLimit | None, period: Period, wanted_minutes: int | None, now: datetime, wait: timedelta
) -> PlayTimeLimit | None:
    """Return what a limit of play time is once a change was asked for, by the rule of `decide_change`."""
    before = None if found is None else _Bound(found.minutes, found.next_minutes, found.next_from)
    after = _decide_bound(before, wanted_minutes, now, wait)
    return None if after is None else PlayTimeLimit(period, *after)


class _Bound(NamedTuple):
    """A figure, and what it becomes from a moment on."""

    value: int
    next_value: int | None = None
    next_from: datetime | None = None


def _decide_bound(found: _Bound | None, wanted: int | None, now: datetime, wait: timedelta) -> _Bound | None:
    if found is not None and wait and (wanted is None or wanted > found.value):
        asked_before = found.next_from is not None and found.next_value == wanted
        return found if asked_before else _Bound(found.value, wanted, now + wait)
    return None if wanted is None else _Bound(wanted)


def mature(found: PlayerLimit, now: datetime) -> PlayerLimit | None:
    """Return a limit as it is at `now`: a change whose time has come has happened."""
    waiting = found.waiting
    if waiting is None or waiting.at > now:
        return found
    if waiting.amount_minor is None:
        return None
    return PlayerLimit(Limit(found.limit.kind, found.limit.period, waiting.amount_minor))


def mature_play_time(found: PlayTimeLimit, now: datetime) -> PlayTimeLimit | None:
    """Return a limit of play time as it is at `now`."""
    if found.next_from is None or found.next_from > now:
        return found
    return None if found.next_minutes is None else PlayTimeLimit(found.period, found.next_minutes)


def compute_play_time_left(
    limits: Sequence[PlayTimeLimit], spans: Sequence[tuple[datetime, datetime]], now: datetime, time_zone: str
) -> timedelta | None:
    """Return for how long games may be open from `now` on, at least zero; None where nothing bounds it.

    `spans` are the times from the opening of a game to its end. Games that are open at once use the same time up.
    """
    left = [
        timedelta(minutes=limit.minutes)
        - _compute_covered(spans, compute_window(_LAW[limit.period], now, time_zone).starts_at, now)
        for limit in limits
    ]
    return max(timedelta(), min(left)) if left else None


def _compute_covered(spans: Sequence[tuple[datetime, datetime]], since: datetime, until: datetime) -> timedelta:
    """Return how much of the time between two moments lies in at least one of `spans`."""
    covered, reached = timedelta(), since
    for begins, ends in sorted(spans):
        begins_here, ends_here = max(begins, reached), min(ends, until)
        if ends_here > begins_here:
            covered += ends_here - begins_here
            reached = ends_here
    return covered


def compute_closed_until(exclusions: Sequence[Exclusion], now: datetime, never: datetime) -> datetime | None:
    """Return until when the longest exclusion that stands at `now` lasts; `never` stands for no end, None for none."""
    ends = [exclusion.stands_until or never for exclusion in exclusions]
    standing = [end for end in ends if end > now]
    return max(standing) if standing else None
