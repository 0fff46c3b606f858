"""Every SQL statement of keys and erasures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import TenantScope
from pitboss.keys.contracts import Certificate, Epoch, EpochState, SubjectKey, SubjectState
from pitboss.keys.tables import ErasureRow, IndexKeyRow, KeyEpochRow, KeyringRow, SubjectKeyRow
from pitboss.platform.keys.service import WrappedKey


async def fetch_current_epoch(session: AsyncSession, scope: TenantScope, *, change: bool = False) -> KeyEpochRow | None:
    """Return the epoch that wraps new keys; it stays that until the transaction ends. `change` waits for who wraps."""
    lock = select(KeyringRow.epoch).where(KeyringRow.tenant_id == scope.tenant_id)
    epoch = await session.scalar(lock.with_for_update() if change else lock.with_for_update(read=True))
    if epoch is None:
        return None
    row = KeyEpochRow
    query = select(row).where(row.tenant_id == scope.tenant_id, row.epoch == epoch)
    return await session.scalar(query.execution_options(populate_existing=True))


async def fetch_epochs(session: AsyncSession, scope: TenantScope) -> list[Epoch]:
    """Return every epoch of a tenant, oldest first."""
    row = KeyEpochRow
    rows = await session.scalars(select(row).where(row.tenant_id == scope.tenant_id).order_by(row.epoch))
    return [
        Epoch(each.epoch, each.key_version, EpochState(each.state), each.started_at, each.changed_at) for each in rows
    ]


async def fetch_epoch_keys(session: AsyncSession, scope: TenantScope, epochs: Collection[int]) -> dict[int, WrappedKey]:
    """Return the wrapped keys of epochs that have one."""
    row = KeyEpochRow
    found = await session.execute(
        select(row.epoch, row.key_version, row.wrapped_key).where(
            row.tenant_id == scope.tenant_id, row.epoch.in_(epochs)
        )
    )
    return {each.epoch: WrappedKey(each.key_version, each.wrapped_key) for each in found if each.wrapped_key}


async def insert_first_epoch(session: AsyncSession, scope: TenantScope, key_version: int, wrapped_key: bytes) -> bool:
    """Insert a tenant's first epoch; False when it has one."""
    row = insert(KeyEpochRow).values(
        tenant_id=scope.tenant_id, epoch=1, key_version=key_version, wrapped_key=wrapped_key
    )
    if await session.scalar(row.on_conflict_do_nothing().returning(KeyEpochRow.epoch)) is None:
        return False
    await session.execute(insert(KeyringRow).values(tenant_id=scope.tenant_id, epoch=1))
    return True


async def insert_next_epoch(
    session: AsyncSession, scope: TenantScope, epoch: int, key_version: int, wrapped_key: bytes
) -> None:
    """Insert an epoch and make it the one that wraps new keys."""
    values = {"tenant_id": scope.tenant_id, "epoch": epoch, "key_version": key_version, "wrapped_key": wrapped_key}
    await session.execute(insert(KeyEpochRow).values(values))
    ring = KeyringRow
    await session.execute(update(ring).where(ring.tenant_id == scope.tenant_id).values(epoch=epoch))


async def fetch_subject_keys(session: AsyncSession, scope: TenantScope, subjects: Collection[UUID]) -> list[SubjectKey]:
    """Return each version of the keys of subjects, by version; a key and its epoch's are of one moment."""
    row, epoch = SubjectKeyRow, KeyEpochRow
    query = (
        select(row, epoch.key_version, epoch.wrapped_key)
        .join(epoch, (epoch.tenant_id == row.tenant_id) & (epoch.epoch == row.epoch))
        .where(row.tenant_id == scope.tenant_id, row.subject_id.in_(subjects))
        .order_by(row.subject_id, row.version)
        .execution_options(populate_existing=True)
    )
    found = await session.execute(query)
    return [
        SubjectKey(key.subject_id, key.version, SubjectState(key.state), key.wrapped_key, key.epoch, version, wrapped)
        for key, version, wrapped in found
    ]


async def lock_subject(session: AsyncSession, scope: TenantScope, subject_id: UUID) -> None:
    """Hold the keys of a subject until the transaction ends, so that none is added or destroyed meanwhile."""
    row = SubjectKeyRow
    query = select(row.version).where(row.tenant_id == scope.tenant_id, row.subject_id == subject_id)
    await session.execute(query.order_by(row.version).with_for_update())


async def insert_subject_key(
    session: AsyncSession, scope: TenantScope, subject_id: UUID, version: int, epoch: int, wrapped_key: bytes | None
) -> bool:
    """Insert a version of a subject's key, or the mark of an erased one; False when the version is there."""
    state = SubjectState.ERASED if wrapped_key is None else SubjectState.ACTIVE
    row = insert(SubjectKeyRow).values(
        tenant_id=scope.tenant_id,
        subject_id=subject_id,
        version=version,
        epoch=epoch,
        state=state,
        wrapped_key=wrapped_key,
    )
    return await session.scalar(row.on_conflict_do_nothing().returning(SubjectKeyRow.version)) is not None


async def destroy_subject_keys(session: AsyncSession, scope: TenantScope, subject_id: UUID) -> int:
    """Take the wrapped keys of a subject away; return how many versions lost one."""
    row = SubjectKeyRow
    gone = await session.scalars(
        update(row)
        .where(row.tenant_id == scope.tenant_id, row.subject_id == subject_id, row.state != SubjectState.ERASED)
        .values(state=SubjectState.ERASED, wrapped_key=None, changed_at=func.now())
        .returning(row.version)
    )
    return len(list(gone))


