"""Which windows a movement counts in, and whether it still fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from pitboss.limits.contracts import Limit, LimitKind, Period


def compute_window_start(period: Period, today: date) -> date:
    """Return the first day of the window of `period` that `today` lies in."""
    if period is Period.DAY:
        return today
    if period is Period.WEEK:
        return today - timedelta(days=today.weekday())
    return today.replace(day=1)


def compute_earliest_window(today: date) -> date:
    """Return the first day of the longest window that is open on `today`."""
    return min(compute_window_start(period, today) for period in Period)


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
        window = (int(limit.kind), int(limit.period), compute_window_start(limit.period, today))
        if used_minor.get(window, 0) + change_minor > limit.amount_minor:
            return limit
    return None


def compute_usage(
    limits: Sequence[Limit], movement: Mapping[LimitKind, int], today: date
) -> dict[tuple[int, int, date], int]:
    """Return what `movement` adds to each counted window; negative where a movement is undone."""
    return {
        (int(limit.kind), int(limit.period), compute_window_start(limit.period, today)): movement[limit.kind]
        for limit in limits
        if movement.get(limit.kind)
    }
