"""What is changed for a subject: put right, and erased."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.audit.contracts import Change
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.keys.service import KeyRing
from pitboss.plughost.contracts import LoadedPack
from pitboss.retention import service as retention
from pitboss.retention.contracts import KeptBecause
from pitboss.subjects.contracts import Case, CaseKind, CaseReason, CaseState, Correction, Ground
from pitboss.subjects.service.cases import demand_at_work, get_case, move, note_effect, place, record

_REASONS: Final[Mapping[str, CaseReason]] = {
    KeptBecause.LEGAL_HOLD.value: CaseReason.LEGAL_HOLD,
    KeptBecause.ACCOUNT_OPEN.value: CaseReason.OPEN_MATTER,
    KeptBecause.RETENTION.value: CaseReason.KEPT_BY_LAW,
    KeptBecause.RETENTION_UNKNOWN.value: CaseReason.KEPT_BY_LAW,
}
"""What the case says for each obstacle; one that is not here is the law's."""


async def correct(
    session: AsyncSession,
    scope: TenantScope,
    ring: KeyRing,
    case_id: UUID,
    correction: Correction,
    *,
    actor: Actor,
    origin: Origin,
) -> Case:
    """Put right what a case of rectification asks for; what was so before changes nothing.

    Raises `CaseNotFound`, `StepRefused`, and what `pitboss.accounts.service.correct_identity` raises.
    """
    case = await demand_at_work(session, scope, case_id, CaseKind.RECTIFICATION)
    given = {name: value for name in correction.__struct_fields__ if (value := getattr(correction, name)) is not None}
    await accounts.correct_identity(session, scope, ring, case.player, given, actor=actor, origin=origin)
    if given and await note_effect(session, scope, case):
        changes = (Change("fields", None, sorted(given)),)
        await record(session, scope, "subject_case.corrected", case_id, changes, actor=actor, origin=origin)
    return await get_case(session, scope, case_id)


async def erase(
    session: AsyncSession,
    scope: TenantScope,
    ring: KeyRing,
    case_id: UUID,
    packs: Mapping[str, LoadedPack],
    *,
    actor: Actor,
    origin: Origin,
) -> Case:
    """Erase the player of a case and complete it; where something stands against it, restrict and end in part.

    What stands against it are the law's periods and legal holds. Raises
    `CaseNotFound`, `StepRefused`, `PlayerNotClosed`, and what `pitboss.retention.service.read_schedule` raises.
    """
    found = await get_case(session, scope, case_id, lock=True)
    if found.kind is CaseKind.ERASURE and found.state in {CaseState.COMPLETED, CaseState.PARTIAL}:
        return found
    case = await demand_at_work(session, scope, case_id, CaseKind.ERASURE)
    moment = utc_now()
    schedule = await retention.read_schedule(session, scope, packs, moment)
    outcome = await accounts.erase(
        session,
        scope,
        ring,
        case.player,
        policy_version=schedule.version,
        checks=[retention.make_erasure_check(packs, moment)],
        reason="subject_request",
        actor=actor,
        origin=origin,
    )
    if outcome.certificate is not None:
        await note_effect(session, scope, case)
        return await move(session, scope, case_id, CaseState.COMPLETED, actor=actor, origin=origin)
    reasons = {_REASONS.get(obstacle.code, CaseReason.KEPT_BY_LAW) for obstacle in outcome.obstacles}
    await place(session, scope, case, Ground.KEPT_BY_LAW, actor=actor, origin=origin)
    return await move(session, scope, case_id, CaseState.PARTIAL, sorted(reasons), actor=actor, origin=origin)
