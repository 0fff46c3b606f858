"""A worker or relay of its own process with one test job, to be killed by the test that starts it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.directory.contracts import PublicKey
from pitboss.directory.runtime import Directory
from pitboss.kernel.scope import TenantScope
from pitboss.platform import outbox
from pitboss.platform.broker import create_broker
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.platform.settings import load_settings
from pitboss.platform.telemetry import Metrics, configure_logging
from pitboss.worker.jobs import Handler, Job, JobRegistry
from pitboss.worker.process import run_relay, run_worker
from pitboss.worker.relay import Relay
from pitboss.worker.runner import JobRunner, JobWorker


def leave_effect(name: str) -> Handler:
    """Return the handler of the process `name`, by which its connections are known while it has a job in hand."""

    async def handle(session: AsyncSession, scope: TenantScope, payload: Mapping[str, Any]) -> None:
        """Write the effect first and linger, so that a kill falls between it and the commit."""
        await outbox.enqueue(session, scope, "test.effect", payload)
        await session.execute(text("select set_config('application_name', :name, true)"), {"name": name})
        await asyncio.sleep(3600 if payload.get("never_ends_in") == name else 0.25)

    return handle


async def main(name: str, role: str, url: str, redis_url: str, context_keys: str, public_keys: str) -> None:
    """Run until killed."""
    settings = load_settings({"PITBOSS_CONTEXT_KEYS": context_keys, "PITBOSS_DIRECTORY_PUBLIC_KEYS": public_keys})
    metrics = Metrics()
    configure_logging(role, "info", metrics)
    database = Database(create_engine(url), "eu-1", ContextSigner(settings.context_keys))
    directory = Directory("eu-1", [PublicKey(key.key_id, key.raw) for key in settings.directory_public_keys])
    await directory.refresh(database)
    broker = create_broker(redis_url, "eu-1")
    if role == "relay":
        await run_relay(Relay(database, directory, broker, (), metrics))
    else:
        jobs = JobRegistry(
            [Job("test.job", leave_effect(name), "ledger.book.edit"), Job("test.effect", _nothing, "ledger.book.edit")]
        )
        await run_worker(JobWorker(broker, JobRunner(database, directory, jobs, metrics), asyncio.get_running_loop()))


async def _nothing(_session: AsyncSession, _scope: TenantScope, _payload: Mapping[str, Any]) -> None:
    """The effects of this test are jobs themselves; nothing is to be done for them."""


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
