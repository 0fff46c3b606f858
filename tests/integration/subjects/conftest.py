"""A cell with players whose every field holds a mark of their own, and the hands that answer their requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.keys import make_ring
from tests.factories.players import AURORA, make_registration, open_cell, register
from tests.isolation import seeding
from tests.isolation.catalog import read_relations

from pitboss.accounts.contracts import Player
from pitboss.accounts.runtime import Passwords
from pitboss.kernel.clock import utc_now
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.platform.catalog import load_metadata
from pitboss.platform.db import Database
from pitboss.platform.objects import ObjectFolder
from pitboss.subjects import service as subjects
from pitboss.subjects.contracts import EXPORT_JOB, ROOM, Case, CaseKind, CaseOrder, CaseState
from pitboss.subjects.rules import Binding, list_bound
from pitboss.subjects.store import list_shapes

ADA = Actor(ActorKind.OPERATOR, "ada")
ORIGIN = Origin("request-1")
BY: dict[str, Any] = {"actor": ADA, "origin": ORIGIN}
WORKER: dict[str, Any] = {"actor": Actor(ActorKind.SERVICE, EXPORT_JOB), "origin": ORIGIN}
METADATA = load_metadata("cell")
RING = make_ring()
REGISTERED = {"player", "player_identity", "player_credential", "subject_key"}
"""What a registration writes itself, as the platform does."""


@dataclass
class Desk:
    """A cell with its logins, a folder of files, and an administrator who sees everything."""

    plane: PlaneDatabase
    app: Database
    worker: Database
    admin: asyncpg.Connection
    objects: ObjectFolder
    passwords: Passwords

    async def add_player(self, mark: int = 0, scope: TenantScope = AURORA) -> Player:
        """Register a player; with a mark, fill every table that knows players with a row that bears it everywhere."""
        if not mark:
            return await register(self.app, self.passwords, make_registration(), scope)
        person = make_registration(
            email=f"canary{mark}xmail@example.com",
            first_name=f"canary{mark}xfirst",
            last_name=f"canary{mark}xlast",
            birth_date=date(1950 + mark, 3, 4),
            phone=f"+3491{mark}0000{mark}",
        )
        player = await register(self.app, self.passwords, person, scope)
        await self._fill(player, mark, scope)
        return player

    async def _fill(self, player: Player, mark: int, scope: TenantScope) -> None:
        relations = {relation.name: relation for relation in await read_relations(self.admin)}
        wallet_id = seeding.number(mark, "wallet_id", 64)
        case_id = UUID(bytes=f"canary{mark}x{'c' * 8}".encode()[:16])
        async with self.admin.transaction():
            await self.admin.execute("set local session_replication_role = replica")
            for shape, binding in list_bound(list_shapes(METADATA)):
                if shape.name in REGISTERED:
                    continue
                row = {**seeding.make_row(mark, relations[shape.name]), "tenant_id": scope.tenant_id}
                keys = {"player_id": player.player_id, "wallet_id": wallet_id, "subject_id": player.public_id}
                keys["case_id"] = case_id
                row |= {name: value for name, value in keys.items() if name in row}
                if binding is Binding.EVENT:
                    row |= {"target_type": "player", "target_id": str(player.public_id)}
                    row["changes"] = "[]"
                if shape.name == "subject_case":
                    row |= {"reasons": "excessive", "state": 4}
                if shape.name == "processing_restriction":
                    row |= {"ground": "requested"}
                if "exclusion_id" in row or "award_id" in row:
                    row |= {name: new_uuid() for name in ("exclusion_id", "award_id") if name in row}
                await self.admin.execute(seeding.insert_statement(relations[shape.name], row), *row.values())

    async def open(self, player: Player, kind: CaseKind, state: CaseState = CaseState.IN_PROGRESS) -> Case:
        """Open a case and bring it as far as `state`."""
        order = CaseOrder(player.public_id, kind, f"letter-{new_uuid().hex[-10:]}", utc_now(), 30)
        async with self.app.transaction(AURORA) as session:
            case = await subjects.open_case(session, AURORA, order, **BY)
            for step in (CaseState.IDENTITY_CHECKED, CaseState.IN_PROGRESS):
                if step <= state:
                    case = await subjects.move(session, AURORA, case.case_id, step, **BY)
        return case

    async def make(self, export_id: UUID, scope: TenantScope = AURORA) -> bool:
        """Make an export as the worker does, with the worker's login."""
        async with self.worker.transaction(scope) as session:
            folder = self.objects.of(scope, ROOM)
            return await subjects.make_export(session, scope, RING, METADATA, folder, export_id, **WORKER)

    async def fetch(self, export_id: UUID, scope: TenantScope = AURORA) -> bytes:
        """Fetch an export as an operator does."""
        async with self.app.transaction(scope) as session:
            return await subjects.fetch_file(session, scope, RING, self.objects.of(scope, ROOM), export_id, **BY)

    async def export(self, player: Player, kind: CaseKind) -> tuple[Case, UUID, bytes]:
        """Answer a request with an export and return what is fetched."""
        case = await self.open(player, kind)
        async with self.app.transaction(AURORA) as session:
            asked = await subjects.ask_export(session, AURORA, case.case_id, **BY)
        assert await self.make(asked.export_id)
        return case, asked.export_id, await self.fetch(asked.export_id)

    async def list_events(self, target: UUID) -> list[str]:
        """Return the types of events about a target, oldest first."""
        rows = await self.admin.fetch(
            "select type from audit_event where target_id = $1 order by occurred_at, event_id", str(target)
        )
        return [row["type"] for row in rows]


@asynccontextmanager
async def open_desk(plane: PlaneDatabase, folder: Path) -> AsyncIterator[Desk]:
    """Open the cell for all of its logins."""
    passwords = Passwords()
    admin = await asyncpg.connect(plane.admin_url)
    try:
        async with open_cell(plane) as app, open_cell(plane, plane.worker_url) as worker:
            yield Desk(plane, app, worker, admin, ObjectFolder(folder, "eu-1"), passwords)
    finally:
        await admin.close()
        passwords.close()


@pytest.fixture
async def desk(module_cell_database: PlaneDatabase, tmp_path: Path) -> AsyncIterator[Desk]:
    """Yield the desk over a database that the tests of a module share."""
    async with open_desk(module_cell_database, tmp_path / "objects") as found:
        yield found
