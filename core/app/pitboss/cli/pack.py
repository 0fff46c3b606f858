"""`pitboss pack`: which jurisdiction packs are installed, what is wrong with one, and the beginning of a new one."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from pitboss.permissions.service import deployment_command
from pitboss.platform.settings import load_settings
from pitboss.plughost.errors import PluginUnavailable
from pitboss.plughost.runtime import discover_packs, read_cell_file
from pitboss_sdk import SDK_VERSION
from pitboss_sdk.jurisdiction import Mark, Pack, PackFault, examine_pack

NAMESPACE: Final = "pitboss_jurisdictions"
TEMPLATE: Final = Path("jurisdictions/_template")
_CODE: Final = re.compile(r"[a-z]{2}(_[a-z0-9]{2,12}){1,2}", re.ASCII)
_PLACEHOLDER: Final = "zz_example"

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("pack")
def pack() -> None:
    """List and check jurisdiction packs, and begin a new one."""


@pack.command("list")
@click.option(
    "--cell-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The cell's file; PITBOSS_CELL_FILE by default.",
)
@_JSON
@deployment_command("policy.pack.view")
def list_command(cell_file: Path | None, as_json: bool) -> None:
    """Show every installed pack, and what keeps one out of the cell."""
    found = discover_packs(read_cell_file(cell_file or load_settings().cell_file))
    if as_json:
        rows = [
            {
                "code": one.name,
                "title": one.manifest.title if one.manifest else None,
                "distribution": one.distribution,
                "version": one.version,
                "stage": one.stage.name.lower(),
                "problems": list(one.problems),
            }
            for one in found
        ]
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
        return
    for one in found:
        title = one.manifest.title if one.manifest else ""
        click.echo(f"{one.name}  {one.distribution} {one.version}  {one.stage.name.lower()}  {title}")
        for problem in one.problems:
            click.echo(f"    - {problem}")
    if not found:
        click.echo("No pack is installed.")


@pack.command("check")
@click.argument("pack", metavar="PATH_OR_CODE", required=False)
@_JSON
@deployment_command("policy.pack.view")
def check_command(pack: str | None, as_json: bool) -> None:
    """Check a pack by its folder or its code, or all that are installed; exit with 1 on a fault.

    Each fault names file, key and reason. Nothing of a pack is imported.
    """
    reports = [(name, folder, *_examine(folder)) for name, folder in _find_folders(pack)]
    if as_json:
        rows = [
            {"pack": name, "folder": str(folder), "faults": faults, **({} if read is None else _count(read))}
            for name, folder, read, faults in reports
        ]
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
    else:
        for name, folder, read, faults in reports:
            for fault in faults:
                click.echo(f"{folder}/{fault}")
            told = "cannot be read" if read is None else ", ".join(f"{n} {what}" for what, n in _count(read).items())
            click.echo(f"{name}: {told}; {len(faults)} faults")
    sys.exit(1 if any(faults for *_, faults in reports) else 0)


def _count(read: Pack) -> dict[str, int]:
    marks = [entry.mark for _, entry in read.list_statements()]
    return {"statements": len(marks), **{mark.value: marks.count(mark) for mark in Mark}}


def _find_folders(wanted: str | None) -> Iterator[tuple[str, Path]]:
    """Yield name and folder of the packs that are meant; raise where there is none."""
    path = Path(wanted or "")
    if wanted is not None and path.is_dir():
        inner = sorted(path.glob(f"{NAMESPACE}/*/manifest.toml"))
        if not inner and not (path / "manifest.toml").exists():
            raise click.UsageError(f"{wanted} holds no manifest.toml, nor {NAMESPACE}/<code>/manifest.toml")
        yield from ((wanted, found.parent) for found in inner or [path / "manifest.toml"])
        return
    found = [one for one in discover_packs() if wanted in {None, one.name}]
    if wanted is not None and not found:
        raise PluginUnavailable(f"pack {wanted!r}: is neither a folder nor installed")
    for one in found:
        if not one.manifest_file:
            raise PluginUnavailable(f"pack {one.name!r}: {'; '.join(one.problems)}")
        yield one.name, Path(one.manifest_file).parent


def _examine(folder: Path) -> tuple[Pack | None, list[PackFault]]:
    read, faults = examine_pack(folder)
    if read is not None:
        faults += _judge_project(folder, read)
    return read, sorted(faults)


def _judge_project(folder: Path, read: Pack) -> Iterator[PackFault]:
    """Yield what the folder alone cannot know: its own name, the SDK of this host, the project that it is built from."""
    slug = read.manifest.slug
    try:
        fits = SpecifierSet(read.manifest.sdk).contains(SDK_VERSION, prereleases=True)
    except InvalidSpecifier:
        yield PackFault("manifest.toml", "sdk", f"{read.manifest.sdk!r} is not a PEP 440 specifier")
    else:
        if not fits:
            yield PackFault("manifest.toml", "sdk", f"{read.manifest.sdk!r} excludes this host's SDK {SDK_VERSION}")
    if folder.resolve().name != slug:
        yield PackFault("manifest.toml", "slug", f"{slug!r} is not the name of the folder, {folder.resolve().name!r}")
    project = folder.parent.parent / "pyproject.toml"
    if folder.parent.name == NAMESPACE and project.is_file():
        table: Any = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        points: Any = table.get("entry-points", {}).get("pitboss.jurisdiction", {})
        if points.get(slug) != f"{NAMESPACE}.{slug}":
            key = f"project.entry-points.pitboss.jurisdiction.{slug}"
            yield PackFault("../../pyproject.toml", key, f'must be "{NAMESPACE}.{slug}"')


@pack.command("new")
@click.argument("code")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to make; jurisdictions/<code> by default.",
)
@deployment_command("policy.pack.edit")
def new_command(code: str, into: Path | None) -> None:
    """Make a pack that passes the check, with its tests, out of the template. CODE is <country>[_<area>]_<authority>."""
    if not _CODE.fullmatch(code):
        raise click.BadParameter("<country>[_<area>]_<authority>, such as mt_mga: lower case", param_hint="CODE")
    target = into or Path("jurisdictions") / code
    if not TEMPLATE.is_dir():
        raise click.UsageError(f"{TEMPLATE} is not here; run this in the project's folder")
    if target.exists() and any(target.iterdir()):
        raise click.UsageError(f"{target} exists and is not empty")
    dashed = _PLACEHOLDER.replace("_", "-"), code.replace("_", "-")
    country = _PLACEHOLDER[:2].upper(), code[:2].upper()
    for source in sorted(TEMPLATE.rglob("*")):
        if source.is_file() and "__pycache__" not in source.parts:
            path = target / str(source.relative_to(TEMPLATE)).replace(_PLACEHOLDER, code)
            path.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text(encoding="utf-8").replace(_PLACEHOLDER, code).replace(*dashed)
            path.write_text(text.replace(*country), encoding="utf-8")
    click.echo(f"{target} is a pack that says nothing yet. Next, from the guide core/docs/guides/write-a-pack.md:")
    click.echo(f"  .venv/bin/pitboss pack check {target}")
    click.echo(f"  .venv/bin/pytest {target}")
    click.echo(f"  .venv/bin/uv pip install --no-deps --no-build-isolation -e {target}")
