"""Use cases of keys: seal and open fields, make values searchable, erase a subject, begin and end epochs."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import TenantScope
from pitboss.keys import rules, store
from pitboss.keys.contracts import (
    Certificate,
    Epoch,
    EpochState,
    EpochStep,
    ErasureCheck,
    ErasureOrder,
    ErasureOutcome,
    FieldPlace,
    IndexedField,
    Remover,
    SubjectState,
)
from pitboss.keys.errors import FieldUnreadable, KeysNotPrepared, SubjectErased, SubjectRestricted
from pitboss.keys.runtime import KeyRing
from pitboss.keys.tables import KeyEpochRow
from pitboss.platform.keys.service import KeyExists, KeyMissing, WrappedKey

REWRAP_ROWS: Final = 1000
"""Keys that one call puts under the new epoch; rows are held no longer than that takes."""


async def prepare_tenant(session: AsyncSession, scope: TenantScope, ring: KeyRing) -> bool:
    """Give a tenant its key in the key service and its first epoch; False when it has them."""
    ring.check(scope)
    if await store.fetch_current_epoch(session, scope) is not None:
        return False
    name = rules.tenant_key_name(scope.cell, scope.tenant_id)
    with suppress(KeyExists):  # an earlier attempt made it and did not come to its commit
        await ring.service.create(name)
    wrapped = await ring.service.wrap(
        name, secrets.token_bytes(rules.KEY_BYTES), rules.epoch_context(scope.cell, scope.tenant_id, 1)
    )
    return await store.insert_first_epoch(session, scope, wrapped.version, wrapped.sealed)


async def seal_fields(
    session: AsyncSession, scope: TenantScope, ring: KeyRing, fields: Sequence[tuple[FieldPlace, bytes]]
) -> list[bytes]:
    """Seal each field for its place under its subject's key, made now if it has none; raise `SubjectErased`.

    A restricted subject's fields are sealed: what is kept for the law may grow.
    """
    ring.check(scope)
    wanted = {place.subject_id for place, _ in fields}
    known = {key.subject_id for key in await store.fetch_subject_keys(session, scope, wanted)}
    for subject in sorted(wanted - known):  # in one order, so that two who make keys do not wait for one another
        await _make_key(session, scope, ring, subject, 1)
    keys = await _load_keys(session, scope, ring, wanted)
    newest = dict(sorted(keys))
    return [
        rules.seal(
            keys[place.subject_id, newest[place.subject_id]],
            scope.tenant_id,
            place,
            newest[place.subject_id],
            secrets.token_bytes(rules.NONCE_BYTES),
            plain,
        )
        for place, plain in fields
    ]


async def open_fields(
    session: AsyncSession,
    scope: TenantScope,
    ring: KeyRing,
    fields: Sequence[tuple[FieldPlace, bytes]],
    *,
    despite_restriction: bool = False,
) -> list[bytes]:
    """Open each sealed field at its place; raise `SubjectErased`, `SubjectRestricted` or `FieldUnreadable`.

    `despite_restriction` is for what the law demands of a restricted subject's data, and for nothing else.
    """
    ring.check(scope)
    wanted = {place.subject_id for place, _ in fields}
    keys = await _load_keys(session, scope, ring, wanted, reading=not despite_restriction)
    opened: list[bytes] = []
    for place, sealed in fields:
        key = keys.get((place.subject_id, rules.read_version(sealed)))
        if key is None:
            raise FieldUnreadable("there is no such version of this subject's key")
        opened.append(rules.open_sealed(key, scope.tenant_id, place, sealed))
    return opened


async def compute_index(
    session: AsyncSession, scope: TenantScope, ring: KeyRing, field: IndexedField, value: str
) -> bytes:
    """Return the blind index of a value, under a key that this tenant and this field have for themselves."""
    ring.check(scope)
    name = rules.index_name(field)
    for attempt in (1, 2, 3):
        rows = await store.fetch_index_keys(session, scope, [name])
        if not rows:
            current = await _current_epoch(session, scope)
            wrapped = rules.wrap_key(await _open_epoch(scope, ring, current), secrets.token_bytes(rules.KEY_BYTES))
            await store.insert_index_key(session, scope, name, current.epoch, wrapped)
            continue
        (row,) = rows
        try:
            wrapping = await ring.unwrap_epoch(scope, row.epoch, WrappedKey(row.key_version, row.epoch_key))
        except KeyMissing:
            if attempt > 1:
                break
            continue
        return rules.index_value(rules.unwrap_key(wrapping, row.wrapped_key), scope.tenant_id, field, value)
    raise FieldUnreadable("the epoch of this index's key was destroyed")


async def find_state(session: AsyncSession, scope: TenantScope, subject_id: UUID) -> SubjectState | None:
    """Return what may be done with a subject's fields; None when it has no key yet."""
    rows = await store.fetch_subject_keys(session, scope, [subject_id])
    return rows[-1].state if rows else None


