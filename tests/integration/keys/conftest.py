"""A cell with keys in files, and the words that the tests of keys share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, JADE, open_cell

from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import TenantScope
from pitboss.keys import service as keys
from pitboss.keys.contracts import ErasureCheck, ErasureOrder, ErasureOutcome, FieldPlace
from pitboss.keys.runtime import KeyRing
from pitboss.platform.db import Database
from pitboss.platform.keys.local import LocalKeyService

COLUMNS = ("email", "first_name", "last_name", "phone")


def place(subject: UUID, column: str = "first_name", row: str = "", table: str = "player_identity") -> FieldPlace:
    return FieldPlace(subject, table, column, row or str(subject))


@dataclass
class Cell:
    """The use cases of keys, each in a transaction of its own."""

    database: Database
    ring: KeyRing
    folder: Path
    tables: dict[str, int] = field(default_factory=lambda: {"player_identity": 1})

    async def seal(self, scope: TenantScope, *fields: tuple[FieldPlace, bytes]) -> list[bytes]:
        async with self.database.transaction(scope) as session:
            return await keys.seal_fields(session, scope, self.ring, fields)

    async def open(self, scope: TenantScope, *fields: tuple[FieldPlace, bytes], despite: bool = False) -> list[bytes]:
        async with self.database.transaction(scope) as session:
            return await keys.open_fields(session, scope, self.ring, fields, despite_restriction=despite)

    async def erase(self, scope: TenantScope, subject: UUID, checks: Sequence[ErasureCheck] = ()) -> ErasureOutcome:
        async with self.database.transaction(scope) as session:
            order = ErasureOrder(subject, "policy 3")
            return await keys.erase_subject(session, scope, self.ring, order, checks, self.remove)

    async def remove(self) -> Mapping[str, int]:
        return self.tables

    async def begin(self, scope: TenantScope) -> int:
        async with self.database.transaction(scope) as session:
            return await keys.begin_epoch(session, scope, self.ring)

    async def rewrap(self, scope: TenantScope, most: int = 1000) -> int:
        async with self.database.transaction(scope) as session:
            return await keys.rewrap_keys(session, scope, self.ring, most)

    async def retire(self, scope: TenantScope) -> list[int]:
        async with self.database.transaction(scope) as session:
            return await keys.retire_epochs(session, scope)

    async def destroy(self, scope: TenantScope) -> list[int]:
        async with self.database.transaction(scope) as session:
            return await keys.destroy_epochs(session, scope, self.ring)

    async def change_epoch(self, scope: TenantScope) -> list[int]:
        await self.begin(scope)
        while await self.rewrap(scope):
            pass
        await self.retire(scope)
        return await self.destroy(scope)

    async def people(self, scope: TenantScope, count: int) -> Mapping[UUID, list[tuple[FieldPlace, bytes, bytes]]]:
        """Seal the fields of new subjects; return each with place, plain and sealed."""
        found: dict[UUID, list[tuple[FieldPlace, bytes, bytes]]] = {}
        for _ in range(count):
            subject = new_uuid()
            fields = [(place(subject, column), f"canary {subject} {column}".encode()) for column in COLUMNS]
            sealed = await self.seal(scope, *fields)
            found[subject] = [(there, plain, box) for (there, plain), box in zip(fields, sealed, strict=True)]
        return found


async def make_cell(database: Database, folder: Path) -> Cell:
    cell = Cell(database, KeyRing(LocalKeyService(folder), "eu-1"), folder)
    for scope in (AURORA, JADE):
        async with database.transaction(scope) as session:
            await keys.prepare_tenant(session, scope, cell.ring)
    return cell


@pytest.fixture
async def cell(cell_database: PlaneDatabase, tmp_path: Path) -> AsyncIterator[Cell]:
    async with open_cell(cell_database) as database:
        yield await make_cell(database, tmp_path / "keys")
