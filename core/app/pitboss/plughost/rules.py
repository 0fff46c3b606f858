"""The gates of a plugin, decided from values already read."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, cast, get_args

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from pitboss.audit.contracts import Change
from pitboss.plughost.contracts import (
    ENTRY_POINT_PREFIX,
    KINDS,
    PACK_KIND,
    Candidate,
    CellFile,
    Circuit,
    Enablement,
    HealthState,
    LoadedPlugin,
    Stage,
    Verdict,
)
from pitboss.plughost.errors import FileInvalid, LocalityRefused
from pitboss_sdk import SDK_VERSION
from pitboss_sdk.manifest import MANIFEST_VERSION, MAX_SKEW_SECONDS, GamesCapability, Manifest, find_webhook_faults
from pitboss_sdk.secrets import SecretRef
from pitboss_sdk.webhooks import MAX_EVENT_ID_LENGTH, Accepted

T = TypeVar("T")

FAILURES_TO_PAUSE: Final = 5
"""Calls in a row without an answer of the vendor, after which a driver is given a rest."""
PAUSE_SECONDS: Final = 30
FAULTS_TO_QUARANTINE: Final = 3
"""Calls in a row in which the plugin broke its contract."""
QUARANTINE_SECONDS: Final = 60
"""Longer than a pause, and not for good: what made it raise may have been one player's launch."""

_OPERATION: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}", re.ASCII)
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_PATH: Final = re.compile(r"(?s)(.*?)(?: - at `(.*)`)?")
_NAMED_FIELD: Final = re.compile(r"Object (contains unknown|missing required) field `(.*)`")


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
        reason = _tell_more(shape, key, reason)
        raise FileInvalid(file, ".".join(part for part in (below, key) if part), reason) from None


def _tell_more(shape: type[Any], key: str, reason: str) -> str:
    """Return the reason with what the author of the file can do, where the key is one of the table itself."""
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(shape)}
    if reason == "is not a key here" and "." not in key:
        return f"{reason}; known are {', '.join(fields)}"
    if SecretRef in {fields.get(key), *get_args(fields.get(key))} and reason != "is missing":
        return 'is a secret: write { secret = "name" } here, and the value under that name into the cell\'s store'
    return reason


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
    for key, reason in find_webhook_faults(manifest):
        raise FileInvalid(file, key, reason)
    demand_specifier(file, "sdk", manifest.sdk)
    decode_capability(file, manifest)
    return manifest


def demand_specifier(file: str, key: str, text: str) -> None:
    """Let a PEP 440 specifier pass; raise `FileInvalid`."""
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        raise FileInvalid(file, key, f"{text!r} is not a PEP 440 specifier") from None


def decode_capability(file: str, manifest: Manifest) -> GamesCapability:
    """Return what a plugin of kind `games` says it can do; raise `FileInvalid`."""
    capability = decode_table(file, manifest.capability, GamesCapability, below="capability")
    for operation in capability.operations:
        if not _OPERATION.fullmatch(operation):
            raise FileInvalid(file, "capability.operations", f"{operation!r} cannot be a part of an address")
    if not capability.operations:
        raise FileInvalid(file, "capability.operations", "is empty")
    if not 0 <= capability.call_skew_seconds <= MAX_SKEW_SECONDS:
        raise FileInvalid(file, "capability.call_skew_seconds", f"is not from 0 to {MAX_SKEW_SECONDS}")
    return capability


def decode_cell_file(file: str, text: str) -> CellFile:
    """Return a cell's file; raise `FileInvalid`."""
    cell = decode_toml(file, text, CellFile)
    for key, entries in (("plugins", cell.plugins), ("packs", cell.packs)):
        seen: set[str] = set()
        for index, allowed in enumerate(entries):
            demand_specifier(file, f"{key}[{index}].versions", allowed.versions)
            name = canonicalize_name(allowed.distribution)
            if name in seen:
                raise FileInvalid(file, f"{key}[{index}].distribution", f"{name!r} comes twice")
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
    listed = cell.packs if candidate.kind == PACK_KIND else cell.plugins
    allowed = next((one for one in listed if canonicalize_name(one.distribution) == name), None)
    if allowed is None:
        problem = f"distribution {candidate.distribution!r} is not allowed in cell {cell.cell}"
    else:
        try:
            version = Version(candidate.version)
            fits = SpecifierSet(allowed.versions).contains(version, prereleases=True)
        except InvalidVersion:
            fits = False
        problem = "" if fits else f"version {candidate.version} is outside {allowed.versions!r} of cell {cell.cell}"
        problem = problem or _locality_problem(candidate, cell)
    if problem:
        return msgspec.structs.replace(candidate, problems=(*candidate.problems, problem))
    return msgspec.structs.replace(candidate, stage=Stage.ALLOWED)


