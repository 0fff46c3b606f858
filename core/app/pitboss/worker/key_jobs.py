"""The job that puts a tenant's keys under the key of a new epoch, once the one before has lasted its time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.hosting import service as hosting
from pitboss.kernel.clock import monotonic_seconds, utc_now
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Origin, TenantScope
from pitboss.keys import service as keys
from pitboss.keys.runtime import KeyRing
from pitboss.platform.db import Database
from pitboss.worker.jobs import Job, job_actor

EPOCH_JOB: Final = "keys.change_epoch"
_LOOK_SECONDS: Final = 6 * 3600
_TIMEOUT_SECONDS: Final = 150
_BUDGET_SECONDS: Final = 100.0
"""What is left then is taken up the next time: each piece is a transaction of its own and may be repeated."""


def key_jobs(database: Database, ring: KeyRing) -> tuple[Job, ...]:
    """Return the jobs of keys."""

    async def change_epoch(session: AsyncSession, scope: TenantScope, _payload: Mapping[str, Any]) -> None:
        if not await keys.list_epochs(session, scope):
            return  # a tenant that was applied before there were keys: the next apply gives it some
        actor, origin = job_actor(EPOCH_JOB), Origin(request_id=str(new_uuid()))
        until = monotonic_seconds() + _BUDGET_SECONDS
        async with database.transaction(scope) as piece:
            if await keys.is_epoch_due(piece, scope, utc_now()):
                await hosting.begin_epoch(piece, scope, ring, actor=actor, origin=origin)
        is_done = False
        while not is_done and monotonic_seconds() < until:
            async with database.transaction(scope) as piece:
                is_done = (await hosting.advance_epoch(piece, scope, ring, actor=actor, origin=origin)).is_done

    return (
        Job(EPOCH_JOB, change_epoch, "keys.epoch.edit", every_seconds=_LOOK_SECONDS, timeout_seconds=_TIMEOUT_SECONDS),
    )
