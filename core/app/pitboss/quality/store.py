"""Every SQL statement of data quality's own tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.ids import new_uuid
from pitboss.kernel.paging import Page, decode_cursor, encode_cursor
from pitboss.kernel.scope import TenantScope
from pitboss.quality.contracts import (
    Area,
    Comparison,
    ComparisonState,
    Dimension,
    Fault,
    Finding,
    FindingKind,
    Measure,
    State,
)
from pitboss.quality.tables import QualityComparisonRow, QualityFindingRow, QualityMeasureRow

_MEASURED = ("found", "wrong", "share_ppm", "threshold_ppm", "state", "measured_at")
_COMPARED = ("state", "listed", "matched", "late", "attempts", "next_at", "problem")


async def write_measures(session: AsyncSession, scope: TenantScope, measures: Sequence[Measure]) -> None:
    """Keep measures, over those of the same hour."""
    rows = [
        {
            "tenant_id": scope.tenant_id,
            "hour": each.hour,
            "area": int(each.area),
            "dimension": int(each.dimension),
            **{name: getattr(each, name) for name in _MEASURED},
        }
        for each in measures
    ]
    statement = insert(QualityMeasureRow).values(rows)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "hour", "area", "dimension"],
            set_={name: statement.excluded[name] for name in _MEASURED},
        )
    )


async def delete_measures(session: AsyncSession, scope: TenantScope, before: datetime) -> None:
    """Forget measures and comparisons of hours before a moment."""
    for table in (QualityMeasureRow, QualityComparisonRow):
        await session.execute(delete(table).where(table.tenant_id == scope.tenant_id, table.hour < before))


def _measure(row: QualityMeasureRow) -> Measure:
    return Measure(
        row.hour,
        Area(row.area),
        Dimension(row.dimension),
        row.found,
        row.wrong,
        row.share_ppm,
        row.threshold_ppm,
        State(row.state),
        row.measured_at,
    )


async def fetch_measures(
    session: AsyncSession, scope: TenantScope, *, before: datetime | None, hour: datetime | None, most: int
) -> list[Measure]:
    """Return measures, the newest hour first: of one hour, or of the hours before a moment."""
    query = select(QualityMeasureRow).where(QualityMeasureRow.tenant_id == scope.tenant_id)
    if before is not None:
        query = query.where(QualityMeasureRow.hour < before)
    if hour is not None:
        query = query.where(QualityMeasureRow.hour == hour)
    query = query.order_by(QualityMeasureRow.hour.desc(), QualityMeasureRow.area, QualityMeasureRow.dimension)
    return [_measure(row) for row in await session.scalars(query.limit(most))]


async def fetch_comparisons(
    session: AsyncSession, scope: TenantScope, since: datetime, until: datetime, plugin: str = ""
) -> list[Comparison]:
    """Return how far hours from `since` up to `until` were held against aggregators' books."""
    query = select(QualityComparisonRow).where(
        QualityComparisonRow.tenant_id == scope.tenant_id,
        QualityComparisonRow.hour >= since,
        QualityComparisonRow.hour < until,
    )
    if plugin:
        query = query.where(QualityComparisonRow.plugin == plugin)
    return [
        Comparison(
            row.hour,
            row.plugin,
            ComparisonState(row.state),
            row.listed,
            row.matched,
            row.late,
            row.attempts,
            row.next_at,
            row.problem,
        )
        for row in await session.scalars(query.order_by(QualityComparisonRow.hour, QualityComparisonRow.plugin))
    ]


async def write_comparison(session: AsyncSession, scope: TenantScope, comparison: Comparison) -> None:
    """Keep how far an hour was compared, over what was kept of it."""
    values = {name: getattr(comparison, name) for name in _COMPARED}
    statement = insert(QualityComparisonRow).values(
        tenant_id=scope.tenant_id, hour=comparison.hour, plugin=comparison.plugin, **values
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "hour", "plugin"], set_={**values, "compared_at": func.clock_timestamp()}
        )
    )


def _finding(row: QualityFindingRow) -> Finding:
    return Finding(
        row.finding_id,
        row.hour,
        Area(row.area),
        Dimension(row.dimension),
        FindingKind(row.kind),
        row.plugin,
        row.reference,
        row.provider_round,
        row.detail,
        row.is_open,
        row.attempts,
        row.next_at,
        row.opened_at,
        row.closed_at,
    )


async def fetch_findings(session: AsyncSession, scope: TenantScope, hour: datetime, plugin: str) -> list[Finding]:
    """Return all findings of an hour, open and closed: of an aggregator's books, or our own where it is empty."""
    query = select(QualityFindingRow).where(
        QualityFindingRow.tenant_id == scope.tenant_id,
        QualityFindingRow.hour == hour,
        QualityFindingRow.plugin == plugin,
    )
    rows = await session.scalars(query.execution_options(populate_existing=True))
    return [_finding(row) for row in rows]