def _locality_problem(candidate: Candidate, cell: CellFile) -> str:
    """Return why a plugin may not run in the cell's locality; packs say theirs by what they are."""
    if not isinstance(candidate.manifest, Manifest):
        return ""
    try:
        demand_locality(candidate.manifest, cell.locality)
    except LocalityRefused as refused:
        return refused.detail
    return ""


def decode_config(plugin: LoadedPlugin, table: Mapping[str, Any], file: str) -> msgspec.Struct:
    """Return a tenant's table as the plugin's configuration; raise `FileInvalid`."""
    return cast("msgspec.Struct", decode_table(file, table, plugin.driver.Config))


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


def decide_admission(circuit: Circuit, now: float) -> str:
    """Return why no call may be made now, or an empty string."""
    if circuit.paused_until is None:
        return ""
    if now < circuit.paused_until or circuit.on_trial:
        return "held back: the plugin breaks its contract" if _is_faulty(circuit) else "held back: the vendor fails"
    return ""


def decide_circuit(circuit: Circuit, verdict: Verdict, now: float) -> Circuit:
    """Return what is remembered after a call. A failed trial pauses again at once, a success forgets everything."""
    if verdict is Verdict.SUCCESS:
        return Circuit()
    failures = circuit.failures + 1
    faults = circuit.faults + 1 if verdict is Verdict.FAULT else 0
    after = Circuit(failures, faults, circuit.paused_until)
    if _is_faulty(after):
        return msgspec.structs.replace(after, paused_until=now + QUARANTINE_SECONDS)
    if failures >= FAILURES_TO_PAUSE or circuit.is_paused:
        return msgspec.structs.replace(after, paused_until=now + PAUSE_SECONDS)
    return after


def decide_health(circuit: Circuit) -> HealthState:
    """Return how the driver fares."""
    if not circuit.is_paused:
        return HealthState.HEALTHY
    return HealthState.QUARANTINED if _is_faulty(circuit) else HealthState.DEGRADED


def _is_faulty(circuit: Circuit) -> bool:
    return circuit.faults >= FAULTS_TO_QUARANTINE


MAX_WEBHOOK_ATTEMPTS: Final = 6
"""After so many the event is parked: it is not lost, and somebody has to look at it."""


MAX_TIME_US: Final = 253_402_300_800 * 10**6
"""The end of the year 9999 in microseconds since 1970: no later time can be told."""


def decide_fresh(accepted: Accepted, received_at_us: int, skew_seconds: int) -> str:
    """Return why the signed time of a webhook is not believed, or an empty string."""
    if not skew_seconds:
        return ""
    if accepted.sent_at_us is None:
        return "no time is signed"
    off_us = received_at_us - accepted.sent_at_us
    if off_us > skew_seconds * 1_000_000:
        return f"it was signed more than {skew_seconds} s ago"
    return f"it is signed more than {skew_seconds} s ahead" if -off_us > skew_seconds * 1_000_000 else ""


def compute_webhook_pause_seconds(attempts: int, *, is_held: bool = False) -> int:
    """Return how long an event waits after its `attempts`-th failure: 2, 4, 8 … seconds.

    One whose receiver is held back waits as long as that is: each time leaves a job behind, and a thousand may wait.
    """
    return QUARANTINE_SECONDS if is_held else int(2 ** min(attempts, 8))


def is_storable(accepted: Accepted) -> bool:
    """Return whether ids and numbers of an event can be kept as they are."""
    texts = (accepted.event_id, accepted.object_id)
    return (
        bool(accepted.event_id)
        and all(len(text) <= MAX_EVENT_ID_LENGTH and text.isprintable() for text in texts)
        and 0 <= accepted.sequence < 2**63
        and (accepted.sent_at_us is None or 0 <= accepted.sent_at_us < MAX_TIME_US)
    )
