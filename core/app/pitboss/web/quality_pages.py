"""The operators' pages of data quality: hours by areas, one hour with its findings, and both as files."""

import csv
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import IntEnum
from io import StringIO
from typing import Any, Final

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery
from litestar.types import ControllerRouterHandler

from pitboss.kernel.paging import MAX_PAGE_SIZE
from pitboss.quality import service as quality
from pitboss.quality.contracts import HOURS_BACK, Area, Finding, Measure, State
from pitboss.web.operator_pages import PAGE_GUARDS, page_words
from pitboss.web.pages import render_page, tell_moment
from pitboss.web.reading import Reading
from pitboss.web.security import provide_database, provide_tenant

HOME: Final = "/operator/quality"
_HOUR: Final = "%Y-%m-%dT%H"
_ROWS: Final = 25
_EXPORTED_HOURS: Final = 24 * 31
_FORMULA: Final = tuple("=+-@\t\r")
"""What a spreadsheet would take for a formula when a cell begins with it."""


@get(HOME, opt={"permission": "quality.measure.view"}, guards=PAGE_GUARDS, include_in_schema=False)
async def show_hours(
    request: Request[Any, Any, Any], before: FromQuery[str] = "", lang: FromQuery[str | None] = None
) -> Response[str]:
    """Show how hours stand, the newest first, each area by its worst dimension."""
    tenant = provide_tenant(request)
    async with provide_database(request).transaction(tenant) as session:
        first = _parse_hour(before) if before else None
        measures = await quality.list_measures(session, tenant, before=first, hours=HOURS_BACK + 1)
        totals = await quality.find_totals(session, tenant)
    found = _by_hour(measures)
    hours = dict(list(found.items())[:HOURS_BACK])
    return render_page(
        "quality.html",
        **page_words(request, lang),
        tenant=tenant.slug,
        areas=[_word(area) for area in Area],
        hours=[(hour.astimezone(UTC).strftime(_HOUR), _worst(each)) for hour, each in hours.items()],
        totals=totals,
        reds=sum(any(one.state is State.RED for one in each) for each in hours.values()),
        older=min(hours).astimezone(UTC).strftime(_HOUR) if len(found) > len(hours) else "",
        tell_hour=_tell_hour,
        moment=tell_moment,
    )


@get(
    f"{HOME}/{{hour:str}}",
    opt={"permission": "quality.measure.view", "reads": "subject_key money"},
    guards=PAGE_GUARDS,
    include_in_schema=False,
)
async def show_hour(
    request: Request[Any, Any, Any],
    reading: NamedDependency[Reading],
    hour: FromPath[str],
    area: FromQuery[str] = "rounds",
    cursor: FromQuery[str | None] = None,
    lang: FromQuery[str | None] = None,
) -> Response[str]:
    """Show one hour of one area: its dimensions, what was compared, and what was found wrong."""
    tenant, began, chosen = provide_tenant(request), _parse_hour(hour), _parse_area(area)
    async with provide_database(request).transaction(tenant) as session:
        measures, comparisons = await quality.list_hour(session, tenant, began)
        page = await quality.list_findings(session, tenant, began, chosen, cursor=cursor, page_size=_ROWS)
        await reading.record(session, tenant, "quality.viewed", hour, [str(each.finding_id) for each in page.items])
    return render_page(
        "quality_hour.html",
        **page_words(request, lang),
        tenant=tenant.slug,
        hour=hour,
        title=_tell_hour(hour),
        area=_word(chosen),
        areas=[_word(each) for each in Area],
        measures=[each for each in measures if each.area is chosen],
        comparisons=comparisons if chosen is Area.ROUNDS else [],
        findings=page.items,
        next_cursor=page.next_cursor,
        word=_word,
        percent=_percent,
        moment=tell_moment,
    )


@get(
    f"{HOME}/measures.csv",
    opt={"permission": "quality.measure.export"},
    guards=PAGE_GUARDS,
    include_in_schema=False,
)
async def export_measures(request: Request[Any, Any, Any]) -> Response[str]:
    """Hand out the measures of the last month as a file."""
    tenant = provide_tenant(request)
    async with provide_database(request).transaction(tenant) as session:
        measures = await quality.list_measures(session, tenant, hours=_EXPORTED_HOURS)
    names = ("hour", "area", "dimension", "state", "found", "wrong", "share_ppm", "threshold_ppm", "measured_at")
    return _send("measures", names, ([_plain(getattr(each, name)) for name in names] for each in measures))


@get(
    f"{HOME}/{{hour:str}}/findings.csv",
    opt={"permission": "quality.measure.export", "reads": "subject_key money"},
    guards=PAGE_GUARDS,
    include_in_schema=False,
)
async def export_findings(
    request: Request[Any, Any, Any],
    reading: NamedDependency[Reading],
    hour: FromPath[str],
    area: FromQuery[str] = "rounds",
) -> Response[str]:
    """Hand out the findings of an hour and area as a file."""
    tenant, began, chosen = provide_tenant(request), _parse_hour(hour), _parse_area(area)
    found: list[Finding] = []
    cursor: str | None = None
    async with provide_database(request).transaction(tenant) as session:
        while True:
            page = await quality.list_findings(session, tenant, began, chosen, cursor=cursor, page_size=MAX_PAGE_SIZE)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        await reading.record(session, tenant, "quality.viewed", hour, [str(each.finding_id) for each in found])
    return _send("findings", Finding.__struct_fields__, (map(_plain, _values(each)) for each in found))


def _values(finding: Finding) -> list[object]:
    return [getattr(finding, name) for name in Finding.__struct_fields__]


def _send(name: str, names: Iterable[str], rows: Iterable[Iterable[str]]) -> Response[str]:
    text = StringIO()
    written = csv.writer(text)
    written.writerow(names)
    written.writerows(rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "no-store"}
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    text = "" if value is None else _word(value) if isinstance(value, IntEnum) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _parse_hour(text: str) -> datetime:
    try:
        return datetime.strptime(text, _HOUR).replace(tzinfo=UTC)
    except ValueError:
        raise NotFoundException from None


def _parse_area(text: str) -> Area:
    if text.upper() not in Area.__members__:
        raise NotFoundException
    return Area[text.upper()]


def _by_hour(measures: Iterable[Measure]) -> dict[datetime, list[Measure]]:
    found: dict[datetime, list[Measure]] = {}
    for each in measures:
        found.setdefault(each.hour, []).append(each)
    return found


def _worst(measures: Iterable[Measure]) -> dict[str, tuple[str, int]]:
    """Return by area the worst state and how many records are wrong."""
    found = {_word(area): (State.NO_DATA, 0) for area in Area}
    for each in measures:
        state, wrong = found[_word(each.area)]
        found[_word(each.area)] = (max(state, each.state), wrong + each.wrong)
    return {name: (_word(state), wrong) for name, (state, wrong) in found.items()}


def _word(value: Any) -> str:
    return str(value.name).lower()


def _percent(share_ppm: int) -> str:
    """Return millionths as percent, cut nowhere."""
    return f"{share_ppm // 10_000}.{share_ppm % 10_000:04}".rstrip("0").rstrip(".") + " %"


def _tell_hour(hour: str) -> str:
    return f"{hour.replace('T', ' ')}:00"


HANDLERS: list[ControllerRouterHandler] = [show_hours, show_hour, export_measures, export_findings]
