"""A sealer in a process of its own, to be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pitboss.audit.runtime import FileSigner
from pitboss.evidence.runtime import Sealer
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import ContextSigner
from pitboss.platform.settings import ContextKey
from pitboss.platform.worm.local import LocalWormStore


async def main(url: str, keys_file: str, keys: str, folder: str) -> None:
    contexts = [ContextKey(name, bytes.fromhex(secret)) for name, secret in (key.split(":") for key in keys.split(","))]
    scopes = [TenantScope(1, "aurora", "eu-1")]
    store = LocalWormStore(Path(folder))
    sealer = Sealer(url, ContextSigner(contexts), FileSigner(Path(keys_file)), store, lambda: scopes, most=7)
    while not sealer.leads:
        await sealer.step()
        await asyncio.sleep(0.02)
    print("leads", flush=True)
    while True:
        await sealer.step()
        await asyncio.sleep(0.002)


asyncio.run(main(*sys.argv[1:]))
