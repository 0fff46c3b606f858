"""Fields in a real cell: they open for their tenant, subject, place and version alone, and fail closed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, JADE, open_cell
from tests.integration.keys.conftest import Cell, make_cell, place

from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import ForeignCell, TenantScope
from pitboss.keys import service as keys
from pitboss.keys.contracts import IndexedField
from pitboss.keys.errors import FieldUnreadable, KeysNotPrepared, SubjectRestricted
from pitboss.keys.rules import NONCE_BYTES
from pitboss.keys.runtime import KEEP_SECONDS, KeyRing
from pitboss.platform.keys.local import LocalKeyService
from pitboss.platform.keys.service import KeyServiceUnavailable, KeyState, WrappedKey

SAMPLE = int(os.environ.get("KEYS_NONCES", "20000"))
"""Nonces that are compared; a long run says `KEYS_NONCES=10000000`."""


@pytest.fixture
async def cell(module_cell_database: PlaneDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    folder = tmp_path_factory.getbasetemp() / "keys-of-fields"  # one folder for the one database of this module
    async with open_cell(module_cell_database) as database:
        yield await make_cell(database, folder)


async def test_what_is_sealed_is_opened(cell: Cell) -> None:
    one, two = new_uuid(), new_uuid()
    fields = [(place(one), b"Ann"), (place(one, "email"), b""), (place(two), "Zoë".encode())]
    sealed = await cell.seal(AURORA, *fields)
    opened = await cell.open(AURORA, *[(there, box) for (there, _), box in zip(fields, sealed, strict=True)])
    assert opened == [b"Ann", b"", "Zoë".encode()]
    assert b"Ann" not in sealed[0]
    assert (await cell.seal(AURORA, fields[0]))[0] != sealed[0]


async def test_a_field_moved_to_another_place_opens_nothing(cell: Cell) -> None:
    ann, bob = new_uuid(), new_uuid()
    sealed = (await cell.seal(AURORA, (place(ann), b"Ann"), (place(bob), b"Bob")))[0]
    elsewhere = [
        place(ann, "last_name"),
        place(ann, row="another row"),
        place(ann, table="another_table"),
        place(bob, row=str(ann)),
        place(bob),
    ]
    for there in elsewhere:
        with pytest.raises(FieldUnreadable):
            await cell.open(AURORA, (there, sealed))
    assert await cell.open(AURORA, (place(ann), sealed)) == [b"Ann"]


async def test_another_tenant_opens_nothing_even_of_a_subject_of_the_same_id(cell: Cell) -> None:
    subject, stranger = new_uuid(), new_uuid()
    (ours,) = await cell.seal(AURORA, (place(subject), b"Ann"))
    await cell.seal(JADE, (place(subject), b"Jade's"))
    for there in (place(subject), place(stranger)):
        with pytest.raises(FieldUnreadable):
            await cell.open(JADE, (there, ours))
    # With every row of the key itself carried over, the tenant in what is bound and in the context still refuses.
    async with cell.database.transaction(AURORA) as session:
        query = "select wrapped_key from subject_key where subject_id = :subject"
        stolen = await session.scalar(text(query), {"subject": subject})
    async with cell.database.transaction(JADE) as session:
        query = "update subject_key set wrapped_key = :key where subject_id = :subject"
        await session.execute(text(query), {"key": stolen, "subject": subject})
    with pytest.raises(FieldUnreadable):
        await cell.open(JADE, (place(subject), ours))


async def test_a_scope_of_another_cell_is_refused(cell: Cell) -> None:
    foreign = TenantScope(AURORA.tenant_id, "aurora", "br-1")
    async with cell.database.transaction(AURORA) as session:
        with pytest.raises(ForeignCell):
            await keys.seal_fields(session, foreign, cell.ring, [(place(new_uuid()), b"x")])
        with pytest.raises(ForeignCell):
            await keys.compute_index(session, foreign, cell.ring, IndexedField("a", "b", "text.1"), "x")


async def test_a_tenant_without_keys_is_told_so(cell: Cell) -> None:
    with pytest.raises(KeysNotPrepared):
        await cell.seal(TenantScope(99, "new", "eu-1"), (place(new_uuid()), b"x"))
    async with cell.database.transaction(AURORA) as session:
        assert not await keys.prepare_tenant(session, AURORA, cell.ring)


async def test_a_new_version_seals_and_the_old_one_still_opens(cell: Cell) -> None:
    subject = new_uuid()
    (old,) = await cell.seal(AURORA, (place(subject), b"Ann"))
    async with cell.database.transaction(AURORA) as session:
        assert await keys.renew_subject_key(session, AURORA, cell.ring, subject) == 2
    (new,) = await cell.seal(AURORA, (place(subject), b"Ann"))
    assert (old[1:3], new[1:3]) == (b"\x00\x01", b"\x00\x02")
    assert await cell.open(AURORA, (place(subject), old), (place(subject), new)) == [b"Ann", b"Ann"]
    for forged in (new[:1] + b"\x00\x01" + new[3:], old[:1] + b"\x00\x02" + old[3:], new[:1] + b"\x00\x03" + new[3:]):
        with pytest.raises(FieldUnreadable):
            await cell.open(AURORA, (place(subject), forged))


async def test_no_nonce_comes_twice(cell: Cell) -> None:
    subject = new_uuid()
    seen: set[bytes] = set()
    for start in range(0, SAMPLE, 20_000):
        fields = [(place(subject), b"Ann")] * min(20_000, SAMPLE - start)
        seen.update(box[3 : 3 + NONCE_BYTES] for box in await cell.seal(AURORA, *fields))
    assert len(seen) == SAMPLE


async def test_a_key_that_was_rolled_back_seals_nothing(cell: Cell) -> None:
    subject = new_uuid()

    async def attempt() -> None:
        async with cell.database.transaction(AURORA) as session:
            await keys.seal_fields(session, AURORA, cell.ring, [(place(subject), b"lost")])
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await attempt()
    (sealed,) = await cell.seal(AURORA, (place(subject), b"kept"))
    fresh = Cell(cell.database, KeyRing(LocalKeyService(cell.folder), "eu-1"), cell.folder)
    assert await fresh.open(AURORA, (place(subject), sealed)) == [b"kept"]


async def test_an_epoch_that_was_rolled_back_seals_nothing(cell_database: PlaneDatabase, tmp_path: Path) -> None:
    async with open_cell(cell_database) as database:
        ring = KeyRing(LocalKeyService(tmp_path / "keys"), "eu-1")
        cell = Cell(database, ring, tmp_path / "keys")

        async def attempt() -> None:
            async with database.transaction(AURORA) as session:
                await keys.prepare_tenant(session, AURORA, ring)
                await keys.seal_fields(session, AURORA, ring, [(place(new_uuid()), b"lost")])
                raise ConnectionAbortedError

        with pytest.raises(ConnectionAbortedError):
            await attempt()
        async with database.transaction(AURORA) as session:
            assert await keys.prepare_tenant(session, AURORA, ring)
        subject = new_uuid()
        (sealed,) = await cell.seal(AURORA, (place(subject), b"kept"))
        fresh = Cell(database, KeyRing(LocalKeyService(tmp_path / "keys"), "eu-1"), tmp_path / "keys")
        assert await fresh.open(AURORA, (place(subject), sealed)) == [b"kept"]


async def test_two_who_seal_for_a_new_subject_at_once_use_one_key(cell: Cell) -> None:
    subjects = [new_uuid() for _ in range(3)]
    fields = [(place(subject), str(subject).encode()) for subject in subjects]
    rounds = await asyncio.gather(*[cell.seal(AURORA, *order) for order in (fields, fields[::-1]) * 3])
    for number, sealed in enumerate(rounds):
        order = fields if number % 2 == 0 else fields[::-1]
        pairs = [(there, box) for (there, _), box in zip(order, sealed, strict=True)]
        assert await cell.open(AURORA, *pairs) == [plain for _, plain in order]


class CountedService(LocalKeyService):
    """Counts how often it is asked to unwrap, and can be away."""

    calls = 0
    away = False

    async def unwrap(self, name: str, wrapped: WrappedKey, context: str) -> bytes:
        if self.away:
            raise KeyServiceUnavailable("away")
        self.calls += 1
        return await super().unwrap(name, wrapped, context)

    async def describe(self, name: str) -> KeyState:
        if self.away:
            raise KeyServiceUnavailable("away")
        return await super().describe(name)


async def test_an_epochs_key_is_kept_five_minutes_however_often_it_is_used(cell: Cell) -> None:
    moment = 1000.0
    service = CountedService(cell.folder)
    ring = KeyRing(service, "eu-1", now=lambda: moment)
    busy = Cell(cell.database, ring, cell.folder)
    subject = new_uuid()
    (sealed,) = await busy.seal(AURORA, (place(subject), b"Ann"))
    assert service.calls == 1
    for moment in (1000.0 + 100, 1000.0 + 200, 1000.0 + KEEP_SECONDS - 0.001):  # noqa: B007 - the ring reads it
        await busy.open(AURORA, (place(subject), sealed))
    assert service.calls == 1
    moment = 1000.0 + KEEP_SECONDS
    await busy.open(AURORA, (place(subject), sealed))
    assert service.calls == 2
    assert KEEP_SECONDS == 300


async def test_without_the_key_service_nothing_opens_that_is_not_kept(cell: Cell) -> None:
    moment = 0.0
    service = CountedService(cell.folder)
    busy = Cell(cell.database, KeyRing(service, "eu-1", now=lambda: moment), cell.folder)
    subject = new_uuid()
    (sealed,) = await busy.seal(AURORA, (place(subject), b"Ann"))
    service.away = True
    assert await busy.open(AURORA, (place(subject), sealed)) == [b"Ann"]
    moment = KEEP_SECONDS + 1.0
    with pytest.raises(KeyServiceUnavailable):
        await busy.open(AURORA, (place(subject), sealed))
    with pytest.raises(KeyServiceUnavailable):
        await busy.seal(AURORA, (place(new_uuid()), b"Bob"))
    service.away = False
    assert await busy.open(AURORA, (place(subject), sealed)) == [b"Ann"]


async def test_kept_keys_are_bounded_and_never_another_tenants(cell: Cell) -> None:
    ring = KeyRing(LocalKeyService(cell.folder), "eu-1", size=1)
    small = Cell(cell.database, ring, cell.folder)
    subject = new_uuid()
    for scope in (AURORA, JADE, AURORA, JADE):
        (sealed,) = await small.seal(scope, (place(subject), scope.slug.encode()))
        assert await small.open(scope, (place(subject), sealed)) == [scope.slug.encode()]
        assert len(ring) == 1
    ring.forget(JADE)
    assert len(ring) == 0


async def test_a_restricted_subject_is_read_for_the_law_alone(cell: Cell) -> None:
    subject, other = new_uuid(), new_uuid()
    (sealed,) = await cell.seal(AURORA, (place(subject), b"Ann"))
    (free,) = await cell.seal(AURORA, (place(other), b"Bob"))
    async with cell.database.transaction(AURORA) as session:
        assert await keys.restrict_subject(session, AURORA, subject)
        assert not await keys.restrict_subject(session, AURORA, subject)
    with pytest.raises(SubjectRestricted):
        await cell.open(AURORA, (place(other), free), (place(subject), sealed))
    assert await cell.open(AURORA, (place(subject), sealed), despite=True) == [b"Ann"]
    (more,) = await cell.seal(AURORA, (place(subject, "phone"), b"112"))
    async with cell.database.transaction(AURORA) as session:
        await keys.renew_subject_key(session, AURORA, cell.ring, subject)
    (newer,) = await cell.seal(AURORA, (place(subject), b"Ann 2"))
    for there, box in ((place(subject, "phone"), more), (place(subject), newer)):
        with pytest.raises(SubjectRestricted):
            await cell.open(AURORA, (there, box))
    async with cell.database.transaction(AURORA) as session:
        assert await keys.lift_restriction(session, AURORA, subject)
    assert await cell.open(AURORA, (place(subject), sealed), (place(subject), newer)) == [b"Ann", b"Ann 2"]


EMAIL = IndexedField("player_identity", "email", "email.1")


async def index(cell: Cell, scope: TenantScope, value: str, field: IndexedField = EMAIL) -> bytes:
    async with cell.database.transaction(scope) as session:
        return await keys.compute_index(session, scope, cell.ring, field, value)


async def test_an_index_finds_a_value_within_a_tenant_alone(cell: Cell) -> None:
    found = await asyncio.gather(*[index(cell, AURORA, spelling) for spelling in ("ann@x.io", " Ann@X.io") * 3])
    assert len(set(found)) == 1
    assert await index(cell, JADE, "ann@x.io") not in found
    assert await index(cell, AURORA, "ann@x.io", msgspec.structs.replace(EMAIL, bits=16)) != found[0][:2]
    async with cell.database.transaction(AURORA) as session:
        rows = await session.execute(text("select name, length(wrapped_key) from index_key order by name"))
        assert [tuple(row) for row in rows] == [
            ("player_identity.email.email.1.16", 40),
            ("player_identity.email.email.1.256", 40),
        ]


async def test_the_database_holds_no_key_in_clear(cell: Cell) -> None:
    subject = new_uuid()
    await cell.seal(AURORA, (place(subject), b"Ann"))
    async with cell.database.transaction(AURORA) as session:
        rows = (await session.execute(text("select wrapped_key from subject_key"))).scalars()
        assert {len(row) for row in rows if row} == {40}
        epoch = await session.scalar(text("select wrapped_key from key_epoch"))
    assert isinstance(epoch, bytes)
    wrapped = WrappedKey(1, epoch)
    raw = await cell.ring.unwrap_epoch(AURORA, 1, wrapped)
    assert raw not in epoch


@pytest.mark.parametrize("table", ["key_epoch", "keyring", "subject_key", "index_key", "erasure"])
async def test_nobody_deletes_a_key_by_its_row(cell: Cell, table: str) -> None:
    async with cell.database.transaction(AURORA) as session:
        with pytest.raises(DBAPIError, match="permission denied"):
            await session.execute(text(f"delete from {table}"))


def test_a_place_is_named_by_words_of_ours() -> None:
    assert place(UUID(int=1)).table == "player_identity"
