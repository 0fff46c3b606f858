"""`pitboss retention`: how long a tenant's records are kept, what holds them, and how they are destroyed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit import service as audit
from pitboss.audit.contracts import EventFilter
from pitboss.audit.errors import LogRefused, ProofUnavailable
from pitboss.cli.cell import get_scope, open_cell
from pitboss.kernel.clock import utc_now
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Origin, TenantScope
from pitboss.permissions.service import deployment_actor, deployment_command
from pitboss.platform.settings import load_settings
from pitboss.plughost.contracts import LoadedPack
from pitboss.plughost.runtime import load_host, read_cell_file
from pitboss.policy.service import describe_value
from pitboss.retention import service as retentions
from pitboss.retention.contracts import Draft, Hold, Run, Schedule, ScheduleLine, Step

T = TypeVar("T")
Work = Callable[[AsyncSession, TenantScope, dict[str, LoadedPack]], Awaitable[T]]

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("retention")
def retention() -> None:
    """Keep records as long as the law says, hold them, and destroy them with two people's word."""


@retention.command("show")
@click.argument("tenant")
@_json
@deployment_command("retention.schedule.view")
def show_command(tenant: str, as_json: bool) -> None:
    """Name, for each table and licence, the period, who says so, and from when rows may go."""
    schedule = _in_cell(
        tenant, lambda session, scope, packs: retentions.read_schedule(session, scope, packs, utc_now())
    )
    if as_json:
        _print_json({**_plain(schedule), "kept": retentions.list_kept_tables()})
        return
    click.echo("\n".join(_tell_schedule(tenant, schedule)))


@retention.command("hold")
@click.argument("tenant")
@click.option("--case", required=True, help="The case that asks for it, by its reference.")
@click.option("--reason", required=True, help="A code, such as court_order.")
@click.option("--player", type=click.UUID, help="A player's public id.")
@click.option("--table", default="", help="One table. Without it and without a player, everything of the tenant.")
@deployment_command("retention.hold.edit")
def hold_command(tenant: str, case: str, reason: str, player: UUID | None, table: str) -> None:
    """Place a legal hold: nothing that it covers is destroyed or erased until it is lifted."""

    async def place(session: AsyncSession, scope: TenantScope, _packs: object) -> Hold:
        return await retentions.place_hold(
            session,
            scope,
            case_reference=case,
            reason=reason,
            subject_id=player,
            table=table,
            actor=deployment_actor(),
            origin=_origin(),
        )

    hold = _in_cell(tenant, place)
    click.echo(f"{hold.hold_id} holds {hold.what}")


@retention.command("lift")
@click.argument("tenant")
@click.argument("hold", type=click.UUID)
@click.option("--reason", required=True, help="A code, such as case_closed.")
@deployment_command("retention.hold.delete")
def lift_command(tenant: str, hold: UUID, reason: str) -> None:
    """Ask for the end of a legal hold; when somebody else says the same, it is lifted.

    Plans that were proposed before still leave out what it held.
    """

    async def lift(session: AsyncSession, scope: TenantScope, _packs: object) -> Hold:
        return await retentions.lift_hold(
            session, scope, hold, reason=reason, actor=deployment_actor(), origin=_origin()
        )

    found = _in_cell(tenant, lift)
    told = "is held no more" if found.lifted_at else f"is held until somebody else than {found.lift_asked_by} lifts it"
    click.echo(f"{found.what} {told}: {hold}")


