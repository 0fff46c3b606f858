"""Every SQL statement of retention; rows of other rooms are reached through the functions of `sql/` alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import TenantScope
from pitboss.retention.contracts import Hold, HoldScope, Run, Step
from pitboss.retention.tables import LegalHoldRow, RetentionRunRow, RetentionStepRow

_COUNT: Final = text("""
select count(*) filter (where f.began_at < :cutoff_at and not f.held) as due,
    count(*) filter (where f.began_at < :cutoff_at and f.held) as held,
    min(f.began_at) filter (where f.began_at >= :cutoff_at or f.held) as oldest
from retention_find(:tenant_id, :table, :licence, :counts_from, :moment) f
""")
_DESTROY: Final = text("select retention_destroy(:tenant_id, :run_id, :step, :most)")


async def count_rows(
    session: AsyncSession,
    scope: TenantScope,
    *,
    table: str,
    licence: str,
    counts_from: str,
    cutoff_at: datetime,
    moment: datetime,
) -> tuple[int, int, datetime | None]:
    """Return how many rows are due, how many of those holds keep, and when the time of the oldest that stays began."""
    row = (
        await session.execute(
            _COUNT,
            {
                "tenant_id": scope.tenant_id,
                "table": table,
                "licence": licence,
                "counts_from": counts_from,
                "cutoff_at": cutoff_at,
                "moment": moment,
            },
        )
    ).one()
    return int(row.due), int(row.held), row.oldest


async def destroy_rows(session: AsyncSession, scope: TenantScope, run_id: UUID, step: int, most: int) -> int:
    """Destroy some rows of a step; the database refuses what was not approved."""
    values = {"tenant_id": scope.tenant_id, "run_id": run_id, "step": step, "most": most}
    return int(await session.scalar(_DESTROY, values) or 0)


async def insert_hold(session: AsyncSession, scope: TenantScope, values: dict[str, Any]) -> Hold:
    """Place a hold."""
    row = await session.scalar(insert(LegalHoldRow).values(tenant_id=scope.tenant_id, **values).returning(LegalHoldRow))
    if row is None:
        raise LookupError("the row that was just written is not there")
    return _hold(row)


async def fetch_holds(session: AsyncSession, scope: TenantScope, *, active: bool) -> list[Hold]:
    """Return holds, oldest first; those that still hold, or all."""
    query = select(LegalHoldRow).where(LegalHoldRow.tenant_id == scope.tenant_id)
    if active:
        query = query.where(LegalHoldRow.lifted_at.is_(None))
    rows = await session.scalars(query.order_by(LegalHoldRow.placed_at, LegalHoldRow.hold_id))
    return [_hold(row) for row in rows]


async def fetch_hold(session: AsyncSession, scope: TenantScope, hold_id: UUID, *, lock: bool = False) -> Hold | None:
    """Return one hold, kept from others who decide about it where asked."""
    row = await session.get(
        LegalHoldRow, (scope.tenant_id, hold_id), populate_existing=True, with_for_update=lock or None
    )
    return None if row is None else _hold(row)


async def ask_lift(session: AsyncSession, scope: TenantScope, hold_id: UUID, asked_by: str) -> None:
    """Enter who asked for the end of a hold."""
    await _update_hold(session, scope, hold_id, {"lift_asked_by": asked_by})


async def lift_hold(session: AsyncSession, scope: TenantScope, hold_id: UUID, lifted_by: str, reason: str) -> None:
    """Let go of a hold."""
    values = {"lifted_at": func.clock_timestamp(), "lifted_by": lifted_by, "lift_reason": reason}
    await _update_hold(session, scope, hold_id, values)


async def _update_hold(session: AsyncSession, scope: TenantScope, hold_id: UUID, values: dict[str, Any]) -> None:
    row = LegalHoldRow
    statement = update(row).where(row.tenant_id == scope.tenant_id, row.hold_id == hold_id)
    await session.execute(statement.values(values).execution_options(synchronize_session=False))


async def insert_run(session: AsyncSession, scope: TenantScope, run: Run) -> None:
    """Store a plan with its steps."""
    await session.execute(
        insert(RetentionRunRow).values(
            tenant_id=scope.tenant_id,
            run_id=run.run_id,
            digest=run.digest,
            schedule_version=run.schedule_version,
            reason=run.reason,
            proposed_by=run.proposed_by,
            proposed_at=run.proposed_at,
        )
    )
    await session.execute(
        insert(RetentionStepRow),
        [
            {
                "tenant_id": scope.tenant_id,
                "run_id": run.run_id,
                "step": step.step,
                "table_name": step.table,
                "licence": step.licence,
                "counts_from": step.counts_from,
                "cutoff_at": step.cutoff_at,
                "rows_due": step.rows_due,
                "rows_held": step.rows_held,
                "oldest_at": step.oldest_at,
            }
            for step in run.steps
        ],
    )


async def fetch_run(session: AsyncSession, scope: TenantScope, run_id: UUID, *, lock: bool = False) -> Run | None:
    """Return a plan with its steps, locked against another decision where asked."""
    query = select(RetentionRunRow).where(
        RetentionRunRow.tenant_id == scope.tenant_id, RetentionRunRow.run_id == run_id
    )
    query = query.execution_options(populate_existing=True)
    row = await session.scalar(query.with_for_update() if lock else query)
    return None if row is None else _run(row, await _fetch_steps(session, scope, row.run_id))


async def fetch_runs(session: AsyncSession, scope: TenantScope, most: int) -> list[Run]:
    """Return the newest plans."""
    query = select(RetentionRunRow).where(RetentionRunRow.tenant_id == scope.tenant_id)
    newest = query.order_by(RetentionRunRow.proposed_at.desc(), RetentionRunRow.run_id.desc()).limit(most)
    rows = list(await session.scalars(newest.execution_options(populate_existing=True)))
    return [_run(row, await _fetch_steps(session, scope, row.run_id)) for row in rows]


async def approve_run(session: AsyncSession, scope: TenantScope, run_id: UUID, approved_by: str) -> None:
    """Enter who approved a plan."""
    row = RetentionRunRow
    await session.execute(
        update(row)
        .where(row.tenant_id == scope.tenant_id, row.run_id == run_id)
        .values(approved_by=approved_by, approved_at=func.clock_timestamp())
    )


async def finish_run(session: AsyncSession, scope: TenantScope, run_id: UUID) -> bool:
    """Enter that a plan was carried out; False when it was before."""
    row = RetentionRunRow
    statement = (
        update(row)
        .where(row.tenant_id == scope.tenant_id, row.run_id == run_id, row.finished_at.is_(None))
        .values(finished_at=func.clock_timestamp())
        .returning(row.run_id)
    )
    return (await session.execute(statement)).first() is not None


async def _fetch_steps(session: AsyncSession, scope: TenantScope, run_id: UUID) -> tuple[Step, ...]:
    row = RetentionStepRow
    query = select(row).where(row.tenant_id == scope.tenant_id, row.run_id == run_id).order_by(row.step)
    rows: Sequence[RetentionStepRow] = (await session.scalars(query.execution_options(populate_existing=True))).all()
    return tuple(
        Step(
            each.step,
            each.table_name,
            each.licence,
            each.counts_from,
            each.cutoff_at,
            each.rows_due,
            each.rows_held,
            each.oldest_at,
            each.rows_destroyed,
            each.finished_at,
        )
        for each in rows
    )


def _run(row: RetentionRunRow, steps: tuple[Step, ...]) -> Run:
    return Run(
        row.run_id,
        row.digest,
        row.schedule_version,
        row.reason,
        row.proposed_by,
        row.proposed_at,
        row.approved_by,
        row.approved_at,
        row.finished_at,
        steps,
    )


def _hold(row: LegalHoldRow) -> Hold:
    return Hold(
        row.hold_id,
        row.case_reference,
        HoldScope(row.scope),
        row.subject_id,
        row.table_name,
        row.reason,
        row.placed_by,
        row.placed_at,
        row.lifted_by or "",
        row.lifted_at,
        row.lift_reason,
        row.lift_asked_by or "",
    )
