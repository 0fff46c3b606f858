"""A process that erases a player and is killed when everything is written and nothing committed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from uuid import UUID

from pitboss.accounts import service as accounts
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.keys.runtime import KeyRing
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.platform.keys.local import LocalKeyService
from pitboss.platform.settings import load_settings


async def main(url: str, context_keys: str, folder: str, cell: str, player: str) -> None:
    """Erase, and be killed before the commit."""
    settings = load_settings({"PITBOSS_CONTEXT_KEYS": context_keys})
    database = Database(create_engine(url), cell, ContextSigner(settings.context_keys))
    scope, ring = TenantScope(1, "aurora", cell), KeyRing(LocalKeyService(Path(folder)), cell)
    async with database.transaction(scope) as session:
        outcome = await accounts.erase(
            session,
            scope,
            ring,
            UUID(player),
            policy_version="1",
            checks=[],
            reason="subject_request",
            actor=Actor(ActorKind.DEPLOYMENT, "tester"),
            origin=Origin(),
        )
        assert outcome.certificate is not None
        print("erased", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
