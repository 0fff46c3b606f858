"""Reads a pack's folder strictly: every fault at once, each with file, key and reason. Nothing of a pack is imported."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar, cast, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from pitboss_sdk.errors import ErrorKind, PitbossError
from pitboss_sdk.jurisdiction.figures import (
    MANIFEST_VERSION,
    ChecksFile,
    Evidence,
    LimitsFile,
    PackManifest,
    RetentionFile,
    list_figures,
)
from pitboss_sdk.jurisdiction.reports import CalendarFile, DataSet, Report, TaxFile
from pitboss_sdk.money import CURRENCIES

T = TypeVar("T")

MAX_FILE_BYTES: Final = 256 * 1024
SOURCES: Final = "sources.md"
MANIFEST: Final = "manifest.toml"
TAX: Final = "reports/tax.toml"
CALENDAR: Final = "reports/calendar.toml"
STATEMENTS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "limits.toml": LimitsFile,
    "checks.toml": ChecksFile,
    "retention.toml": RetentionFile,
    TAX: TaxFile,
    CALENDAR: CalendarFile,
}
"""Files that hold statements; each must be there, and may be empty."""

_SOURCE_ENTRY: Final = re.compile(r"^## ([A-Za-z0-9-]{1,40})$", re.MULTILINE)
_DATA_SET: Final = re.compile(r"reports/([a-z][a-z0-9_]{1,39})\.toml")
_PATH: Final = re.compile(r"(?s)(.*?)(?: - at `(.*)`)?")
_NAMED_FIELD: Final = re.compile(r"Object (contains unknown|missing required) field `(.*)`")


class PackFault(msgspec.Struct, frozen=True, order=True):
    """Why a pack is refused: which file of its folder, which key (empty for the whole file)."""

    file: str
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.reason}" if self.key else f"{self.file}: {self.reason}"


class PackInvalid(PitbossError):
    """A pack does not say what it must; `faults` holds every reason that was found."""

    code = "jurisdiction.pack_invalid"
    kind = ErrorKind.INVALID

    def __init__(self, faults: Iterable[PackFault]) -> None:
        self.faults = tuple(sorted(faults))
        super().__init__("; ".join(map(str, self.faults)))


class Pack(msgspec.Struct, frozen=True):
    """A jurisdiction as its files state it. `data_sets` is by name."""

    manifest: PackManifest
    limits: LimitsFile
    checks: ChecksFile
    retention: RetentionFile
    tax: TaxFile
    calendar: CalendarFile
    data_sets: Mapping[str, DataSet]

    def list_statements(self) -> Iterator[tuple[str, Any]]:
        """Yield name and entry of every statement, data sets included."""
        for file in (self.limits, self.checks, self.retention, self.tax, self.calendar):
            yield from list_figures(file)
        for name, data_set in self.data_sets.items():
            yield f"data_sets.{name}", data_set

    def find_statement(self, name: str, on: date) -> Any:
        """Return the entry of a name that holds on a day, or None."""
        return next((entry for found, entry in self.list_statements() if found == name and entry.holds(on)), None)


def read_pack(folder: Path) -> Pack:
    """Return the pack in a folder; raise `PackInvalid` with every fault."""
    pack, faults = examine_pack(folder)
    if pack is None or faults:
        raise PackInvalid(faults)
    return pack


def examine_pack(folder: Path) -> tuple[Pack | None, list[PackFault]]:
    """Return the pack, unless a file of it cannot be understood, and everything that is wrong."""
    faults = list(_find_strange_files(folder))
    manifest = _read(folder, MANIFEST, PackManifest, faults)
    files = {name: _read(folder, name, shape, faults) for name, shape in STATEMENTS.items()}
    data_sets: dict[str, DataSet] = {}
    for path in sorted(folder.glob("reports/*.toml")):
        name = path.relative_to(folder).as_posix()
        if name not in STATEMENTS and _DATA_SET.fullmatch(name):
            data_set = _read(folder, name, DataSet, faults)
            if data_set is not None:
                data_sets[path.stem] = data_set
    if manifest is not None:
        faults += _judge_manifest(manifest)
    for name, file in files.items():
        if file is not None:
            faults += _judge_statements(name, file)
    for name, data_set in data_sets.items():
        faults += _judge_data_set(f"reports/{name}.toml", data_set)
    if isinstance(files[CALENDAR], CalendarFile):
        faults += _judge_reports(cast("CalendarFile", files[CALENDAR]).reports, set(data_sets))
    if manifest is None or any(file is None for file in files.values()):
        return None, sorted(faults)
    limits, checks, retention, tax, calendar = cast("list[Any]", list(files.values()))
    pack = Pack(manifest, limits, checks, retention, tax, calendar, data_sets)
    faults += _judge_sources(folder, pack)
    return pack, sorted(faults)


def read_manifest(folder: Path) -> PackManifest:
    """Return the manifest in a pack's folder; raise `PackInvalid`."""
    faults: list[PackFault] = []
    manifest = _read(folder, MANIFEST, PackManifest, faults)
    if manifest is not None:
        faults += _judge_manifest(manifest)
    if manifest is None or faults:
        raise PackInvalid(faults)
    return manifest


def _find_strange_files(folder: Path) -> Iterator[PackFault]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        known = name in STATEMENTS or name in {MANIFEST, SOURCES, "__init__.py"} or _DATA_SET.fullmatch(name)
        if path.is_file() and not known and "__pycache__" not in path.parts:
            yield PackFault(name, "", "no such file belongs into a pack")


