"""Writes the reference pages beside it from the code: `python core/docs/reference/generate.py`."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import click
from litestar import Controller
from msgspec import structs
from prometheus_client.metrics import MetricWrapperBase
from sqlalchemy import Table

import pitboss.bootstrap
import pitboss.policy.service as policy
from pitboss.audit.contracts import EVENT_TYPES, PERSONAL_FIELDS
from pitboss.bootstrap import cli as root
from pitboss.hosting.contracts import CALLS, CROSSING, CallKind
from pitboss.kernel.classes import OWN_SCHEDULES, SORTS, may_cross
from pitboss.migrations.schema import Plane, load_metadata
from pitboss.permissions.contracts import PERMISSIONS, Family
from pitboss.permissions.service import describe_scope, find_permission, list_duty_rules, list_roles
from pitboss.platform.classes import class_of
from pitboss.platform.db import CellBase, ControlBase
from pitboss.platform.fields import FIELDS
from pitboss.platform.settings import list_settings
from pitboss.platform.telemetry import Metrics, WalletCalls
from pitboss.subjects.service import portable_schema
from pitboss.web import controllers
from pitboss.web.app import CellParts, create_cell_app
from pitboss_sdk import hookspecs
from pitboss_sdk.errors import PitbossError
from pitboss_sdk.jurisdiction import DataSet, Report, RetentionFigure, Tax, read_pack
from pitboss_sdk.testing import RULES

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[2]
JURISDICTIONS = ROOT / "jurisdictions"
NOTICE = "<!-- Written by core/docs/reference/generate.py; a test holds it equal to the code. -->"
RUN_ON_IMPORT = (".env", ".versions", "__main__")
"""Modules that do something when they are imported: Alembic's environment and revisions."""


