"""`pitboss tenant suspend|resume|close`: what a tenant may do is decided here and not in its files."""

from __future__ import annotations

import re

import click

import pitboss.tenancy.service as tenancy
from pitboss.cli.tenant_apply import Deployment, Workshop
from pitboss.cli.tenant_arguments import open_deployment, run_on
from pitboss.directory.contracts import TenantState
from pitboss.hosting.errors import CellUnreachable
from pitboss.permissions.service import deployment_command
from pitboss.platform.settings import load_settings

_CODE = re.compile(r"[a-z][a-z0-9_]{0,39}")


def _check_reason(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not _CODE.fullmatch(value):
        raise click.BadParameter(f"a code, not a sentence ({_CODE.pattern})")
    return value


_SLUG = click.argument("slug")
_REASON = click.option("--reason", required=True, callback=_check_reason, help="A code, such as licence_withdrawn.")


@click.command("suspend")
@_SLUG
@_REASON
@deployment_command("tenancy.state.edit")
def suspend_command(slug: str, reason: str) -> None:
    """Take no new business for a tenant: its site is away and bets are refused; wins and rollbacks are booked."""
    _change(slug, TenantState.SUSPENDED, reason)


@click.command("resume")
@_SLUG
@_REASON
@deployment_command("tenancy.state.edit")
def resume_command(slug: str, reason: str) -> None:
    """Let a suspended tenant take business again."""
    _change(slug, TenantState.ACTIVE, reason)


@click.command("close")
@_SLUG
@_REASON
@click.option("--yes", is_flag=True, help="Do not ask.")
@deployment_command("tenancy.state.edit")
def close_command(slug: str, reason: str, yes: bool) -> None:
    """Close a suspended tenant for good: nothing is served any more, and what it holds stays where it is."""
    if not yes:
        click.confirm(f"close {slug} for good, whatever its players still have there?", abort=True)
    _change(slug, TenantState.CLOSED, reason)


STATE_COMMANDS = (suspend_command, resume_command, close_command)


def _change(slug: str, state: TenantState, reason: str) -> None:
    deployment = open_deployment(Workshop(load_settings()))
    run_on(deployment, change_state(deployment, slug, state, reason))
    click.echo(f"{slug} is {state}")


async def change_state(deployment: Deployment, slug: str, state: TenantState, reason: str) -> None:
    """Change a tenant's state in control, sign the directories and give the tenant's cell its own.

    Safe to run again after an interruption at any point: what is so already is not written twice, and the cell
    gets what control has published.
    """
    async with deployment.alone():
        async with deployment.control.transaction() as session:
            place = deployment.place_of(await tenancy.get_tenant(session, slug))
            await tenancy.change_state(session, slug, state, reason, deployment.by)
            await tenancy.publish_directories(session, deployment.signing_key, deployment.by)
            published = await tenancy.find_published(session, place.cell)
        if published is not None:
            try:
                await deployment.reach(place).store_directory(published)
            except CellUnreachable as error:
                raise CellUnreachable(
                    f"{slug} is {state} in control, but its cell does not know yet: {error.detail};"
                    " control tells it as soon as it answers"
                ) from None
