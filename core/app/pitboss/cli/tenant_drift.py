"""`pitboss tenant drift`: how what control and cells hold differs from the files, and who changed it last."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec

import pitboss.tenancy.service as tenancy
from pitboss.audit.contracts import EventFilter
from pitboss.audit.service import list_control_events
from pitboss.cli.tenant_apply import Deployment, Workshop, plan, read_held
from pitboss.cli.tenant_arguments import ALL, JSON, SLUGS, Comparing, choose_slugs, open_deployment, print_json, run_on
from pitboss.directory.contracts import TenantState
from pitboss.hosting.contracts import Touch
from pitboss.permissions.service import deployment_command
from pitboss.platform.settings import load_settings
from pitboss.tenancy.contracts import TenantRecord
from pitboss.tenancy.errors import TenantNotFound
from pitboss_sdk.errors import PitbossError

_FOLLOWING = {"directory", "ledger"}
"""What an apply changes because something else changes; it stands in no file."""

_OF_STATE = {"tenant.suspended", "tenant.resumed", "tenant.closed"}
"""Events of a tenant that change nothing that files say."""
_LOOKED_AT = 50


class Difference(msgspec.Struct, frozen=True):
    """One thing that the file says otherwise than it is held; None where one of them says nothing."""

    path: str
    file: Any
    held: Any
    changed: Touch | None = None


class Drift(msgspec.Struct, frozen=True):
    """How a tenant differs from its files, or in `fault` why that cannot be told.

    `notes` are no differences: what files cannot say.
    """

    tenant: str
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()
    fault: str = ""


@click.command("drift", cls=Comparing)
@SLUGS
@ALL
@JSON
@deployment_command("tenancy.tenant.view")
def drift_command(slugs: tuple[str, ...], all_tenants: bool, as_json: bool) -> None:
    """Hold files against what runs. Exits with 0 where they agree, 2 where not, 1 where it cannot be told."""
    workshop = Workshop(load_settings())
    chosen = choose_slugs(workshop, slugs, all_tenants=all_tenants)
    deployment = open_deployment(workshop)
    found = run_on(deployment, _find_all(deployment, chosen, all_tenants=all_tenants))
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(describe(each) for each in found))
    if any(each.fault for each in found):
        sys.exit(1)
    sys.exit(2 if any(each.differences for each in found) else 0)


async def _find_all(deployment: Deployment, slugs: Sequence[str], *, all_tenants: bool) -> list[Drift]:
    """Look at each tenant; for all also at those that have no folder, and at the next where one cannot be told."""
    if not all_tenants:
        return [await find_drift(deployment, slug) for slug in slugs]
    async with deployment.control.transaction() as session:
        slugs = sorted({*slugs, *(record.slug for record in await tenancy.list_tenants(session))})
    return [await _try_drift(deployment, slug) for slug in slugs]


async def _try_drift(deployment: Deployment, slug: str) -> Drift:
    try:
        return await find_drift(deployment, slug)
    except PitbossError as error:
        return Drift(slug, (), fault=error.detail or error.code)


async def find_drift(deployment: Deployment, slug: str) -> Drift:
    """Return how a tenant's files differ from what is held; raise `TenantFilesInvalid` and `TenantNotFound`."""
    async with deployment.control.transaction() as session:
        record = await tenancy.find_tenant(session, slug)
    has_folder = slug in deployment.workshop.list_tenants()
    if not has_folder:
        if record is None:
            raise TenantNotFound(f"tenant {slug} has no folder and is not registered")
        if record.state is TenantState.CLOSED:
            return Drift(slug, (), ("the tenant is closed, and its folder is gone",))
        return Drift(slug, (Difference("tenant", None, "held, but it has no folder"),))
    folder = deployment.workshop.check(slug)
    if record is None:
        return Drift(slug, (Difference("tenant", "has a folder, which was never applied", None),))
    changes = await plan(deployment, folder)
    entries = [entry for entry in changes.entries if entry.path.split(".")[0] not in _FOLLOWING]
    touches = await _find_touches(deployment, record) if entries else {}
    differences = [
        Difference(entry.path, entry.after, entry.before, touches.get(_target_of(slug, entry.path)))
        for entry in entries
    ]
    notes = [f"an apply would be refused: {refusal}" for refusal in changes.refusals]
    if record.state is not TenantState.ACTIVE:
        notes.append(f"the tenant is {record.state}")
    return Drift(slug, tuple(differences), tuple(notes))


def _target_of(slug: str, path: str) -> str:
    """Return what the audit log calls the thing at a path."""
    kind, _, rest = path.partition(".")
    match kind:
        case "brands":
            return f"brand:{slug}/{rest.partition('.')[0]}"
        case "domains":
            return f"domain:{rest}"
        case "plugin":
            return f"plugin:{rest.partition('.')[0]}"
        case "theme":
            return f"theme:{rest.partition('.')[0]}"
        case "policy":
            return f"policy:{slug}"
        case _:
            return f"tenant:{slug}"


async def _find_touches(deployment: Deployment, record: TenantRecord) -> dict[str, Touch]:
    held = await read_held(deployment, record.slug)
    targets = [f"tenant:{record.slug}", *(f"brand:{record.slug}/{brand.slug}" for brand in record.brands)]
    targets += [f"domain:{domain}" for brand in record.brands for domain in brand.domains]
    touches = {touch.target: touch for touch in held.touches}
    async with deployment.control.transaction() as session:
        for target in targets:
            page = await list_control_events(session, EventFilter(target=target), page_size=_LOOKED_AT)
            event = next((found for found in page.items if found.type not in _OF_STATE), None)
            if event is not None:
                actor = f"{event.actor.kind}:{event.actor.name}"
                touches[target] = Touch(target, event.type, actor, event.occurred_at)
    return touches


def describe(drift: Drift) -> str:
    """Return what was found as lines for people."""
    if drift.fault:
        return f"{drift.tenant}: cannot be told: {drift.fault}"
    count = len(drift.differences)
    lines = [f"{drift.tenant}: {count} differences" if count else f"{drift.tenant}: as its files say"]
    for each in drift.differences:
        lines.append(f"  {each.path}  file: {_show(each.file)}  held: {_show(each.held)}")
        if each.changed is not None:
            lines.append(f"    last {each.changed.type} by {each.changed.actor} at {each.changed.at.isoformat()}")
    lines += [f"  note: {note}" for note in drift.notes]
    return "\n".join(lines)


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    return "yes" if value is True else msgspec.json.encode(value).decode()
