"""Settings of a process, read once from the environment variables that begin with PITBOSS_."""

from __future__ import annotations

import os
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from pitboss_sdk.errors import ErrorKind, PitbossError

PREFIX: Final = "PITBOSS_"
_MIN_CONTEXT_KEY_BYTES: Final = 32
_MAX_CONTEXT_KEY_BYTES: Final = 64
_ED25519_KEY_BYTES: Final = 32
_KEY_ID: Final = re.compile("[a-z0-9]{1,16}")
_MADE_FOR_DEMO: Final = re.compile("(^|[:,])demo")


class SettingsInvalid(PitbossError):
    """A variable is unknown, missing or holds what it may not; the detail names each with the reason."""

    code = "platform.settings_invalid"
    kind = ErrorKind.INVALID


TextField = Literal[
    "control_database_url",
    "control_sequencer_database_url",
    "control_migrate_url",
    "cell_database_url",
    "cell_worker_database_url",
    "cell_relay_database_url",
    "cell_sequencer_database_url",
    "cell_migrate_url",
    "admin_database_url",
    "backup_database_url",
    "redis_url",
    "operator_token",
]
"""Settings of text that may be missing; what `require` takes besides keys and paths."""


class ContextKey(msgspec.Struct, frozen=True):
    """A key that signs tenant contexts; the database holds the same under the same id."""

    key_id: str
    secret: bytes


class NamedKey(msgspec.Struct, frozen=True):
    """Half of an Ed25519 pair, 32 raw bytes, under the id that signatures carry."""

    key_id: str
    raw: bytes


