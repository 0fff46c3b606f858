"""The durable outbox: work that a transaction leaves behind, leased to the broker until a worker says done.

The broker is a transport: whatever it loses is leased again when the lease runs out. A worker marks a job
done inside the transaction of its own effects, so a job has its effects exactly once however often it runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import BigInteger, CheckConstraint, DateTime, Identity, Index, Text, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import CellBase, table_info
from pitboss.platform.traces import current_traceparent

LEASE = timedelta(seconds=20)
"""How long a sent job may run before it is sent again."""
DONE_KEPT = timedelta(days=1)
"""How long a done job stays: its dedupe key refuses a second one for so long."""


class OutboxJob(CellBase):
    """One job. Open while `done_at` is null; due when `available_at` and `lease_until` have passed."""

    __tablename__ = "outbox_job"
    __table_args__ = (
        CheckConstraint("trace ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$'", name="trace"),
        Index("ix_outbox_job_due", "available_at", postgresql_where=text("done_at is null")),
        Index(
            "uq_outbox_job_dedupe",
            "tenant_id",
            "job",
            "dedupe_key",
            unique=True,
            postgresql_where=text("dedupe_key is not null"),
        ),
        {
            "info": table_info(
                retention="technical",
                audit="none",
                columns={
                    "tenant": "tenant_id",
                    "technical": "job_id job dedupe_key trace attempts available_at lease_until done_at",
                    "opaque": "payload",
                },
                grants={
                    "app": "select, insert",
                    "worker": "select, insert, update, delete",
                    "relay": "select, insert, update",
                },
            )
        },
    )

    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    job_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    dedupe_key: Mapped[str | None] = mapped_column(Text)
    trace: Mapped[str | None] = mapped_column(Text)
    """The traceparent of what left it behind, where that is traced."""
    attempts: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    available_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    lease_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    done_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class LeasedJob(msgspec.Struct, frozen=True):
    """A job as the relay sends it."""

    tenant_id: int
    job_id: int
    job: str
    payload: dict[str, Any]
    attempts: int
    trace: str | None = None


_LEASED = (
    OutboxJob.tenant_id,
    OutboxJob.job_id,
    OutboxJob.job,
    OutboxJob.payload,
    OutboxJob.attempts,
    OutboxJob.trace,
)


async def enqueue(
    session: AsyncSession,
    scope: TenantScope,
    job: str,
    payload: Mapping[str, Any],
    *,
    available_at: datetime | None = None,
    dedupe_key: str | None = None,
) -> None:
    """Leave `job` behind in the current transaction; a second one with the same dedupe key is dropped."""
    values: dict[str, Any] = {
        "tenant_id": scope.tenant_id,
        "job": job,
        "payload": dict(payload),
        "dedupe_key": dedupe_key,
        "trace": current_traceparent(),
    }
    if available_at is not None:
        values["available_at"] = available_at
    await session.execute(insert(OutboxJob).values(values).on_conflict_do_nothing())


async def enqueue_once(
    session: AsyncSession, scope: TenantScope, job: str, payload: Mapping[str, Any], *, available_at: datetime
) -> None:
    """Leave `job` behind unless one like it waits that no relay has taken and that is due no later.

    One that is under way does not count: it may have looked before what it is left behind for.
    """
    waiting = await session.scalar(
        select(OutboxJob.job_id)
        .where(
            OutboxJob.tenant_id == scope.tenant_id,
            OutboxJob.job == job,
            OutboxJob.payload == dict(payload),
            OutboxJob.done_at.is_(None),
            OutboxJob.lease_until.is_(None),
            OutboxJob.available_at <= available_at,
        )
        .limit(1)
    )
    if waiting is None:
        await enqueue(session, scope, job, payload, available_at=available_at)


async def lease_due(session: AsyncSession, batch_size: int = 100) -> list[LeasedJob]:
    """Lease due jobs of the tenants in the context; two relays never take the same one."""
    due = (
        select(OutboxJob.tenant_id, OutboxJob.job_id)
        .where(
            OutboxJob.done_at.is_(None),
            OutboxJob.available_at <= func.now(),
            OutboxJob.lease_until.is_(None) | (OutboxJob.lease_until <= func.now()),
        )
        .order_by(OutboxJob.available_at)
        .limit(batch_size)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    rows = await session.execute(
        update(OutboxJob)
        .where(OutboxJob.tenant_id == due.c.tenant_id, OutboxJob.job_id == due.c.job_id)
        .values(lease_until=func.now() + LEASE, attempts=OutboxJob.attempts + 1)
        .returning(*_LEASED)
    )
    return [LeasedJob(*row) for row in rows]


async def take(session: AsyncSession, scope: TenantScope, job_id: int) -> LeasedJob | None:
    """Lock an open job for the current transaction; None when it is done or another run holds it."""
    rows = await session.execute(
        select(*_LEASED)
        .where(OutboxJob.tenant_id == scope.tenant_id, OutboxJob.job_id == job_id, OutboxJob.done_at.is_(None))
        .with_for_update(skip_locked=True)
    )
    row = rows.first()
    return LeasedJob(*row) if row else None


async def complete(session: AsyncSession, scope: TenantScope, job_id: int) -> bool:
    """Mark a job done in the transaction of its effects; False when another run already did it."""
    result = await session.execute(
        update(OutboxJob)
        .where(OutboxJob.tenant_id == scope.tenant_id, OutboxJob.job_id == job_id, OutboxJob.done_at.is_(None))
        .values(done_at=func.now())
        .returning(OutboxJob.job_id)
    )
    return result.first() is not None


async def postpone(session: AsyncSession, scope: TenantScope, job_id: int, seconds: int) -> None:
    """Give a failed job back: it is due again after `seconds`."""
    await session.execute(
        update(OutboxJob)
        .where(OutboxJob.tenant_id == scope.tenant_id, OutboxJob.job_id == job_id, OutboxJob.done_at.is_(None))
        .values(available_at=func.now() + timedelta(seconds=seconds), lease_until=None)
    )


async def list_open(session: AsyncSession, jobs: Collection[str]) -> set[tuple[int, str]]:
    """Return tenant and name of those of `jobs` that are not done yet."""
    rows = await session.execute(
        select(OutboxJob.tenant_id, OutboxJob.job)
        .where(OutboxJob.done_at.is_(None), OutboxJob.job.in_(jobs))
        .distinct()
    )
    return {(row[0], row[1]) for row in rows}


async def prune_done(session: AsyncSession, scope: TenantScope, older_than: timedelta = DONE_KEPT) -> int:
    """Remove jobs that were done longer ago than `older_than`; return how many."""
    rows = await session.execute(
        delete(OutboxJob)
        .where(OutboxJob.tenant_id == scope.tenant_id, OutboxJob.done_at < func.now() - older_than)
        .returning(OutboxJob.job_id)
    )
    return len(rows.all())


async def count_open(session: AsyncSession) -> tuple[int, float]:
    """Return how many jobs are open and the age in seconds of the oldest due one (0.0 where none)."""
    row = (
        await session.execute(
            select(
                func.count(),
                func.coalesce(func.extract("epoch", func.now() - func.min(OutboxJob.available_at)), 0),
            ).where(OutboxJob.done_at.is_(None), OutboxJob.available_at <= func.now())
        )
    ).one()
    return int(row[0]), float(row[1])
