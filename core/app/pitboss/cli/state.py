"""The state folder of `pitboss run`: its version, its generated secrets, and the settings that follow from both."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from pitboss.cli.demo_secrets import make_demo_secrets
from pitboss.platform.embedded import write_private
from pitboss.platform.processes import FolderLock
from pitboss_sdk.errors import ErrorKind, PitbossError

STATE_VERSION: Final = 1
MARK: Final = "SUPERVISED_BY_PITBOSS"
"""Environment variable of every supervised process; its value is the state folder, so leftovers can be told."""

_CONTROL_LOGINS: Final = ("app", "seq", "migrate")
_CELL_LOGINS: Final = ("app", "worker", "relay", "seq", "migrate", "backup")


class StateUnusable(PitbossError):
    """The state folder cannot be used by this version; the detail says what to do."""

    code = "run.state_unusable"
    kind = ErrorKind.CONFLICT


class State:
    """The folder, usually `.pitboss`, with everything that `pitboss run` makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.logs = self.folder / "logs"
        self.postgres = self.folder / "postgres"
        self.redis = self.folder / "redis"
        self.lock = FolderLock(self.folder / "lock")
        self._facts = self.folder / "state.toml"
        self._secrets = self.folder / "secrets.toml"

    def open(self) -> None:
        """Make the folder, take its lock and check its version; raise `FolderLocked` or `StateUnusable`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock.acquire()
        version = self.read_facts().get("version", STATE_VERSION)
        if version != STATE_VERSION:
            self.lock.release()
            raise StateUnusable(
                f"{self.folder} has state of version {version}, this is version {STATE_VERSION}:"
                " go back to the code that wrote it, or `pitboss reset`"
            )
        self.logs.mkdir(exist_ok=True, mode=0o700)
        (self.folder / "mail").mkdir(exist_ok=True, mode=0o700)
        self.write_facts({})

    def read_facts(self) -> dict[str, Any]:
        """Return what the folder remembers between runs."""
        return _read_toml(self._facts)

    def write_facts(self, changes: Mapping[str, str | int]) -> None:
        """Remember `changes` beside what is remembered already."""
        facts = {"version": STATE_VERSION, **self.read_facts(), **changes}
        fresh = self._facts.with_suffix(".new")
        fresh.write_text(_write_toml(facts))
        fresh.replace(self._facts)

    def secrets(self, cells: Iterable[str] = ()) -> dict[str, str]:
        """Return the generated secrets; what control or one of `cells` misses is made now, what is there stays."""
        known = cast("dict[str, str]", _read_toml(self._secrets))
        wanted = {**_generate(known, cells), **known}
        if wanted != known:
            write_private(self._secrets, _write_toml(wanted))
        return wanted

    def write_environment(self, name: str, values: Mapping[str, str]) -> Path:
        """Keep the settings of control or of a cell as a file for `.` in a shell, so that commands reach what runs."""
        file = self.folder / f"{name}.env"
        write_private(file, "".join(f"export {key}={shlex.quote(value)}\n" for key, value in sorted(values.items())))
        return file

    def plugin_secrets(self, cell: str) -> Path:
        """Return the file with the secrets of the plugins of a cell's tenants."""
        return self.folder / f"plugin-secrets-{cell}.toml"

    def audit_keys(self, cell: str) -> Path:
        """Return the file with the keys that sign the audit logs of a cell."""
        return self.folder / f"audit-keys-{cell}.toml"

    def prepare_plugin_secrets(self, cell: str, folders: Iterable[Path]) -> None:
        """Make a value for every secret that the plugin configurations in `folders` name and that has none yet."""
        add_demo_secrets(
            self.plugin_secrets(cell),
            {
                name
                for folder in folders
                for path in sorted(folder.glob("plugins/*.toml"))
                for name in _references(_read_toml(path))
            },
        )


def add_demo_secrets(file: Path, names: set[str]) -> None:
    """Make a value for each of `names` that has none in a file of secrets; make the file where there is none."""
    known = _read_toml(file)
    missing = names - known.keys()
    if missing or not file.exists():
        write_private(file, _write_toml({**known, **make_demo_secrets(missing)}))


def logins_of_control(state: State, postgres_port: int) -> dict[str, str]:
    """Return the settings, by field, that lead to control's database on the embedded PostgreSQL."""
    known = state.secrets()
    return {
        "control_database_url": _url(known, "app", "control", postgres_port),
        "control_sequencer_database_url": _url(known, "seq", "control", postgres_port),
        "control_migrate_url": _url(known, "migrate", "control", postgres_port),
    }


