"""Every SQL statement about captured changes."""

from __future__ import annotations

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.captures.contracts import Capture, Reconciliation
from pitboss.captures.tables import CaptureRow, ControlCaptureRow, ReconciliationRow
from pitboss.kernel.scope import TenantScope


async def read_horizon(session: AsyncSession) -> int:
    """Return the transaction before which all have ended."""
    query = text("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    return int((await session.execute(query)).scalar_one())


async def fetch_captures(
    session: AsyncSession, scope: TenantScope | None, first: int, end: int, most: int
) -> list[Capture]:
    """Return captures of the transactions from `first` up to `end` in their order; of control without a scope."""
    table = ControlCaptureRow if scope is None else CaptureRow
    query = select(table).where(table.written_in >= first, table.written_in < end)
    if scope is not None:
        query = query.where(CaptureRow.tenant_id == scope.tenant_id)
    rows = await session.scalars(query.order_by(table.written_in, table.capture_id).limit(most))
    found = [
        Capture(row.written_in, row.captured_at, row.table_name, row.row_key, row.operation, row.login) for row in rows
    ]
    session.expunge_all()
    return found


async def fetch_state(session: AsyncSession, scope: TenantScope, *, lock: bool = False) -> Reconciliation | None:
    """Return how far a tenant is reconciled; None before the first time."""
    query = select(ReconciliationRow).where(ReconciliationRow.tenant_id == scope.tenant_id)
    row = await session.scalar(query.with_for_update() if lock else query)
    return None if row is None else Reconciliation(row.reconciled_before, row.reconciled_at, row.findings)


async def write_state(session: AsyncSession, scope: TenantScope, before: int, findings: int) -> None:
    """Note up to where a tenant is reconciled and how many findings there are."""
    values = {"reconciled_before": before, "reconciled_at": func.clock_timestamp(), "findings": findings}
    statement = insert(ReconciliationRow).values(tenant_id=scope.tenant_id, **values)
    await session.execute(statement.on_conflict_do_update(index_elements=["tenant_id"], set_=values))


async def clear_findings(session: AsyncSession, scope: TenantScope) -> int:
    """Take the findings of a tenant as looked into; return how many there were."""
    state = await fetch_state(session, scope, lock=True)
    statement = update(ReconciliationRow).where(ReconciliationRow.tenant_id == scope.tenant_id).values(findings=0)
    await session.execute(statement)
    return 0 if state is None else state.findings
