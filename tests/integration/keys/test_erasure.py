"""Erasure: keys are destroyed, copies from before it open until the epoch changes and never after, survivors live on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, JADE
from tests.integration.keys.conftest import Cell, place

from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import TenantScope
from pitboss.keys import service as keys
from pitboss.keys.contracts import EpochState, FieldPlace, IndexedField, Obstacle, SubjectState
from pitboss.keys.errors import FieldUnreadable, SubjectErased
from pitboss.keys.runtime import KeyRing
from pitboss.platform.keys.local import LocalKeyService

Sealed = tuple[FieldPlace, bytes, bytes]
HELD = (Obstacle("legal_hold", datetime(2030, 1, 1, tzinfo=UTC)), Obstacle("open_case"))


async def held(session: AsyncSession, scope: TenantScope, subject_id: UUID) -> Sequence[Obstacle]:
    assert await session.scalar(text("select 1")) == 1
    assert (scope, subject_id.version) == (AURORA, 7)
    return HELD


async def free(session: AsyncSession, scope: TenantScope, subject_id: UUID) -> Sequence[Obstacle]:
    return ()


async def state_of(cell: Cell, subject: UUID) -> SubjectState | None:
    async with cell.database.transaction(AURORA) as session:
        return await keys.find_state(session, AURORA, subject)


async def test_an_erased_subject_is_read_and_written_no_more_by_any_process(cell: Cell) -> None:
    people = await cell.people(AURORA, 2)
    (gone, fields), (stays, others) = people.items()
    other_process = Cell(cell.database, KeyRing(LocalKeyService(cell.folder), "eu-1"), cell.folder)
    assert await other_process.open(AURORA, (fields[0][0], fields[0][2])) == [fields[0][1]]
    outcome = await cell.erase(AURORA, gone, [free])
    assert outcome.obstacles == ()
    assert outcome.certificate is not None
    for process in (cell, other_process):
        for there, _, sealed in fields:
            with pytest.raises(SubjectErased):
                await process.open(AURORA, (there, sealed), despite=True)
        with pytest.raises(SubjectErased):
            await process.seal(AURORA, (place(gone), b"again"))
        for there, plain, sealed in others:
            assert await process.open(AURORA, (there, sealed)) == [plain]
    assert (await state_of(cell, gone), await state_of(cell, stays)) == (SubjectState.ERASED, SubjectState.ACTIVE)


async def test_a_certificate_says_what_was_done_and_is_made_once(cell: Cell) -> None:
    ((subject, _),) = (await cell.people(AURORA, 1)).items()
    async with cell.database.transaction(AURORA) as session:
        await keys.renew_subject_key(session, AURORA, cell.ring, subject)
    first = (await cell.erase(AURORA, subject)).certificate
    assert first is not None
    assert (first.subject_id, first.policy_version, first.epoch, first.keys_destroyed, first.removed) == (
        subject,
        "policy 3",
        1,
        2,
        {"player_identity": 1},
    )
    assert first.backups_closed_at is None
    assert (await cell.erase(AURORA, subject, [held])).certificate == first
    await cell.change_epoch(AURORA)
    async with cell.database.transaction(AURORA) as session:
        closed = await keys.find_certificate(session, AURORA, subject)
    assert closed is not None
    assert closed.backups_closed_at is not None
    assert closed.backups_closed_at >= first.erased_at
    async with cell.database.transaction(JADE) as session:
        assert await keys.find_certificate(session, JADE, subject) is None


async def test_an_obstacle_restricts_instead(cell: Cell) -> None:
    ((subject, fields),) = (await cell.people(AURORA, 1)).items()
    outcome = await cell.erase(AURORA, subject, [free, held])
    assert (outcome.certificate, outcome.obstacles) == (None, HELD)
    assert await state_of(cell, subject) is SubjectState.RESTRICTED
    there, plain, sealed = fields[0]
    assert await cell.open(AURORA, (there, sealed), despite=True) == [plain]
    assert (await cell.erase(AURORA, subject, [free])).certificate is not None
    assert await state_of(cell, subject) is SubjectState.ERASED


async def test_a_subject_that_never_had_a_key_gets_none_after_its_erasure(cell: Cell) -> None:
    subject = new_uuid()
    certificate = (await cell.erase(AURORA, subject)).certificate
    assert certificate is not None
    assert certificate.keys_destroyed == 0
    with pytest.raises(SubjectErased):
        await cell.seal(AURORA, (place(subject), b"x"))


async def test_an_erasure_that_is_rolled_back_erased_nothing(cell: Cell) -> None:
    ((subject, fields),) = (await cell.people(AURORA, 1)).items()

    async def attempt() -> None:
        async with cell.database.transaction(AURORA) as session:
            order = keys.ErasureOrder(subject, "policy 3")
            await keys.erase_subject(session, AURORA, cell.ring, order, [], cell.remove)
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await attempt()
    there, plain, sealed = fields[0]
    assert await cell.open(AURORA, (there, sealed)) == [plain]


async def test_an_erasure_takes_a_version_that_is_made_meanwhile(cell: Cell) -> None:
    for _ in range(5):
        ((subject, _),) = (await cell.people(AURORA, 1)).items()
        ready, go_on = asyncio.Event(), asyncio.Event()

        async def renew(of: UUID, ready: asyncio.Event, go_on: asyncio.Event) -> None:
            async with cell.database.transaction(AURORA) as session:
                await keys.renew_subject_key(session, AURORA, cell.ring, of)
                ready.set()
                await go_on.wait()

        renewal = asyncio.create_task(renew(subject, ready, go_on))
        await ready.wait()
        erasure = asyncio.create_task(cell.erase(AURORA, subject))
        await wait_for_lock(cell)
        go_on.set()
        await renewal
        certificate = (await erasure).certificate
        assert certificate is not None
        assert certificate.keys_destroyed == 2
        async with cell.database.transaction(AURORA) as session:
            query = "select count(*) from subject_key where subject_id = :subject and wrapped_key is not null"
            assert await session.scalar(text(query), {"subject": subject}) == 0


async def wait_for_lock(cell: Cell) -> None:
    for _ in range(500):
        async with cell.database.engine.connect() as connection:
            query = "select count(*) from pg_locks where not granted and pid <> pg_backend_pid()"
            if await connection.scalar(text(query)):
                return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


async def test_an_epoch_change_leaves_every_survivor_readable(cell: Cell) -> None:
    people = await cell.people(AURORA, 7)
    jades = await cell.people(JADE, 1)
    field = IndexedField("player_identity", "email", "email.1")
    async with cell.database.transaction(AURORA) as session:
        before = await keys.compute_index(session, AURORA, cell.ring, field, "ann@x.io")
    assert await cell.begin(AURORA) == 2
    assert [await cell.rewrap(AURORA, 3) for _ in range(4)] == [4, 3, 1, 0]  # with the index's key in the first
    assert await cell.retire(AURORA) == [1]
    assert await cell.destroy(AURORA) == [1]
    fresh = Cell(cell.database, KeyRing(LocalKeyService(cell.folder), "eu-1"), cell.folder)
    for scope, found in ((AURORA, people), (JADE, jades)):
        for fields in found.values():
            assert await fresh.open(scope, *[(there, sealed) for there, _, sealed in fields]) == [f[1] for f in fields]
    async with cell.database.transaction(AURORA) as session:
        assert await keys.compute_index(session, AURORA, fresh.ring, field, "ann@x.io") == before
        epochs = [(each.epoch, each.key_version, each.state) for each in await keys.list_epochs(session, AURORA)]
    assert epochs == [(1, 1, EpochState.DESTROYED), (2, 2, EpochState.OPEN)]
    assert (await cell.ring.service.describe("eu-1.tenant.1")).versions == (2,)
    assert (await cell.ring.service.describe("eu-1.tenant.2")).versions == (1,)


async def test_a_change_that_ends_half_way_is_taken_up(cell: Cell) -> None:
    people = await cell.people(AURORA, 4)
    await cell.begin(AURORA)
    await cell.rewrap(AURORA, 2)
    assert await cell.retire(AURORA) == []
    assert await cell.destroy(AURORA) == []
    later = await cell.people(AURORA, 1)  # under the new epoch while the old one still holds keys
    assert await cell.begin(AURORA) == 3
    for fields in ({**people, **later}).values():
        assert await cell.open(AURORA, (fields[0][0], fields[0][2])) == [fields[0][1]]
    while await cell.rewrap(AURORA, 2):
        pass
    assert await cell.retire(AURORA) == [1, 2]
    assert await cell.destroy(AURORA) == [1, 2]
    assert await cell.destroy(AURORA) == []
    for fields in ({**people, **later}).values():
        assert await cell.open(AURORA, (fields[0][0], fields[0][2])) == [fields[0][1]]


async def test_a_version_of_a_change_that_was_rolled_back_does_no_harm(cell: Cell) -> None:
    people = await cell.people(AURORA, 1)

    async def attempt() -> None:
        async with cell.database.transaction(AURORA) as session:
            await keys.begin_epoch(session, AURORA, cell.ring)
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await attempt()
    assert await cell.change_epoch(AURORA) == [1]
    assert (await cell.ring.service.describe("eu-1.tenant.1")).versions == (3,)
    ((there, plain, sealed), *_) = next(iter(people.values()))
    assert await cell.open(AURORA, (there, sealed)) == [plain]


async def test_keys_can_be_made_while_an_epoch_changes(cell: Cell) -> None:
    async def join() -> Mapping[UUID, list[Sealed]]:
        return await cell.people(AURORA, 3)

    parts = await asyncio.gather(join(), cell.change_epoch(AURORA), join(), join())
    for part in parts:
        if isinstance(part, Mapping):
            for fields in part.values():
                assert await cell.open(AURORA, (fields[0][0], fields[0][2])) == [fields[0][1]]


@pytest.mark.parametrize(
    "statement",
    [
        "update subject_key set state = 1, wrapped_key = 'x' where state = 3",
        "update key_epoch set state = 1, wrapped_key = 'x' where state = 3",
        "update key_epoch set state = 2 where state = 3",
        "update erasure set backups_closed_at = now()",
    ],
)
async def test_what_was_destroyed_does_not_return(cell: Cell, statement: str) -> None:
    people = await cell.people(AURORA, 2)
    await cell.erase(AURORA, next(iter(people)))
    await cell.change_epoch(AURORA)
    async with cell.database.transaction(AURORA) as session:
        with pytest.raises(DBAPIError, match="does not return"):
            await session.execute(text(statement))


async def test_a_wrapped_key_from_an_old_copy_is_of_no_use_after_the_change(
    cell: Cell, cell_database: PlaneDatabase
) -> None:
    ((subject, fields),) = (await cell.people(AURORA, 1)).items()
    admin = await asyncpg.connect(cell_database.admin_url)
    try:
        key = await admin.fetchval("select wrapped_key from subject_key where subject_id = $1", subject)
        epoch = await admin.fetchval("select wrapped_key from key_epoch where tenant_id = 1")
        await cell.erase(AURORA, subject)
        await cell.change_epoch(AURORA)
        # An administrator puts both back, past every guard of ours.
        async with admin.transaction():
            await admin.execute("set local session_replication_role = replica")
            await admin.execute(
                "update subject_key set state = 1, wrapped_key = $1 where subject_id = $2", key, subject
            )
            await admin.execute(
                "update key_epoch set state = 1, wrapped_key = $1 where tenant_id = 1 and epoch = 1", epoch
            )
    finally:
        await admin.close()
    for there, _, sealed in fields:
        with pytest.raises(FieldUnreadable):
            await cell.open(AURORA, (there, sealed), despite=True)
