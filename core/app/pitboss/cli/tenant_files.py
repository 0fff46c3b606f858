"""`pitboss tenant new|export|secrets`: begin a tenant's folder, write it from what is held, name the secrets it needs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast, get_args

import click
import msgspec

import pitboss.tenancy.service as tenancy
from pitboss.cli.state import add_demo_secrets
from pitboss.cli.tenant_apply import Held, Workshop, read_held
from pitboss.cli.tenant_arguments import open_deployment, print_json, print_problems, run_on
from pitboss.directory.contracts import LANGUAGES, TenantState
from pitboss.kernel.ids import new_uuid
from pitboss.permissions.service import deployment_command
from pitboss.platform.secrets import SecretStore
from pitboss.platform.settings import Settings, load_settings, require
from pitboss.plughost.contracts import LoadedPlugin
from pitboss.tenancy.contracts import BrandFile, CellPlace, Environment, TenantFile, TenantFolder
from pitboss.tenancy.errors import TenantFilesInvalid
from pitboss_sdk.secrets import SecretRef

_SLUG = re.compile(r"[a-z][a-z0-9-]{1,39}")
_COLOUR = "#1f53b8"
"""The platform's own, until the brand has one."""


def _check_slug(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _SLUG.fullmatch(value):
        raise click.BadParameter("lower case letters, digits and hyphens, at least two, a letter first")
    return value


def _split_settings(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    given: dict[str, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or name.count(".") != 1:
            raise click.BadParameter(f"{text!r} is not PLUGIN.KEY=VALUE")
        given[name] = value
    return given


_ENVIRONMENT = click.Choice(get_args(Environment))


@click.command("new")
@click.argument("slug", callback=_check_slug)
@click.option("--name", help="What the tenant and its brand are called; the slug by default.")
@click.option("--cell", help="Where it is to live; the cell of the settings by default.")
@click.option(
    "--pack",
    "packs",
    multiple=True,
    help="A jurisdiction pack; the only one of the cell by default. The brand is under the first.",
)
@click.option("--currency", "currencies", multiple=True, help="A currency; that of the packs by default.")
@click.option(
    "--language",
    "languages",
    multiple=True,
    type=click.Choice(LANGUAGES),
    help="A language, the default one first; English by default.",
)
@click.option("--domain", "domains", multiple=True, help="A host name of the brand; <slug>.localhost by default.")
@click.option("--plugin", "plugins", multiple=True, help="A plugin that the cell allows.")
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="PLUGIN.KEY=VALUE",
    callback=_split_settings,
    help="A plugin's setting; for a secret, its name in the cell's store.",
)
@click.option("--colour", default=_COLOUR, show_default=True, help="The brand's colour.")
@click.option("--environment", type=_ENVIRONMENT, default="demo", show_default=True)
@deployment_command("tenancy.tenant.configure")
def new_command(
    slug: str,
    name: str | None,
    cell: str | None,
    packs: tuple[str, ...],
    currencies: tuple[str, ...],
    languages: tuple[str, ...],
    domains: tuple[str, ...],
    plugins: tuple[str, ...],
    given: dict[str, str],
    colour: str,
    environment: Environment,
) -> None:
    """Write the folder of a new tenant, which passes the check at once; nothing is overwritten or applied."""
    settings = load_settings()
    workshop = _without_secrets(settings)
    place = _get_cell(workshop, cell or settings.cell)
    host = workshop.host_of(place.cell)
    packs = packs or (tuple(host.packs) if len(host.packs) == 1 else ())
    title = name or slug.replace("-", " ").title()
    languages = languages or ("en",)
    brand = BrandFile(
        slug=slug,
        name=title,
        domains=domains or (f"{slug}.localhost",),
        languages=languages,
        default_language=languages[0],
        pack=packs[0] if len(packs) > 1 else "",
    )
    laws = [host.get_pack(pack).pack.manifest for pack in packs]
    tenant = TenantFile(
        slug=slug,
        name=title,
        public_id=new_uuid(),
        locality=place.locality,
        cell=place.cell,
        environment=environment,
        currencies=currencies or tuple(dict.fromkeys(law.currency for law in laws)),
        brands=(brand,),
        packs=packs,
        plugins=plugins,
    )
    tables = _configure_plugins(slug, {plugin: host.get_plugin(plugin) for plugin in plugins}, given)
    folder = TenantFolder(tenant, tables, theme={"brands": {slug: {"colour": colour}}})
    files = tenancy.render_folder(folder)
    try:
        checked = workshop.check_files(slug, files)
    except TenantFilesInvalid as invalid:
        print_problems(invalid.problems)
        raise click.ClickException("with these options the folder would be wrong; nothing was written") from None
    target = tenancy.write_folder(settings.tenants_dir, slug, files)
    click.echo(f"{target} is written: {', '.join(sorted(files))}")
    click.echo(f"secrets that its cell needs: {', '.join(workshop.list_secrets(checked)) or 'none'}")


def _without_secrets(settings: Settings) -> Workshop:
    """Return a workshop that asks for no secret's value: files are written before their secrets have any."""
    return Workshop(msgspec.structs.replace(settings, secrets_file=None))


def _get_cell(workshop: Workshop, cell: str) -> CellPlace:
    places = workshop.offer.cells
    if cell not in places:
        raise click.BadParameter(f"unknown cell {cell}; known are {', '.join(sorted(places))}", param_hint="--cell")
    return places[cell]


def _configure_plugins(
    slug: str, plugins: Mapping[str, LoadedPlugin], given: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Return a table for each plugin: what was given, and names for the secrets; raise with all that is missing."""
    missing: list[str] = []
    tables: dict[str, dict[str, Any]] = {}
    for plugin, loaded in plugins.items():
        table = tables[plugin] = {}
        for field in msgspec.structs.fields(loaded.driver.Config):
            is_secret = SecretRef in {field.type, *get_args(field.type)}
            value = given.get(f"{plugin}.{field.encode_name}")
            if is_secret and (value or field.required):
                table[field.encode_name] = {"secret": value or f"{slug}-{plugin}-{field.name.replace('_', '-')}"}
            elif value is not None:
                table[field.encode_name] = _read_value(value, field.type)
            elif field.required:
                missing.append(f"--set {plugin}.{field.encode_name}=…{_name_choices(field.type)}")
    known = {f"{plugin}.{name}" for plugin, loaded in plugins.items() for name in _list_keys(loaded)}
    strange = sorted(given.keys() - known)
    if strange:
        raise click.UsageError(f"no such setting: {', '.join(strange)}; known are {', '.join(sorted(known)) or 'none'}")
    if missing:
        raise click.UsageError(f"the plugins also need {' '.join(missing)}")
    return tables


def _list_keys(plugin: LoadedPlugin) -> Iterator[str]:
    return (field.encode_name for field in msgspec.structs.fields(plugin.driver.Config))


def _name_choices(kind: Any) -> str:
    choices: tuple[Any, ...] = get_args(kind) if getattr(kind, "__origin__", None) is Literal else ()
    return f" ({', '.join(map(str, choices))})" if choices else ""


def _read_value(text: str, kind: Any) -> Any:
    """Return what a text on the command line means; one that means nothing is left for the check to name."""
    try:
        return msgspec.to_builtins(msgspec.convert(text, kind, strict=False))
    except msgspec.ValidationError:
        return text


@click.command("export")
@click.argument("slug")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of tenants to write into; that of the settings by default.",
)
@click.option("--replace", is_flag=True, help="Write over the tenant's folder; comments in it are lost.")
@click.option("--as", "new_slug", callback=_check_slug, help="Promote: the slug of the new tenant.")
@click.option("--cell", help="Promote: where the new tenant is to live.")
@click.option("--environment", type=_ENVIRONMENT, help="Promote: what the new tenant is for.")
@click.option("--domain", "domains", multiple=True, help="Promote: a host name of the new tenant's brand.")
@deployment_command("tenancy.tenant.view")
def export_command(
    slug: str,
    into: Path | None,
    replace: bool,
    new_slug: str | None,
    cell: str | None,
    environment: Environment | None,
    domains: tuple[str, ...],
) -> None:
    """Write the folder of a tenant as control and its cell hold it now; secrets stay references.

    With an option that promotes, the folder is that of another tenant with the same contents: it gets a public id of
    its own, and no number, player or secret goes with it.
    """
    settings = load_settings()
    workshop = _without_secrets(settings)
    deployment = open_deployment(workshop)
    held = run_on(deployment, read_held(deployment, slug))
    folder = held.folder
    if new_slug or cell or environment or domains:
        place = _get_cell(workshop, cell or held.record.cell)
        folder = promote(folder, new_slug or slug, place, environment, domains)
    tenants_dir = into or settings.tenants_dir
    tenants_dir.mkdir(parents=True, exist_ok=True)
    files = tenancy.render_folder(folder)
    target = tenancy.write_folder(tenants_dir, folder.tenant.slug, files, replace=replace)
    click.echo(f"{target} is written: {', '.join(sorted(files))}")
    for note in list_notes(held, folder):
        click.echo(f"note: {note}", err=True)
    try:
        Workshop(msgspec.structs.replace(workshop.settings, tenants_dir=tenants_dir)).check(folder.tenant.slug)
    except TenantFilesInvalid as invalid:
        click.echo("before it can be applied:", err=True)
        print_problems(invalid.problems)


def promote(
    folder: TenantFolder, slug: str, place: CellPlace, environment: Environment | None, domains: tuple[str, ...]
) -> TenantFolder:
    """Return the files of another tenant with the same contents: its own public id, slug, cell and domains.

    Secrets whose names begin with the old slug are named after the new one, so that they get values of their own.
    """
    tenant = folder.tenant
    brands = tenant.brands
    if domains:
        if len(brands) != 1:
            raise click.UsageError("there are several brands; give no --domain and write their domains into the file")
        brands = (msgspec.structs.replace(brands[0], domains=domains),)
    moved = msgspec.structs.replace(
        tenant,
        slug=slug,
        public_id=new_uuid(),
        cell=place.cell,
        locality=place.locality,
        environment=environment or tenant.environment,
        brands=brands,
    )
    plugins = {plugin: _rename_secrets(table, tenant.slug, slug) for plugin, table in folder.plugins.items()}
    return msgspec.structs.replace(folder, tenant=moved, plugins=plugins)


def _rename_secrets(value: Any, old: str, new: str) -> Any:
    if _is_secret(value):
        name: str = value["secret"]
        return {"secret": f"{new}-{name.removeprefix(f'{old}-')}"} if name.startswith(f"{old}-") else value
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        return {key: _rename_secrets(inner, old, new) for key, inner in table.items()}
    if isinstance(value, list):
        return [_rename_secrets(inner, old, new) for inner in cast("list[Any]", value)]
    return value


def _is_secret(value: Any) -> bool:
    return isinstance(value, Mapping) and {*value} == {"secret"} and isinstance(value["secret"], str)


def _list_texts(value: Any, key: str) -> Iterator[tuple[str, str, bool]]:
    """Yield key, text and whether it is a secret's name of every text in a plugin's table, however deep."""
    if _is_secret(value):
        yield key, value["secret"], True
    elif isinstance(value, str):
        yield key, value, False
    elif isinstance(value, Mapping):
        for name, inner in cast("Mapping[str, Any]", value).items():
            yield from _list_texts(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[Any]", value)):
            yield from _list_texts(inner, f"{key}[{index}]")


def list_notes(held: Held, folder: TenantFolder) -> Iterator[str]:
    """Yield what files do not say, and what still speaks of the tenant that was exported."""
    if held.record.state is not TenantState.ACTIVE:
        yield f"{held.record.slug} is {held.record.state}; files say nothing of that"
    if folder.tenant.public_id == held.record.public_id:
        return
    old = {held.record.slug, *(domain for brand in held.record.brands for domain in brand.domains)}
    old -= {folder.tenant.slug, *(domain for brand in folder.tenant.brands for domain in brand.domains)}
    for plugin, table in folder.plugins.items():
        before = {text for _, text, is_secret in _list_texts(held.folder.plugins[plugin], "") if is_secret}
        for key, text, is_secret in _list_texts(table, ""):
            place = f"plugins/{plugin}.toml: {key}"
            if is_secret:
                if folder.tenant.slug != held.record.slug and text in before:
                    yield f"{place} is the secret {text!r} of the exported tenant too; in one store both have one value"
            elif any(name in text for name in old):
                yield f"{place} = {text!r} speaks of the exported tenant; is it right here too?"
            elif "://" in text:
                yield f"{place} = {text!r} is an address; is it right here too?"


@click.command("secrets")
@click.argument("slug")
@click.option("--make-demo", is_flag=True, help="Make a value for each that has none; for demo environments only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@deployment_command("tenancy.tenant.configure")
def secrets_command(slug: str, make_demo: bool, as_json: bool) -> None:
    """Name the secrets that a tenant's files refer to, with its cell's settings; exit with 1 if one has no value.

    Values are never shown.
    """
    settings = load_settings()
    workshop = _without_secrets(settings)
    folder = workshop.check(slug)
    file = require(settings, "secrets_file")
    if folder.tenant.cell != settings.cell:
        raise click.ClickException(f"{slug} lives in {folder.tenant.cell}, these are the settings of {settings.cell}")
    names = workshop.list_secrets(folder)
    before: set[str] = set()
    if make_demo:
        if "production" in {settings.environment, folder.tenant.environment}:
            raise click.ClickException("secrets of production are not made up; write them into the store")
        before = SecretStore(file).list_names() if file.exists() else before
        add_demo_secrets(file, set(names))
    valued = SecretStore(file).list_names() if names else set[str]()
    if as_json:
        print_json({name: name in valued for name in names})
    else:
        for name in names:
            made = "is made up now" if make_demo and name not in before else "has a value"
            click.echo(f"{name}: {made if name in valued else 'has no value'}")
    if not valued.issuperset(names) and not as_json:
        click.echo(f"write each that has none into {file}", err=True)
    sys.exit(0 if valued.issuperset(names) else 1)


FILE_COMMANDS = (new_command, export_command, secrets_command)