def _about(description: str, *, secret: bool = False) -> msgspec.Meta:
    return msgspec.Meta(description=description, extra={"secret": secret})


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that differs between two deployments of the same code."""

    plane: Annotated[
        Literal["control", "cell", "all"], _about("What this process may serve; `all` is for a laptop.")
    ] = "all"
    environment: Annotated[
        Literal["demo", "production"],
        _about("`production` refuses secrets that the demo made (they, or the ids of keys, begin with `demo`)."),
    ] = "demo"
    cell: Annotated[str, _about("The deployed stack this process belongs to.")] = "eu-1"
    locality: Annotated[str, _about("The legal zone of the cell.")] = "eu"
    host: Annotated[str, _about("Address to listen on.")] = "127.0.0.1"
    port: Annotated[
        int, _about("Port a web process listens on; for `pitboss run` the first port of the block it hands out.")
    ] = 8080
    metrics_port: Annotated[
        int | None,
        _about("Port on which a worker or relay serves /healthz, /readyz and /metrics; unset, it serves none."),
    ] = None
    wallet_port: Annotated[
        int | None,
        _about("Port on which the web of a cell takes wallet calls and nothing else; unset, only its web port does."),
    ] = None
    state_dir: Annotated[Path, _about("Folder of `pitboss run`: servers, logs, generated secrets.")] = Path(".pitboss")
    control_database_url: Annotated[str | None, _about("Control database, login of the application.", secret=True)] = (
        None
    )
    control_sequencer_database_url: Annotated[
        str | None, _about("Control database, login of the sequencer of control's own audit log.", secret=True)
    ] = None
    control_migrate_url: Annotated[str | None, _about("Control database, login that migrates.", secret=True)] = None
    cell_database_url: Annotated[str | None, _about("Cell database, login of web.", secret=True)] = None
    cell_worker_database_url: Annotated[str | None, _about("Cell database, login of the worker.", secret=True)] = None
    cell_relay_database_url: Annotated[str | None, _about("Cell database, login of the outbox relay.", secret=True)] = (
        None
    )
    cell_sequencer_database_url: Annotated[
        str | None, _about("Cell database, login of the sequencer of audit logs.", secret=True)
    ] = None
    cell_migrate_url: Annotated[str | None, _about("Cell database, login that migrates.", secret=True)] = None
    admin_database_url: Annotated[
        str | None, _about("Login that may make roles and databases; only provisioning uses it.", secret=True)
    ] = None
    backup_database_url: Annotated[
        str | None, _about("The cell's cluster, login that may replicate it and nothing else.", secret=True)
    ] = None
    backup_dir: Annotated[
        Path | None, _about("Folder of the cell's backups, in its locality; refused when it is another cell's.")
    ] = None
    redis_url: Annotated[str | None, _about("Redis of the cell.", secret=True)] = None
    context_keys: Annotated[
        tuple[ContextKey, ...],
        _about(
            "Keys of the signed tenant context, `id:hex` separated by commas (32 to 64 bytes each):"
            " the first signs, all are accepted.",
            secret=True,
        ),
    ] = ()
    directory_signing_key: Annotated[
        NamedKey | None, _about("Ed25519 key, `id:hex`, with which control signs the tenant directory.", secret=True)
    ] = None
    directory_public_keys: Annotated[
        tuple[NamedKey, ...],
        _about("Ed25519 public keys, `id:hex` separated by commas, that a cell accepts on the directory."),
    ] = ()
    call_signing_key: Annotated[
        NamedKey | None, _about("Ed25519 key, `id:hex`, with which control signs its calls to cells.", secret=True)
    ] = None
    call_public_keys: Annotated[
        tuple[NamedKey, ...],
        _about("Ed25519 public keys, `id:hex` separated by commas, that a cell accepts on calls of control."),
    ] = ()
    operator_token: Annotated[
        str | None, _about("Bearer token of the operator API and of the status page beyond loopback.", secret=True)
    ] = None
    secrets_file: Annotated[
        Path | None, _about("TOML file, mode 0600, with the secrets that tenants' plugin configurations name.")
    ] = None
    key_service: Annotated[
        str,
        _about(
            "Where keys of personal data are: `file:<folder>` (demo only), `vault:<address>/<mount>` or `aws:<region>`."
        ),
    ] = "file:.pitboss/keys"
    worm_store: Annotated[
        str, _about("Where evidence is kept write-once: `file:<folder>` (demo only) or `s3:<bucket>@<region>`.")
    ] = "file:.pitboss/worm"
    seal_seconds: Annotated[
        int, _about("How long audit entries under a checkpoint wait at most to be put into the write-once store.")
    ] = 900
    key_service_token: Annotated[str | None, _about("Token for Vault or OpenBao.", secret=True)] = None
    audit_keys_file: Annotated[
        Path | None,
        _about("TOML file, mode 0600, with the Ed25519 key that signs audit logs, `current`, and the one before it."),
    ] = None
    witness: Annotated[
        str | None, _about("Address and public key of the witness of audit logs, with a space between; unset, none.")
    ] = None
    witness_file: Annotated[
        Path | None, _about("TOML file, mode 0600, of a witness: its name, its key and the logs that it signs.")
    ] = None
    witness_dir: Annotated[Path, _about("Folder in which a witness keeps the last checkpoint of each log.")] = Path(
        ".pitboss/witness"
    )
    cell_file: Annotated[Path, _about("The cell's file: locality and allowed plugins.")] = Path(
        "deploy/cells/eu-1.toml"
    )
    tenants_dir: Annotated[Path, _about("Folder with one folder per tenant.")] = Path("tenants")
    simulate_rate: Annotated[
        int, _about("Rounds per second that `pitboss run` lets the traffic source of each cell play; 0 starts none.")
    ] = 5
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _about("Least severity that is logged.")] = (
        "info"
    )
    otlp_endpoint: Annotated[
        str | None,
        _about(
            "Address of an OpenTelemetry collector (OTLP over HTTP; /v1/traces is added); unset, nothing is traced."
        ),
    ] = None
    trace_one_in: Annotated[int, _about("One in so many traces is recorded, from its beginning to its end.")] = 10
    trace_wallet_one_in: Annotated[int, _about("One in so many wallet calls is recorded.")] = 1000
    lanes: Annotated[int, _about("Wallet lanes of a cell web, each with a connection of its own.")] = 1
    mail_spool_dir: Annotated[Path, _about("Folder into which the worker writes mail as .eml files.")] = Path(
        ".pitboss/mail"
    )
    objects_dir: Annotated[
        Path, _about("Folder of tenants' files (exports of data subjects), shared by the web and workers of a cell.")
    ] = Path(".pitboss/objects")
    given: frozenset[str] = frozenset()
    """Names of the settings that the environment sets; no setting itself."""


class SettingDoc(msgspec.Struct, frozen=True):
    """One row of the table of all settings."""

    variable: str
    field: str
    type: str
    default: str
    description: str
    secret: bool


def list_settings() -> list[SettingDoc]:
    """Return the table of all settings, in the order of their declaration."""
    return [doc for doc, _ in _table()]


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read PITBOSS_* from `environ` (the process's own by default); raise `SettingsInvalid` with every fault at once."""
    source = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    faults: list[str] = []
    known = {doc.variable: (doc.field, kind) for doc, kind in _table()}
    for name in sorted(each for each in source if each.startswith(PREFIX)):
        if name not in known:
            faults.append(f"{name}: no such setting")
            continue
        field, kind = known[name]
        try:
            values[field] = _parse(kind, source[name], field)
        except ValueError as error:
            faults.append(f"{name}: {error}")
    if not faults and values.get("environment") == "production":
        secrets = [doc for doc, _ in _table() if doc.secret]
        faults.extend(
            f"{doc.variable}: made for the demo, refused in production"
            for doc in secrets
            if _MADE_FOR_DEMO.search(source.get(doc.variable, ""))
        )
    if faults:
        raise SettingsInvalid("; ".join(faults))
    return Settings(**values, given=frozenset(values))