async def set_subject_state(
    session: AsyncSession, scope: TenantScope, subject_id: UUID, before: SubjectState, after: SubjectState
) -> bool:
    """Move a subject from one state to another; False when it is not in the first."""
    row = SubjectKeyRow
    changed = await session.scalars(
        update(row)
        .where(row.tenant_id == scope.tenant_id, row.subject_id == subject_id, row.state == before)
        .values(state=after, changed_at=func.now())
        .returning(row.version)
    )
    return bool(list(changed))


async def fetch_old_subject_keys(
    session: AsyncSession, scope: TenantScope, epoch: int, most: int
) -> Sequence[tuple[UUID, int, int, bytes]]:
    """Return subject, version, epoch and wrapped key of keys that an epoch before `epoch` wraps, and hold the rows."""
    row = SubjectKeyRow
    query = select(row.subject_id, row.version, row.epoch, row.wrapped_key).where(
        row.tenant_id == scope.tenant_id, row.epoch < epoch, row.wrapped_key.is_not(None)
    )
    found = await session.execute(query.limit(most).with_for_update(skip_locked=True))
    return [(each[0], each[1], each[2], each[3] or b"") for each in found]


async def update_subject_keys(
    session: AsyncSession, scope: TenantScope, epoch: int, keys: Sequence[tuple[UUID, int, bytes]]
) -> None:
    """Put keys under another epoch."""
    row = SubjectKeyRow
    statement = (
        update(row)
        .where(row.tenant_id == scope.tenant_id, row.subject_id == bindparam("s"), row.version == bindparam("v"))
        .values(epoch=epoch, wrapped_key=bindparam("w"))
    )
    connection = await session.connection()
    await connection.execute(statement, [{"s": subject, "v": version, "w": key} for subject, version, key in keys])


async def fetch_index_keys(
    session: AsyncSession, scope: TenantScope, names: Collection[str] | None = None
) -> list[Any]:
    """Return rows of name, epoch, wrapped key, version and wrapped key of the epoch; all of a tenant without `names`."""
    row, epoch = IndexKeyRow, KeyEpochRow
    query = (
        select(row.name, row.epoch, row.wrapped_key, epoch.key_version, epoch.wrapped_key.label("epoch_key"))
        .join(epoch, (epoch.tenant_id == row.tenant_id) & (epoch.epoch == row.epoch))
        .where(row.tenant_id == scope.tenant_id)
    )
    return list(await session.execute(query if names is None else query.where(row.name.in_(names))))


async def insert_index_key(
    session: AsyncSession, scope: TenantScope, name: str, epoch: int, wrapped_key: bytes
) -> None:
    """Insert the key of an index unless there is one."""
    row = insert(IndexKeyRow).values(tenant_id=scope.tenant_id, name=name, epoch=epoch, wrapped_key=wrapped_key)
    await session.execute(row.on_conflict_do_nothing())


async def update_index_key(
    session: AsyncSession, scope: TenantScope, name: str, epoch: int, wrapped_key: bytes
) -> None:
    """Put the key of an index under another epoch."""
    row = IndexKeyRow
    await session.execute(
        update(row)
        .where(row.tenant_id == scope.tenant_id, row.name == name)
        .values(epoch=epoch, wrapped_key=wrapped_key)
    )


async def retire_epochs(session: AsyncSession, scope: TenantScope, current: int) -> list[int]:
    """Take the wrapped keys of epochs away that wrap nothing any more; return them."""
    row = KeyEpochRow
    held = [
        select(1)
        .where(keys.tenant_id == row.tenant_id, keys.epoch == row.epoch, keys.wrapped_key.is_not(None))
        .exists()
        for keys in (SubjectKeyRow, IndexKeyRow)
    ]
    retired = await session.scalars(
        update(row)
        .where(
            row.tenant_id == scope.tenant_id,
            row.epoch < current,
            row.state == EpochState.OPEN,
            ~held[0],
            ~held[1],
        )
        .values(state=EpochState.RETIRED, wrapped_key=None, changed_at=func.now())
        .returning(row.epoch)
    )
    return sorted(retired)


async def close_epochs(session: AsyncSession, scope: TenantScope, before_version: int) -> list[int]:
    """Mark retired epochs whose version of the tenant's key was destroyed, and the erasures that it made final."""
    row = KeyEpochRow
    closed = await session.scalars(
        update(row)
        .where(row.tenant_id == scope.tenant_id, row.state == EpochState.RETIRED, row.key_version < before_version)
        .values(state=EpochState.DESTROYED, changed_at=func.now())
        .returning(row.epoch)
    )
    epochs = sorted(closed)
    made = ErasureRow
    if epochs:
        await session.execute(
            update(made)
            .where(made.tenant_id == scope.tenant_id, made.epoch <= epochs[-1], made.backups_closed_at.is_(None))
            .values(backups_closed_at=func.now())
        )
    return epochs


async def insert_erasure(session: AsyncSession, scope: TenantScope, values: dict[str, Any]) -> None:
    """Insert what an erasure did."""
    await session.execute(insert(ErasureRow).values(tenant_id=scope.tenant_id, **values))


async def fetch_erasure(session: AsyncSession, scope: TenantScope, subject_id: UUID) -> Certificate | None:
    """Return the certificate of a subject."""
    made = ErasureRow
    row = await session.scalar(select(made).where(made.tenant_id == scope.tenant_id, made.subject_id == subject_id))
    if row is None:
        return None
    return Certificate(
        certificate_id=row.certificate_id,
        subject_id=row.subject_id,
        erased_at=row.erased_at,
        policy_version=row.policy_version,
        epoch=row.epoch,
        keys_destroyed=row.keys_destroyed,
        removed=row.removed,
        backups_closed_at=row.backups_closed_at,
    )
