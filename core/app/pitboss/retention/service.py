"""Use cases of retention: tell schedules, hold, propose, approve and carry out destruction, and tell what must stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.accounts.contracts import Player
from pitboss.accounts.errors import PlayerNotFound
from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_event
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.keys.contracts import ErasureCheck, Obstacle
from pitboss.platform.outbox import enqueue
from pitboss.plughost.contracts import LoadedPack
from pitboss.policy import service as policies
from pitboss.retention import rules, store
from pitboss.retention.contracts import (
    CARRY_OUT_JOB,
    Draft,
    Hold,
    HoldScope,
    Keeping,
    Run,
    Schedule,
    ScheduleLine,
    Step,
)
from pitboss.retention.errors import HoldInvalid, HoldUnknown, NothingDue, PlanNotApproved, RunUnknown

BATCH_ROWS: Final = 5_000
"""Rows that one transaction destroys."""
RUNS_LISTED: Final = 50
"""Plans that a list shows."""

Packs = Mapping[str, LoadedPack]


async def read_schedule(session: AsyncSession, scope: TenantScope, packs: Packs, moment: datetime) -> Schedule:
    """Return how long rows are kept, for each table and licence.

    Raises `PolicyMissing` and `PackNotLoaded`: where the law is not known, no schedule is.
    """
    applied = await policies.get_applied(session, scope)
    lines: list[ScheduleLine] = []
    for licence in sorted(applied.packs) or [""]:
        lines += rules.draw_lines(policies.compute_policy(applied, packs, moment, licence=licence), moment)
    return Schedule(tuple(lines), rules.compute_version(lines), moment)


def list_kept_tables() -> dict[str, str]:
    """Return the tables of a law's schedule that no schedule empties, and why."""
    return dict(rules.KEPT)


async def place_hold(
    session: AsyncSession,
    scope: TenantScope,
    *,
    case_reference: str,
    reason: str,
    actor: Actor,
    origin: Origin,
    subject_id: UUID | None = None,
    table: str = "",
) -> Hold:
    """Keep a player's rows, a table or, where neither is named, everything of the tenant.

    Raises `HoldInvalid` and `ReasonInvalid`.
    """
    rules.check_words(reason, case_reference)
    if not case_reference:
        raise HoldInvalid("name the case that asks for it")
    if subject_id is not None and table:
        raise HoldInvalid("a hold keeps a player or a table; place two")
    known = {*rules.DESTROYED, *rules.IDENTITY_TABLES}
    if table and table not in known:
        raise HoldInvalid(f"nothing destroys rows of {table}; there are {', '.join(sorted(known))}")
    if subject_id is not None:
        await _get_player(session, scope, subject_id)
    kind = HoldScope.PLAYER if subject_id is not None else HoldScope.TABLE if table else HoldScope.TENANT
    hold = await store.insert_hold(
        session,
        scope,
        {
            "hold_id": new_uuid(),
            "scope": int(kind),
            "subject_id": subject_id,
            "table_name": table,
            "case_reference": case_reference,
            "reason": reason,
            "placed_by": describe_actor(actor),
        },
    )
    changes = (Change("case", None, case_reference), Change("holds", None, hold.what), Change("reason", None, reason))
    event = AuditEvent("retention.hold_placed", actor, origin, "legal_hold", str(hold.hold_id), changes)
    await record_event(session, scope, event)
    return hold


async def lift_hold(
    session: AsyncSession, scope: TenantScope, hold_id: UUID, *, reason: str, actor: Actor, origin: Origin
) -> Hold:
    """Ask for the end of a hold or, as somebody else than who asked, let go of what it keeps.

    Raises `ReasonInvalid`, `HoldUnknown`, `HoldLifted` and `SamePerson`.
    """
    rules.check_words(reason)
    hold = await store.fetch_hold(session, scope, hold_id, lock=True)
    if hold is None:
        raise HoldUnknown(f"there is no hold {hold_id}")
    who = describe_actor(actor)
    if rules.check_lift(hold, who):
        await store.lift_hold(session, scope, hold_id, who, reason)
        event_type, changes = "retention.hold_lifted", (Change("holds", hold.what, None),)
    else:
        await store.ask_lift(session, scope, hold_id, who)
        event_type, changes = "retention.lift_asked", (Change("lift_asked", None, hold.what),)
    changes = (*changes, Change("reason", None, reason))
    await record_event(session, scope, AuditEvent(event_type, actor, origin, "legal_hold", str(hold_id), changes))
    found = await store.fetch_hold(session, scope, hold_id)
    return found or hold


