"""What a run consists of: its cells, the tenants that live in them, the block of ports, and what each process is told."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from pitboss.cli.evidence_keys import prepare_witness
from pitboss.cli.state import State, logins_of_cell, logins_of_control, secrets_of_cell, secrets_of_control
from pitboss.platform.processes import PortBusy, is_port_free
from pitboss.platform.settings import Settings, SettingsInvalid, raw_values, variable

CONTROL_FIELDS: Final = ("control_database_url", "control_sequencer_database_url", "control_migrate_url")
CELL_FIELDS: Final = (
    "cell_database_url",
    "cell_worker_database_url",
    "cell_relay_database_url",
    "cell_sequencer_database_url",
    "cell_migrate_url",
)
DATABASE_FIELDS: Final = (*CONTROL_FIELDS, *CELL_FIELDS)

BLOCK: Final[Mapping[str, tuple[int, ...]]] = {
    "control": (0,),
    "web": (1, 2),
    "wallet": (3, 4),
    "worker": (5, 15),
    "relay": (6, 16),
    "postgres": (7,),
    "redis": (8, 18),
    "simulate": (9, 19),
    "sequencer": (10, 11),
    "witness": (12,),
    "control-sequencer": (13,),
}
"""Offsets in the block of ports that begins with PITBOSS_PORT: one, or one for each cell in the order of `find_cells`."""
BLOCK_PORTS: Final = 20
DEMO_PORT: Final = 8080
"""First port of the block that the addresses in the shipped files belong to."""
_MAX_BLOCKS: Final = 20
_SHARED: Final = frozenset({"control", "postgres", "witness", "control-sequencer"})
_ONE_CELL: Final = frozenset(
    {"cell", "cell_file", "locality", "redis_url", "backup_database_url", "backup_dir", *DATABASE_FIELDS}
)
_DEMO_ADDRESS: Final = re.compile(rf"\b127\.0\.0\.1:({DEMO_PORT // 100}\d\d)\b")


class RunCell(msgspec.Struct, frozen=True):
    """A cell that may be run here; `number` is its place in the block of ports."""

    name: str
    locality: str
    file: Path
    number: int


def find_cells(settings: Settings) -> list[RunCell]:
    """Return the cells of a run: all that have a file, or the one that the settings describe.

    Cells are numbered with the default one first, then by name, whichever of them run.
    """
    folder = settings.cell_file.parent
    files = {path.stem: path for path in folder.glob("*.toml")}
    own = settings.cell_file if "cell_file" in settings.given else folder / f"{settings.cell}.toml"
    files[own.stem] = own
    first = Settings().cell
    cells: list[RunCell] = []
    for number, name in enumerate(sorted(files, key=lambda each: (each != first, each))):
        document = read_toml(files[name])
        if not isinstance(locality := document.get("locality"), str):
            raise SettingsInvalid(f"{files[name]}: does not exist, or names no locality")
        cells.append(RunCell(name, locality, files[name], number))
    if _ONE_CELL & settings.given:
        cells = [cell for cell in cells if cell.file == own]
    beyond = [cell.name for cell in cells if cell.number >= len(BLOCK["web"])]
    if beyond:
        raise SettingsInvalid(
            f"a run has ports for {len(BLOCK['web'])} cells; there are files for {', '.join(beyond)} too"
        )
    return cells


def read_toml(path: Path) -> dict[str, Any]:
    """Return a file's table, empty where it cannot be read: whoever needs more of it says what is wrong."""
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def group_tenants(tenants_dir: Path, cells: list[RunCell], all_names: set[str]) -> dict[str, list[str]]:
    """Return the tenants to apply by cell; a file that names no cell at all goes to the first, whose apply says so."""
    found: dict[str, list[str]] = {cell.name: [] for cell in cells}
    for path in sorted(tenants_dir.glob("*/tenant.toml")):
        name = read_toml(path).get("cell")
        if name in found:
            found[str(name)].append(path.parent.name)
        elif name not in all_names:
            found[cells[0].name].append(path.parent.name)
        else:
            click.echo(f"tenant {path.parent.name} lives in cell {name}, which is no part of this run")
    return found


