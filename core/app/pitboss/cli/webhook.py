"""`pitboss webhook`: what vendors told and nobody could carry out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click
import msgspec

from pitboss.cli.cell import get_scope, open_cell
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Origin
from pitboss.permissions.service import deployment_actor, deployment_command
from pitboss.platform.settings import Settings, load_settings
from pitboss.plughost import service as plughost
from pitboss.plughost.contracts import ParkedWebhook

_MOST_LISTED = 1_000
_MOST_AGAIN = 10_000


@click.group("webhook")
def webhook() -> None:
    """See and try again what vendors told in vain."""


@webhook.command("parked")
@click.argument("tenant")
@click.option("--most", type=click.IntRange(1, _MOST_LISTED), default=50, show_default=True, help="How many to list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@deployment_command("plughost.webhook.view")
def parked_command(tenant: str, most: int, as_json: bool) -> None:
    """List webhooks that nobody could carry out, the oldest first, and why."""
    found = asyncio.run(_list(load_settings(), tenant, most + 1))
    rows = [
        {
            "received_at": each.received_at.isoformat(timespec="seconds"),
            "plugin": each.plugin,
            "event": each.event_id,
            "attempts": each.attempts,
            "reason": each.reason,
        }
        for each in found[:most]
    ]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
        return
    for row in rows:
        click.echo("{received_at}  {plugin}  {event}  attempts {attempts}: {reason}".format_map(row))
    if not rows:
        click.echo("nothing is parked")
    elif len(found) > most:
        click.echo(f"… and more; --most lists up to {_MOST_LISTED}")


@webhook.command("again")
@click.argument("tenant")
@click.option("--plugin", help="Those of one plugin alone.")
@click.option("--event", help="The one with this id.")
@deployment_command("plughost.webhook.edit")
def again_command(tenant: str, plugin: str | None, event: str | None) -> None:
    """Have the worker carry parked webhooks out as if they had just come; each has all its attempts anew."""
    count = asyncio.run(_try_again(load_settings(), tenant, plugin, event))
    if not count:
        raise click.ClickException("nothing that is parked fits; `pitboss webhook parked` lists what there is")
    more = "; there may be more, ask again when these are done" if count == _MOST_AGAIN else ""
    click.echo(f"{count} to be carried out by the worker{more}")


async def _list(settings: Settings, slug: str, most: int) -> Sequence[ParkedWebhook]:
    async with open_cell(settings) as (database, directory):
        scope = get_scope(directory, slug)
        async with database.transaction(scope) as session:
            return await plughost.list_parked(session, scope, most=most)


async def _try_again(settings: Settings, slug: str, plugin: str | None, event: str | None) -> int:
    async with open_cell(settings) as (database, directory):
        scope = get_scope(directory, slug)
        async with database.transaction(scope) as session:
            fitting = await plughost.list_parked(session, scope, plugin=plugin, event_id=event, most=_MOST_AGAIN)
            origin = Origin(request_id=str(new_uuid()))
            await plughost.try_parked_again(session, scope, fitting, deployment_actor(), origin)
            return len(fitting)
