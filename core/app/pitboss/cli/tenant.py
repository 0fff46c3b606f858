"""`pitboss tenant`: check tenants' files, show what an apply would change, apply it; the other commands are beside it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence

import click

from pitboss.cli.tenant_apply import Deployment, Workshop, apply, describe, plan
from pitboss.cli.tenant_arguments import (
    ALL,
    JSON,
    SLUGS,
    Comparing,
    choose_slugs,
    open_deployment,
    print_json,
    print_problems,
    run_on,
)
from pitboss.cli.tenant_drift import drift_command
from pitboss.cli.tenant_files import FILE_COMMANDS
from pitboss.cli.tenant_move import MOVE_COMMANDS
from pitboss.cli.tenant_state import STATE_COMMANDS
from pitboss.permissions.service import deployment_command
from pitboss.platform.settings import Settings, load_settings
from pitboss.platform.telemetry import Metrics
from pitboss.platform.traces import SpanName, open_tracing, span
from pitboss.tenancy.contracts import Plan, Problem, TenantFolder
from pitboss.tenancy.errors import TenantFilesInvalid


@click.group("tenant")
def tenant() -> None:
    """Begin, check, plan and apply tenants as files, and hold files against what runs; suspend, resume and close them."""


for _command in (*FILE_COMMANDS, drift_command, *STATE_COMMANDS, *MOVE_COMMANDS):
    tenant.add_command(_command)


@tenant.command("check", cls=Comparing)
@SLUGS
@ALL
@JSON
@deployment_command("tenancy.tenant.view")
def check_command(slugs: tuple[str, ...], all_tenants: bool, as_json: bool) -> None:
    """Check files against schema, cells, packs and plugins, without a database; exit with 1 on a problem."""
    workshop = Workshop(load_settings())
    chosen = choose_slugs(workshop, slugs, all_tenants=all_tenants)
    _, problems = _check(workshop, chosen)
    if as_json:
        print_json(problems)
    else:
        print_problems(problems)
        click.echo(f"{len(chosen)} tenants checked, {len(problems)} problems")
    sys.exit(1 if problems else 0)


@tenant.command("plan", cls=Comparing)
@SLUGS
@ALL
@JSON
@deployment_command("tenancy.tenant.view")
def plan_command(slugs: tuple[str, ...], all_tenants: bool, as_json: bool) -> None:
    """Show what an apply would change. Exits with 0 for no change, 2 for changes, 1 where it would be refused."""
    plans = _run(plan, slugs, all_tenants=all_tenants)
    if as_json:
        print_json(plans)
    else:
        click.echo("\n".join(describe(found) for found in plans))
    refused = any(found.refusals for found in plans)
    sys.exit(1 if refused else 2 if any(found.entries for found in plans) else 0)


@tenant.command("apply", cls=Comparing)
@SLUGS
@ALL
@JSON
@deployment_command("tenancy.tenant.configure")
def apply_command(slugs: tuple[str, ...], all_tenants: bool, as_json: bool) -> None:
    """Bring control and cell to what the files say; safe to run again after any interruption."""
    plans = _run(apply, slugs, all_tenants=all_tenants)
    if as_json:
        print_json(plans)
        return
    for found in plans:
        click.echo(describe(found))
        if found.entries:
            click.echo(f"{found.tenant}: applied")


Use = Callable[[Deployment, TenantFolder], Awaitable[Plan]]


def _run(use: Use, slugs: tuple[str, ...], *, all_tenants: bool) -> list[Plan]:
    """Check the files, then plan or apply each tenant of this cell in turn."""
    workshop = Workshop(load_settings())
    folders, problems = _check(workshop, choose_slugs(workshop, slugs, all_tenants=all_tenants))
    if problems:
        print_problems(problems)
        raise click.ClickException(f"{len(problems)} problems in the files of tenants; nothing was done")
    here = [folder for folder in folders if not all_tenants or _is_reached(workshop.settings, folder)]
    for folder in folders:
        if folder not in here:
            click.echo(f"{folder.tenant.slug}: lives in cell {folder.tenant.cell}, not here", err=True)
    deployment = open_deployment(workshop)
    with open_tracing(workshop.settings, "command", Metrics()):
        return run_on(deployment, _each(deployment, use, here))


def _is_reached(settings: Settings, folder: TenantFolder) -> bool:
    return settings.call_signing_key is not None or folder.tenant.cell == settings.cell


async def _each(deployment: Deployment, use: Use, folders: Sequence[TenantFolder]) -> list[Plan]:
    plans: list[Plan] = []
    for folder in folders:
        with span(SpanName.TENANT_COMMAND, tenant=folder.tenant.slug):
            plans.append(await use(deployment, folder))
    return plans


def _check(workshop: Workshop, slugs: Sequence[str]) -> tuple[list[TenantFolder], list[Problem]]:
    folders: list[TenantFolder] = []
    problems: list[Problem] = []
    for slug in slugs:
        try:
            folders.append(workshop.check(slug))
        except TenantFilesInvalid as invalid:
            problems += invalid.problems
    return folders, problems
