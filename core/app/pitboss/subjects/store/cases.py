"""Statements on cases and restrictions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import TenantScope
from pitboss.subjects.contracts import CaseKind, CaseState, Ground, Restriction
from pitboss.subjects.tables import ProcessingRestrictionRow, SubjectCaseRow

_END = int(CaseState.COMPLETED)


async def insert_case(session: AsyncSession, scope: TenantScope, values: Mapping[str, Any]) -> bool:
    """Insert a case; False when its reference is taken."""
    row = insert(SubjectCaseRow).values(tenant_id=scope.tenant_id, **values)
    row = row.on_conflict_do_nothing(index_elements=["tenant_id", "reference"]).returning(SubjectCaseRow.case_id)
    return await session.scalar(row) is not None


async def fetch_case(
    session: AsyncSession, scope: TenantScope, *, case_id: UUID | None = None, reference: str = "", lock: bool = False
) -> SubjectCaseRow | None:
    """Return a case by its id or its reference."""
    row = SubjectCaseRow
    query = select(row).where(row.tenant_id == scope.tenant_id)
    query = query.where(row.reference == reference) if case_id is None else query.where(row.case_id == case_id)
    if lock:
        query = query.with_for_update()
    return await session.scalar(query.execution_options(populate_existing=True))


async def fetch_cases(
    session: AsyncSession,
    scope: TenantScope,
    *,
    is_open: bool | None,
    kind: CaseKind | None,
    player_id: int | None,
    after: tuple[datetime, UUID] | None,
    most: int,
) -> list[SubjectCaseRow]:
    """Return cases: open ones by the day they are due, others newest first."""
    row = SubjectCaseRow
    query: Select[SubjectCaseRow] = select(row).where(row.tenant_id == scope.tenant_id)
    if kind is not None:
        query = query.where(row.kind == kind)
    if player_id is not None:
        query = query.where(row.player_id == player_id)
    if is_open:
        query = query.where(row.state < _END).order_by(row.due_at, row.case_id)
        if after is not None:
            query = query.where(tuple_(row.due_at, row.case_id) > after)
    else:
        if is_open is False:
            query = query.where(row.state >= _END)
        query = query.order_by(row.received_at.desc(), row.case_id.desc())
        if after is not None:
            query = query.where(tuple_(row.received_at, row.case_id) < after)
    return list(await session.scalars(query.limit(most)))


async def update_case(session: AsyncSession, scope: TenantScope, case_id: UUID, values: Mapping[str, Any]) -> None:
    """Change a case."""
    row = SubjectCaseRow
    await session.execute(
        update(row)
        .where(row.tenant_id == scope.tenant_id, row.case_id == case_id)
        .values(changed_at=func.now(), **values)
    )


async def count_open(session: AsyncSession, scope: TenantScope, now: datetime) -> tuple[int, int]:
    """Return how many cases are open, and how many of them are overdue."""
    row = SubjectCaseRow
    counted = await session.execute(
        select(func.count(), func.count().filter(row.due_at < now)).where(
            row.tenant_id == scope.tenant_id, row.state < _END
        )
    )
    open_cases, overdue = counted.one()
    return open_cases, overdue


async def insert_restriction(
    session: AsyncSession, scope: TenantScope, case_id: UUID, player_id: int, ground: Ground
) -> bool:
    """Insert a restriction; False when the case placed one before."""
    row = insert(ProcessingRestrictionRow).values(
        tenant_id=scope.tenant_id, case_id=case_id, player_id=player_id, ground=ground.value
    )
    placed = await session.scalar(row.on_conflict_do_nothing().returning(ProcessingRestrictionRow.case_id))
    return placed is not None


async def fetch_restriction(session: AsyncSession, scope: TenantScope, case_id: UUID) -> Restriction | None:
    """Return the restriction that a case placed while it is in force."""
    row = ProcessingRestrictionRow
    found = await session.scalar(
        select(row).where(row.tenant_id == scope.tenant_id, row.case_id == case_id, row.lifted_at.is_(None))
    )
    return None if found is None else Restriction(found.case_id, Ground(found.ground), found.placed_at)


async def fetch_restrictions(session: AsyncSession, scope: TenantScope, player_id: int) -> list[Restriction]:
    """Return the restrictions of a player that are in force."""
    row = ProcessingRestrictionRow
    found = await session.scalars(
        select(row)
        .where(row.tenant_id == scope.tenant_id, row.player_id == player_id, row.lifted_at.is_(None))
        .order_by(row.placed_at, row.case_id)
    )
    return [Restriction(each.case_id, Ground(each.ground), each.placed_at) for each in found]


async def lift_restriction(session: AsyncSession, scope: TenantScope, case_id: UUID) -> bool:
    """End a restriction; False when there is none in force."""
    row = ProcessingRestrictionRow
    lifted = await session.scalar(
        update(row)
        .where(row.tenant_id == scope.tenant_id, row.case_id == case_id, row.lifted_at.is_(None))
        .values(lifted_at=func.now())
        .returning(row.case_id)
    )
    return lifted is not None
