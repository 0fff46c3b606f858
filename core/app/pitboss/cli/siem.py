"""`pitboss siem`: where the events of a tenant's log are sent, and how far each destination has got."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import msgspec

from pitboss.audit import service as audit
from pitboss.audit.contracts import Destination
from pitboss.cli.cell import get_scope, open_cell
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Origin
from pitboss.permissions.service import deployment_actor, deployment_command
from pitboss.platform.event_senders import Target
from pitboss.platform.settings import load_settings


@click.group("siem")
def siem() -> None:
    """Send the events of a tenant to a SIEM, as OCSF."""


@siem.command("list")
@click.argument("tenant")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@deployment_command("audit.destination.view")
def list_command(tenant: str, as_json: bool) -> None:
    """List destinations: the next entry of the log that each gets, and why one waits."""

    async def read() -> list[Destination]:
        async with open_cell(load_settings()) as (database, directory):
            scope = get_scope(directory, tenant)
            async with database.transaction(scope) as session:
                return await audit.list_destinations(session, scope)

    found = asyncio.run(read())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    for each in found:
        state = f"waits after {each.attempts} attempts: {each.problem}" if each.problem else "takes what it is sent"
        click.echo(f"{each.name}  {each.kind} {each.address}  next {each.next_seq}  {state}")
    if not found:
        click.echo("no destination")


@siem.command("add")
@click.argument("tenant")
@click.argument("name")
@click.argument("kind", type=click.Choice(["file", "syslog", "https"]))
@click.argument("address")
@click.option("--ca", type=click.Path(path_type=Path, exists=True), help="Certificates (PEM) to believe it by.")
@click.option("--secret", default="", help="Name of the secret that stands in the header Authorization.")
@click.option("--from", "first", type=click.IntRange(min=0), default=0, show_default=True, help="First entry to send.")
@deployment_command("audit.destination.configure")
def add_command(tenant: str, name: str, kind: str, address: str, ca: Path | None, secret: str, first: int) -> None:
    """Add a destination: a folder for `file`, host:port for `syslog` over TLS, an address for `https`."""
    target = Target(kind, address, ca.read_text() if ca else "", secret)

    async def add() -> None:
        async with open_cell(load_settings()) as (database, directory):
            scope = get_scope(directory, tenant)
            async with database.transaction(scope) as session:
                await audit.add_destination(session, scope, name, target, deployment_actor(), _origin(), first)

    asyncio.run(add())
    click.echo(f"{tenant}: {name} gets the events from entry {first} on")


@siem.command("remove")
@click.argument("tenant")
@click.argument("name")
@deployment_command("audit.destination.configure")
def remove_command(tenant: str, name: str) -> None:
    """Remove a destination; what it has got it keeps."""

    async def remove() -> None:
        async with open_cell(load_settings()) as (database, directory):
            scope = get_scope(directory, tenant)
            async with database.transaction(scope) as session:
                await audit.remove_destination(session, scope, name, deployment_actor(), _origin())

    asyncio.run(remove())
    click.echo(f"{tenant}: {name} gets no events any more")


@siem.command("replay")
@click.argument("tenant")
@click.argument("name")
@click.option("--from", "first", type=click.IntRange(min=0), required=True, help="The first entry to send again.")
@deployment_command("audit.destination.configure")
def replay_command(tenant: str, name: str, first: int) -> None:
    """Send events again from an entry of the log on; they bear the ids that they had."""

    async def replay() -> None:
        async with open_cell(load_settings()) as (database, directory):
            scope = get_scope(directory, tenant)
            async with database.transaction(scope) as session:
                await audit.replay_destination(session, scope, name, first, deployment_actor(), _origin())

    asyncio.run(replay())
    click.echo(f"{tenant}: {name} gets the events again from entry {first} on")


def _origin() -> Origin:
    return Origin(request_id=str(new_uuid()))