@typing.overload
def require(settings: Settings, field: Literal["directory_signing_key", "call_signing_key"]) -> NamedKey: ...
@typing.overload
def require(settings: Settings, field: Literal["context_keys"]) -> tuple[ContextKey, ...]: ...
@typing.overload
def require(settings: Settings, field: Literal["directory_public_keys"]) -> tuple[NamedKey, ...]: ...
@typing.overload
def require(
    settings: Settings, field: Literal["secrets_file", "audit_keys_file", "witness_file", "backup_dir"]
) -> Path: ...
@typing.overload
def require(settings: Settings, field: TextField) -> str: ...
def require(settings: Settings, field: str) -> Any:
    """Return a setting that this process cannot do without; raise `SettingsInvalid` if it is not set."""
    require_all(settings, field)
    return getattr(settings, field)


def require_all(settings: Settings, *fields: str) -> None:
    """Raise `SettingsInvalid` with every setting of `fields` that is not set, before anything begins."""
    missing = [field for field in fields if getattr(settings, field) in {None, ()}]
    if missing:
        raise SettingsInvalid(
            "; ".join(f"{variable(field)}: this process needs it and it is not set" for field in missing)
        )


def raw_values(settings: Settings) -> dict[str, str]:
    """Return the variables of this process's environment that set a setting, as they stand there."""
    return {name: os.environ[name] for field in settings.given if (name := variable(field)) in os.environ}


