"""Use cases of the register of moves; each is one change of control, audited."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

import pitboss.tenancy.service as tenancy
from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_control_event, record_event
from pitboss.directory.contracts import SigningKey, TenantState
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import TenantScope
from pitboss.relocation import rules
from pitboss.relocation.contracts import Move, MoveState
from pitboss.relocation.errors import MoveRefused
from pitboss.relocation.store import register
from pitboss.tenancy.contracts import By, CellPlace, TenantRecord

_PLACED: Final = {
    MoveState.FROZEN: "tenant.frozen",
    MoveState.ROLLED_BACK: "tenant.thawed",
    MoveState.SWITCHED: "tenant.moved",
}


async def find_move(session: AsyncSession, slug: str) -> tuple[TenantRecord, Move | None]:
    """Return a tenant and its move that has not ended; raise `TenantNotFound`."""
    record = await tenancy.get_tenant(session, slug)
    return record, await register.find_running(session, record.tenant_id)


async def list_moves(session: AsyncSession, slug: str) -> list[Move]:
    """Return all moves of a tenant, the oldest first; raise `TenantNotFound`."""
    record = await tenancy.get_tenant(session, slug)
    return await register.list_moves(session, record.tenant_id)


async def plan_move(session: AsyncSession, slug: str, source: CellPlace, target: CellPlace, by: By) -> Move:
    """Enter a move, or return the one that was begun; raise `MoveRefused`, first of all for another locality."""
    record, running = await find_move(session, slug)
    if running is not None:
        if (running.source, running.target) != (source.cell, target.cell):
            raise MoveRefused(f"{slug} is already moving from {running.source} to {running.target}")
        return running
    if record.cell != source.cell:
        raise MoveRefused(f"{slug} lives in {record.cell}, not in {source.cell}")
    known = {place.cell: place.locality for place in await tenancy.list_cells(session)}
    zone = known.get(target.cell, target.locality)
    left = {move.source for move in await register.list_moves(session, record.tenant_id) if move.certificate}
    refusals = rules.find_refusals(
        record.state, (source.cell, target.cell), (record.locality, zone if zone == target.locality else ""), left
    )
    if refusals:
        raise MoveRefused("; ".join(refusals))
    await tenancy.ensure_cell(session, target, by)
    move_id = new_uuid()
    moment: Any = None
    move = Move(move_id, record.tenant_id, source.cell, target.cell, MoveState.PLANNED, record.state, moment, moment)
    await register.insert_move(session, move)
    await _record(session, by, "move.began", move, ())
    return (await register.list_moves(session, record.tenant_id))[-1]


async def advance(session: AsyncSession, slug: str, after: MoveState, key: SigningKey, by: By, **facts: Any) -> Move:
    """Write that a move has come so far; where the tenant lives and what it may do follows in the same transaction.

    What is so already is not written twice. Raises `MoveRefused` for a step out of its order.
    """
    record, move = await find_move(session, slug)
    if move is None:
        raise MoveRefused(f"{slug} is not moving")
    if move.state is after:
        return move
    if not rules.may_follow(move.state, after):
        raise MoveRefused(f"the move of {slug} is {move.state}; {after} does not follow")
    await register.update_move(session, move.move_id, after, facts)
    kind = "move.rolled_back" if after is MoveState.ROLLED_BACK else "move.advanced"
    known = [Change(name, None, value) for name, value in facts.items()]
    await _record(session, by, kind, move, (Change("state", move.state.value, after.value), *known))
    if after in _PLACED:
        places = {
            MoveState.FROZEN: (move.source, TenantState.MOVING),
            MoveState.ROLLED_BACK: (move.source, move.state_before),
            MoveState.SWITCHED: (move.target, move.state_before),
        }
        await tenancy.place_tenant(session, record.slug, *places[after], _PLACED[after], by)
        await tenancy.publish_directories(session, key, by)
    return msgspec.structs.replace(move, state=after, **facts)


async def _record(session: AsyncSession, by: By, event: str, move: Move, changes: tuple[Change, ...]) -> None:
    places = changes or (Change("source", None, move.source), Change("target", None, move.target))
    await record_control_event(session, AuditEvent(event, by.actor, by.origin, "move", str(move.move_id), places))


async def record_in_cell(
    session: AsyncSession, scope: TenantScope, event: str, move: Move, by: By, changes: tuple[Change, ...] = ()
) -> None:
    """Write into the tenant's own log, in a cell, that it leaves or has come."""
    places = (Change("source", None, move.source), Change("target", None, move.target), *changes)
    await record_event(session, scope, AuditEvent(event, by.actor, by.origin, "move", str(move.move_id), places))
