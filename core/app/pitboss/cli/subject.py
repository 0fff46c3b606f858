"""`pitboss subject`: requests of data subjects, their clocks, and what is done for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.cli.audit_evidence import read_moment
from pitboss.cli.cell import get_scope, open_cell
from pitboss.cli.subject_erasure import COMMANDS
from pitboss.kernel.clock import utc_now
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.paging import MAX_PAGE_SIZE
from pitboss.kernel.scope import Origin, TenantScope
from pitboss.keys.runtime import KeyRing, open_ring
from pitboss.permissions.service import deployment_actor, deployment_command
from pitboss.platform.objects import ObjectFolder, TenantFolder
from pitboss.platform.settings import load_settings
from pitboss.plughost.contracts import LoadedPack
from pitboss.plughost.runtime import load_host, read_cell_file
from pitboss.policy import service as policies
from pitboss.subjects import service as subjects
from pitboss.subjects.contracts import (
    ROOM,
    Case,
    CaseFilter,
    CaseKind,
    CaseOrder,
    CaseReason,
    CaseState,
    Correction,
    Export,
)

T = TypeVar("T")


class Cell(msgspec.Struct, frozen=True):
    """What a command works with."""

    session: AsyncSession
    scope: TenantScope
    ring: KeyRing
    folder: TenantFolder
    packs: dict[str, LoadedPack]


Work = Callable[[Cell], Awaitable[T]]

_KINDS: Final = [kind.name.lower() for kind in CaseKind]
_STATES: Final = [state.name.lower() for state in CaseState if state is not CaseState.RECEIVED]
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("subject")
def subject() -> None:
    """Answer data subjects: open and move their requests, export, correct, restrict, erase."""


for _command in COMMANDS:
    subject.add_command(_command)


@subject.command("list")
@click.argument("tenant")
@click.option("--all", "ended_too", is_flag=True, help="Those that were answered too, newest first.")
@click.option("--kind", type=click.Choice(_KINDS), help="Of one kind.")
@click.option("--player", type=click.UUID, help="Of one player, by the public id.")
@_json
@deployment_command("subjects.case.view")
def list_command(tenant: str, ended_too: bool, kind: str | None, player: UUID | None, as_json: bool) -> None:
    """List open requests, the one that is due first in front."""
    wanted = CaseFilter(None if ended_too else True, CaseKind[kind.upper()] if kind else None, player)

    async def read(cell: Cell) -> list[Case]:
        found: list[Case] = []
        cursor: str | None = None
        while True:
            page = await subjects.list_cases(cell.session, cell.scope, wanted, cursor=cursor, page_size=MAX_PAGE_SIZE)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    cases = _in_cell(tenant, read)
    if as_json:
        _print_json([_plain(case) for case in cases])
        return
    for case in cases:
        click.echo(_line(case))
    if not cases:
        click.echo("no request waits for an answer" if not ended_too else "there was no request")


@subject.command("show")
@click.argument("tenant")
@click.argument("case", type=click.UUID)
@_json
@deployment_command("subjects.case.view")
def show_command(tenant: str, case: UUID, as_json: bool) -> None:
    """Show a request with its clock, its exports and the restrictions of its player."""

    async def read(cell: Cell) -> tuple[Case, list[Export], list[Any]]:
        found = await subjects.get_case(cell.session, cell.scope, case)
        exports = await subjects.list_exports(cell.session, cell.scope, case)
        return found, exports, await subjects.find_restrictions(cell.session, cell.scope, found.player)

    found, exports, restrictions = _in_cell(tenant, read)
    if as_json:
        _print_json({**_plain(found), "exports": msgspec.to_builtins(exports), "restrictions": _built(restrictions)})
        return
    click.echo(_line(found))
    if found.reasons:
        click.echo(f"    because of {', '.join(found.reasons)}")
    for export in exports:
        click.echo(f"    export {export.export_id}: {_tell_export(export)}")
    for restriction in restrictions:
        click.echo(f"    the player's data are kept from use since {_day(restriction.placed_at)}, {restriction.ground}")


@subject.command("open")
@click.argument("tenant")
@click.argument("player", type=click.UUID)
@click.option("--kind", required=True, type=click.Choice(_KINDS), help="What is asked for.")
@click.option("--reference", required=True, help="Name of the letter or ticket: the same again opens nothing.")
@click.option("--received", default="", callback=read_moment, help="When it came in; now by default.")
@deployment_command("subjects.case.edit")
def open_command(tenant: str, player: UUID, kind: str, reference: str, received: datetime | None) -> None:
    """Open a request of a player; its clock runs from when it came in."""

    async def work(cell: Cell) -> Case:
        found = await accounts.get_player(cell.session, cell.scope, player)
        moment = utc_now()
        policy = await policies.get_policy(cell.session, cell.scope, cell.packs, moment, licence=found.licence)
        order = CaseOrder(player, CaseKind[kind.upper()], reference, received or moment, policy.subject_answer_days)
        return await subjects.open_case(cell.session, cell.scope, order, actor=deployment_actor(), origin=_origin())

    click.echo(_line(_in_cell(tenant, work)))


@subject.command("step")
@click.argument("tenant")
@click.argument("case", type=click.UUID)
@click.argument("state", type=click.Choice(_STATES))
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=click.Choice([each.value for each in CaseReason]),
    help="Why it is refused, or done in part.",
)
@deployment_command("subjects.case.approve")
def step_command(tenant: str, case: UUID, state: str, reasons: tuple[str, ...]) -> None:
    """Move a request to its next state; the same step again does nothing."""
    given = tuple(map(CaseReason, reasons))

    async def work(cell: Cell) -> Case:
        return await subjects.move(
            cell.session, cell.scope, case, CaseState[state.upper()], given, actor=deployment_actor(), origin=_origin()
        )

    click.echo(_line(_in_cell(tenant, work)))


@subject.command("export")
@click.argument("tenant")
@click.argument("case", type=click.UUID)
@deployment_command("subjects.export.export")
def export_command(tenant: str, case: UUID) -> None:
    """Have the worker collect what a request of access or portability asks for."""

    async def work(cell: Cell) -> Export:
        return await subjects.ask_export(cell.session, cell.scope, case, actor=deployment_actor(), origin=_origin())

    found = _in_cell(tenant, work)
    click.echo(f"{found.export_id}  {_tell_export(found)}")


@subject.command("fetch")
@click.argument("tenant")
@click.argument("export", type=click.UUID)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@deployment_command("subjects.export.reveal")
def fetch_command(tenant: str, export: UUID, file: Path) -> None:
    """Write an export into a new file that only you can read."""

    async def work(cell: Cell) -> bytes:
        return await subjects.fetch_file(
            cell.session, cell.scope, cell.ring, cell.folder, export, actor=deployment_actor(), origin=_origin()
        )

    if file.exists():
        raise click.UsageError(f"{file} exists; an export is never written over")
    file.touch(mode=0o600, exist_ok=False)  # before the fetch: what is recorded as handed out has somewhere to go
    try:
        content = _in_cell(tenant, work)
        file.write_bytes(content)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    click.echo(f"{len(content)} bytes are in {file}; hand them over and delete them")


@subject.command("restrict")
@click.argument("tenant")
@click.argument("case", type=click.UUID)
@deployment_command("subjects.restriction.edit")
def restrict_command(tenant: str, case: UUID) -> None:
    """Keep the player's data from use, as a request of restriction asks."""

    async def work(cell: Cell) -> bool:
        return await subjects.restrict(cell.session, cell.scope, case, actor=deployment_actor(), origin=_origin())

    click.echo("the player's data are kept and not used" if _in_cell(tenant, work) else "they were restricted before")


