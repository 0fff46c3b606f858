"""The state folder of `pitboss run`: its version, its generated secrets, and the settings that follow from both."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from pitboss.platform.embedded import write_private
from pitboss.platform.processes import FolderLock
from pitboss.platform.settings import Settings, variable
from pitboss_sdk.errors import ErrorKind, PitbossError

STATE_VERSION: Final = 1
MARK: Final = "SUPERVISED_BY_PITBOSS"
"""Environment variable of every supervised process; its value is the state folder, so leftovers can be told."""

PASSWORDS: Final = (
    "app_control",
    "migrate_control",
    "app_cell",
    "worker_cell",
    "relay_cell",
    "migrate_cell",
)


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
        self.plugin_secrets = self.folder / "plugin-secrets.toml"
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

    def secrets(self) -> dict[str, str]:
        """Return the generated secrets; what is missing is made now, what is there stays."""
        known = cast("dict[str, str]", _read_toml(self._secrets))
        wanted = {**_generate(known), **known}
        if wanted != known:
            write_private(self._secrets, _write_toml(wanted))
        return wanted

    def prepare_plugin_secrets(self, tenants_dir: Path) -> None:
        """Make a value for every secret that a tenant's plugin configuration names and that has none yet."""
        known = _read_toml(self.plugin_secrets)
        names = {
            name for path in sorted(tenants_dir.glob("*/plugins/*.toml")) for name in _references(_read_toml(path))
        }
        missing = names - known.keys()
        if missing or not self.plugin_secrets.exists():
            made = {name: "demo-" + secrets.token_hex(32) for name in sorted(missing)}
            write_private(self.plugin_secrets, _write_toml({**known, **made}))

    def place_tenants(self, tenants_dir: Path, moved: Mapping[str, str]) -> Path:
        """Return a folder of tenants with the addresses of `moved` replaced: the given one where nothing changes."""
        if all(old == new for old, new in moved.items()):
            return tenants_dir
        placed = self.folder / "tenants"
        shutil.rmtree(placed, ignore_errors=True)
        shutil.copytree(tenants_dir, placed)
        for file in placed.glob("*/plugins/*.toml"):
            content = file.read_text()
            for old, new in moved.items():
                content = content.replace(old, new)
            file.write_text(content)
        return placed


def generated_values(settings: Settings, state: State, postgres_port: int) -> dict[str, str]:
    """Return settings for processes that use the embedded PostgreSQL and the generated secrets."""
    known = state.secrets()
    cell = settings.cell.replace("-", "_")

    def url(role: str, suffix: str, secret: str) -> str:
        return f"postgresql://pitboss_{role}_{suffix}:{known[secret]}@127.0.0.1:{postgres_port}/pitboss_{suffix}"

    fields = {
        "control_database_url": url("app", "control", "app_control"),
        "control_migrate_url": url("migrate", "control", "migrate_control"),
        "cell_database_url": url("app", cell, "app_cell"),
        "cell_worker_database_url": url("worker", cell, "worker_cell"),
        "cell_relay_database_url": url("relay", cell, "relay_cell"),
        "cell_migrate_url": url("migrate", cell, "migrate_cell"),
        **generated_keys(state),
    }
    return {variable(field): value for field, value in fields.items()}


def generated_keys(state: State) -> dict[str, str]:
    """Return the settings (by field) whose values are generated whatever the servers are."""
    known = state.secrets()
    return {
        "context_keys": known["context_key"],
        "directory_signing_key": known["directory_signing_key"],
        "directory_public_keys": known["directory_public_key"],
        "operator_token": known["operator_token"],
        "secrets_file": str(state.plugin_secrets),
        "mail_spool_dir": str(state.folder / "mail"),
    }


def _generate(known: Mapping[str, str]) -> dict[str, str]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    made = {name: "demo-" + secrets.token_hex(24) for name in PASSWORDS}
    made["operator_token"] = "demo-" + secrets.token_urlsafe(24)
    made["context_key"] = "demo1:" + secrets.token_hex(32)
    if "directory_signing_key" not in known:
        key = Ed25519PrivateKey.generate()
        made["directory_signing_key"] = "demo1:" + key.private_bytes_raw().hex()
        made["directory_public_key"] = "demo1:" + key.public_key().public_bytes_raw().hex()
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