async def renew_subject_key(session: AsyncSession, scope: TenantScope, ring: KeyRing, subject_id: UUID) -> int:
    """Give a subject a new version of its key, which seals from now on; return it. Older ones still open."""
    ring.check(scope)
    await store.lock_subject(session, scope, subject_id)
    rows = await store.fetch_subject_keys(session, scope, [subject_id])
    if any(row.state is SubjectState.ERASED for row in rows):
        raise SubjectErased("the keys of this subject were destroyed")
    version = rows[-1].version + 1 if rows else 1
    await _make_key(session, scope, ring, subject_id, version)
    if rows and rows[-1].state is SubjectState.RESTRICTED:
        await restrict_subject(session, scope, subject_id)
    return version


async def restrict_subject(session: AsyncSession, scope: TenantScope, subject_id: UUID) -> bool:
    """Keep a subject's fields for the law alone; False when they are not active."""
    return await store.set_subject_state(session, scope, subject_id, SubjectState.ACTIVE, SubjectState.RESTRICTED)


async def lift_restriction(session: AsyncSession, scope: TenantScope, subject_id: UUID) -> bool:
    """Let a restricted subject's fields be read again; False when they are not restricted."""
    return await store.set_subject_state(session, scope, subject_id, SubjectState.RESTRICTED, SubjectState.ACTIVE)


async def erase_subject(
    session: AsyncSession,
    scope: TenantScope,
    ring: KeyRing,
    order: ErasureOrder,
    checks: Sequence[ErasureCheck],
    remove: Remover,
) -> ErasureOutcome:
    """Let a subject's rows be removed, destroy its keys and certify both; or restrict it where a check finds an obstacle.

    Copies of the database that were made before still open until the epoch is over: see `Certificate.backups_closed_at`.
    A subject that was erased before gets the certificate of then, and nothing is removed.
    """
    ring.check(scope)
    # The epoch is held first: it is the one up to which copies still open what is erased now.
    current = await _current_epoch(session, scope)
    found = await store.fetch_erasure(session, scope, order.subject_id)
    if found is not None:
        return ErasureOutcome(found, ())
    obstacles = [obstacle for check in checks for obstacle in await check(session, scope, order.subject_id)]
    if obstacles:
        await restrict_subject(session, scope, order.subject_id)
        return ErasureOutcome(None, tuple(obstacles))
    removed = await remove()
    # The mark of a subject without a key, so that it gets none later.
    marked = await store.insert_subject_key(session, scope, order.subject_id, 1, current.epoch, None)
    if not marked:
        await store.lock_subject(session, scope, order.subject_id)
    destroyed = 0 if marked else await store.destroy_subject_keys(session, scope, order.subject_id)
    values = {
        "subject_id": order.subject_id,
        "certificate_id": new_uuid(),
        "policy_version": order.policy_version,
        "epoch": current.epoch,
        "keys_destroyed": destroyed,
        "removed": dict(removed),
    }
    await store.insert_erasure(session, scope, values)
    return ErasureOutcome(await store.fetch_erasure(session, scope, order.subject_id), ())


async def find_certificate(session: AsyncSession, scope: TenantScope, subject_id: UUID) -> Certificate | None:
    """Return the certificate of a subject that was erased."""
    return await store.fetch_erasure(session, scope, subject_id)


