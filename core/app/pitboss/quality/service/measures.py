"""Measures: kept with what aggregators' books say, and told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.paging import Page
from pitboss.kernel.scope import Actor, TenantScope
from pitboss.quality import rules, store
from pitboss.quality.contracts import (
    HOUR,
    HOURS_BACK,
    KEPT,
    Area,
    Comparison,
    ComparisonState,
    Dimension,
    Finding,
    FindingKind,
    Measure,
    Reading,
    State,
    Totals,
)
from pitboss.quality.service.findings import close_all, open_one


async def keep_hour(
    session: AsyncSession, scope: TenantScope, hour: datetime, readings: Sequence[Reading], now: datetime, actor: Actor
) -> list[Measure]:
    """Keep the measures of an hour with what aggregators' books say of it; open and close the findings of our own."""
    known = await store.fetch_findings(session, scope, hour, "")
    compared = await _list_compared(session, scope, hour)
    gaps = await store.count_open_from_books(session, scope, hour)
    measures: list[Measure] = []
    for reading in readings:
        of_reading = [each for each in known if (each.area, each.dimension) == (reading.area, reading.dimension)]
        if reading.is_known or reading.faults:
            await _settle(session, scope, hour, reading, of_reading, actor)
        if reading.area is Area.ROUNDS:
            _add_books(reading, compared, gaps)
        measures.append(
            Measure(
                hour,
                reading.area,
                reading.dimension,
                reading.found,
                reading.wrong,
                rules.compute_share_ppm(reading.found, reading.wrong),
                rules.get_bounds(reading.area, reading.dimension).green_ppm,
                rules.decide_state(reading),
                now,
            )
        )
    await store.write_measures(session, scope, measures)
    return measures


async def _settle(
    session: AsyncSession,
    scope: TenantScope,
    hour: datetime,
    reading: Reading,
    known: Iterable[Finding],
    actor: Actor,
) -> None:
    """Open what is wrong and was not, close what was wrong and is not."""
    is_open = {(each.kind, each.reference): each for each in known if each.is_open}
    wrong = {(fault.kind, fault.reference): fault for fault in reading.faults}
    place = (reading.area, reading.dimension)
    for name, fault in wrong.items():
        if name not in is_open:
            await open_one(session, scope, hour, place, "", fault, None, actor)
    if reading.is_whole:
        await close_all(session, scope, [each for name, each in is_open.items() if name not in wrong], actor)


async def _list_compared(session: AsyncSession, scope: TenantScope, hour: datetime) -> list[Comparison]:
    found = await store.fetch_comparisons(session, scope, hour, hour + HOUR)
    return [each for each in found if each.state is ComparisonState.COMPARED]


def _add_books(reading: Reading, compared: Sequence[Comparison], gaps: Mapping[FindingKind, int]) -> None:
    for kind, count in gaps.items():
        if rules.FROM_BOOKS.get(kind) is reading.dimension:
            reading.wrong += count
            reading.grave += count
    if reading.dimension is Dimension.TIMELINESS:
        reading.is_known = bool(compared)
        reading.found = sum(each.matched for each in compared)
        reading.wrong = sum(each.late for each in compared)
    elif compared:
        reading.found += sum(each.listed for each in compared)


async def forget_old(session: AsyncSession, scope: TenantScope, now: datetime) -> None:
    """Forget measures that are older than they are kept."""
    await store.delete_measures(session, scope, now - KEPT)


async def list_measures(
    session: AsyncSession, scope: TenantScope, *, before: datetime | None = None, hours: int = HOURS_BACK
) -> list[Measure]:
    """Return the measures of some hours, the newest first."""
    return await store.fetch_measures(session, scope, before=before, hour=None, most=hours * len(Area) * len(Dimension))


async def list_hour(
    session: AsyncSession, scope: TenantScope, hour: datetime
) -> tuple[list[Measure], list[Comparison]]:
    """Return the measures of one hour, and how far it was held against aggregators' books."""
    measures = await store.fetch_measures(session, scope, before=None, hour=hour, most=len(Area) * len(Dimension))
    return measures, await store.fetch_comparisons(session, scope, hour, hour + HOUR)


async def list_findings(
    session: AsyncSession, scope: TenantScope, hour: datetime, area: Area, *, cursor: str | None, page_size: int
) -> Page[Finding]:
    """Return findings of an hour and area, open ones first."""
    return await store.list_findings(session, scope, hour, area, cursor=cursor, page_size=page_size)


async def find_totals(session: AsyncSession, scope: TenantScope) -> Totals | None:
    """Return how the last hours stand, and how many findings are open; None before the first measure."""
    last = await list_measures(session, scope)
    if not last:
        return None
    states: dict[tuple[Area, Dimension], State] = {}
    for each in last:
        place = (each.area, each.dimension)
        states[place] = max(states.get(place, State.NO_DATA), each.state)
    measured_at = max(each.measured_at for each in last)
    return Totals(last[0].hour, measured_at, states, await store.count_open(session, scope))
