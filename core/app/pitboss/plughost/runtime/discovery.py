"""Plugins and packs of this process: found by their metadata, loaded once, kept until it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

import msgspec
from stevedore.extension import error_on_conflict
from stevedore.named import NamedExtensionManager

from pitboss.plughost.contracts import (
    ENTRY_POINT_PREFIX,
    PACK_KIND,
    Candidate,
    CellFile,
    LoadedPack,
    LoadedPlugin,
    Stage,
)
from pitboss.plughost.errors import FileInvalid, PluginUnavailable
from pitboss.plughost.rules import (
    decide_allowed,
    decide_compatible,
    decode_cell_file,
    decode_manifest,
    demand_specifier,
)
from pitboss.plughost.runtime.hooks import Hooks
from pitboss_sdk.contract import find_contract_faults
from pitboss_sdk.jurisdiction import PackInvalid, PackManifest, read_manifest, read_pack
from pitboss_sdk.manifest import Manifest

MANIFEST_NAME: Final = "manifest.toml"
_MAX_FILE_BYTES: Final = 256 * 1024


class PluginHost:
    """The plugins and packs that passed the gates of a process, and all that were found, with why others did not."""

    def __init__(
        self,
        candidates: Iterable[Candidate],
        plugins: Mapping[str, LoadedPlugin],
        packs: Mapping[str, LoadedPack] = MappingProxyType({}),
        hooks: Hooks | None = None,
    ) -> None:
        found = tuple(candidates)
        self.candidates = tuple(candidate for candidate in found if candidate.kind != PACK_KIND)
        self.pack_candidates = tuple(candidate for candidate in found if candidate.kind == PACK_KIND)
        self.plugins: Mapping[str, LoadedPlugin] = MappingProxyType(dict(plugins))
        self.packs: Mapping[str, LoadedPack] = MappingProxyType(dict(packs))
        self.hooks = hooks or Hooks()

    def get_plugin(self, slug: str) -> LoadedPlugin:
        """Return a loaded plugin; raise `PluginUnavailable` with the gate that holds it back."""
        plugin = self.plugins.get(slug)
        if plugin is None:
            raise PluginUnavailable(f"plugin {slug!r}: {_tell_why(self.candidates, slug)}")
        return plugin

    def get_pack(self, slug: str) -> LoadedPack:
        """Return a loaded jurisdiction pack; raise `PluginUnavailable` with the gate that holds it back."""
        pack = self.packs.get(slug)
        if pack is None:
            raise PluginUnavailable(f"pack {slug!r}: {_tell_why(self.pack_candidates, slug)}")
        return pack


def _tell_why(candidates: Sequence[Candidate], slug: str) -> str:
    reasons = [reason for found in candidates if found.name == slug for reason in found.problems]
    installed = ", ".join(sorted({found.name for found in candidates})) or "none"
    return "; ".join(reasons) or f"is not installed; installed are {installed}"


def load_host(cell: CellFile | None) -> PluginHost:
    """Discover, judge and load what `cell` allows; without a cell everything compatible (for authors)."""
    found = list(_entry_points())
    decided = decide_compatible([_discover(point) for point in found])
    candidates: list[Candidate] = []
    plugins: dict[str, LoadedPlugin] = {}
    packs: dict[str, LoadedPack] = {}
    hooks = Hooks()
    for point, compatible in zip(found, decided, strict=True):
        candidate = compatible if cell is None else decide_allowed(compatible, cell)
        manifest = candidate.manifest
        if manifest is not None and candidate.stage == (Stage.COMPATIBLE if cell is None else Stage.ALLOWED):
            problems: list[str] = []
            if isinstance(manifest, Manifest):
                driver, problems = _load(point)
                problems = problems or find_contract_faults(driver, manifest) or hooks.register(candidate.name, driver)
                if not problems:
                    plugins[candidate.name] = LoadedPlugin(manifest, candidate.distribution, candidate.version, driver)
            else:
                try:
                    pack = read_pack(Path(candidate.manifest_file).parent)
                    packs[candidate.name] = LoadedPack(pack, candidate.distribution, candidate.version)
                except PackInvalid as invalid:
                    problems = [str(fault) for fault in invalid.faults]
            if problems:
                candidate = msgspec.structs.replace(candidate, problems=(*candidate.problems, *problems))
            else:
                candidate = msgspec.structs.replace(candidate, stage=Stage.LOADED)
        candidates.append(candidate)
    return PluginHost(candidates, plugins, packs, hooks)


def discover(cell: CellFile | None = None) -> list[Candidate]:
    """Return every installed plugin, judged by the gates that need none of its code."""
    return [candidate for candidate in _discover_all(cell) if candidate.kind != PACK_KIND]


def discover_packs(cell: CellFile | None = None) -> list[Candidate]:
    """Return every installed jurisdiction pack, judged by its manifest and the cell's file."""
    return [candidate for candidate in _discover_all(cell) if candidate.kind == PACK_KIND]


