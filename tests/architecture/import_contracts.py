"""Contract types for import-linter: which file of a room may import which, and who may use which library."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from importlinter import Contract, ContractCheck, fields, output

if TYPE_CHECKING:
    from grimp import ImportGraph

APPLICATION = "pitboss"
EDGES = {"bootstrap", "web", "worker", "cli", "migrations"}
NOT_ROOMS = EDGES | {"platform", "kernel"}
PUBLIC = {"service", "contracts", "events", "errors"}
FILES = PUBLIC | {"rules", "store", "tables", "runtime"}

WITHIN_A_ROOM: dict[str, set[str]] = {
    "contracts": set(),
    "errors": {"contracts"},
    "events": {"contracts"},
    "rules": {"contracts", "errors"},
    "tables": {"contracts"},
    "store": {"contracts", "errors", "events", "tables"},
    "service": FILES,
    "runtime": FILES,
}
"""What a file may import from its own room, beside itself."""

ACROSS_ROOMS: dict[str, set[str]] = {
    "contracts": {"contracts"},
    "errors": {"contracts"},
    "events": {"contracts"},
    "rules": {"contracts", "errors", "rules"},
    "tables": set(),
    "store": {"contracts"},
    "service": PUBLIC,
    "runtime": PUBLIC,
}
"""What a file may import from the rooms below; which rooms those are is the business of the layers contract."""

PURE = {"contracts", "errors", "events", "rules"}
"""Files that take time, chance and data as arguments."""
IMPURE = set(
    "asyncio asyncpg click dramatiq granian http httpx jinja2 litestar os pathlib random redis secrets shutil "
    "socket sqlalchemy ssl structlog subprocess tempfile threading time urllib".split()
)
CONNECTIONS = {"asyncpg", "sqlalchemy"}
"""A protocol in contracts.py may say that it is given a connection."""
NETWORK = set(
    "asyncio ftplib http imaplib multiprocessing nntplib poplib select selectors smtplib socket socketserver ssl "
    "subprocess telnetlib urllib.request webbrowser xmlrpc".split()
)


def split_module(module: str) -> tuple[str, str]:
    """Return the area (room, entry point, platform …) and the file of a module of the application."""
    parts = module.split(".")
    return (parts[1] if len(parts) > 1 else "", parts[2] if len(parts) > 2 else "")


def judge(importer: str, imported: str) -> str:
    """Return why `importer` may not import `imported`, both of the application, or an empty string."""
    area, file = split_module(importer)
    target_area, target = split_module(imported)
    if area not in NOT_ROOMS and file in PURE and target_area == "platform":
        return f"{file}.py is pure: it does not know the platform"
    if target_area in NOT_ROOMS or not target:
        return ""
    if area == target_area:
        allowed = WITHIN_A_ROOM.get(file, FILES) | {file}
        return "" if target in allowed else f"{file}.py may not import {target}.py of its own room"
    if area in EDGES:
        allowed = PUBLIC | ({"runtime"} if area != "migrations" else set())
        allowed |= {"tables"} if area in {"migrations", "bootstrap"} else set()
        return "" if target in allowed else f"{target}.py is private to room {target_area}"
    if area in NOT_ROOMS:
        return ""
    allowed = ACROSS_ROOMS.get(file, PUBLIC)
    if target in allowed:
        return ""
    if target in PUBLIC:
        return f"{file}.py may not import {target}.py of another room"
    return f"{target}.py is private to room {target_area}"


def list_imports(graph: ImportGraph, importers: str) -> Iterator[tuple[str, str, int]]:
    """Yield importer, imported and line of each import made below the package `importers`."""
    for importer in sorted(graph.modules):
        if importer != importers and not importer.startswith(f"{importers}."):
            continue
        for imported in sorted(graph.find_modules_directly_imported_by(importer)):
            details = graph.get_import_details(importer=importer, imported=imported)
            yield importer, imported, details[0]["line_number"] if details else 0


class FindingsContract(Contract):
    """A contract that is a list of findings, each a sentence."""

    def find(self, graph: ImportGraph) -> Iterator[str]:
        raise NotImplementedError

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        findings = list(self.find(graph))
        return ContractCheck(kept=not findings, metadata={"findings": findings})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for finding in check.metadata["findings"]:
            output.print_error(f"- {finding}", bold=False)
        output.new_line()


class RoomFilesContract(FindingsContract):
    """Private files stay private, pure files stay pure."""

    type_name = "room_files"

    def find(self, graph: ImportGraph) -> Iterator[str]:
        for importer, imported, line in list_imports(graph, APPLICATION):
            area, file = split_module(importer)
            if imported == APPLICATION or imported.startswith(f"{APPLICATION}."):
                reason = judge(importer, imported)
            elif area not in NOT_ROOMS and file == "contracts" and imported in CONNECTIONS:
                reason = ""
            elif area not in NOT_ROOMS and file in PURE and imported in IMPURE:
                reason = f"{file}.py is pure: no I/O, no clock, no chance"
            else:
                reason = ""
            if reason:
                yield f"{importer} -> {imported} (line {line}): {reason}"


class LibraryHomesContract(FindingsContract):
    """A library is used by the areas that `homes` names (``library: area area``) and nowhere else."""

    type_name = "library_homes"
    homes = fields.ListField(subfield=fields.StringField())

    def find(self, graph: ImportGraph) -> Iterator[str]:
        entries: Any = self.homes
        homes = {library.strip(): set(areas.split()) for library, _, areas in (e.partition(":") for e in entries)}
        for importer, imported, line in list_imports(graph, APPLICATION):
            area, file = split_module(importer)
            allowed = homes.get(imported)
            if allowed is None or area in allowed or (area not in NOT_ROOMS and file in allowed):
                continue
            yield f"{importer} -> {imported} (line {line}): {imported} belongs to {', '.join(sorted(allowed))}"


class OnlyLibrariesContract(FindingsContract):
    """Packages import themselves, the listed libraries and the standard library without its network."""

    type_name = "only_libraries"
    packages = fields.ListField(subfield=fields.StringField())
    libraries = fields.ListField(subfield=fields.StringField())

    def find(self, graph: ImportGraph) -> Iterator[str]:
        packages: Any = self.packages
        libraries: Any = self.libraries
        allowed = (sys.stdlib_module_names - NETWORK) | {*packages, *libraries}
        for package in packages:
            for importer, imported, line in list_imports(graph, package):
                if imported.split(".")[0] not in allowed:
                    yield f"{importer} -> {imported} (line {line}): {package} may not import {imported}"
