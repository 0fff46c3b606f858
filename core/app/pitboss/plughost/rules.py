"""The gates of a plugin, decided from values already read."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from pitboss.audit.contracts import Change
from pitboss.plughost.contracts import ENTRY_POINT_PREFIX, KINDS, Candidate, CellFile, Enablement, LoadedPlugin, Stage
from pitboss.plughost.errors import FileInvalid, LocalityRefused
from pitboss_sdk import SDK_VERSION
from pitboss_sdk.games import DialectResponse, GamesPlugin, Refusal
from pitboss_sdk.manifest import MANIFEST_VERSION, GamesCapability, Manifest
from pitboss_sdk.secrets import SecretRef

T = TypeVar("T")

_MAX_BODY_BYTES: Final = 1024 * 1024
_OPERATION: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}", re.ASCII)
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_PATH: Final = re.compile(r"(?s)(.*?)(?: - at `(.*)`)?")
_NAMED_FIELD: Final = re.compile(r"Object (contains unknown|missing required) field `(.*)`")

GAMES_METHODS: Final = {
    "verify": False,
    "parse": False,
    "render": False,
    "render_refusal": False,
    "list_games": True,
    "launch": True,
}
"""Methods of a plugin of kind `games`, and whether they are asynchronous."""


def decode_toml(file: str, text: str, shape: type[T]) -> T:
    """Return the TOML `text` as `shape`; raise `FileInvalid` with the key and the reason."""
    try:
        return decode_table(file, tomllib.loads(text), shape)
    except tomllib.TOMLDecodeError as error:
        raise FileInvalid(file, "", f"is not TOML: {error}") from None
    except RecursionError:
        raise FileInvalid(file, "", "is nested too deeply") from None


def decode_table(file: str, table: Mapping[str, Any], shape: type[T], *, below: str = "") -> T:
    """Return a decoded table as `shape`; raise `FileInvalid` with the key, which stands below `below`."""
    try:
        return msgspec.convert(table, shape)
    except msgspec.ValidationError as error:
        key, reason = describe_fault(error)
        raise FileInvalid(file, ".".join(part for part in (below, key) if part), reason) from None


def describe_fault(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return the key, in TOML's notation, and the reason of a validation error."""
    match = _PATH.fullmatch(str(error))
    reason, path = (match.group(1), match.group(2) or "") if match else (str(error), "")
    key = path.removeprefix("$").removeprefix(".")
    named = _NAMED_FIELD.fullmatch(reason)
    if named:
        reason = "is not a key here" if named.group(1) == "contains unknown" else "is missing"
        key = ".".join(part for part in (key, named.group(2)) if part)
    return key, reason


def decode_manifest(file: str, text: str) -> Manifest:
    """Return a manifest; raise `FileInvalid` for what can be known to be wrong without the plugin's code."""
    manifest = decode_toml(file, text, Manifest)
    if manifest.manifest_version != MANIFEST_VERSION:
        raise FileInvalid(file, "manifest_version", f"this host reads version {MANIFEST_VERSION}")
    if manifest.config_version < 1:
        raise FileInvalid(file, "config_version", "counts from 1")
    if not manifest.processing_localities:
        raise FileInvalid(file, "processing_localities", 'is empty; write ["*"] for any')
    for host in manifest.egress:
        if not (host.startswith("config:") or _HOST.fullmatch(host)):
            raise FileInvalid(file, "egress", f"{host!r} is neither a host name nor config:<field>")
    if manifest.webhooks.skew_seconds < 0:
        raise FileInvalid(file, "webhooks.skew_seconds", "must not be negative")
    try:
        SpecifierSet(manifest.sdk)
    except InvalidSpecifier:
        raise FileInvalid(file, "sdk", f"{manifest.sdk!r} is not a PEP 440 specifier") from None
    decode_capability(file, manifest)
    return manifest


def decode_capability(file: str, manifest: Manifest) -> GamesCapability:
    """Return what a plugin of kind `games` says it can do; raise `FileInvalid`."""
    capability = decode_table(file, manifest.capability, GamesCapability, below="capability")
    for operation in capability.operations:
        if not _OPERATION.fullmatch(operation):
            raise FileInvalid(file, "capability.operations", f"{operation!r} cannot be a part of an address")
    if not capability.operations:
        raise FileInvalid(file, "capability.operations", "is empty")
    return capability