def _discover_all(cell: CellFile | None) -> list[Candidate]:
    decided = decide_compatible([_discover(point) for point in _entry_points()])
    return decided if cell is None else [decide_allowed(candidate, cell) for candidate in decided]


def read_cell_file(path: Path) -> CellFile:
    """Read a cell's file; raise `FileInvalid`."""
    cell = decode_cell_file(str(path), _read_text(path))
    if path.stem != cell.cell:
        raise FileInvalid(str(path), "cell", f"{cell.cell!r} is not the name of the file")
    return cell


def _entry_points() -> Iterator[EntryPoint]:
    points = entry_points()
    for group in sorted(group for group in points.groups if group.startswith(ENTRY_POINT_PREFIX)):
        yield from sorted(points.select(group=group), key=lambda point: (point.name, point.value))


def _discover(point: EntryPoint) -> Candidate:
    distribution = point.dist
    candidate = Candidate(
        kind=point.group.removeprefix(ENTRY_POINT_PREFIX),
        name=point.name,
        distribution=distribution.name if distribution else "",
        version=distribution.version if distribution else "",
        target=point.value,
    )
    # A plugin's entry point leads to a module beside the manifest, a pack's to the package that holds it.
    is_pack = candidate.kind == PACK_KIND
    package = point.module if is_pack else point.module.rpartition(".")[0]
    path = None if distribution is None else _find_manifest(distribution, package)
    if path is None:
        place = f"in package {package}" if is_pack else f"beside module {point.module}"
        problem = f"no {MANIFEST_NAME} {place}"
        return msgspec.structs.replace(candidate, problems=(problem,))
    candidate = msgspec.structs.replace(candidate, manifest_file=str(path))
    try:
        manifest = _read_pack_manifest(path) if is_pack else decode_manifest(str(path), _read_text(path))
        return msgspec.structs.replace(candidate, manifest=manifest)
    except FileInvalid as error:
        return msgspec.structs.replace(candidate, problems=(error.detail,))


def _read_pack_manifest(path: Path) -> PackManifest:
    try:
        manifest = read_manifest(path.parent)
    except PackInvalid as invalid:
        fault = invalid.faults[0]
        raise FileInvalid(str(path), fault.key, fault.reason) from None
    demand_specifier(str(path), "sdk", manifest.sdk)
    return manifest


def _find_manifest(distribution: Distribution, package: str) -> Path | None:
    """Return the manifest in `package` among the distribution's own files; nothing of it is imported."""
    relative = Path(*package.split("."), MANIFEST_NAME)
    for root in _roots(distribution):
        path = root / relative
        if path.is_file():
            return path
    return None


def _roots(distribution: Distribution) -> Iterator[Path]:
    """Yield the folders that hold the distribution's packages: site-packages, or those an editable install names."""
    files = distribution.files or []
    if any(file.name == MANIFEST_NAME for file in files):
        yield Path(str(distribution.locate_file("")))
    for file in files:
        if file.suffix == ".pth":
            lines = Path(str(distribution.locate_file(file))).read_text(encoding="utf-8").splitlines()
            yield from (Path(line) for line in lines if line and not line.startswith(("#", "import ", "import\t")))
    direct = distribution.read_text("direct_url.json")
    if direct:
        address = urlsplit(str(msgspec.json.decode(direct, type=_DirectUrl).url))
        if address.scheme == "file":
            project = Path(url2pathname(address.path))
            yield from (project, project / "src")


class _DirectUrl(msgspec.Struct):
    url: str = ""


class _OneEntryPoint(NamedExtensionManager[Any]):
    """Stevedore's loading without its search and its cache on disk: the gates have chosen the entry point."""

    def __init__(self, point: EntryPoint, failures: list[str]) -> None:
        self._point = point

        def tell(_manager: object, _point: EntryPoint, error: BaseException) -> None:
            failures.append(f"{point.value} cannot be loaded: {type(error).__name__}: {error}")

        super().__init__(
            point.group,
            [point.name],
            on_load_failure_callback=tell,
            on_missing_entrypoints_callback=None,
            conflict_resolver=error_on_conflict,
        )

    def list_entry_points(self) -> list[EntryPoint]:
        """Return the one entry point that passed the gates."""
        return [self._point]


def _load(point: EntryPoint) -> tuple[Any, list[str]]:
    failures: list[str] = []
    try:
        manager = _OneEntryPoint(point, failures)
    except AssertionError as error:  # the one ordinary error that stevedore does not report
        return None, [f"{point.value} cannot be loaded: AssertionError: {error}"]
    if failures:
        return None, failures
    return manager[point.name].plugin, []


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise FileInvalid(str(path), "", f"is larger than {_MAX_FILE_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "is not UTF-8 text"
        raise FileInvalid(str(path), "", f"cannot be read: {reason}") from None
