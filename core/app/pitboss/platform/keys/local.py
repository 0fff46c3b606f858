"""Keys in files of this machine, each sealed under a root key beside them: for the demo and for tests."""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pitboss.platform.keys.service import (
    KeyExists,
    KeyMissing,
    KeyServiceRefused,
    KeyServiceUnavailable,
    KeyState,
    UnwrapRefused,
    WrappedKey,
    check_before,
    check_material,
    check_name,
)

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_ROOT: Final = "root.key"
_FILE: Final = re.compile(r"(?P<name>.+)\.v(?P<version>[1-9][0-9]*)\.key")


class LocalKeyService:
    """Keys of a folder that only its owner may enter, one sealed file for each version.

    Who can read the folder has every key, and a copy of the folder keeps what is destroyed here. Nothing is kept
    in memory, so that a version that was destroyed by another process opens nothing here either.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def create(self, name: str) -> KeyState:
        """Make a key with version 1; raise `KeyExists`."""
        if self._versions(check_name(name)):
            raise KeyExists(f"there is a key {name}")
        try:
            self._write(name, 1)
        except FileExistsError:
            raise KeyExists(f"there is a key {name}") from None
        return KeyState(name, (1,))

    async def describe(self, name: str) -> KeyState:
        """Return the versions of a key; raise `KeyMissing`."""
        versions = self._versions(check_name(name))
        if not versions:
            raise KeyMissing(f"there is no key {name}")
        return KeyState(name, versions)

    async def rotate(self, name: str) -> KeyState:
        """Add a version that wraps from now on; raise `KeyMissing`."""
        state = await self.describe(name)
        version = state.current + 1
        try:
            self._write(name, version)
        except FileExistsError:
            raise KeyServiceUnavailable(f"{name} is being rotated by another process") from None
        return KeyState(name, (*state.versions, version))

    async def wrap(self, name: str, material: bytes, context: str) -> WrappedKey:
        """Seal `material` under the current version, bound to `context`."""
        check_material(material)
        version = (await self.describe(name)).current
        return WrappedKey(version, _seal(self._read(name, version), material, context.encode()))

    async def unwrap(self, name: str, wrapped: WrappedKey, context: str) -> bytes:
        """Open what `wrap` sealed; raise `KeyMissing` or `UnwrapRefused`."""
        return _open(self._read(check_name(name), wrapped.version), wrapped.sealed, context.encode())

    async def destroy_before(self, name: str, version: int) -> KeyState:
        """Destroy every version older than `version`."""
        state = await self.describe(name)
        check_before(state, version)
        for old in state.versions:
            if old < version:
                self._remove(name, old)
        return await self.describe(name)

    async def destroy(self, name: str) -> None:
        """Destroy a key with all versions."""
        for version in self._versions(check_name(name)):
            self._remove(name, version)

    async def close(self) -> None:
        """Do nothing: nothing is held open."""

    def _path(self, name: str, version: int) -> Path:
        return self._folder / f"{name}.v{version}.key"

    def _versions(self, name: str) -> tuple[int, ...]:
        self._prepare()
        found = (_FILE.fullmatch(path.name) for path in self._folder.iterdir())
        return tuple(sorted(int(match["version"]) for match in found if match and match["name"] == name))

    def _prepare(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self._folder.stat()
        except OSError as error:
            raise KeyServiceUnavailable(f"{self._folder}: {error.strerror}") from None
        _check_private(self._folder, status)

    def _root(self) -> bytes:
        path = self._folder / _ROOT
        with suppress(FileExistsError):
            _write_new(path, secrets.token_bytes(_KEY_BYTES))
        return _read_private(path)

    def _write(self, name: str, version: int) -> None:
        sealed = _seal(self._root(), secrets.token_bytes(_KEY_BYTES), f"{name}|{version}".encode())
        _write_new(self._path(name, version), sealed)

    def _read(self, name: str, version: int) -> bytes:
        self._prepare()
        try:
            sealed = _read_private(self._path(name, version))
        except FileNotFoundError:
            raise KeyMissing(f"there is no version {version} of a key {name}") from None
        return _open(self._root(), sealed, f"{name}|{version}".encode())

    def _remove(self, name: str, version: int) -> None:
        path = self._path(name, version)
        try:
            # Overwritten first for what it is worth: a file system may keep the old blocks all the same.
            with path.open("r+b") as file:
                file.write(secrets.token_bytes(path.stat().st_size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        except FileNotFoundError:
            return
        _sync_folder(self._folder)


def _seal(key: bytes, material: bytes, context: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, material, context)


def _open(key: bytes, sealed: bytes, context: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
    except (InvalidTag, ValueError):
        raise UnwrapRefused("the sealed key does not fit its name, version and context") from None


def _check_private(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise KeyServiceRefused(f"{path}: belongs to another user")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise KeyServiceRefused(f"{path}: may be read by others")


def _read_private(path: Path) -> bytes:
    # Judged by the open file, so that no other can be put in its place between.
    with path.open("rb") as file:
        _check_private(path, os.fstat(file.fileno()))
        return file.read()


def _write_new(path: Path, content: bytes) -> None:
    """Put a whole file in place at once; raise `FileExistsError`."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike a rename it never replaces
    finally:
        draft.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
