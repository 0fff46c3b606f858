"""Cases and restrictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_event
from pitboss.kernel.clock import utc_now
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, Page, decode_cursor, encode_cursor
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.keys import service as keys
from pitboss.subjects import rules, store
from pitboss.subjects.contracts import (
    Case,
    CaseFilter,
    CaseKind,
    CaseOrder,
    CaseReason,
    CaseState,
    Ground,
    Restriction,
)
from pitboss.subjects.errors import CaseNotFound, ProcessingRestricted, ReferenceTaken, StepRefused
from pitboss.subjects.tables import SubjectCaseRow

ALL_CASES = CaseFilter()


async def open_case(
    session: AsyncSession, scope: TenantScope, order: CaseOrder, *, actor: Actor, origin: Origin
) -> Case:
    """Open a case and start its clock; the same order again returns the case that it opened.

    Raises `CaseOrderInvalid`, `PlayerNotFound`, and `ReferenceTaken` for a reference with another content.
    """
    rules.check_order(order, utc_now())
    player = await accounts.get_player(session, scope, order.player)
    case_id = new_uuid()
    values = {
        "case_id": case_id,
        "player_id": player.player_id,
        "kind": int(order.kind),
        "reference": order.reference,
        "received_at": order.received_at,
        "due_at": rules.compute_due(order.received_at, order.answer_days),
    }
    if await store.insert_case(session, scope, values):
        changes = (Change("kind", None, order.kind.name.lower()), Change("state", None, "received"))
        await record(session, scope, "subject_case.received", case_id, changes, actor=actor, origin=origin)
        return await get_case(session, scope, case_id)
    row = await store.fetch_case(session, scope, reference=order.reference)
    if row is None or (row.player_id, row.kind) != (player.player_id, int(order.kind)):
        raise ReferenceTaken("another case has this reference")
    return await get_case(session, scope, row.case_id)


async def get_case(session: AsyncSession, scope: TenantScope, case_id: UUID, *, lock: bool = False) -> Case:
    """Return a case; `lock` holds it until the transaction ends. Raises `CaseNotFound`."""
    row = await store.fetch_case(session, scope, case_id=case_id, lock=lock)
    if row is None:
        raise CaseNotFound("there is no such case")
    names = await accounts.list_public_ids(session, scope, [row.player_id])
    return _case(row, names[row.player_id])


async def list_cases(
    session: AsyncSession,
    scope: TenantScope,
    wanted: CaseFilter = ALL_CASES,
    *,
    cursor: str | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
) -> Page[Case]:
    """Return cases: open ones by the day they are due, others newest first; raise `InvalidCursor`, `PlayerNotFound`."""
    most = min(page_size, MAX_PAGE_SIZE)
    player = None if wanted.player is None else await accounts.get_player(session, scope, wanted.player)
    rows = await store.fetch_cases(
        session,
        scope,
        is_open=wanted.is_open,
        kind=wanted.kind,
        player_id=player.player_id if player else None,
        after=None if cursor is None else decode_cursor(cursor, tuple[datetime, UUID]),
        most=most + 1,
    )
    shown = rows[:most]
    names = await accounts.list_public_ids(session, scope, {row.player_id for row in shown})
    items = [_case(row, names[row.player_id]) for row in shown]
    if len(rows) <= most:
        return Page(items)
    last = shown[-1]
    return Page(items, encode_cursor(last.due_at if wanted.is_open else last.received_at, last.case_id))


async def move(
    session: AsyncSession,
    scope: TenantScope,
    case_id: UUID,
    wanted: CaseState,
    reasons: Sequence[CaseReason] = (),
    *,
    actor: Actor,
    origin: Origin,
) -> Case:
    """Move a case to its next state; the same step again does nothing.

    Raises `CaseNotFound`, `StepRefused`, `ReasonMissing`, `NothingDone`.
    """
    case = await get_case(session, scope, case_id, lock=True)
    if not rules.check_step(case, wanted, reasons):
        return case
    values: dict[str, object] = {"state": int(wanted), "reasons": rules.merge_reasons(reasons)}
    if wanted.is_final:
        values["ended_at"] = utc_now()
    await store.update_case(session, scope, case_id, values)
    changes = [Change("state", case.state.name.lower(), wanted.name.lower())]
    if reasons:
        changes.append(Change("reasons", None, [reason.value for reason in reasons]))
    event = "subject_case.ended" if wanted.is_final else "subject_case.moved"
    await record(session, scope, event, case_id, tuple(changes), actor=actor, origin=origin)
    return await get_case(session, scope, case_id)


async def demand_at_work(session: AsyncSession, scope: TenantScope, case_id: UUID, *kinds: CaseKind) -> Case:
    """Return a case, held, that is being worked on and of one of `kinds`; raise `CaseNotFound`, `StepRefused`."""
    case = await get_case(session, scope, case_id, lock=True)
    if case.kind not in kinds:
        raise StepRefused(f"a case of {case.kind.name.lower()} is not answered in this way")
    if case.state is not CaseState.IN_PROGRESS:
        raise StepRefused(f"the case is {case.state.name.lower()}, not in_progress")
    return case


async def note_effect(session: AsyncSession, scope: TenantScope, case: Case) -> bool:
    """Note that what the case asks for had its effect; False when it had before: the first time counts."""
    if case.effect_at is not None:
        return False
    await store.update_case(session, scope, case.case_id, {"effect_at": utc_now()})
    return True


async def restrict(
    session: AsyncSession,
    scope: TenantScope,
    case_id: UUID,
    *,
    actor: Actor,
    origin: Origin,
) -> bool:
    """Keep the player's data from use, for a case of restriction; False when the case did so before."""
    case = await demand_at_work(session, scope, case_id, CaseKind.RESTRICTION)
    return await place(session, scope, case, Ground.REQUESTED, actor=actor, origin=origin)