async def list_holds(session: AsyncSession, scope: TenantScope, *, active: bool = True) -> list[Hold]:
    """Return holds, oldest first; those that still hold, or all."""
    return await store.fetch_holds(session, scope, active=active)


async def list_keepings(
    session: AsyncSession, scope: TenantScope, subject_id: UUID, packs: Packs, moment: datetime
) -> list[Keeping]:
    """Return every reason why who a subject is must stay; nothing says that it may be erased.

    The subject is a player's public id; of one that is no player only holds are known. Raises what `read_schedule` does.
    """
    holds = await store.fetch_holds(session, scope, active=True)
    player = await _find_player(session, scope, subject_id)
    licence = "" if player is None else player.licence
    applied = await policies.get_applied(session, scope)
    if player is None:
        licence = policies.choose_licence(applied.packs, next(iter(applied.packs), None))
    policy = policies.compute_policy(applied, packs, moment, licence=licence)
    zone = policy.time_zone
    registered_at, closed_at = (None, None) if player is None else (player.registered_at, player.closed_at)
    return rules.decide_keepings(
        subject_id,
        holds,
        policy.retention,
        registered_on=None if registered_at is None else policies.compute_local_day(registered_at, zone),
        closed_on=None if closed_at is None else policies.compute_local_day(closed_at, zone),
        today=policies.compute_local_day(moment, zone),
    )


async def is_kept(session: AsyncSession, scope: TenantScope, subject_id: UUID, packs: Packs, moment: datetime) -> bool:
    """Return whether a hold, an open account or a period of the law keeps who a subject is."""
    return bool(await list_keepings(session, scope, subject_id, packs, moment))


def make_erasure_check(packs: Packs, moment: datetime) -> ErasureCheck:
    """Return the check by which an erasure asks for what is kept; see `pitboss.keys.service.erase_subject`."""

    async def check(session: AsyncSession, scope: TenantScope, subject_id: UUID) -> Sequence[Obstacle]:
        found = await list_keepings(session, scope, subject_id, packs, moment)
        zone = "UTC"
        return [
            Obstacle(each.because.value, None if each.until is None else policies.compute_day_start(each.until, zone))
            for each in found
        ]

    return check


async def draw_plan(session: AsyncSession, scope: TenantScope, packs: Packs, moment: datetime) -> Draft:
    """Count what would be destroyed and what holds keep back, and change nothing. Raises what `read_schedule` does."""
    schedule = await read_schedule(session, scope, packs, moment)
    steps: list[Step] = []
    for line in schedule.lines:
        if line.cutoff_at is None:
            continue
        counts_from = line.retention.counts_from.value
        due, held, oldest = await store.count_rows(
            session,
            scope,
            table=line.table,
            licence=line.licence,
            counts_from=counts_from,
            cutoff_at=line.cutoff_at,
            moment=moment,
        )
        steps.append(Step(len(steps) + 1, line.table, line.licence, counts_from, line.cutoff_at, due, held, oldest))
    return Draft(schedule, tuple(steps))


async def propose_plan(
    session: AsyncSession, scope: TenantScope, draft: Draft, *, reason: str, actor: Actor, origin: Origin
) -> Run:
    """Store a plan for somebody else to approve; raise `NothingDue` and `ReasonInvalid`."""
    rules.check_words(reason)
    steps = tuple(step for step in draft.steps if step.rows_due)
    if not steps:
        raise NothingDue("there is nothing whose time is over and that nothing holds back")
    run_id, proposer, at = new_uuid(), describe_actor(actor), draft.schedule.moment
    version = draft.schedule.version
    digest = rules.compute_digest(run_id, version, proposer, at, steps)
    run = Run(run_id, digest, version, reason, proposer, at, None, None, None, steps)
    await store.insert_run(session, scope, run)
    changes = (
        Change("digest", None, digest),
        Change("schedule_version", None, version),
        Change("reason", None, reason),
        *(Change(f"due.{_place(step)}", None, step.rows_due) for step in steps),
    )
    await _record(session, scope, "retention.plan_proposed", run, actor, origin, changes)
    return run


async def approve_plan(
    session: AsyncSession,
    scope: TenantScope,
    run_id: UUID,
    digest: str,
    packs: Packs,
    moment: datetime,
    *,
    actor: Actor,
    origin: Origin,
) -> Run:
    """Approve the plan that has this digest, as somebody else than who proposed it.

    Raises `RunUnknown`, `PlanSettled`, `PlanDiffers`, `SamePerson` and `PlanStale`.
    """
    run = await _get_run(session, scope, run_id, lock=True)
    version = (await read_schedule(session, scope, packs, moment)).version
    rules.check_approval(run, digest, describe_actor(actor), version, moment)
    await store.approve_run(session, scope, run_id, describe_actor(actor))
    await _record(session, scope, "retention.plan_approved", run, actor, origin, (Change("digest", None, run.digest),))
    return await _get_run(session, scope, run_id)


