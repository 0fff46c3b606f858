"""Which windows a movement counts in, and whether it still fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from pitboss.limits.contracts import Change, Exclusion, Limit, LimitKind, Period, PlayerLimit
from pitboss.policy.rules import compute_first_day
from pitboss_sdk.jurisdiction import LimitPeriod

_LAW: Final = {period: LimitPeriod[period.name] for period in Period}
"""Periods, stored as numbers, under the names that packs use."""


def compute_earliest_window(today: date) -> date:
    """Return the first day of the longest window that is open on `today`."""
    return min(compute_first_day(period, today) for period in LimitPeriod)


def _name_window(limit: Limit, today: date) -> tuple[int, int, date]:
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
        if used_minor.get(_name_window(limit, today), 0) + change_minor > limit.amount_minor:
            return limit
    return None


def compute_usage(
    limits: Sequence[Limit], movement: Mapping[LimitKind, int], today: date
) -> dict[tuple[int, int, date], int]:
    """Return what `movement` adds to each counted window; negative where a movement is undone."""
    return {_name_window(limit, today): movement[limit.kind] for limit in limits if movement.get(limit.kind)}


def decide_change(
    found: PlayerLimit | None, kind: LimitKind, period: Period, wanted_minor: int | None, now: datetime, wait: timedelta
) -> PlayerLimit | None:
    """Return what a limit is once a change was asked for; None when there is none, and None wanted.

    Stricter acts at once and takes back what was waiting; looser, or no limit at all, waits.
    """
    if found is None:
        return None if wanted_minor is None else PlayerLimit(Limit(kind, period, wanted_minor))
    if wanted_minor is not None and wanted_minor <= found.limit.amount_minor:
        return PlayerLimit(Limit(kind, period, wanted_minor))
    if found.waiting is not None and found.waiting.amount_minor == wanted_minor:
        return found
    if not wait:
        return None if wanted_minor is None else PlayerLimit(Limit(kind, period, wanted_minor))
    return PlayerLimit(found.limit, Change(wanted_minor, now + wait))


def mature(found: PlayerLimit, now: datetime) -> PlayerLimit | None:
    """Return a limit as it is at `now`: a change whose time has come has happened."""
    waiting = found.waiting
    if waiting is None or waiting.at > now:
        return found
    if waiting.amount_minor is None:
        return None
    return PlayerLimit(Limit(found.limit.kind, found.limit.period, waiting.amount_minor))


def compute_closed_until(exclusions: Sequence[Exclusion], now: datetime, never: datetime) -> datetime | None:
    """Return until when the longest exclusion that stands at `now` lasts; `never` stands for no end, None for none."""
    ends = [exclusion.stands_until or never for exclusion in exclusions]
    standing = [end for end in ends if end > now]
    return max(standing) if standing else None
