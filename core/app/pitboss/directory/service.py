"""Use cases of the directory: a cell keeps what control signed, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.directory import rules, store
from pitboss.directory.contracts import DirectorySnapshot, PublicKey, SignedSnapshot


async def store_snapshot(
    session: AsyncSession, signed: SignedSnapshot, *, cell: str, keys: Sequence[PublicKey]
) -> bool:
    """Keep a snapshot for `cell`; return False when it is here already.

    Raises `SnapshotRefused` for a bad signature, an unknown key, another cell, an older version, or other
    content under a version that is here.
    """
    rules.verify_snapshot(signed, cell, keys)
    await store.lock_snapshots(session)
    is_new = rules.decide_store(await store.find_newest(session), signed)
    if is_new:
        await store.insert_snapshot(session, signed)
    return is_new


async def load_snapshot(session: AsyncSession, *, cell: str, keys: Sequence[PublicKey]) -> DirectorySnapshot | None:
    """Return the newest snapshot, verified again; None where the cell has none; raise `SnapshotRefused`."""
    signed = await store.find_newest(session)
    return None if signed is None else rules.verify_snapshot(signed, cell, keys)


async def get_version(session: AsyncSession) -> int:
    """Return the version that the cell has, 0 where it has none."""
    return await store.find_newest_version(session)