async def order_carry_out(
    session: AsyncSession, scope: TenantScope, run_id: UUID, packs: Packs, moment: datetime
) -> Run:
    """Leave an approved plan to the worker; raise `RunUnknown`, `PlanNotApproved`, `PlanSettled` and `PlanStale`."""
    run = await _get_run(session, scope, run_id, lock=True)
    rules.check_carry_out(run, (await read_schedule(session, scope, packs, moment)).version, moment)
    await enqueue(session, scope, CARRY_OUT_JOB, {"run_id": str(run_id)}, dedupe_key=str(run_id))
    return run


async def destroy_batch(
    session: AsyncSession,
    scope: TenantScope,
    run_id: UUID,
    moment: datetime,
    *,
    actor: Actor,
    origin: Origin,
    most: int = BATCH_ROWS,
) -> bool:
    """Destroy the next rows of an approved plan, with an event that says how many; False when nothing is left to do.

    Whatever ends in the middle goes on with the next call. Raises `RunUnknown`, `PlanNotApproved` and `PlanStale`; the
    database refuses a plan that is not what was approved.
    """
    run = await _get_run(session, scope, run_id, lock=True)
    if run.approved_by is None:
        raise PlanNotApproved("nobody has approved the plan")
    rules.check_age(run, moment)
    step = next((step for step in run.steps if step.finished_at is None), None)
    if step is None or run.finished_at is not None:
        return False
    gone = await store.destroy_rows(session, scope, run_id, step.step, most)
    if gone:
        changes = (Change(f"destroyed.{_place(step)}", None, gone),)
        await _record(session, scope, "retention.rows_destroyed", run, actor, origin, changes)
    return True


async def certify_run(session: AsyncSession, scope: TenantScope, run_id: UUID, *, actor: Actor, origin: Origin) -> Run:
    """Enter that a plan was carried out, and put its certificate into the audit log; once."""
    if await store.finish_run(session, scope, run_id):
        run = await _get_run(session, scope, run_id)
        changes = (
            Change("digest", None, run.digest),
            Change("schedule_version", None, run.schedule_version),
            Change("proposed_by", None, run.proposed_by),
            Change("approved_by", None, run.approved_by),
            *(Change(f"destroyed.{_place(step)}", step.rows_due, step.rows_destroyed) for step in run.steps),
            *(Change(f"cutoff.{_place(step)}", None, step.cutoff_at.isoformat()) for step in run.steps),
        )
        await _record(session, scope, "retention.carried_out", run, actor, origin, changes)
    return await _get_run(session, scope, run_id)


async def get_run(session: AsyncSession, scope: TenantScope, run_id: UUID) -> Run:
    """Return a plan and what became of it; raise `RunUnknown`."""
    return await _get_run(session, scope, run_id)


async def list_runs(session: AsyncSession, scope: TenantScope, most: int = RUNS_LISTED) -> list[Run]:
    """Return the newest plans."""
    return await store.fetch_runs(session, scope, most)


def describe_actor(actor: Actor) -> str:
    """Return who proposes, approves or holds, so that two people are told apart."""
    return f"{actor.kind.value}:{actor.name}"


def _place(step: Step) -> str:
    return f"{step.table}.{step.licence}" if step.licence else step.table


async def _get_run(session: AsyncSession, scope: TenantScope, run_id: UUID, *, lock: bool = False) -> Run:
    run = await store.fetch_run(session, scope, run_id, lock=lock)
    if run is None:
        raise RunUnknown(f"there is no plan {run_id}")
    return run


async def _find_player(session: AsyncSession, scope: TenantScope, subject_id: UUID) -> Player | None:
    try:
        return await accounts.get_player(session, scope, subject_id)
    except PlayerNotFound:
        return None


async def _get_player(session: AsyncSession, scope: TenantScope, subject_id: UUID) -> Player:
    player = await _find_player(session, scope, subject_id)
    if player is None:
        raise HoldInvalid(f"there is no player {subject_id}")
    return player


async def _record(
    session: AsyncSession,
    scope: TenantScope,
    event_type: str,
    run: Run,
    actor: Actor,
    origin: Origin,
    changes: tuple[Change, ...],
) -> None:
    event = AuditEvent(event_type, actor, origin, "retention_run", str(run.run_id), changes)
    await record_event(session, scope, event)