def logins_of_cell(state: State, cell: str, postgres_port: int) -> dict[str, str]:
    """Return the settings, by field, that lead to a cell's database on the embedded PostgreSQL."""
    known = state.secrets([cell])
    return {
        "cell_database_url": _url(known, "app", cell, postgres_port),
        "cell_worker_database_url": _url(known, "worker", cell, postgres_port),
        "cell_relay_database_url": _url(known, "relay", cell, postgres_port),
        "cell_sequencer_database_url": _url(known, "seq", cell, postgres_port),
        "cell_migrate_url": _url(known, "migrate", cell, postgres_port),
        "backup_database_url": _url(known, "backup", cell, postgres_port),
    }


def _url(known: Mapping[str, str], role: str, place: str, port: int) -> str:
    suffix = _suffix(place)
    return f"postgresql://pitboss_{role}_{suffix}:{known[f'{role}_{suffix}']}@127.0.0.1:{port}/pitboss_{suffix}"


def _suffix(place: str) -> str:
    return place.replace("-", "_")


def secrets_of_control(state: State) -> dict[str, str]:
    """Return control's settings, by field, whose values are generated whatever the servers are."""
    known = state.secrets()
    names = ("directory_signing_key", "call_signing_key", "operator_token")
    return {
        **{name: known[name] for name in names},
        "worm_store": f"file:{state.folder / 'worm' / 'control'}",
        "seal_seconds": "60",
    }


def secrets_of_cell(state: State, cell: str) -> dict[str, str]:
    """Return a cell's settings, by field, whose values are generated whatever the servers are."""
    known = state.secrets([cell])
    suffix = _suffix(cell)
    return {
        "context_keys": known[f"context_key_{suffix}"],
        "directory_public_keys": known["directory_public_key"],
        "call_public_keys": known["call_public_key"],
        "operator_token": known[f"operator_token_{suffix}"],
        "secrets_file": str(state.plugin_secrets(cell)),
        "worm_store": f"file:{state.folder / 'worm' / cell}",
        "seal_seconds": "60",
        "mail_spool_dir": str(state.folder / "mail" / cell),
        "objects_dir": str(state.folder / "objects" / cell),
        "key_service": f"file:{state.folder / 'keys' / cell}",
        "backup_dir": str(state.folder / "backups" / cell),
    }


def _generate(known: Mapping[str, str], cells: Iterable[str]) -> dict[str, str]:
    """Return fresh secrets of control and of each cell; no two databases share a password, a key or a token."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    made = {f"{role}_control": "demo-" + secrets.token_hex(24) for role in _CONTROL_LOGINS}
    made["operator_token"] = "demo-" + secrets.token_urlsafe(24)
    for suffix in map(_suffix, cells):
        made |= {f"{role}_{suffix}": "demo-" + secrets.token_hex(24) for role in _CELL_LOGINS}
        made[f"operator_token_{suffix}"] = "demo-" + secrets.token_urlsafe(24)
        made[f"context_key_{suffix}"] = "demo1:" + secrets.token_hex(32)
    for purpose in ("directory", "call"):
        if f"{purpose}_signing_key" not in known:
            key = Ed25519PrivateKey.generate()
            made[f"{purpose}_signing_key"] = "demo1:" + key.private_bytes_raw().hex()
            made[f"{purpose}_public_key"] = "demo1:" + key.public_key().public_bytes_raw().hex()
    return made


def _references(node: Any) -> Iterator[str]:
    """Yield the names in every `{ secret = "name" }` of a configuration."""
    if isinstance(node, dict):
        table = cast("dict[str, Any]", node)
        if table.keys() == {"secret"} and isinstance(table["secret"], str):
            yield table["secret"]
        for value in table.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in cast("list[Any]", node):
            yield from _references(value)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise StateUnusable(f"{path}: {error}") from None


def _write_toml(values: Mapping[str, str | int]) -> str:
    """Write a flat table; JSON's quoting of plain text is TOML's."""
    lines = [
        f"{name if re.fullmatch('[A-Za-z0-9_-]+', name) else json.dumps(name)} = {json.dumps(value)}"
        for name, value in values.items()
    ]
    return "\n".join(lines) + "\n"