async def list_epochs(session: AsyncSession, scope: TenantScope) -> list[Epoch]:
    """Return every epoch of a tenant, oldest first."""
    return await store.fetch_epochs(session, scope)


async def begin_epoch(session: AsyncSession, scope: TenantScope, ring: KeyRing) -> int:
    """Begin the tenant's next epoch and return its number; the keys of the last are put under it by `rewrap_keys`."""
    ring.check(scope)
    current = await _current_epoch(session, scope, change=True)
    name = rules.tenant_key_name(scope.cell, scope.tenant_id)
    epoch = current.epoch + 1
    # What is rotated here and not committed is destroyed with the next epoch's predecessor.
    await ring.service.rotate(name)
    wrapped = await ring.service.wrap(
        name, secrets.token_bytes(rules.KEY_BYTES), rules.epoch_context(scope.cell, scope.tenant_id, epoch)
    )
    await store.insert_next_epoch(session, scope, epoch, wrapped.version, wrapped.sealed)
    return epoch


async def rewrap_keys(session: AsyncSession, scope: TenantScope, ring: KeyRing, most: int = REWRAP_ROWS) -> int:
    """Put keys of older epochs under the current one, at most so many subjects'; return how many there were."""
    ring.check(scope)
    current = await _current_epoch(session, scope)
    new = await _open_epoch(scope, ring, current)
    old = await store.fetch_old_subject_keys(session, scope, current.epoch, most)
    indexes = [row for row in await store.fetch_index_keys(session, scope) if row.epoch < current.epoch]
    epochs = await store.fetch_epoch_keys(session, scope, {row[2] for row in old} | {row.epoch for row in indexes})
    opened = {epoch: await ring.unwrap_epoch(scope, epoch, wrapped) for epoch, wrapped in epochs.items()}
    moved = [
        (subject, version, rules.wrap_key(new, rules.unwrap_key(opened[epoch], wrapped)))
        for subject, version, epoch, wrapped in old
    ]
    if moved:
        await store.update_subject_keys(session, scope, current.epoch, moved)
    for row in indexes:
        rewrapped = rules.wrap_key(new, rules.unwrap_key(opened[row.epoch], row.wrapped_key))
        await store.update_index_key(session, scope, row.name, current.epoch, rewrapped)
    return len(moved) + len(indexes)


async def retire_epochs(session: AsyncSession, scope: TenantScope) -> list[int]:
    """Let go of the keys of epochs that wrap nothing any more; return them. Next comes `destroy_epochs`."""
    current = await _current_epoch(session, scope)
    return await store.retire_epochs(session, scope, current.epoch)


async def destroy_epochs(session: AsyncSession, scope: TenantScope, ring: KeyRing) -> list[int]:
    """Destroy the versions of the tenant's key that only retired epochs were wrapped under; return those epochs.

    From here on copies of the database from before the epoch open nothing. Call it in a transaction of its own, after
    the one that retired: a version that is destroyed does not come back with a rollback.
    """
    ring.check(scope)
    epochs = await store.fetch_epochs(session, scope)
    if not any(epoch.state is EpochState.RETIRED for epoch in epochs):
        return []
    least = min(epoch.key_version for epoch in epochs if epoch.state is EpochState.OPEN)
    await ring.service.destroy_before(rules.tenant_key_name(scope.cell, scope.tenant_id), least)
    ring.forget(scope)
    return await store.close_epochs(session, scope, least)


async def advance_epoch(session: AsyncSession, scope: TenantScope, ring: KeyRing) -> EpochStep:
    """Do the next piece of a change of epoch that has begun, whoever began it; each call is a transaction of its own."""
    if await rewrap_keys(session, scope, ring):
        return EpochStep(is_done=False)
    # What is retired here is destroyed by the next call: a destroyed version does not come back with a rollback.
    if retired := await retire_epochs(session, scope):
        return EpochStep(is_done=False, retired=tuple(retired))
    return EpochStep(is_done=True, destroyed=tuple(await destroy_epochs(session, scope, ring)))


async def is_epoch_due(session: AsyncSession, scope: TenantScope, now: datetime) -> bool:
    """Return whether the tenant's epoch has lasted its time; raise `KeysNotPrepared`."""
    return rules.is_epoch_over((await _current_epoch(session, scope)).started_at, now)


