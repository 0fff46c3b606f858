"""`pitboss tenant`: check tenants' files, show what an apply would change, apply it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import click
import msgspec

from pitboss.cli.tenant_apply import Deployment, Workshop, apply, describe, plan
from pitboss.cli.tenant_state import STATE_COMMANDS
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Origin
from pitboss.permissions.service import deployment_actor, deployment_command
from pitboss.platform.db import DatabaseUnavailable, is_unavailable
from pitboss.platform.settings import Settings, load_settings
from pitboss.tenancy.contracts import By, Plan, Problem, TenantFolder
from pitboss.tenancy.errors import TenantFilesInvalid


class _WrongUsage(click.UsageError):
    exit_code = 1


class _Command(click.Command):
    """A wrong command line exits with 1: 2 says that there are changes."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the command line; raise a usage error that exits with 1."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise _WrongUsage(error.message, error.ctx) from None


_SLUGS = click.argument("slugs", nargs=-1, metavar="[SLUG]...")
_ALL = click.option("--all", "all_tenants", is_flag=True, help="Every tenant that has a folder.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("tenant")
def tenant() -> None:
    """Check, plan and apply tenants from files; suspend, resume and close them."""


for _command in STATE_COMMANDS:
    tenant.add_command(_command)


@tenant.command("check", cls=_Command)
@_SLUGS
@_ALL
@_JSON
@deployment_command("tenancy.tenant.view")
def check_command(slugs: tuple[str, ...], all_tenants: bool, as_json: bool) -> None:
    """Check files against schema, cells, packs and plugins, without a database; exit with 1 on a problem."""
    workshop = Workshop(load_settings())
    chosen = _choose(workshop, slugs, all_tenants=all_tenants)
    _, problems = _check(workshop, chosen)
    if as_json:
        _print_json(problems)
    else:
        _print_problems(problems)
        click.echo(f"{len(chosen)} tenants checked, {len(problems)} problems")
    sys.exit(1 if problems else 0)


@tenant.command("plan", cls=_Command)
@_SLUGS
@_ALL
@_JSON
@deployment_command("tenancy.tenant.view")
def plan_command(slugs: tuple[str, ...], all_tenants: bool, as_json: bool) -> None:
    """Show what an apply would change. Exits with 0 for no change, 2 for changes, 1 where it would be refused."""
    plans = _run(plan, slugs, all_tenants=all_tenants)
    if as_json:
        _print_json(plans)
    else:
        click.echo("\n".join(describe(found) for found in plans))
    refused = any(found.refusals for found in plans)
    sys.exit(1 if refused else 2 if any(found.entries for found in plans) else 0)


@tenant.command("apply", cls=_Command)
@_SLUGS
@_ALL
@_JSON
@deployment_command("tenancy.tenant.configure")
def apply_command(slugs: tuple[str, ...], all_tenants: bool, as_json: bool) -> None:
    """Bring control and cell to what the files say; safe to run again after any interruption."""
    plans = _run(apply, slugs, all_tenants=all_tenants)
    if as_json:
        _print_json(plans)
        return
    for found in plans:
        click.echo(describe(found))
        if found.entries:
            click.echo(f"{found.tenant}: applied")


Use = Callable[[Deployment, TenantFolder], Awaitable[Plan]]


def _run(use: Use, slugs: tuple[str, ...], *, all_tenants: bool) -> list[Plan]:
    """Check the files, then plan or apply each tenant of this cell in turn."""
    workshop = Workshop(load_settings())
    folders, problems = _check(workshop, _choose(workshop, slugs, all_tenants=all_tenants))
    if problems:
        _print_problems(problems)
        raise click.ClickException(f"{len(problems)} problems in the files of tenants; nothing was done")
    here = [folder for folder in folders if not all_tenants or _is_reached(workshop.settings, folder)]
    for folder in folders:
        if folder not in here:
            click.echo(f"{folder.tenant.slug}: lives in cell {folder.tenant.cell}, not here", err=True)
    by = By(deployment_actor(), Origin(request_id=str(new_uuid())))
    try:
        return asyncio.run(_each(Deployment(workshop, by), use, here))
    except Exception as error:
        if is_unavailable(error):
            raise DatabaseUnavailable(f"a database did not answer ({type(error).__name__})") from error
        raise


def _is_reached(settings: Settings, folder: TenantFolder) -> bool:
    return settings.call_signing_key is not None or folder.tenant.cell == settings.cell


async def _each(deployment: Deployment, use: Use, folders: Sequence[TenantFolder]) -> list[Plan]:
    try:
        return [await use(deployment, folder) for folder in folders]
    finally:
        await deployment.close()


def _choose(workshop: Workshop, slugs: tuple[str, ...], *, all_tenants: bool) -> list[str]:
    if all_tenants == bool(slugs):
        raise click.ClickException("name tenants, or give --all")
    return workshop.list_tenants() if all_tenants else sorted(set(slugs))


def _check(workshop: Workshop, slugs: Sequence[str]) -> tuple[list[TenantFolder], list[Problem]]:
    folders: list[TenantFolder] = []
    problems: list[Problem] = []
    for slug in slugs:
        try:
            folders.append(workshop.check(slug))
        except TenantFilesInvalid as invalid:
            problems += invalid.problems
    return folders, problems


def _print_problems(problems: Sequence[Problem]) -> None:
    for problem in problems:
        click.echo(str(problem), err=True)


def _print_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())