@retention.command("holds")
@click.argument("tenant")
@click.option("--all", "lifted_too", is_flag=True, help="Those that were lifted too.")
@_json
@deployment_command("retention.hold.view")
def holds_command(tenant: str, lifted_too: bool, as_json: bool) -> None:
    """List legal holds, oldest first."""
    found = _in_cell(tenant, lambda session, scope, _: retentions.list_holds(session, scope, active=not lifted_too))
    if as_json:
        _print_json(_plain(found))
        return
    for hold in found:
        end = f"; {hold.lift_asked_by} asked for its end" if hold.lift_asked_by else ""
        end += f"; lifted on {hold.lifted_at.date()} by {hold.lifted_by}: {hold.lift_reason}" if hold.lifted_at else ""
        click.echo(
            f"{hold.hold_id}  {hold.what}: case {hold.case_reference}, {hold.reason}, "
            f"by {hold.placed_by} on {hold.placed_at.date()}{end}"
        )
    if not found:
        click.echo("nothing is held")


@retention.command("plan")
@click.argument("tenant")
@click.option("--propose", is_flag=True, help="Store it for somebody else to approve.")
@click.option("--reason", default="", help="A code, such as yearly; needed to propose.")
@_json
@deployment_command("retention.plan.edit")
def plan_command(tenant: str, propose: bool, reason: str, as_json: bool) -> None:
    """Count what would be destroyed and what holds keep back. Without --propose nothing is changed."""
    if propose and not reason:
        raise click.UsageError("--propose needs a --reason")

    async def draw(session: AsyncSession, scope: TenantScope, packs: dict[str, LoadedPack]) -> tuple[Draft, Run | None]:
        draft = await retentions.draw_plan(session, scope, packs, utc_now())
        if not propose:
            return draft, None
        return draft, await retentions.propose_plan(
            session, scope, draft, reason=reason, actor=deployment_actor(), origin=_origin()
        )

    draft, run = _in_cell(tenant, draw)
    if as_json:
        _print_json({"steps": _plain(draft.steps), "schedule_version": draft.schedule.version, "run": _plain(run)})
        return
    click.echo("\n".join(_tell_draft(tenant, draft)))
    if run is not None:
        click.echo(f"proposed as {run.run_id}; whoever approves it gives the digest {run.digest}")


@retention.command("approve")
@click.argument("tenant")
@click.argument("run", type=click.UUID)
@click.option("--digest", required=True, help="The digest of the plan that you have looked at.")
@deployment_command("retention.plan.approve")
def approve_command(tenant: str, run: UUID, digest: str) -> None:
    """Approve a plan that somebody else has proposed."""

    async def approve(session: AsyncSession, scope: TenantScope, packs: dict[str, LoadedPack]) -> Run:
        return await retentions.approve_plan(
            session, scope, run, digest, packs, utc_now(), actor=deployment_actor(), origin=_origin()
        )

    click.echo(f"approved by {_in_cell(tenant, approve).approved_by}; `pitboss retention carry-out` begins it")


@retention.command("carry-out")
@click.argument("tenant")
@click.argument("run", type=click.UUID)
@deployment_command("retention.record.delete")
def carry_out_command(tenant: str, run: UUID) -> None:
    """Leave an approved plan to the worker."""
    order = _in_cell(
        tenant,
        lambda session, scope, packs: retentions.order_carry_out(session, scope, run, packs, utc_now()),
    )
    click.echo(f"{order.rows_due - order.rows_destroyed} rows are the worker's to destroy")


@retention.command("runs")
@click.argument("tenant")
@_json
@deployment_command("retention.plan.view")
def runs_command(tenant: str, as_json: bool) -> None:
    """List plans, newest first, and how far they are."""
    runs = _in_cell(tenant, lambda session, scope, _packs: retentions.list_runs(session, scope))
    if as_json:
        _print_json(_plain(runs))
        return
    for run in runs:
        click.echo(f"{run.run_id}  {_tell_state(run)}: {run.rows_destroyed} of {run.rows_due} rows destroyed")
        for step in run.steps:
            click.echo(f"    {_tell_step(step)}; {step.rows_destroyed} destroyed")
    if not runs:
        click.echo("nothing was ever proposed")