def place_folder(given: Path, placed: Path, base: int) -> Path:
    """Return a copy of a folder whose demo addresses are those of this run's block: the given one where they are."""
    if base == DEMO_PORT:
        return given
    shutil.rmtree(placed, ignore_errors=True)
    shutil.copytree(given, placed)
    for file in placed.rglob("*.toml"):
        content = file.read_text()
        file.write_text(_DEMO_ADDRESS.sub(lambda found: f"127.0.0.1:{_moved(int(found[1]), base)}", content))
    return placed


def _moved(port: int, base: int) -> int:
    return base + port - DEMO_PORT if DEMO_PORT <= port < DEMO_PORT + BLOCK_PORTS else port


class Values:
    """The settings of the children, by variable: for control, and for each cell; our own environment comes last."""

    def __init__(self, settings: Settings, state: State, cells: list[RunCell], base: int) -> None:
        own = {**raw_values(settings), variable("state_dir"): str(state.folder)}
        tenants_dir = place_folder(settings.tenants_dir, state.folder / "tenants", base)
        cells_dir = place_folder(settings.cell_file.parent, state.folder / "cells", base)
        own[variable("tenants_dir")] = str(tenants_dir)
        own[variable("cell_file")] = str(cells_dir / cells[0].file.name)
        # Control's commands ask cells by calls, and cells know nothing of control's database.
        of_cells, of_control = (set(map(variable, fields)) for fields in (CELL_FIELDS, CONTROL_FIELDS))
        self.control = _without(of_cells, {**_variables(secrets_of_control(state)), **own})
        self.cells: dict[str, dict[str, str]] = {}
        for cell in cells:
            place = {"cell": cell.name, "locality": cell.locality}
            file = {variable("cell_file"): str(cells_dir / cell.file.name)}
            values = {**_variables({**place, **secrets_of_cell(state, cell.name)}), **own, **file}
            self.cells[cell.name] = _without(of_control, values)

    def use_postgres(self, state: State, port: int, admin_url: str) -> None:
        """Give every plane its logins on the embedded PostgreSQL."""
        for name, values in self.cells.items():
            values.update(_variables({**logins_of_cell(state, name, port), "admin_database_url": admin_url}))
        self.control.update(_variables({**logins_of_control(state, port), "admin_database_url": admin_url}))

    def use_witness(self, state: State, address: str) -> None:
        """Give every plane a key for its audit logs, and all of them one witness, which keeps its own key and folder."""
        file, key = prepare_witness(state, ["control", *self.cells])
        self.control.update(_variables({"witness_file": str(file), "witness_dir": str(state.folder / "witness")}))
        for name, values in {"control": self.control, **self.cells}.items():
            values.update(_variables({"audit_keys_file": str(state.audit_keys(name)), "witness": f"{address} {key}"}))

    def use_redis(self, cell: str, url: str) -> None:
        """Give a cell its Redis."""
        self.cells[cell][variable("redis_url")] = url


def _without(names: set[str], values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if name not in names}


def _variables(fields: Mapping[str, str]) -> dict[str, str]:
    return {variable(field): value for field, value in fields.items()}


def list_ports(settings: Settings, cells: list[RunCell]) -> list[int]:
    """Return the offsets of every port that a run of these cells listens on."""
    external = {
        "postgres": any(field in settings.given for field in DATABASE_FIELDS),
        "redis": "redis_url" in settings.given,
    }
    return sorted(
        offsets[number]
        for name, offsets in BLOCK.items()
        if not external.get(name)
        for number in ([0] if name in _SHARED else [cell.number for cell in cells])
    )


def choose_block(settings: Settings, cells: list[RunCell]) -> int:
    """Return the first port of this run's block: the set one, all free, or the next block that is free."""
    wanted = list_ports(settings, cells)

    def busy(base: int) -> list[int]:
        return [base + offset for offset in wanted if not is_port_free(base + offset, settings.host)]

    taken = busy(settings.port)
    if not taken:
        return settings.port
    if "port" in settings.given:
        raise PortBusy(
            f"port {', '.join(map(str, taken))} is in use; {variable('port')}={settings.port} needs"
            f" {', '.join(str(settings.port + offset) for offset in wanted)}"
        )
    for base in range(settings.port + BLOCK_PORTS, settings.port + _MAX_BLOCKS * BLOCK_PORTS, BLOCK_PORTS):
        if not busy(base):
            click.echo(f"port {', '.join(map(str, taken))} is in use, so this run takes {base} and following")
            return base
    raise PortBusy(f"no free block of ports from {settings.port} on; set {variable('port')}")
