"""`pitboss plugin`: which plugins are installed, what keeps one from running, and the beginning of a new one."""

from __future__ import annotations

import asyncio
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click
import msgspec

from pitboss.permissions.service import deployment_command
from pitboss.platform.redis import CellRedis
from pitboss.platform.settings import Settings, load_settings
from pitboss.plughost.contracts import Candidate, CellFile, DriverHealth, Stage
from pitboss.plughost.errors import FileInvalid, PluginUnavailable
from pitboss.plughost.runtime import HealthBoard, PluginHost, discover, load_host, read_cell_file
from pitboss.plughost.service import check_config
from pitboss_sdk.errors import PitbossError
from pitboss_sdk.testing import find_static_faults

TEMPLATES: Final = Path("plugins/_template")
_PLACEHOLDER: Final = "acme"
_VENDOR: Final = re.compile(r"[a-z][a-z0-9_]{1,39}", re.ASCII)

_CELL_FILE = click.option(
    "--cell-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The cell's file; PITBOSS_CELL_FILE by default.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("plugin")
def plugin() -> None:
    """List and check plugins, and begin a new one."""


@plugin.command("new")
@click.argument("kind", type=click.Choice(["games"]))
@click.argument("vendor")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to make; plugins/<kind>/<vendor> by default.",
)
@deployment_command("plughost.plugin.view")
def new_command(kind: str, vendor: str, into: Path | None) -> None:
    """Make a plugin that works, with its tests, out of the template of its kind."""
    if not _VENDOR.fullmatch(vendor):
        raise click.BadParameter("lower case, digits, underscore; 2 to 40 characters", param_hint="VENDOR")
    template, target = TEMPLATES / kind, into or Path("plugins") / kind / vendor
    if not template.is_dir():
        raise click.UsageError(f"{template} is not here; run this in the project's folder")
    if target.exists() and any(target.iterdir()):
        raise click.UsageError(f"{target} exists and is not empty")
    title = "".join(part.capitalize() for part in vendor.split("_"))
    for source in sorted(template.rglob("*")):
        if source.is_file() and "__pycache__" not in source.parts:
            path = target / str(source.relative_to(template)).replace(_PLACEHOLDER, vendor)
            path.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text(encoding="utf-8")
            path.write_text(text.replace(_PLACEHOLDER, vendor).replace(_PLACEHOLDER.capitalize(), title), "utf-8")
    click.echo(
        f"{target} is a working plugin of an invented vendor. Next, from the guide core/docs/guides/write-a-plugin.md:"
    )
    click.echo(f"  .venv/bin/uv pip install --no-deps --no-build-isolation -e {target}")
    click.echo(f"  .venv/bin/pytest {target}")
    click.echo(f"  .venv/bin/pitboss plugin check {vendor} --any-cell")


@plugin.command("list")
@_CELL_FILE
@_JSON
@deployment_command("plughost.plugin.view")
def list_command(cell_file: Path | None, as_json: bool) -> None:
    """Show every installed plugin and how far it comes, without importing any; and drivers in trouble in a running cell."""
    settings = load_settings()
    found = discover(read_cell_file(cell_file or settings.cell_file))
    troubled = asyncio.run(_list_troubled(settings))
    if as_json:
        _print_json(found, troubled)
    else:
        _print_table(found)
        for health in troubled or ():
            click.echo(f"{health.tenant}: {health.plugin} is {health.state.name.lower()}: {health.reason}")