def decode_cell_file(file: str, text: str) -> CellFile:
    """Return a cell's file; raise `FileInvalid`."""
    cell = decode_toml(file, text, CellFile)
    seen: set[str] = set()
    for index, allowed in enumerate(cell.plugins):
        try:
            SpecifierSet(allowed.versions)
        except InvalidSpecifier:
            reason = f"{allowed.versions!r} is not a PEP 440 specifier"
            raise FileInvalid(file, f"plugins[{index}].versions", reason) from None
        name = canonicalize_name(allowed.distribution)
        if name in seen:
            raise FileInvalid(file, f"plugins[{index}].distribution", f"{name!r} comes twice")
        seen.add(name)
    return cell


def decide_compatible(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates past the second gate, or held back by it with the reasons."""
    slugs = Counter(candidate.name for candidate in candidates)
    decided: list[Candidate] = []
    for candidate in candidates:
        problems = [*candidate.problems, *_incompatibilities(candidate)]
        if slugs[candidate.name] > 1:
            others = sorted(c.distribution for c in candidates if c.name == candidate.name)
            problems.append(f"slug {candidate.name!r} is claimed more than once: {', '.join(others)}")
        stage = candidate.stage if problems else Stage.COMPATIBLE
        decided.append(msgspec.structs.replace(candidate, stage=stage, problems=tuple(problems)))
    return decided


def _incompatibilities(candidate: Candidate) -> Iterator[str]:
    group = ENTRY_POINT_PREFIX + candidate.kind
    if candidate.kind not in KINDS:
        yield f"entry point group {group!r}: this host knows no such kind"
    manifest = candidate.manifest
    if manifest is None:
        return
    if manifest.slug != candidate.name:
        yield f"{candidate.manifest_file}: slug: {manifest.slug!r} is not the entry point's name {candidate.name!r}"
    if manifest.kind != candidate.kind:
        yield f"{candidate.manifest_file}: kind: {manifest.kind!r} is not that of the entry point group {group!r}"
    if not SpecifierSet(manifest.sdk).contains(SDK_VERSION, prereleases=True):
        yield f"{candidate.manifest_file}: sdk: {manifest.sdk!r} excludes this host's SDK {SDK_VERSION}"
    if manifest.lifecycle == "retired":
        yield f"{candidate.manifest_file}: lifecycle: the plugin is retired"


def decide_allowed(candidate: Candidate, cell: CellFile) -> Candidate:
    """Return a compatible candidate past the third gate, or held back by the cell's file with the reason."""
    if candidate.stage != Stage.COMPATIBLE:
        return candidate
    name = canonicalize_name(candidate.distribution)
    allowed = next((one for one in cell.plugins if canonicalize_name(one.distribution) == name), None)
    if allowed is None:
        problem = f"distribution {candidate.distribution!r} is not allowed in cell {cell.cell}"
    else:
        try:
            version = Version(candidate.version)
            fits = SpecifierSet(allowed.versions).contains(version, prereleases=True)
        except InvalidVersion:
            fits = False
        problem = "" if fits else f"version {candidate.version} is outside {allowed.versions!r} of cell {cell.cell}"
    if problem:
        return msgspec.structs.replace(candidate, problems=(*candidate.problems, problem))
    return msgspec.structs.replace(candidate, stage=Stage.ALLOWED)


def find_contract_faults(driver: object, manifest: Manifest) -> list[str]:
    """Return where the loaded object disagrees with the contract of its kind or with its manifest."""
    if not isinstance(driver, type):
        return ["the entry point does not name a class"]
    faults = [*_config_faults(driver, manifest), *_attribute_faults(driver, manifest)]
    for method, asynchronous in GAMES_METHODS.items():
        faults += _method_faults(driver, method, asynchronous=asynchronous)
    if not faults:
        faults += _refusal_faults(driver)
    return faults


def _config_faults(driver: type[Any], manifest: Manifest) -> Iterator[str]:
    config = getattr(driver, "Config", None)
    if not (isinstance(config, type) and issubclass(config, msgspec.Struct)):
        yield "Config is not a msgspec.Struct"
        return
    if not config.__struct_config__.forbid_unknown_fields:
        yield "Config accepts unknown fields: a misspelt key would be ignored (forbid_unknown_fields=True)"
    for host in manifest.egress:
        field = host.removeprefix("config:")
        if field != host and field not in config.__struct_fields__:
            yield f"egress names the configuration field {field!r}, which Config does not have"


def _attribute_faults(driver: type[Any], manifest: Manifest) -> Iterator[str]:
    operations = getattr(driver, "operations", None)
    if not isinstance(operations, frozenset):
        yield "operations is not a frozenset"
    else:
        declared = set(decode_capability("manifest.toml", manifest).operations)
        spoken = {str(operation) for operation in cast("frozenset[object]", operations)}
        if spoken != declared:
            yield f"operations are {sorted(spoken)}, but the manifest declares {sorted(declared)}"
    body_bytes, answer_ms = getattr(driver, "max_body_bytes", None), getattr(driver, "answer_within_ms", None)
    if not (type(body_bytes) is int and 0 < body_bytes <= _MAX_BODY_BYTES):
        yield f"max_body_bytes is not a whole number from 1 to {_MAX_BODY_BYTES}"
    if not (type(answer_ms) is int and answer_ms > 0):
        yield "answer_within_ms is not a positive whole number"


def _method_faults(driver: type[Any], method: str, *, asynchronous: bool) -> Iterator[str]:
    found: object = inspect.getattr_static(driver, method, None)
    bound = isinstance(found, (classmethod, staticmethod))
    function: object = getattr(driver, method, None) if bound else found
    if not callable(function):
        yield f"{method} is missing"
        return
    if inspect.iscoroutinefunction(function) is not asynchronous:
        yield f"{method} must {'' if asynchronous else 'not '}be asynchronous"
    if method == "render_refusal" and not bound:
        yield "render_refusal must be a class method: it answers before a tenant is known"
        return
    wanted = list(inspect.signature(getattr(GamesPlugin, method)).parameters)
    try:
        inspect.signature(getattr(driver, method)).bind(*wanted)
    except (TypeError, ValueError) as error:
        yield f"{method} cannot be called with ({', '.join(wanted)}): {error}"


def _refusal_faults(driver: type[Any]) -> Iterator[str]:
    for refusal in Refusal:
        try:
            answer: object = driver.render_refusal(refusal, "detail")
        except Exception as error:  # noqa: BLE001 whatever the plugin raises is its fault and is told
            yield f"render_refusal({refusal.value}) raises {type(error).__name__}: {error}"
            continue
        if not (isinstance(answer, DialectResponse) and type(answer.body) is bytes and 200 <= answer.status < 600):
            yield f"render_refusal({refusal.value}) is not an answer"


def decode_config(plugin: LoadedPlugin, table: Mapping[str, Any], file: str) -> msgspec.Struct:
    """Return a tenant's table as the plugin's configuration; raise `FileInvalid`."""
    return cast("msgspec.Struct", decode_table(file, table, plugin.driver.Config))


def list_secrets(config: object) -> tuple[str, ...]:
    """Return the names of the secrets that a configuration refers to, wherever they stand in it."""
    return tuple(sorted(set(_walk_secrets(config))))


def _walk_secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretRef):
        yield value.secret
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from _walk_secrets(getattr(value, field))
    elif isinstance(value, Mapping):
        for part in cast("Mapping[object, object]", value).values():
            yield from _walk_secrets(part)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for part in cast("Sequence[object]", value):
            yield from _walk_secrets(part)