def child_environ(values: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a child: ours without any setting, and `values` instead."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**inherited, **values}


def variable(field: str) -> str:
    """Return the name of the environment variable that sets a setting."""
    return PREFIX + field.upper()


def _table() -> Iterator[tuple[SettingDoc, Any]]:
    hints = typing.get_type_hints(Settings, include_extras=True)
    for field in msgspec.structs.fields(Settings):
        hint = hints[field.name]
        if typing.get_origin(hint) is not Annotated:
            continue
        kind, meta = typing.get_args(hint)
        extra: dict[str, Any] = meta.extra or {}
        doc = SettingDoc(
            variable=variable(field.name),
            field=field.name,
            type=_type_name(kind),
            default="" if field.default is None or field.default == () else str(field.default),
            description=meta.description or "",
            secret=bool(extra.get("secret")),
        )
        yield doc, kind


def _type_name(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return " | ".join(typing.get_args(kind))
    return _TYPES[_without_none(kind)][0]


def _without_none(kind: Any) -> Any:
    if isinstance(kind, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not type(None))
    return kind


def _parse(kind: Any, raw: str, field: str) -> Any:
    if raw == "":
        raise ValueError("is empty; unset it instead")
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if raw not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return raw
    value = _TYPES[_without_none(kind)][1](raw)
    check = _CHECKS.get(field)
    if check is not None:
        check(value)
    return value


def _number(raw: str) -> int:
    if not (raw.isascii() and raw.isdigit()):
        raise ValueError("must be a whole number")
    return int(raw)


def _keys(raw: str, low: int, high: int) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    for part in raw.split(","):
        key_id, separator, digits = part.strip().partition(":")
        if not separator or not _KEY_ID.fullmatch(key_id):
            raise ValueError("must be id:hex, more separated by commas; an id has 1 to 16 of a-z and 0-9")
        try:
            raw_key = bytes.fromhex(digits)
        except ValueError:
            raise ValueError(f"key {key_id} is not hexadecimal") from None
        if not low <= len(raw_key) <= high:
            raise ValueError(f"key {key_id} must have {low}{'' if low == high else f' to {high}'} bytes")
        if key_id in seen:
            raise ValueError(f"key id {key_id} is given twice")
        seen.add(key_id)
        yield key_id, raw_key


def _context_keys(raw: str) -> tuple[ContextKey, ...]:
    return tuple(ContextKey(*pair) for pair in _keys(raw, _MIN_CONTEXT_KEY_BYTES, _MAX_CONTEXT_KEY_BYTES))


def _named_keys(raw: str) -> tuple[NamedKey, ...]:
    return tuple(NamedKey(*pair) for pair in _keys(raw, _ED25519_KEY_BYTES, _ED25519_KEY_BYTES))


def _named_key(raw: str) -> NamedKey:
    keys = _named_keys(raw)
    if len(keys) != 1:
        raise ValueError("must be one key")
    return keys[0]


_TYPES: Final[dict[Any, tuple[str, Callable[[str], Any]]]] = {
    str: ("text", str),
    int: ("whole number", _number),
    Path: ("path", Path),
    tuple[ContextKey, ...]: ("list of id:hex", _context_keys),
    tuple[NamedKey, ...]: ("list of id:hex", _named_keys),
    NamedKey: ("id:hex", _named_key),
}


def _port(value: int) -> None:
    if not 1 <= value <= 65535:
        raise ValueError("must be a port, 1 to 65535")


def _slug(value: str) -> None:
    if not all(c.isascii() and (c.islower() or c.isdigit() or c == "-") for c in value):
        raise ValueError("may hold lower-case letters, digits and -")


def _lanes(value: int) -> None:
    if not 1 <= value <= 16:
        raise ValueError("must be 1 to 16")


def _database_url(value: str) -> None:
    if not value.startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql://")


def _redis_url(value: str) -> None:
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis://, rediss:// or unix://")


def _collector_url(value: str) -> None:
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._/-]*)?", value):
        raise ValueError("must be an http:// or https:// address without user, query or fragment")


def _one_in(value: int) -> None:
    if value < 1:
        raise ValueError("must be 1 or more")


def _key_service(value: str) -> None:
    if not re.fullmatch(r"file:.+|vault:https?://[^/@]+(/[\w-]+)+|aws:[a-z0-9-]+", value):
        raise ValueError("must be file:<folder>, vault:<address>/<mount> or aws:<region>")


def _worm_store(value: str) -> None:
    if not re.fullmatch(r"file:.+|s3:[a-z0-9.-]{3,63}@[a-z0-9-]+", value):
        raise ValueError("must be file:<folder> or s3:<bucket>@<region>")


def _token(value: str) -> None:
    if len(value) < 16:
        raise ValueError("must have at least 16 characters")


_CHECKS: Final[dict[str, Callable[[Any], None]]] = {
    "port": _port,
    "metrics_port": _port,
    "wallet_port": _port,
    "cell": _slug,
    "locality": _slug,
    "lanes": _lanes,
    "otlp_endpoint": _collector_url,
    "trace_one_in": _one_in,
    "trace_wallet_one_in": _one_in,
    "redis_url": _redis_url,
    "operator_token": _token,
    "key_service": _key_service,
    "worm_store": _worm_store,
    **dict.fromkeys(
        (
            "control_database_url",
            "control_migrate_url",
            "cell_database_url",
            "cell_worker_database_url",
            "cell_relay_database_url",
            "cell_sequencer_database_url",
            "cell_migrate_url",
            "admin_database_url",
            "backup_database_url",
        ),
        _database_url,
    ),
}