@subject.command("lift")
@click.argument("tenant")
@click.argument("case", type=click.UUID)
@deployment_command("subjects.restriction.edit")
def lift_command(tenant: str, case: UUID) -> None:
    """Let the data be used again that a request of restriction keeps from use."""

    async def work(cell: Cell) -> bool:
        return await subjects.lift(cell.session, cell.scope, case, actor=deployment_actor(), origin=_origin())

    click.echo("the restriction is lifted" if _in_cell(tenant, work) else "there is no restriction in force")


@subject.command("erase-for")
@click.argument("tenant")
@click.argument("case", type=click.UUID)
@deployment_command("subjects.player.delete")
def erase_command(tenant: str, case: UUID) -> None:
    """Erase the player as a request of erasure asks, or keep the data from use where the law keeps them."""

    async def work(cell: Cell) -> Case:
        return await subjects.erase(
            cell.session, cell.scope, cell.ring, case, cell.packs, actor=deployment_actor(), origin=_origin()
        )

    found = _in_cell(tenant, work)
    click.echo(_line(found))
    if found.reasons:
        click.echo(f"    because of {', '.join(found.reasons)}")


@subject.command("correct")
@click.argument("tenant")
@click.argument("case", type=click.UUID)
@click.option(
    "--from",
    "source",
    required=True,
    type=click.File("rb"),
    help="JSON object with what is right; - for standard input.",
)
@deployment_command("subjects.identity.edit")
def correct_command(tenant: str, case: UUID, source: Any) -> None:
    """Put right what a request of rectification names.

    The file names any of first_name, last_name, birth_date, country and phone; a command line would stay in the
    shell's history.
    """
    try:
        correction = msgspec.json.decode(source.read(), type=Correction)
    except msgspec.MsgspecError as error:
        raise click.BadParameter(str(error), param_hint="--from") from None

    async def work(cell: Cell) -> None:
        await subjects.correct(
            cell.session, cell.scope, cell.ring, case, correction, actor=deployment_actor(), origin=_origin()
        )

    _in_cell(tenant, work)
    click.echo("the player's data are as the request asks; complete it with `pitboss subject step`")


def _in_cell(tenant: str, work: Work[T]) -> T:
    settings = load_settings()
    packs = load_host(read_cell_file(settings.cell_file)).packs

    async def run() -> T:
        async with open_cell(settings) as (database, directory), open_ring(settings) as ring:
            scope = get_scope(directory, tenant)
            folder = ObjectFolder(settings.objects_dir, settings.cell).of(scope, ROOM)
            async with database.transaction(scope) as session:
                return await work(Cell(session, scope, ring, folder, dict(packs)))

    return asyncio.run(run())


def _origin() -> Origin:
    return Origin(request_id=str(new_uuid()))


def _line(case: Case) -> str:
    clock = subjects.clock_of(case, utc_now())
    return (
        f"{case.case_id}  {case.reference}: {case.kind.name.lower()} of player {case.player}, {case.state.name.lower()}, "
        f"received on {_day(case.received_at)}, due on {_day(case.due_at)}, {clock}"
    )


def _tell_export(export: Export) -> str:
    if export.removed_at is not None:
        return f"removed on {_day(export.removed_at)}"
    if export.made_at is None:
        return "the worker makes it"
    return f"{export.size_bytes} bytes, to be fetched until {_day(export.expires_at)}"


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()


def _plain(case: Case) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(case)
    del found["player_id"]
    return {
        **found,
        "kind": case.kind.name.lower(),
        "state": case.state.name.lower(),
        "clock": subjects.clock_of(case, utc_now()).value,
    }


def _built(value: object) -> Any:
    return msgspec.to_builtins(value)


def _print_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
