"""`pitboss keys`: the epochs of a tenant's keys, and the change to a new one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import click

from pitboss.cli.cell import get_scope, open_cell
from pitboss.hosting import service as hosting
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Origin, TenantScope
from pitboss.keys import service as key_service
from pitboss.keys.contracts import Epoch
from pitboss.keys.runtime import KeyRing, open_ring
from pitboss.permissions.service import deployment_actor, deployment_command
from pitboss.platform.db import Database
from pitboss.platform.settings import Settings, load_settings


@click.group("keys")
def keys() -> None:
    """See and change the epochs of a tenant's keys."""


@keys.command("list")
@click.argument("tenant")
@deployment_command("keys.epoch.view")
def list_command(tenant: str) -> None:
    """List the epochs of a tenant, oldest first: open, retired, or destroyed for good."""
    epochs = asyncio.run(_list(load_settings(), tenant))
    for each in epochs:
        since = each.changed_at.isoformat(timespec="seconds").replace("+00:00", "Z")
        click.echo(f"epoch {each.epoch}: {each.state.name.lower()} since {since}, key version {each.key_version}")
    if not epochs:
        click.echo("no keys yet: `pitboss tenant apply` makes them")


async def _list(settings: Settings, slug: str) -> list[Epoch]:
    async with _open(settings, slug) as (database, scope, _), database.transaction(scope) as session:
        return await key_service.list_epochs(session, scope)


@keys.command("epoch")
@click.argument("tenant")
@deployment_command("keys.epoch.edit")
def epoch_command(tenant: str) -> None:
    """Put all keys of a tenant under a new epoch now, and destroy the one before: no older backup opens anything then.

    A change that was cut off is completed first; run it again then for another.
    """
    begun, destroyed = asyncio.run(_change(load_settings(), tenant))
    done = f"epoch {begun} has begun" if begun else "a change that had begun is completed"
    gone = ", ".join(map(str, destroyed)) or "none was left to destroy"
    click.echo(f"{done}; destroyed: {gone}")


async def _change(settings: Settings, slug: str) -> tuple[int, list[int]]:
    actor, origin = deployment_actor(), Origin(request_id=str(new_uuid()))
    begun, destroyed = 0, list[int]()
    async with _open(settings, slug) as (database, scope, ring):
        async with database.transaction(scope) as session:
            if not await key_service.is_epoch_changing(session, scope):
                begun = await hosting.begin_epoch(session, scope, ring, actor=actor, origin=origin)
        is_done = False
        while not is_done:
            async with database.transaction(scope) as session:
                step = await hosting.advance_epoch(session, scope, ring, actor=actor, origin=origin)
            is_done = step.is_done
            destroyed += step.destroyed
    return begun, destroyed


@asynccontextmanager
async def _open(settings: Settings, slug: str) -> AsyncGenerator[tuple[Database, TenantScope, KeyRing]]:
    async with open_cell(settings) as (database, directory), open_ring(settings) as ring:
        yield database, get_scope(directory, slug), ring
