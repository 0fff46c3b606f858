"""`pitboss audit reconcile` and `accept`: events held against what was captured at the tables themselves."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import click
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.captures import service as captures
from pitboss.captures.contracts import Outcome
from pitboss.cli.cell import get_scope, open_cell
from pitboss.kernel.scope import Origin, TenantScope
from pitboss.permissions.service import deployment_actor, deployment_command
from pitboss.platform.db import ControlDatabase, create_engine
from pitboss.platform.settings import load_settings, require


@asynccontextmanager
async def _open(slug: str) -> AsyncGenerator[tuple[AsyncSession, TenantScope | None]]:
    settings = load_settings()
    if slug:
        async with open_cell(settings) as (database, directory):
            scope = get_scope(directory, slug)
            async with database.snapshot(scope) as session:
                yield session, scope
        return
    engine = create_engine(require(settings, "control_database_url"), pool_size=1)
    try:
        async with ControlDatabase(engine).transaction() as session:
            yield session, None
    finally:
        await engine.dispose()


@click.command("reconcile")
@click.argument("tenant", default="")
@click.option("--control", is_flag=True, help="The control plane's log instead of a tenant's.")
@deployment_command("captures.finding.view")
def reconcile_command(tenant: str, control: bool) -> None:
    """Hold every event against what was captured at the tables; exit with 1 on a finding. Nothing is written."""
    if control == bool(tenant):
        raise click.UsageError("name a tenant, or give --control")

    def look(outcome: Outcome) -> None:
        click.echo(f"{outcome.captures} changes, {outcome.events} events", err=True)

    async def reconcile() -> Outcome:
        async with _open(tenant) as (session, scope):
            return await captures.reconcile(session, scope, look=look)

    outcome = asyncio.run(reconcile())
    for finding in outcome.findings:
        moment = finding.at.isoformat(timespec="seconds")
        click.echo(f"{finding.kind}  {finding.subject}  {moment}  transaction {finding.transaction}  {finding.detail}")
    looked = f"{outcome.captures} changes and {outcome.events} events of {outcome.transactions} transactions"
    ending = f"{len(outcome.findings)} findings" if outcome.findings else "each change has its event"
    click.echo(f"{tenant or 'control'}: {looked}, {ending}")
    sys.exit(1 if outcome.findings else 0)


def _read_code(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if re.fullmatch(r"[a-z][a-z0-9_]{0,39}", value) is None:
        raise click.BadParameter("a code of small letters, digits and _, such as repaired_by_hand")
    return value


@click.command("accept")
@click.argument("tenant")
@click.option("--reason", required=True, callback=_read_code, help="A code, such as repaired_by_hand.")
@deployment_command("captures.finding.approve")
def accept_command(tenant: str, reason: str) -> None:
    """Take the findings of the running reconciliation as looked into, so that their alarm ends; the log keeps them."""

    async def accept() -> int:
        async with open_cell(load_settings()) as (database, directory):
            scope = get_scope(directory, tenant)
            async with database.transaction(scope) as session:
                return await captures.accept_findings(session, scope, reason, deployment_actor(), Origin())

    click.echo(f"{tenant}: {asyncio.run(accept())} findings accepted")


COMMANDS = (reconcile_command, accept_command)
"""What `pitboss audit` offers about captured changes."""
