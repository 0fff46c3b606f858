"""The secret store: a file of names and values that only its owner may read, asked late and by name."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pitboss_sdk.errors import ErrorKind, PitbossError


class SecretsUnavailable(PitbossError):
    """The store cannot be read or lacks a name; the detail names secrets, never values."""

    code = "platform.secrets_unavailable"
    kind = ErrorKind.UNAVAILABLE


class SecretStore:
    """Secrets of a TOML file, mode 0600: each name of the top level is one secret, a text.

    The file is read again for each question, so that a replaced secret is seen without a restart.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def resolve(self, names: Iterable[str]) -> dict[str, str]:
        """Return the values of `names`; raise `SecretsUnavailable` with every name that has none."""
        wanted = sorted(set(names))
        if not wanted:
            return {}
        table = self._read()
        lacking = [name for name in wanted if not (isinstance(table.get(name), str) and table[name])]
        if lacking:
            raise SecretsUnavailable(f"{self._path}: no value for {', '.join(lacking)}")
        return {name: table[name] for name in wanted}

    def list_names(self) -> set[str]:
        """Return the names that have a value; raise `SecretsUnavailable` where the file cannot be read."""
        return {name for name, value in self._read().items() if isinstance(value, str) and value}

    def get_version(self) -> tuple[int, ...] | None:
        """Return what differs as soon as the file is another or was written to, None where there is none; it opens nothing."""
        try:
            status = None if self._path is None else self._path.stat()
        except OSError:
            return None
        # The time of change, not of the contents: who may read the file counts, and tools set the other one back.
        return None if status is None else (status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns)

    def _read(self) -> dict[str, Any]:
        if self._path is None:
            raise SecretsUnavailable("PITBOSS_SECRETS_FILE is not set")
        try:
            # Opened first and judged by the open file, so that no other file can be put in its place between.
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise SecretsUnavailable(f"{self._path}: is not a regular file")
                if status.st_uid not in {os.geteuid(), 0}:
                    raise SecretsUnavailable(f"{self._path}: belongs to another user")
                if stat.S_IMODE(status.st_mode) & 0o077:
                    raise SecretsUnavailable(f"{self._path}: may be read by others; set its mode to 0600")
                return tomllib.load(file)
        except OSError as error:
            raise SecretsUnavailable(f"{self._path}: cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            raise SecretsUnavailable(f"{self._path}: is not TOML") from None
