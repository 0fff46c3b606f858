"""Files of tenants in a folder of the cell: each tenant's apart, under names that callers cannot lead elsewhere."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Final

from pitboss.kernel.scope import ForeignCell, TenantScope

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}", re.ASCII)


class TenantFolder:
    """The files of one tenant and one room."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all, readable by its owner alone; the same name again replaces it."""
        target = self._path(name)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self._folder / f".{secrets.token_hex(8)}.part"
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)

    def get(self, name: str) -> bytes | None:
        """Return a file, or None where there is none."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is removed."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a file")
        return self._folder / name


class ObjectFolder:
    """The files of a cell. What is personal in them is sealed by who writes them: a folder keeps no secret."""

    def __init__(self, root: Path, cell: str) -> None:
        self._root = root
        self._cell = cell

    def of(self, scope: TenantScope, room: str) -> TenantFolder:
        """Return the files of a tenant and a room; raise `ForeignCell` for a tenant of another cell."""
        if not _NAME.fullmatch(room):
            raise ValueError(f"{room!r} is no name of a room")
        return TenantFolder(self._whole(scope) / room)

    def _whole(self, scope: TenantScope) -> Path:
        if scope.cell != self._cell:
            raise ForeignCell(f"scope of cell {scope.cell} used with files of cell {self._cell}")
        return self._root / self._cell / str(scope.tenant_id)

    def take_out(self, scope: TenantScope, folder: Path) -> None:
        """Copy all files of a tenant into a folder that is not there yet; where it has none, there is none."""
        if self._whole(scope).is_dir():
            shutil.copytree(self._whole(scope), folder)

    def bring_in(self, scope: TenantScope, folder: Path) -> None:
        """Make the files of a tenant those of a folder."""
        self.forget_tenant(scope)
        if folder.is_dir():
            shutil.copytree(folder, self._whole(scope))

    def forget_tenant(self, scope: TenantScope) -> None:
        """Remove all files of a tenant."""
        shutil.rmtree(self._whole(scope), ignore_errors=True)
