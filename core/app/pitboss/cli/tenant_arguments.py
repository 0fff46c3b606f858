"""Words that the commands of `pitboss tenant` share: whom they are about, how they print, with what they exit."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import click
import msgspec

from pitboss.cli.tenant_apply import Deployment, Workshop
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Origin
from pitboss.permissions.service import deployment_actor
from pitboss.platform.db import DatabaseUnavailable, is_unavailable
from pitboss.tenancy.contracts import By, Problem

T = TypeVar("T")


class _WrongUsage(click.UsageError):
    exit_code = 1


class Comparing(click.Command):
    """A command for which 2 says that there are differences, so that a wrong command line exits with 1."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the command line; raise a usage error that exits with 1."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise _WrongUsage(error.message, error.ctx) from None


SLUGS = click.argument("slugs", nargs=-1, metavar="[SLUG]...")
ALL = click.option("--all", "all_tenants", is_flag=True, help="Every tenant that has a folder.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def choose_slugs(workshop: Workshop, slugs: tuple[str, ...], *, all_tenants: bool) -> list[str]:
    """Return the tenants that are meant; raise unless they are named or all are asked for."""
    if all_tenants == bool(slugs):
        raise click.ClickException("name tenants, or give --all")
    return workshop.list_tenants() if all_tenants else sorted(set(slugs))


def open_deployment(workshop: Workshop) -> Deployment:
    """Return control and cells, with whoever sits at the machine as the one who acts."""
    return Deployment(workshop, By(deployment_actor(), Origin(request_id=str(new_uuid()))))


def run_on(deployment: Deployment, work: Coroutine[Any, Any, T]) -> T:
    """Do the work, let go of the databases, and return what it brought; raise `DatabaseUnavailable`."""

    async def work_and_close() -> T:
        try:
            return await work
        finally:
            await deployment.close()

    try:
        return asyncio.run(work_and_close())
    except KeyboardInterrupt:
        raise click.ClickException(
            "interrupted: what was done stays done, and the command may be given again"
        ) from None
    except Exception as error:
        if is_unavailable(error):
            raise DatabaseUnavailable(f"a database did not answer ({type(error).__name__})") from error
        raise


def print_problems(problems: Sequence[Problem]) -> None:
    """Print what is wrong with files, one line each."""
    for problem in problems:
        click.echo(str(problem), err=True)


def print_json(value: object) -> None:
    """Print a value for programs."""
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())
