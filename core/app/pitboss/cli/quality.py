"""`pitboss quality`: how whole, unique, consistent and timely a tenant's records are, hour by hour."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

import click
import msgspec

from pitboss.cli.cell import get_scope, open_cell
from pitboss.kernel.clock import utc_now
from pitboss.permissions.service import deployment_actor, deployment_command
from pitboss.platform.settings import load_settings
from pitboss.quality import service as qualities
from pitboss.quality.contracts import HOUR, Area, Dimension, Measure, State

_MOST_HOURS = 24 * 31
_MARKS = {State.NO_DATA: "–", State.GREEN: "+", State.AMBER: "!", State.RED: "x"}


@click.group("quality")
def quality() -> None:
    """See how whole and right a tenant's records are, hour by hour."""


@quality.command("show")
@click.argument("tenant")
@click.option("--hours", type=click.IntRange(1, _MOST_HOURS), default=24, show_default=True, help="How many hours.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@deployment_command("quality.measure.view")
def show_command(tenant: str, hours: int, as_json: bool) -> None:
    """Tell the measures of the last hours; exit with 1 where one is red."""

    async def read() -> list[Measure]:
        async with open_cell(load_settings()) as (database, directory):
            scope = get_scope(directory, tenant)
            async with database.transaction(scope) as session:
                return await qualities.list_measures(session, scope, hours=hours)

    measures = asyncio.run(read())
    if as_json:
        click.echo(msgspec.json.encode([_plain(each) for each in measures]).decode())
    else:
        for line in _tell(measures):
            click.echo(line)
    sys.exit(1 if any(each.state is State.RED for each in measures) else 0)


def _read_hour(_context: click.Context, _parameter: click.Parameter, value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter("a moment such as 2026-11-21T10:00") from None
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).replace(minute=0, second=0, microsecond=0)


@quality.command("measure")
@click.argument("tenant")
@click.option("--from", "since", required=True, callback=_read_hour, help="The first hour, UTC unless it names a zone.")
@click.option("--to", "until", required=True, callback=_read_hour, help="The hour after the last.")
@deployment_command("quality.measure.edit")
def measure_command(tenant: str, since: datetime, until: datetime) -> None:
    """Measure hours again, each in one moment of its records; aggregators are not asked."""
    hours = int((until - since) / HOUR)
    if not 0 < hours <= _MOST_HOURS or until > utc_now():
        raise click.UsageError(f"from one closed hour up to another, at most {_MOST_HOURS} of them")

    async def measure() -> None:
        async with open_cell(load_settings()) as (database, directory):
            scope = get_scope(directory, tenant)
            for number in range(hours):
                hour, now = since + timedelta(hours=number), utc_now()
                async with database.snapshot(scope) as snapshot:
                    readings = await qualities.read_hour(snapshot, scope, hour, now)
                async with database.transaction(scope) as session:
                    await qualities.keep_hour(session, scope, hour, readings, now, deployment_actor())

    asyncio.run(measure())
    click.echo(f"{tenant}: {hours} hours measured")


def _plain(measure: Measure) -> dict[str, object]:
    named = {"area": measure.area, "dimension": measure.dimension, "state": measure.state}
    return {**msgspec.to_builtins(measure), **{name: value.name.lower() for name, value in named.items()}}


def _tell(measures: list[Measure]) -> list[str]:
    """Return a line for each hour and area: the four dimensions, each with what is wrong of what was found."""
    lines: list[str] = []
    for hour in dict.fromkeys(each.hour for each in measures):
        for area in Area:
            cells = {each.dimension: each for each in measures if (each.hour, each.area) == (hour, area)}
            told = [
                f"{dimension.name.lower()} {_MARKS[one.state]} {one.state.name.lower()} {one.wrong}/{one.found}"
                for dimension in Dimension
                if (one := cells.get(dimension)) is not None
            ]
            lines.append(f"{hour.astimezone(UTC):%Y-%m-%d %H}h  {area.name.lower():<9} {'  '.join(told)}")
    return lines or ["no hour was measured yet"]
