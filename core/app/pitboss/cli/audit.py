"""`pitboss audit`: read the log of a tenant or of the control plane; what proves it stands in `audit_evidence`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime

import click
import msgspec

from pitboss.audit import service as log
from pitboss.audit.contracts import Access, EventFilter, RecordedEvent, Sealed, Value
from pitboss.cli import audit_captures
from pitboss.cli.audit_evidence import COMMANDS, read_moment
from pitboss.cli.cell import get_scope, open_cell
from pitboss.cli.reading import record_shown
from pitboss.kernel.classes import Sort
from pitboss.kernel.paging import MAX_PAGE_SIZE, Page
from pitboss.keys.runtime import open_ring
from pitboss.permissions.service import deployment_actor, deployment_command
from pitboss.permissions.service import require as demand
from pitboss.platform.db import ControlDatabase, create_engine
from pitboss.platform.settings import Settings, load_settings, require


@click.group("audit")
def audit() -> None:
    """Read the audit log, and prove it."""


for _command in (*COMMANDS, *audit_captures.COMMANDS):
    audit.add_command(_command)


@audit.command("list")
@click.argument("tenant", default="")
@click.option("--control", is_flag=True, help="The control plane's log instead of a tenant's.")
@click.option("--type", "event_type", default="", help="A type of event, such as player.closed.")
@click.option("--target", default="", help="A type, or type and id, such as tenant:aurora.")
@click.option("--actor", default="", help="A kind, or kind and name, such as operator:operator.")
@click.option("--since", default="", callback=read_moment, help="The first day or moment; UTC without a zone.")
@click.option("--until", default="", callback=read_moment, help="The day or moment after the last.")
@click.option(
    "--limit", "most", default=50, show_default=True, type=click.IntRange(min=0), help="Most events; 0 for all."
)
@click.option("--reveal", is_flag=True, help="Open sealed values of players; that somebody did is recorded.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@deployment_command("audit.event.view")
def list_command(
    tenant: str,
    control: bool,
    event_type: str,
    target: str,
    actor: str,
    since: datetime | None,
    until: datetime | None,
    most: int,
    reveal: bool,
    as_json: bool,
) -> None:
    """List what happened to a tenant of this cell, or on the control plane, newest first."""
    if control == bool(tenant):
        raise click.UsageError("name a tenant, or give --control")
    if reveal:
        demand(deployment_actor(), "audit.event.reveal")
    wanted = EventFilter(event_type, target, actor, since, until)
    asyncio.run(_list(load_settings(), tenant, wanted, most, _print_json if as_json else _print, reveal=reveal))


_FIELDS = frozenset(RecordedEvent.__struct_fields__)
Ask = Callable[[str | None], Awaitable[Page[RecordedEvent]]]


async def _list(
    settings: Settings,
    slug: str,
    wanted: EventFilter,
    most: int,
    show: Callable[[RecordedEvent], None],
    *,
    reveal: bool,
) -> None:
    rows = min(most, MAX_PAGE_SIZE) if most else MAX_PAGE_SIZE
    events = _read_cell(settings, slug, wanted, rows, reveal=reveal) if slug else _read_control(settings, wanted)
    left = most
    async with aclosing(events):
        async for event in events:
            show(event)
            left -= 1
            if left == 0:
                return


async def _read_cell(
    settings: Settings, slug: str, wanted: EventFilter, rows: int, *, reveal: bool
) -> AsyncGenerator[RecordedEvent]:
    async with open_cell(settings) as (database, directory), open_ring(settings, is_used=reveal) as ring:
        scope = get_scope(directory, slug)

        async def ask(cursor: str | None) -> Page[RecordedEvent]:
            async with database.transaction(scope) as session:
                page = await log.list_events(session, scope, wanted, cursor=cursor, page_size=rows)
                ids = tuple(str(found.event_id) for found in page.items)
                sorts: tuple[Sort, ...] = ("staff", "opaque", "identity") if reveal else ("staff", "opaque")
                access = Access("reveal" if reveal else "read", sorts, ids, _FIELDS, _describe(wanted))
                await record_shown(session, scope, "audit.viewed", slug, access)
                if not reveal:
                    return page
                return Page(await log.reveal_events(session, scope, ring, page.items), page.next_cursor)

        async for event in _turn_pages(ask):
            yield event


def _describe(wanted: EventFilter) -> dict[str, str]:
    return {name: str(value) for name, value in msgspec.structs.asdict(wanted).items() if value}


async def _read_control(settings: Settings, wanted: EventFilter) -> AsyncGenerator[RecordedEvent]:
    engine = create_engine(require(settings, "control_database_url"), pool_size=1)
    database = ControlDatabase(engine)

    async def ask(cursor: str | None) -> Page[RecordedEvent]:
        async with database.transaction() as session:
            return await log.list_control_events(session, wanted, cursor=cursor, page_size=MAX_PAGE_SIZE)

    try:
        async for event in _turn_pages(ask):
            yield event
    finally:
        await engine.dispose()


async def _turn_pages(ask: Ask) -> AsyncIterator[RecordedEvent]:
    page = await ask(None)
    while True:
        for event in page.items:
            yield event
        if page.next_cursor is None:
            return
        page = await ask(page.next_cursor)


def _print_json(event: RecordedEvent) -> None:
    click.echo(msgspec.json.encode(event).decode())


def _print(event: RecordedEvent) -> None:
    moment = event.occurred_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    ending = [event.reason] if event.reason else []
    if event.outcome != "success":
        ending.insert(0, event.outcome)
    line = [moment, event.type, f"{event.target_type}:{event.target_id}", f"by {event.actor.kind}:{event.actor.name}"]
    click.echo("  ".join([*line, *ending]))
    for change in event.changes:
        sides = [_side(side) for side in (change.before, change.after)]
        click.echo(f"    {change.path}  {sides[0]} → {sides[1]}")


def _side(value: Value) -> str:
    if isinstance(value, Sealed):
        return f"({value.state or 'sealed'})"
    return msgspec.json.encode(value).decode()
