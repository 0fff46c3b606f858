"""`pitboss tenant move`, `moves` and `kit`: take a tenant to another cell of its locality, or write all that it is."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

import pitboss.relocation.service as relocation
import pitboss.tenancy.service as tenancy
from pitboss.cli.reading import record_export
from pitboss.cli.tenant_apply import Deployment, Workshop
from pitboss.cli.tenant_arguments import JSON, open_deployment, print_json, run_on
from pitboss.permissions.service import deployment_command
from pitboss.platform.settings import load_settings
from pitboss.relocation.contracts import Move, MoveState
from pitboss.tenancy.contracts import TenantRecord

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_STOPS = [state.value for state in MoveState if state not in {MoveState.PLANNED, MoveState.ROLLED_BACK}]


@click.command("move")
@click.argument("slug")
@click.option("--from", "source", type=_FILE, required=True, help="The settings of the cell that it leaves, a file.")
@click.option("--to", "target", type=_FILE, required=True, help="The settings of the cell that it goes to, a file.")
@click.option("--kit", type=_FOLDER, required=True, help="A folder in the locality of both, for what is carried.")
@click.option("--until", type=click.Choice(_STOPS), default="shredded", help="Stop when it has come so far.")
@click.option("--roll-back", is_flag=True, help="Give it up; possible until the tenant was switched.")
@deployment_command("relocation.move.configure")
def move_command(slug: str, source: Path, target: Path, kit: Path, until: str, roll_back: bool) -> None:
    """Move a tenant between two cells of one locality; given again after an interruption, it goes on where it was.

    Needs control's settings in the environment, and those of both cells as files of `export NAME=value` lines, with an
    administrator's login of their databases. The tenant is served by nobody between `frozen` and `switched`.
    """
    from pitboss.cli.move_steps import End, Mover, read_cell_settings, say

    deployment, folder = open_deployment(Workshop(load_settings())), kit.absolute()

    async def work() -> Move:
        record = await _find(deployment, slug)
        ends = (End(read_cell_settings(source), record), End(read_cell_settings(target), record))
        mover = Mover(deployment, slug, ends, folder, say)
        return await (mover.roll_back() if roll_back else mover.run(MoveState(until)))

    move = run_on(deployment, work())
    click.echo(f"{slug}: {move.source} → {move.target}: {move.state}")
    if move.state is MoveState.SHREDDED:
        click.echo(f"the certificate is {kit / 'certificate.json'}; now say cell = {move.target!r} in tenant.toml")


@click.command("moves")
@click.argument("slug")
@JSON
@deployment_command("relocation.move.view")
def moves_command(slug: str, as_json: bool) -> None:
    """Show the moves of a tenant and how far they have come."""
    deployment = open_deployment(Workshop(load_settings()))

    async def work() -> list[Move]:
        async with deployment.control.transaction() as session:
            return await relocation.list_moves(session, slug)

    found = run_on(deployment, work())
    if as_json:
        print_json(found)
        return
    for move in found:
        click.echo(f"{move.started_at:%Y-%m-%d %H:%M} {move.source} → {move.target}: {move.state}")


@click.command("kit")
@click.argument("slug")
@click.option("--from", "source", type=_FILE, required=True, help="The settings of the tenant's cell, a file.")
@click.option("--into", type=_FOLDER, required=True, help="A folder that does not exist yet.")
@click.option("--keys", type=click.Path(dir_okay=False, path_type=Path), help="Also write the opened keys: a new file.")
@deployment_command("relocation.kit.export")
def kit_command(slug: str, source: Path, into: Path, keys: Path | None) -> None:
    """Write all data of a tenant, its ledger in sums and its audit log, signed, so that a stranger can check it.

    The tenant goes on being served; the kit is what stood at one moment. Personal fields are sealed in it. Whoever is
    to read them gets the file of `--keys` by another way; without it a lost kit tells nobody who a player is.
    """
    from pitboss.cli.move_steps import End, pack, read_cell_settings, say, write_keys

    if into.exists() or (keys is not None and keys.exists()):
        raise click.UsageError("a kit and its keys are never written over")
    deployment, folder = open_deployment(Workshop(load_settings())), into.absolute()

    async def work() -> str:
        async with End(read_cell_settings(source), await _find(deployment, slug)).open() as end:
            mode: Literal["export", "reveal"] = "export" if keys is None else "reveal"
            await record_export(
                end.database, end.scope, "tenant.exported", slug, [slug], mode=mode, sorts=("identity", "credential")
            )
            digest, log = await pack(end, folder, say, still=False)
            opened = 0 if keys is None else await write_keys(end, folder, keys)
        return f"{into} holds all of {slug}: manifest {digest}, {log.size} entries of its log, {opened} keys apart"

    click.echo(run_on(deployment, work()))


MOVE_COMMANDS = (move_command, moves_command, kit_command)


async def _find(deployment: Deployment, slug: str) -> TenantRecord:
    async with deployment.control.transaction() as session:
        return await tenancy.get_tenant(session, slug)