def demand_locality(manifest: Manifest, locality: str) -> None:
    """Let a plugin pass whose vendor may process data of `locality`; raise `LocalityRefused`."""
    if "*" not in manifest.processing_localities and locality not in manifest.processing_localities:
        permitted = ", ".join(manifest.processing_localities)
        raise LocalityRefused(f"plugin {manifest.slug} processes in {permitted}, not in {locality}")


def compute_changes(before: Enablement | None, plugin: LoadedPlugin, config: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return what enabling `plugin` with the table `config` would change, path by path; nothing when it is so already."""
    old: dict[str, Any] = {}
    if before is not None:
        old = {
            "enabled": before.enabled,
            "distribution": before.distribution,
            "version": before.version,
            "config_version": before.config_version,
            **flatten(before.config, "config"),
        }
    new = {
        "enabled": True,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "config_version": plugin.manifest.config_version,
        **flatten(config, "config"),
    }
    paths = [path for path in {**old, **new} if old.get(path) != new.get(path)]
    return tuple(Change(path, _value(old.get(path)), _value(new.get(path))) for path in paths)


def flatten(table: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the leaves of a nested table by their dotted path."""
    leaves: dict[str, Any] = {}
    for key, value in table.items():
        path = f"{prefix}.{key}"
        if isinstance(value, Mapping):
            leaves |= flatten(cast("Mapping[str, Any]", value), path)
        else:
            leaves[path] = value
    return leaves


def _value(value: Any) -> str | int | bool | list[str] | None:
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, (list, tuple)):
        return [str(part) for part in cast("Sequence[object]", value)]
    return str(value)