@plugin.command("check")
@click.argument("slug", required=False)
@_CELL_FILE
@click.option("--any-cell", is_flag=True, help="Do not ask a cell's file; for the author of a plugin.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A tenant's TOML file for the plugin, to be checked too.",
)
@_JSON
@deployment_command("plughost.plugin.view")
def check_command(
    slug: str | None, cell_file: Path | None, any_cell: bool, config_file: Path | None, as_json: bool
) -> None:
    """Take one plugin, or all, through every gate and the static rules of the kit; exit with 1 where one is held back."""
    if config_file is not None and slug is None:
        raise click.UsageError("--config needs the slug of the plugin that it configures")
    if any_cell and cell_file is not None:
        raise click.UsageError("--any-cell and --cell-file exclude each other")
    cell = None if any_cell else read_cell_file(cell_file or load_settings().cell_file)
    host = load_host(cell)
    found = [candidate for candidate in host.candidates if slug in {None, candidate.name}]
    if slug is not None and not found:
        raise PluginUnavailable(f"plugin {slug!r}: is not installed")
    found = [_examine(host, candidate) for candidate in found]
    if config_file is not None and slug is not None:
        found = _check_config(host, found, slug, config_file, cell)
    if as_json:
        _print_json(found)
    else:
        _print_table(found)
    sys.exit(1 if any(candidate.problems for candidate in found) else 0)


async def _list_troubled(settings: Settings) -> list[DriverHealth] | None:
    """Return the drivers in trouble; None where no running cell is named, or it cannot be asked."""
    if settings.redis_url is None:
        return None
    redis = CellRedis(settings.redis_url, settings.cell)
    try:
        if not await redis.is_alive():
            click.echo("how drivers fare is not known: Redis does not answer", err=True)
            return None
        return await HealthBoard(redis, "command").list_troubled()
    finally:
        await redis.close()


def _examine(host: PluginHost, candidate: Candidate) -> Candidate:
    """Add what the static half of the conformance kit finds in a loaded plugin."""
    loaded = host.plugins.get(candidate.name)
    if loaded is None or candidate.stage is not Stage.LOADED:
        return candidate
    faults = find_static_faults(loaded.driver, loaded.manifest)
    return msgspec.structs.replace(candidate, problems=(*candidate.problems, *faults))


def _check_config(
    host: PluginHost, found: list[Candidate], slug: str, file: Path, cell: CellFile | None
) -> list[Candidate]:
    loaded = host.plugins.get(slug)
    if loaded is None:
        return found
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        locality = cell.locality if cell else next(iter(loaded.manifest.processing_localities))
        secrets = check_config(loaded, table, locality=locality, file=str(file))
    except OSError as error:
        problem = f"{file}: cannot be read: {error.strerror}"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problem = FileInvalid(str(file), "", f"is not TOML: {error}").detail
    except PitbossError as error:
        problem = error.detail
    else:
        click.echo(
            f"{file} is a configuration of {slug}; it needs the secrets: {', '.join(secrets) or 'none'}", err=True
        )
        return found
    return [msgspec.structs.replace(candidate, problems=(*candidate.problems, problem)) for candidate in found]


def _print_json(found: Iterable[Candidate], troubled: Iterable[DriverHealth] | None = None) -> None:
    rows = [
        {
            "slug": candidate.name,
            "kind": candidate.kind,
            "title": candidate.manifest.title if candidate.manifest else None,
            "distribution": candidate.distribution,
            "version": candidate.version,
            "stage": candidate.stage.name.lower(),
            "problems": list(candidate.problems),
            "health": None
            if troubled is None
            else {each.tenant: each.state.name.lower() for each in troubled if each.plugin == candidate.name},
        }
        for candidate in found
    ]
    click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())


def _print_table(found: list[Candidate]) -> None:
    if not found:
        click.echo("No plugin is installed.")
        return
    rows = [("SLUG", "KIND", "DISTRIBUTION", "VERSION", "STAGE")]
    rows += [(one.name, one.kind, one.distribution, one.version, _stage(one)) for one in found]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    problems = {row: candidate.problems for row, candidate in zip(range(1, len(rows)), found, strict=True)}
    for index, row in enumerate(rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for problem in problems.get(index, ()):
            click.echo(f"    - {problem}")


def _stage(candidate: Candidate) -> str:
    stage = candidate.stage.name.lower()
    return f"{stage}, held back" if candidate.problems and candidate.stage < Stage.LOADED else stage