async def place(
    session: AsyncSession, scope: TenantScope, case: Case, ground: Ground, *, actor: Actor, origin: Origin
) -> bool:
    """Place a restriction for a case that is held; False when it did so before.

    The player's sealed fields open from now on for what the law or the player asks for, and for nothing else.
    """
    await accounts.claim_player(session, scope, case.player_id)  # two cases of one player take turns
    placed = await store.insert_restriction(session, scope, case.case_id, case.player_id, ground)
    if placed:
        await keys.restrict_subject(session, scope, case.player)
        changes = (Change("restriction", None, ground.value),)
        await record(session, scope, "subject_case.restricted", case.case_id, changes, actor=actor, origin=origin)
        await note_effect(session, scope, case)
    return placed


async def lift(session: AsyncSession, scope: TenantScope, case_id: UUID, *, actor: Actor, origin: Origin) -> bool:
    """End the restriction that a case placed; False when there is none in force.

    One that the law made necessary ends with the law's period, not by a step: raises `StepRefused`.
    """
    case = await get_case(session, scope, case_id, lock=True)
    found = await store.fetch_restriction(session, scope, case_id)
    if found is None:
        return False
    if found.ground is Ground.KEPT_BY_LAW:
        raise StepRefused("what is kept by law alone is not used before it may be erased")
    await accounts.claim_player(session, scope, case.player_id)
    await store.lift_restriction(session, scope, case_id)
    if not await store.fetch_restrictions(session, scope, case.player_id):
        await keys.lift_restriction(session, scope, case.player)
    changes = (Change("restriction", found.ground.value, None),)
    await record(session, scope, "subject_case.restriction_lifted", case_id, changes, actor=actor, origin=origin)
    return True


async def find_restrictions(session: AsyncSession, scope: TenantScope, player: UUID) -> list[Restriction]:
    """Return the restrictions of a player that are in force; raise `PlayerNotFound`."""
    found = await accounts.get_player(session, scope, player)
    return await store.fetch_restrictions(session, scope, found.player_id)


async def demand_unrestricted(session: AsyncSession, scope: TenantScope, player: UUID) -> None:
    """Raise `ProcessingRestricted` while a player's data are kept from use; raise `PlayerNotFound`.

    Every edge asks this before it uses a player's data for a purpose of the tenant's own: to promote, to address, to
    hand on.
    """
    if await find_restrictions(session, scope, player):
        raise ProcessingRestricted("the player's data are kept and not used")


async def count_cases(session: AsyncSession, scope: TenantScope, now: datetime) -> tuple[int, int]:
    """Return how many cases are open, and how many of them are overdue."""
    return await store.count_open(session, scope, now)


async def record(
    session: AsyncSession,
    scope: TenantScope,
    event_type: str,
    target: UUID,
    changes: Iterable[Change] = (),
    *,
    actor: Actor,
    origin: Origin,
) -> None:
    """Record an event of a case."""
    event = AuditEvent(event_type, actor, origin, event_type.partition(".")[0], str(target), tuple(changes))
    await record_event(session, scope, event)


def _case(row: SubjectCaseRow, player: UUID) -> Case:
    return Case(
        case_id=row.case_id,
        player=player,
        player_id=row.player_id,
        kind=CaseKind(row.kind),
        state=CaseState(row.state),
        reasons=rules.reasons_of(row.reasons),
        reference=row.reference,
        received_at=row.received_at,
        due_at=row.due_at,
        changed_at=row.changed_at,
        effect_at=row.effect_at,
        ended_at=row.ended_at,
    )