def render_table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""

    def line(cells: Iterable[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    names = list(head)
    return "\n".join([line(names), "|" + "---|" * len(names), *map(line, rows)])


def render_page(title: str, intro: str, *parts: str) -> str:
    """Return a whole page."""
    return "\n\n".join([f"# {title}", NOTICE, intro, *parts]) + "\n"


def first_line(text: str | None) -> str:
    """Return the first sentence line of a docstring or help text."""
    return (text or "").strip().split("\n", 1)[0].strip()


def import_everything() -> None:
    """Import every module of the SDK and the application, so that what registers itself is there."""
    for name in ("pitboss_sdk", "pitboss"):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith(RUN_ON_IMPORT) and ".testing" not in module.name:
                importlib.import_module(module.name)


def list_errors() -> list[type[Any]]:
    """Return every error class of the SDK and the application, by code."""
    import_everything()

    def below(parent: type[Any]) -> Iterator[type[Any]]:
        for child in parent.__subclasses__():
            yield child
            yield from below(child)

    ours = {each for each in below(PitbossError) if each.__module__.split(".")[0] in {"pitboss", "pitboss_sdk"}}
    return sorted(ours, key=lambda each: (each.code, each.__name__))


def errors() -> str:
    """Return the page of error codes."""
    rows = [(f"`{each.code}`", each.kind.value, f"`{each.__name__}`", describe_error(each)) for each in list_errors()]
    intro = "A code never changes its meaning. The kind decides the HTTP status and whether a retry may help."
    return render_page("Error codes", intro, render_table(("Code", "Kind", "Class", "Situation"), rows))


def describe_error(error: type[Any]) -> str:
    """Return what an error's own docstring says, not an inherited one."""
    return first_line(vars(error).get("__doc__"))


def settings() -> str:
    """Return the page of settings."""
    rows = [
        (f"`{each.variable}`", each.type, f"`{each.default}`" if each.default else "", each.description)
        for each in list_settings()
    ]
    intro = (
        "Read once from the environment. An unknown variable that begins with `PITBOSS_` is an error, and a process "
        "asks only for those that it needs."
    )
    return render_page("Settings", intro, render_table(("Variable", "Type", "Default", "Meaning"), rows))


def permissions() -> str:
    """Return the page of permissions."""
    rows = [
        (f"`{each.key}`", each.risk.value, ", ".join(sorted(role.value for role in each.roles)), each.summary)
        for each in sorted(PERMISSIONS.values(), key=lambda each: each.key)
    ]
    intro = "Named `room.noun.action`; every edge asks for one, and one that is not on this page is refused."
    return render_page("Permissions", intro, render_table(("Permission", "Risk", "Held by", "Lets"), rows))


def roles() -> str:
    """Return the page of roles: a matrix for each family, and what one person may not do both."""
    parts: list[str] = []
    for family in Family:
        held = {
            role.key: {grant.permission: describe_scope(grant.scope) or "yes" for grant in role.grants}
            for role in list_roles(family).values()
        }
        rows = [
            (f"`{key}`", *(each.get(key, "") for each in held.values()))
            for key in sorted(PERMISSIONS)
            if any(key in each for each in held.values())
        ]
        names = [f"`{key.rpartition('.')[2]}`" for key in held]
        table = render_table(("Permission", *names), rows) if rows else "Nothing to hold yet."
        parts.append(f"## `{family.value}`\n\n{table}")
    lists = [(f"`{each.key}`", _join(each.first), _join(each.second), each.why) for each in list_duty_rules()]
    duties = render_table(("Rule", "One", "Other", "Why"), lists)
    intro = (
        "What the roles of a release hold, and how surely somebody signs in for it. The first family is that of actors; "
        "the others are templates for staff, named `family.role`. See `pitboss permission`."
    )
    return render_page("Roles", intro, *parts, f"## Separation of duties\n\n{duties}")


def _join(keys: Iterable[str]) -> str:
    return ", ".join(f"`{key}`" for key in sorted(keys))


def audit_events() -> str:
    """Return the page of audit event types."""
    rows = [
        (f"`{key}`", each.category.value, each.target_type, each.summary) for key, each in sorted(EVENT_TYPES.items())
    ]
    intro = "Written in the transaction of the change that they tell of. For money the journal row is the event."
    masked = "Never in clear, at whatever depth of a path: " + ", ".join(
        f"`{name}`" for name in sorted(PERSONAL_FIELDS)
    )
    return render_page(
        "Audit events", intro, render_table(("Type", "Category", "About", "What happened"), rows), f"{masked}."
    )


def metrics() -> str:
    """Return the page of metrics."""
    rows: list[tuple[str, str, str, str]] = []
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase):
            told = [(next(iter(metric.describe())), vars(metric)["_labelnames"])]
        elif isinstance(metric, WalletCalls):
            told = [(family, vars(family)["_labelnames"]) for family in metric.collect()]
        else:
            continue
        for family, names in told:
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = ", ".join(f"`{label}`" for label in names)
            rows.append((f"`{name}`", family.type, labels, family.documentation))
    intro = "Served at `/metrics` of every process, beside what the Prometheus client says about the process itself."
    return render_page("Metrics", intro, render_table(("Metric", "Type", "Labels", "Meaning"), sorted(rows)))


def list_commands(
    group: click.Group, context: click.Context, path: tuple[str, ...]
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with its whole name."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        if isinstance(command, click.Group):
            yield from list_commands(command, click.Context(command, context, name), (*path, name))
        else:
            yield " ".join((*path, name)), command


def cli() -> str:
    """Return the page of commands."""
    parts: list[str] = []
    for name, command in list_commands(root, click.Context(root, info_name="pitboss"), ("pitboss",)):
        permission = find_permission(command.callback)
        needs = f" Needs `{permission}`." if permission else ""
        parts.append(f"## `{name}`\n\n{(command.help or '').strip()}{needs}")
        rows = [describe_parameter(parameter) for parameter in command.params]
        if rows:
            parts.append(render_table(("Parameter", "Type", "Default", "Meaning"), rows))
    intro = "Every command takes `--help`. A known situation prints its error code and exits with 1."
    return render_page("Commands", intro, *parts)


def describe_parameter(parameter: click.Parameter) -> tuple[str, str, str, str]:
    """Return name, type, default and meaning of an option or argument."""
    option = isinstance(parameter, click.Option)
    name = " ".join(f"`{each}`" for each in parameter.opts) if option else f"`{(parameter.name or '').upper()}`"
    kind = "flag" if option and parameter.is_flag else parameter.type.name
    if isinstance(parameter.type, click.Choice):
        kind = " or ".join(map(str, parameter.type.choices))
    if parameter.required:
        default = "required"
    elif isinstance(parameter.default, bool | str | int | Path) and parameter.default != "":
        default = f"`{parameter.default}`"
    else:
        default = ""
    return name, kind, default, first_line(parameter.help) if isinstance(parameter, click.Option) else ""


def packs() -> str:
    """Return the page of jurisdiction packs: every statement with its days, mark and source."""
    defaults = render_table(("Figure", "Stricter is", "Platform's default"), policy.list_defaults())
    parts = [f"## Platform's defaults\n\n{defaults}"]
    for file in sorted(JURISDICTIONS.glob("[!_]*/pitboss_jurisdictions/*/manifest.toml")):
        pack = read_pack(file.parent)
        rows = [
            (
                f"`{name}`",
                describe_statement(entry),
                f"{entry.since} – {entry.until or ''}".strip(),
                entry.mark.value,
                f"{entry.source} [{', '.join(entry.see)}], checked {entry.checked_on}",
                entry.note,
            )
            for name, entry in sorted(pack.list_statements(), key=lambda each: (each[0], each[1].since))
        ]
        told = pack.manifest
        facts = f"{told.authority}. Days are those of {told.time_zone}, the currency is {told.currency}."
        table = render_table(("Statement", "Says", "Holds", "Mark", "Source", "Note"), rows)
        sources = file.with_name("sources.md").relative_to(ROOT)
        parts.append(f"## `{told.slug}`: {told.title}\n\n{facts} Sources: `{sources}`.\n\n{table}")
    intro = (
        "What the packs beside this core state. A verified statement stands in place of the platform's default; an "
        "unverified one may tighten it and never loosens it. None of this is legal advice."
    )
    return render_page("Jurisdiction packs", intro, *parts)


def describe_statement(entry: Any) -> str:
    """Return what a statement of a pack says, without its evidence."""
    if isinstance(entry, Report):
        rule = ", ".join(
            f"{name.replace('_', ' ')} {' and '.join(cast('tuple[str, ...]', value)) if isinstance(value, tuple) else value}"
            for name, value in structs.asdict(entry.due).items()
            if value not in {None, ()}
        )
        return f"{entry.frequency.replace('_', '-')}, due {rule}: {entry.title}"
    if isinstance(entry, DataSet):
        return f"a row for each {entry.row}: {', '.join(column.name for column in entry.columns)}"
    if isinstance(entry, Tax):
        return f"{entry.value} of {entry.base.replace('_', ' ')}, owed by the {entry.payer}: {entry.scope}"
    if isinstance(entry, RetentionFigure):
        return f"{entry.value}, from {entry.counts_from.replace('_', ' ')}"
    return policy.describe_value(entry.value)


def list_controllers() -> list[type[Controller]]:
    """Return every controller of the cell's API."""
    found: list[type[Controller]] = []
    for module in pkgutil.iter_modules(controllers.__path__, f"{controllers.__name__}."):
        loaded = importlib.import_module(module.name)
        found += [
            value
            for value in vars(loaded).values()
            if isinstance(value, type) and issubclass(value, Controller) and value.__module__ == module.name
        ]
    return found


def list_resources() -> set[str]:
    """Return the names of what the composition root hands to controllers; they are no parameters of the API."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(inspect.getsource(pitboss.bootstrap))):
        match node:
            case ast.keyword(arg="resources", value=ast.Dict() as value) | ast.Return(value=ast.Dict() as value):
                names |= {str(ast.literal_eval(key)) for key in value.keys if key is not None}
            case _:
                pass
    return names


def openapi() -> str:
    """Return the OpenAPI document of the cell's API, as the application itself serves it."""
    absent = cast("Any", None)  # describing the API touches neither database nor directory
    parts = CellParts(
        database=absent,
        directory=absent,
        call_desk=absent,
        metrics=Metrics(),
        readiness=absent,
        operator_token="",
        status_source=absent,
        webhook_desk=absent,
        controllers=tuple(list_controllers()),
        resources=dict.fromkeys(list_resources(), absent),
    )
    document = create_cell_app(parts).openapi_schema.to_schema()
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def conformance() -> str:
    """Return the page of the rules of the conformance kit."""
    rows = [(f"`{rule.name}`", rule.sentence) for rule in RULES]
    intro = "What a plugin of kind `games` is held to by `pitboss_sdk.testing`; see the guide [Write a plugin](../guides/write-a-plugin.md)."
    return render_page("Conformance rules", intro, render_table(("Rule", "Holds when"), rows))


def hooks() -> str:
    """Return the page of hooks."""
    specified = [
        (name, function)
        for name, function in inspect.getmembers(hookspecs, inspect.isfunction)
        if hasattr(function, f"{hookspecs.PROJECT}_spec")
    ]
    rows = [
        (f"`{name}({', '.join(inspect.signature(function).parameters)})`", first_line(function.__doc__))
        for name, function in specified
    ]
    intro = "What a plugin may declare; see `pitboss_sdk.hookspecs` and the guide [Write a plugin](../guides/write-a-plugin.md)."
    return render_page("Hooks", intro, render_table(("Hook", "Declares"), rows))


def list_tables(plane: Plane) -> Iterator[tuple[str, Table]]:
    """Return the tables of a plane with the room of each, by room and name."""
    metadata = load_metadata(plane)
    base = ControlBase if plane == "control" else CellBase
    rooms = {
        cast("Table", mapper.local_table).name: mapper.class_.__module__.split(".")[1]
        for mapper in base.registry.mappers
    }
    yield from sorted(((rooms[name], table) for name, table in metadata.tables.items()), key=lambda each: each[0])


def data_classes() -> str:
    """Return the page of what every column holds."""
    sorts = [(f"`{name}`", each.data, each.kind, each.residency, each.meaning) for name, each in SORTS.items()]
    parts = [render_table(("Sort", "Class", "Kind", "Residency", "Holds"), sorts)]
    own = [(f"`{name}`", until) for name, until in OWN_SCHEDULES.items()]
    parts += [
        "Rows go by a schedule. `player_data`, `kyc_documents`, `money_records`, `game_records`, `exclusion_records`, "
        "`aml_records`, `communication` and `audit_records` last as the law's pack says (see [packs](packs.md)), for good "
        "where it does not; the others:",
        render_table(("Schedule", "Rows stay"), own),
        "Audit is `events` where every change has an audit event, `record` where rows never change or follow from rows "
        "that never do, `none` otherwise.",
    ]
    planes: tuple[Plane, ...] = ("control", "cell")
    for plane in planes:
        room = ""
        for owner, table in list_tables(plane):
            if owner != room:
                parts.append(f"## {'Control' if plane == 'control' else 'Cell'}: {owner}")
            room = owner
            parts.append(describe_table(table))
    intro = (
        "What every column of both planes holds. The sort of a column decides its class, its kind and whether it may be "
        "told outside of its cell; tables say how long rows stay and whether changes are audited."
    )
    return render_page("Data classes", intro, *parts)


def describe_table(table: Table) -> str:
    """Return one table with what its columns hold."""
    info = table.info
    tenant = "rows of tenants by `tenant_id`" if info["tenant"] else f"no tenant: {info['why_no_tenant']}"
    head = f"### `{table.name}`\n\nSchedule `{info['retention']}`; audit `{info['audit']}`; {tenant}."
    rows: list[tuple[str, ...]] = []
    for sort in SORTS:
        names = [column.name for column in table.columns if info["columns"][column.name] == [sort]]
        if names:
            found = SORTS[sort]
            rows.append(
                (", ".join(f"`{name}`" for name in names), f"`{sort}`", found.data, found.kind, found.residency)
            )
    return f"{head}\n\n{render_table(('Columns', 'Sort', 'Class', 'Kind', 'Residency'), rows)}"


def what_crosses() -> str:
    """Return the page of what may pass between planes, and what never does."""

    def describe(names: Collection[str]) -> list[tuple[str, str, str]]:
        return [(f"`{name}`", each.data, each.meaning) for name, each in SORTS.items() if name in names]

    crossing = [name for name in SORTS if may_cross(SORTS[name])]
    staying = [name for name in SORTS if name not in crossing]
    fields = [
        (f"`{value.__name__}`", ", ".join(f"`{name}`" for name in names.split()), f"`{sort}`")
        for value, sorts in CROSSING.items()
        for sort, names in sorts.items()
    ]
    calls = [(f"`{kind.value}`", ", ".join(f"`{value.__name__}`" for value in CALLS[kind])) for kind in CallKind]
    columns = [
        (f"`{table.name}`", ", ".join(f"`{column.name}`" for column in table.columns if held_back(table, column.name)))
        for _, table in list_tables("cell")
    ]
    intro = (
        "There is one control plane, and a cell for each place where data must stay. Control asks, cells answer, and "
        "cells do not know each other. A column or a field of a sort that may not pass turns the tests red."
    )
    head = ("Sort", "Class", "Holds")
    return render_page(
        "What crosses between planes",
        intro,
        "## What may pass",
        render_table(head, describe(crossing)),
        "Of the staff only the actor and the origin of an order pass, with the order, and the name of who changed a "
        "tenant's configuration last, with the answer to control's question.",
        "## What never leaves its cell",
        render_table(head, describe(staying)),
        "## The calls, and what they carry",
        "Control signs each; a cell answers and never calls. There are no others.",
        render_table(("Call", "Values, there and back"), calls),
        render_table(("Value", "Fields", "Sort"), fields),
        "## What logs and traces tell",
        "They may leave a cell. Nothing but these fields does, each in the shape of its class, and none of them is a "
        "column of a sort that holds a person, money, play, words or the staff: "
        + ", ".join(f"`{name}`" for name in sorted(FIELDS))
        + ".",
        "## Columns that stay",
        render_table(("Table of a cell", "Columns"), [row for row in columns if row[1]]),
    )


def held_back(table: Table, column: str) -> bool:
    """Return whether a column may not be told to another plane."""
    return not may_cross(class_of(table, column))


def subject_portable() -> str:
    """Return the JSON schema of what a data subject takes elsewhere."""
    return json.dumps(portable_schema(), indent=2, ensure_ascii=False) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "errors.md": errors,
    "settings.md": settings,
    "permissions.md": permissions,
    "roles.md": roles,
    "audit-events.md": audit_events,
    "metrics.md": metrics,
    "cli.md": cli,
    "packs.md": packs,
    "data-classes.md": data_classes,
    "what-crosses.md": what_crosses,
    "conformance.md": conformance,
    "hooks.md": hooks,
    "openapi.json": openapi,
    "subject-portable.schema.json": subject_portable,
}
"""Every generated page."""


def main() -> None:
    """Write every page and say which changed."""
    for name, render in PAGES.items():
        path = FOLDER / name
        text = render()
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {name}")


if __name__ == "__main__":
    main()