async def fetch_open_findings(
    session: AsyncSession, scope: TenantScope, plugin: str, kinds: Collection[FindingKind], most: int
) -> list[Finding]:
    """Return open findings of some kinds of an aggregator's books, of the newest hours first."""
    query = select(QualityFindingRow).where(
        QualityFindingRow.tenant_id == scope.tenant_id,
        QualityFindingRow.is_open,
        QualityFindingRow.plugin == plugin,
        QualityFindingRow.kind.in_(kinds),
    )
    query = query.order_by(QualityFindingRow.hour.desc(), QualityFindingRow.finding_id).limit(most)
    return [_finding(row) for row in await session.scalars(query.execution_options(populate_existing=True))]


async def fetch_due_findings(
    session: AsyncSession, scope: TenantScope, plugin: str, now: datetime, most: int
) -> list[Finding]:
    """Return open findings of which the aggregator is to be asked again, the longest due first."""
    query = select(QualityFindingRow).where(
        QualityFindingRow.tenant_id == scope.tenant_id,
        QualityFindingRow.is_open,
        QualityFindingRow.plugin == plugin,
        QualityFindingRow.next_at <= now,
    )
    query = query.order_by(QualityFindingRow.next_at, QualityFindingRow.finding_id).limit(most)
    return [_finding(row) for row in await session.scalars(query)]


async def list_findings(
    session: AsyncSession, scope: TenantScope, hour: datetime, area: Area, *, cursor: str | None, page_size: int
) -> Page[Finding]:
    """Return findings of an hour and area, open ones first, the newest first."""
    query = select(QualityFindingRow).where(
        QualityFindingRow.tenant_id == scope.tenant_id,
        QualityFindingRow.hour == hour,
        QualityFindingRow.area == int(area),
    )
    if cursor is not None:
        is_open, finding_id = decode_cursor(cursor, tuple[bool, UUID])
        rest = QualityFindingRow.is_open.is_(is_open) & (QualityFindingRow.finding_id < finding_id)
        query = query.where(rest | ~QualityFindingRow.is_open if is_open else rest)
    query = query.order_by(QualityFindingRow.is_open.desc(), QualityFindingRow.finding_id.desc()).limit(page_size + 1)
    found = [_finding(row) for row in await session.scalars(query)]
    items = found[:page_size]
    more = len(found) > page_size
    return Page(items, encode_cursor(items[-1].is_open, items[-1].finding_id) if more else None)


async def count_open(session: AsyncSession, scope: TenantScope) -> int:
    """Return how many findings are open."""
    query = select(func.count()).where(QualityFindingRow.tenant_id == scope.tenant_id, QualityFindingRow.is_open)
    return int((await session.execute(query)).scalar_one())


async def count_open_from_books(session: AsyncSession, scope: TenantScope, hour: datetime) -> dict[FindingKind, int]:
    """Return how many open findings of an hour came from aggregators' books, by kind."""
    query = select(QualityFindingRow.kind, func.count()).where(
        QualityFindingRow.tenant_id == scope.tenant_id,
        QualityFindingRow.hour == hour,
        QualityFindingRow.is_open,
        QualityFindingRow.plugin != "",
    )
    return {FindingKind(row[0]): row[1] for row in await session.execute(query.group_by(QualityFindingRow.kind))}


async def open_finding(
    session: AsyncSession,
    scope: TenantScope,
    hour: datetime,
    place: tuple[Area, Dimension],
    plugin: str,
    fault: Fault,
    next_at: datetime | None,
) -> UUID:
    """Open a finding, or one that was closed again, and return its id."""
    statement = insert(QualityFindingRow).values(
        tenant_id=scope.tenant_id,
        finding_id=new_uuid(),
        hour=hour,
        area=int(place[0]),
        dimension=int(place[1]),
        kind=int(fault.kind),
        plugin=plugin,
        reference=fault.reference,
        provider_round=fault.round,
        detail=fault.detail,
        next_at=next_at,
    )
    again = {
        "is_open": True,
        "detail": fault.detail,
        "attempts": 0,
        "next_at": next_at,
        "opened_at": func.clock_timestamp(),
        "closed_at": None,
    }
    keys = ["tenant_id", "hour", "kind", "plugin", "reference"]
    statement = statement.on_conflict_do_update(index_elements=keys, set_=again)
    return (await session.execute(statement.returning(QualityFindingRow.finding_id))).scalar_one()


async def close_findings(session: AsyncSession, scope: TenantScope, findings: Iterable[UUID]) -> None:
    """Close findings."""
    await session.execute(
        update(QualityFindingRow)
        .where(QualityFindingRow.tenant_id == scope.tenant_id, QualityFindingRow.finding_id.in_(list(findings)))
        .values(is_open=False, next_at=None, closed_at=func.clock_timestamp())
    )


async def postpone_finding(
    session: AsyncSession, scope: TenantScope, finding_id: UUID, attempts: int, next_at: datetime | None
) -> None:
    """Note that an aggregator was asked again in vain, and when it is asked next; None for never."""
    await session.execute(
        update(QualityFindingRow)
        .where(QualityFindingRow.tenant_id == scope.tenant_id, QualityFindingRow.finding_id == finding_id)
        .values(attempts=attempts, next_at=next_at)
    )
