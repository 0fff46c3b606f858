"""A process that destroys rows of a plan one at a time, to be killed by the test that starts it."""

from __future__ import annotations

import asyncio
import sys
from uuid import UUID

from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.platform.settings import load_settings
from pitboss.retention import service as retention

AURORA = TenantScope(1, "aurora", "eu-1")


async def main(url: str, context_keys: str, run_id: str) -> None:
    """Say each time that a row is gone for good, until killed."""
    settings = load_settings({"PITBOSS_CONTEXT_KEYS": context_keys})
    database = Database(create_engine(url), "eu-1", ContextSigner(settings.context_keys))
    actor = Actor(ActorKind.SERVICE, "retention.carry_out")
    more = True
    while more:
        async with database.transaction(AURORA) as session:
            more = await retention.destroy_batch(
                session, AURORA, UUID(run_id), utc_now(), actor=actor, origin=Origin(), most=1
            )
        print("gone", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