def _read(folder: Path, name: str, shape: type[T], faults: list[PackFault]) -> T | None:
    """Return a file as `shape`, or None with the reasons among `faults`: one for each entry that does not fit."""
    try:
        path = folder / name
        if path.stat().st_size > MAX_FILE_BYTES:
            faults.append(PackFault(name, "", f"is larger than {MAX_FILE_BYTES} bytes"))
            return None
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        faults.append(PackFault(name, "", "is missing" if isinstance(error, FileNotFoundError) else "cannot be read"))
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        faults.append(PackFault(name, "", f"is not TOML: {error}"))
        return None
    found = [PackFault(name, key, reason) for key, reason in _find_misfits(table, shape)]
    faults += found
    return None if found else msgspec.convert(table, shape)


def _find_misfits(table: dict[str, Any], shape: type[Any]) -> Iterator[tuple[str, str]]:
    hints = get_type_hints(shape, include_extras=True) if shape in STATEMENTS.values() else {}
    for name, hint in hints.items():
        entries: Any = table.get(name)
        if isinstance(entries, list) and get_origin(hint) is tuple:
            for index, entry in enumerate(cast("list[Any]", entries)):
                yield from _convert(entry, get_args(hint)[0], f"{name}[{index}]")
    rest = {name: value for name, value in table.items() if name not in hints or not isinstance(value, list)}
    yield from _convert(rest, shape, "")


def _convert(value: Any, shape: Any, below: str) -> Iterator[tuple[str, str]]:
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        match = _PATH.fullmatch(str(error))
        reason, path = (match.group(1), match.group(2) or "") if match else (str(error), "")
        key = path.removeprefix("$").removeprefix(".")
        named = _NAMED_FIELD.fullmatch(reason)
        if named:
            reason = "is not a key here" if named.group(1) == "contains unknown" else "is missing"
            key = ".".join(part for part in (key, named.group(2)) if part)
        yield ".".join(part for part in (below, key) if part), reason


def _judge_manifest(manifest: PackManifest) -> Iterator[PackFault]:
    if manifest.manifest_version != MANIFEST_VERSION:
        yield PackFault(MANIFEST, "manifest_version", f"this SDK reads version {MANIFEST_VERSION}")
    if not manifest.slug.startswith(f"{manifest.country.lower()}_"):
        yield PackFault(MANIFEST, "slug", f"does not begin with the country, {manifest.country.lower()}_")
    if manifest.currency not in CURRENCIES:
        yield PackFault(MANIFEST, "currency", f"unknown currency {manifest.currency}")
    try:
        ZoneInfo(manifest.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield PackFault(MANIFEST, "time_zone", f"{manifest.time_zone!r} is not in this machine's time zone database")


def _judge_statements(file: str, content: msgspec.Struct) -> Iterator[PackFault]:
    spans: dict[str, list[tuple[date, date, str]]] = defaultdict(list)
    for field in content.__struct_fields__:
        for index, entry in enumerate(cast("Iterable[Evidence]", getattr(content, field))):
            here = f"{field}[{index}]"
            yield from _judge_evidence(file, here, entry)
            currency = getattr(entry, "currency", "")
            if currency and currency not in CURRENCIES:
                yield PackFault(file, f"{here}.currency", f"unknown currency {currency}")
            spans[f"{field}.{entry.key}"].append((entry.since, entry.until or date.max, here))
    for claimed in spans.values():
        claimed.sort()
        for (_, until, before), (since, _, here) in pairwise(claimed):
            if since <= until:
                yield PackFault(file, here, f"holds on days on which {before} holds too")


def _judge_evidence(file: str, here: str, entry: Evidence) -> Iterator[PackFault]:
    below = f"{here}." if here else ""
    if entry.until is not None and entry.until < entry.since:
        yield PackFault(file, f"{below}until", "is before from")
    if entry.source_date is not None and entry.source_date > entry.checked_on:
        yield PackFault(file, f"{below}checked_on", "is before the date of the source")


def _judge_data_set(file: str, data_set: DataSet) -> Iterator[PackFault]:
    yield from _judge_evidence(file, "", data_set)
    seen: set[str] = set()
    for index, column in enumerate(data_set.columns):
        here = f"columns[{index}].name"
        if column.name in seen:
            yield PackFault(file, here, f"{column.name} is given twice")
        seen.add(column.name)
        if column.name.endswith("_minor") is not (column.type == "amount_minor"):
            yield PackFault(file, here, "a name ends with _minor exactly when the column holds an amount")
    if any(column.type == "amount_minor" for column in data_set.columns) and not any(
        column.type == "currency" for column in data_set.columns
    ):
        yield PackFault(file, "columns", "amounts need a column with their currency")


def _judge_reports(reports: Iterable[Report], data_sets: set[str]) -> Iterator[PackFault]:
    named: set[str] = set()
    for index, report in enumerate(reports):
        named.add(report.data_set)
        if report.due.count_rules() != 1:
            yield PackFault(CALENDAR, f"reports[{index}].due", "exactly one rule is needed")
        if report.data_set and report.data_set not in data_sets:
            reason = f"there is no reports/{report.data_set}.toml that can be read"
            yield PackFault(CALENDAR, f"reports[{index}].data_set", reason)
    for name in sorted(data_sets - named):
        yield PackFault(f"reports/{name}.toml", "", "no report of the calendar names this data set")


def _judge_sources(folder: Path, pack: Pack) -> Iterator[PackFault]:
    try:
        text = (folder / SOURCES).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        yield PackFault(SOURCES, "", "is missing or cannot be read")
        return
    listed = set(_SOURCE_ENTRY.findall(text))
    cited: set[str] = set()
    for name, entry in pack.list_statements():
        cited.update(entry.see)
        for reference in entry.see:
            if reference not in listed:
                yield PackFault(SOURCES, "", f"{name} refers to {reference}, which has no entry")
    for reference in sorted(listed - cited):
        yield PackFault(SOURCES, reference, "no statement refers to this entry")
