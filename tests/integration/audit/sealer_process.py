"""A sealer in a process of its own, to be killed: it says what it is about to put, and lingers over it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pitboss.audit.runtime import FileSigner, Sealer
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.platform.settings import ContextKey
from pitboss.platform.worm.local import LocalWormStore
from pitboss.platform.worm.port import Retention, StoredVersion


class SlowStore(LocalWormStore):
    """Takes its time before and after each put, so that a kill finds it anywhere between."""

    async def put(self, key: str, content: bytes, retention: Retention, *, hold: bool = False) -> StoredVersion:
        print("put", key, flush=True)
        await asyncio.sleep(0.01)
        stored = await super().put(key, content, retention, hold=hold)
        await asyncio.sleep(0.01)
        return stored


async def main(url: str, keys_file: str, keys: str, folder: str, once: str = "") -> None:
    contexts = [ContextKey(name, bytes.fromhex(secret)) for name, secret in (key.split(":") for key in keys.split(","))]
    engine = create_engine(url, pool_size=1)
    database = Database(engine, "eu-1", ContextSigner(contexts))
    scopes = [TenantScope(1, "aurora", "eu-1")]
    sealer = Sealer(
        database.transaction,
        FileSigner(Path(keys_file)),
        SlowStore(Path(folder)),
        lambda: scopes,
        seal_seconds=0,
        witnessed=False,
    )
    while True:
        await sealer.seal_due()
        if once:
            await engine.dispose()
            return
        await asyncio.sleep(0.01)


asyncio.run(main(*sys.argv[1:]))
