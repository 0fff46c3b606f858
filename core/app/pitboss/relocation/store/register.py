"""The register of moves."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.directory.contracts import TenantState
from pitboss.relocation.contracts import Move, MoveState
from pitboss.relocation.tables import TenantMoveRow

_ENDED = ("shredded", "rolled_back")


async def find_running(session: AsyncSession, tenant_id: int) -> Move | None:
    """Return the move of a tenant that has not ended, and keep others from it until the transaction ends."""
    query = select(TenantMoveRow).where(TenantMoveRow.tenant_id == tenant_id, TenantMoveRow.state.not_in(_ENDED))
    row = await session.scalar(query.with_for_update(key_share=True).execution_options(populate_existing=True))
    return None if row is None else _read(row)


async def list_moves(session: AsyncSession, tenant_id: int) -> list[Move]:
    """Return all moves of a tenant, the oldest first."""
    query = select(TenantMoveRow).where(TenantMoveRow.tenant_id == tenant_id).order_by(TenantMoveRow.started_at)
    return [_read(row) for row in await session.scalars(query.execution_options(populate_existing=True))]


async def insert_move(session: AsyncSession, move: Move) -> None:
    """Enter a move."""
    await session.execute(
        insert(TenantMoveRow).values(
            move_id=move.move_id,
            tenant_id=move.tenant_id,
            source=move.source,
            target=move.target,
            state=move.state.value,
            state_before=move.state_before.value,
        )
    )


async def update_move(session: AsyncSession, move_id: UUID, state: MoveState, facts: dict[str, Any]) -> None:
    """Write how far a move has come, and what became known by it."""
    await session.execute(
        update(TenantMoveRow)
        .where(TenantMoveRow.move_id == move_id)
        .values(state=state.value, changed_at=func.now(), **facts)
    )


def _read(row: TenantMoveRow) -> Move:
    values = {name: getattr(row, name) for name in Move.__struct_fields__}
    return msgspec.structs.replace(
        Move(**values), state=MoveState(row.state), state_before=TenantState(row.state_before)
    )
