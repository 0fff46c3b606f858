"""The jobs of the games room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.games import service as games
from pitboss.games.errors import AggregatorUnavailable
from pitboss.kernel.scope import Origin, TenantScope
from pitboss.platform.outbox import enqueue
from pitboss.plughost import service as plughost
from pitboss.plughost.contracts import CATALOGUE_JOB
from pitboss.plughost.runtime import Drivers
from pitboss.worker.jobs import Job, job_actor
from pitboss_sdk.games import GameInfo
from pitboss_sdk.outcome import Done, Outcome

SYNC_JOB: Final = CATALOGUE_JOB
"""Its payload names a `plugin`, or nothing: then it leaves one job behind for each that the tenant has enabled."""
_SYNC_SECONDS: Final = 300


def game_jobs(drivers: Drivers) -> tuple[Job, ...]:
    """Return the jobs of the games room; aggregators are reached through `drivers`."""

    async def sync_catalogue(session: AsyncSession, scope: TenantScope, payload: Mapping[str, Any]) -> None:
        if "plugin" not in payload:
            for enabled in await plughost.list_enabled(session, scope):
                if enabled.kind == "games":
                    await enqueue(session, scope, SYNC_JOB, {"plugin": enabled.slug})
            return
        plugin = str(payload["plugin"])
        driver = await drivers.get(session, scope, plugin)
        listed: Outcome[tuple[GameInfo, ...]] = await driver.list_games()
        if not isinstance(listed, Done):
            raise AggregatorUnavailable(f"{plugin} gave no list of games")
        await games.sync_catalogue(session, scope, plugin, listed.value, job_actor(SYNC_JOB), Origin())

    return (Job(SYNC_JOB, sync_catalogue, "games.catalogue.edit", every_seconds=_SYNC_SECONDS),)
