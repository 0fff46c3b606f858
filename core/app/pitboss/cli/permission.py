"""`pitboss permission`: which role holds what, who reaches a permission, what a change gives or takes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from pitboss.permissions.contracts import PERMISSIONS, Effect, Family, Finding, Grant, Role
from pitboss.permissions.service import (
    compare_roles,
    deployment_command,
    describe_scope,
    find_faults,
    list_holders,
    list_roles,
    read_roles,
)

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OF_ONE_ROLE = {"duties", "approves_own", "regulator_writes"}


@click.group("permission")
def permission() -> None:
    """See which role holds what, and what a change of roles gives or takes."""


@permission.command("matrix")
@click.option("--family", type=click.Choice([each.value for each in Family]), help="Only roles of this family.")
@click.option("--file", type=_FILE, help="The roles of this file instead of those of the release.")
@deployment_command("permissions.role.view")
def matrix_command(family: str | None, file: Path | None) -> None:
    """Tell what each role holds, and what is wrong with roles of staff; exit with 1 where something is."""
    roles = read_roles(file.read_text()) if file is not None else list_roles()
    for role in roles.values():
        if family is None or role.family.value == family:
            click.echo(f"{role.key} v{role.version}")
            for grant in sorted(role.grants, key=lambda each: each.permission):
                click.echo(f"  {_tell(grant)}")
    _end(_list_faults(roles))


@permission.command("who")
@click.argument("key", metavar="PERMISSION")
@click.option("--file", type=_FILE, help="The roles of this file, beside those of the release.")
@deployment_command("permissions.role.view")
def who_command(key: str, file: Path | None) -> None:
    """Tell every role that can reach PERMISSION, and how far."""
    roles = {**list_roles(), **(read_roles(file.read_text()) if file is not None else {})}
    for role, grants in list_holders(roles, key):
        click.echo(f"{role.key} v{role.version}")
        for grant in grants:
            click.echo(f"  {_tell(grant)}")


@permission.command("diff")
@click.argument("before", type=_FILE)
@click.argument("after", type=_FILE)
@deployment_command("permissions.role.view")
def diff_command(before: Path, after: Path) -> None:
    """Tell what the role file AFTER gives or takes against BEFORE, and what is wrong with it; exit with 1 where something is."""
    old, new = read_roles(before.read_text()), read_roles(after.read_text())
    differences = compare_roles(old, new)
    for each in differences:
        mark = "±" if each.gives and each.takes else "+" if each.gives else "-"
        risk = PERMISSIONS[each.permission].risk.value
        click.echo(f"{mark} {each.role}: {each.permission} ({risk})")
        for sign, grants in (("was", each.before), ("now", each.after)):
            for grant in grants:
                click.echo(f"    {sign} {_tell(grant)}")
    if not differences:
        click.echo("nothing is given or taken")
    _end(_list_faults(new))


def _tell(grant: Grant) -> str:
    denied = "never " if grant.effect is Effect.DENY else ""
    scope = describe_scope(grant.scope)
    return f"{denied}{grant.permission}{f' ({scope})' if scope else ''}"


def _list_faults(roles: Mapping[str, Role]) -> list[Finding]:
    """Return what is wrong with roles of staff; that some hold all that there is, is asked of a release alone."""
    staff = {key: role for key, role in roles.items() if role.family is not Family.BUILT_IN}
    whole = len(staff) < len(roles)
    return [each for each in find_faults(staff) if whole or each.kind in _OF_ONE_ROLE]


def _end(faults: list[Finding]) -> None:
    for fault in faults:
        click.echo(f"! {fault.role or 'no role'}: {fault.kind.replace('_', ' ')}: {fault.detail}", err=True)
    sys.exit(1 if faults else 0)
