"""The jobs of the bonus room: take back what is left of awards that have ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import TenantScope
from pitboss.wallet import service as wallets
from pitboss.wallet.runtime import Lanes
from pitboss.worker.jobs import Job

SETTLE_JOB: Final = "bonus.settle_ended"
_SETTLE_SECONDS: Final = 60


def bonus_jobs(lanes: Lanes) -> tuple[Job, ...]:
    """Return the jobs of the bonus room; money is taken back through `lanes`, as all money moves."""

    async def settle_ended(session: AsyncSession, scope: TenantScope, _payload: Mapping[str, Any]) -> None:
        await wallets.settle_ended_awards(session, lanes, scope)

    return (Job(SETTLE_JOB, settle_ended, "bonus.ending.edit", every_seconds=_SETTLE_SECONDS),)
