"""Every SQL statement of the directory."""

from __future__ import annotations

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.directory.contracts import SignedSnapshot
from pitboss.directory.tables import DirectorySnapshotRow

_STORE_LOCK = 7220261


async def lock_snapshots(session: AsyncSession) -> None:
    """Let one transaction at a time compare and insert; released at its end."""
    await session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _STORE_LOCK})


async def find_newest(session: AsyncSession) -> SignedSnapshot | None:
    """Return the newest stored snapshot as it came."""
    row = DirectorySnapshotRow
    found = (
        await session.execute(
            select(row.version, row.key_id, row.body, row.signature).order_by(row.version.desc()).limit(1)
        )
    ).first()
    return None if found is None else SignedSnapshot(*found)


async def find_newest_version(session: AsyncSession) -> int:
    """Return the newest stored version, 0 where there is none."""
    return int(await session.scalar(select(func.coalesce(func.max(DirectorySnapshotRow.version), 0))) or 0)


async def insert_snapshot(session: AsyncSession, signed: SignedSnapshot) -> None:
    """Add a snapshot; the table refuses one that is not newer."""
    await session.execute(
        insert(DirectorySnapshotRow).values(
            version=signed.version, key_id=signed.key_id, body=signed.body, signature=signed.signature
        )
    )