async def is_epoch_changing(session: AsyncSession, scope: TenantScope) -> bool:
    """Return whether a change of epoch has begun and not ended."""
    epochs = await store.fetch_epochs(session, scope)
    return any(each.state is not EpochState.DESTROYED for each in epochs[:-1])


async def _current_epoch(session: AsyncSession, scope: TenantScope, *, change: bool = False) -> KeyEpochRow:
    current = await store.fetch_current_epoch(session, scope, change=change)
    if current is None:
        raise KeysNotPrepared(f"tenant {scope.slug} has no keys in cell {scope.cell}")
    return current


async def _open_epoch(scope: TenantScope, ring: KeyRing, current: KeyEpochRow) -> bytes:
    return await ring.unwrap_epoch(scope, current.epoch, WrappedKey(current.key_version, current.wrapped_key or b""))


async def _make_key(session: AsyncSession, scope: TenantScope, ring: KeyRing, subject_id: UUID, version: int) -> None:
    wrapping = await _open_epoch(scope, ring, current := await _current_epoch(session, scope))
    wrapped = rules.wrap_key(wrapping, secrets.token_bytes(rules.KEY_BYTES))
    await store.insert_subject_key(session, scope, subject_id, version, current.epoch, wrapped)


async def _load_keys(
    session: AsyncSession, scope: TenantScope, ring: KeyRing, subjects: Collection[UUID], *, reading: bool = False
) -> dict[tuple[UUID, int], bytes]:
    """Return every version of subjects' keys; raise `SubjectErased`, and where it is for reading `SubjectRestricted`."""
    try:
        return await _load_keys_once(session, scope, ring, subjects, reading)
    except KeyMissing:
        # An epoch may have ended between the look at the rows and the question to the key service.
        try:
            return await _load_keys_once(session, scope, ring, subjects, reading)
        except KeyMissing:
            raise FieldUnreadable("the epoch of this subject's key was destroyed") from None


async def _load_keys_once(
    session: AsyncSession, scope: TenantScope, ring: KeyRing, subjects: Collection[UUID], reading: bool
) -> dict[tuple[UUID, int], bytes]:
    keys: dict[tuple[UUID, int], bytes] = {}
    for row in await store.fetch_subject_keys(session, scope, subjects):
        if row.wrapped_key is None or row.epoch_key is None:
            raise SubjectErased("the keys of this subject were destroyed")
        if reading and row.state is SubjectState.RESTRICTED:
            raise SubjectRestricted("the fields of this subject are kept for the law alone")
        wrapping = await ring.unwrap_epoch(scope, row.epoch, WrappedKey(row.epoch_version, row.epoch_key))
        keys[row.subject_id, row.version] = rules.unwrap_key(wrapping, row.wrapped_key)
    return keys


async def carry_epoch(
    source: tuple[KeyRing, TenantScope], target: tuple[KeyRing, TenantScope], epoch: int, wrapped: WrappedKey
) -> WrappedKey:
    """Return the key of an epoch wrapped for a tenant's new cell: in memory alone it is open, in no file.

    The tenant's key of the new cell is made if it is not there. Raises what the key services raise.
    """
    (old_ring, old), (ring, new) = source, target
    old_ring.check(old)
    ring.check(new)
    raw = await old_ring.service.unwrap(
        rules.tenant_key_name(old.cell, old.tenant_id), wrapped, rules.epoch_context(old.cell, old.tenant_id, epoch)
    )
    name = rules.tenant_key_name(new.cell, new.tenant_id)
    with suppress(KeyExists):
        await ring.service.create(name)
    return await ring.service.wrap(name, raw, rules.epoch_context(new.cell, new.tenant_id, epoch))


async def destroy_tenant_key(ring: KeyRing, scope: TenantScope) -> None:
    """Destroy a tenant's key of this cell, with all versions: copies of the cell open nothing of the tenant any more."""
    ring.check(scope)
    await ring.service.destroy(rules.tenant_key_name(scope.cell, scope.tenant_id))
    ring.forget(scope)