@retention.command("certificate")
@click.argument("tenant")
@click.argument("run", type=click.UUID)
@deployment_command("retention.plan.view")
def certificate_command(tenant: str, run: UUID) -> None:
    """Print, as JSON, what was destroyed and by whose word, with its event and the proof that the log holds it.

    The proof is null until a checkpoint of the log covers the event, usually after a minute.
    """

    async def certify(session: AsyncSession, scope: TenantScope, _packs: object) -> dict[str, Any]:
        found = await retentions.get_run(session, scope, run)
        wanted = EventFilter(type="retention.carried_out", target=f"retention_run:{run}")
        events = (await audit.list_events(session, scope, wanted)).items
        event = events[0] if events else None
        proof = None if event is None else await _prove(session, scope, event.event_id)
        return {"tenant": scope.slug, "cell": scope.cell, "run": _plain(found), "event": _plain(event), "proof": proof}

    _print_json(_in_cell(tenant, certify))


async def _prove(session: AsyncSession, scope: TenantScope, event_id: UUID) -> Any:
    from pitboss.audit.runtime import prove_event

    try:
        return msgspec.json.decode(await prove_event(session, scope, event_id))
    except (ProofUnavailable, LogRefused):
        return None


def _in_cell(tenant: str, work: Work[T]) -> T:
    settings = load_settings()
    packs = load_host(read_cell_file(settings.cell_file)).packs

    async def run() -> T:
        async with open_cell(settings) as (database, directory):
            scope = get_scope(directory, tenant)
            async with database.transaction(scope) as session:
                return await work(session, scope, dict(packs))

    return asyncio.run(run())


def _origin() -> Origin:
    return Origin(request_id=str(new_uuid()))


def _tell_schedule(tenant: str, schedule: Schedule) -> Iterator[str]:
    for line in schedule.lines:
        yield f"{line.table}, {_tell_licence(line.licence)}: {_tell_period(line)}"
        for figure in line.figures:
            for claim in figure.deciding:
                value = describe_value(figure.value)
                yield f"    {figure.name} = {value}, from {claim.who} [{claim.mark}]: {claim.source}"
    yield "Never destroyed by schedule:"
    for table, reason in sorted(retentions.list_kept_tables().items()):
        yield f"    {table}: {reason}"
    ending = sum(line.cutoff_at is not None for line in schedule.lines)
    purged = f"{ending} of {len(schedule.lines)} schedules ever end" if ending else "nothing is purged"
    yield f"{tenant}: {purged}; schedule {schedule.version}"


def _tell_period(line: ScheduleLine) -> str:
    if line.cutoff_at is None:
        return "kept for ever"
    return f"kept {describe_value(line.retention)}; what began before {_tell_moment(line.cutoff_at)} may go"


def _tell_draft(tenant: str, draft: Draft) -> Iterator[str]:
    for step in draft.steps:
        yield _tell_step(step)
    if not draft.steps:
        yield "nothing is purged: no schedule ends, see `pitboss retention show`"
    held = sum(step.rows_held for step in draft.steps)
    yield f"{tenant}: {draft.rows_due} rows would be destroyed, {held} are held back"


def _tell_step(step: Step) -> str:
    oldest = "none stays" if step.oldest_at is None else f"the oldest that stays is of {_tell_moment(step.oldest_at)}"
    return (
        f"{step.table}, {_tell_licence(step.licence)}, before {_tell_moment(step.cutoff_at)}: "
        f"{step.rows_due} due, {step.rows_held} held; {oldest}"
    )


def _tell_state(run: Run) -> str:
    said = f"proposed by {run.proposed_by} on {run.proposed_at.date()} ({run.reason})"
    if run.approved_at is None:
        return f"{said}, not approved"
    said += f", approved by {run.approved_by} on {run.approved_at.date()}"
    return f"{said}, over since {run.finished_at.date()}" if run.finished_at else said


def _tell_licence(licence: str) -> str:
    return f"licence {licence}" if licence else "no licence"


def _tell_moment(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes").replace("+00:00", "Z")


def _plain(value: object) -> Any:
    return msgspec.to_builtins(value)


def _print_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
