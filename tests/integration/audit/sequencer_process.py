"""A sequencer in a process of its own, to be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pitboss.audit.runtime import FileSigner, Sequencer
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import ContextSigner
from pitboss.platform.settings import ContextKey


async def main(url: str, keys_file: str, keys: str) -> None:
    contexts = [ContextKey(name, bytes.fromhex(secret)) for name, secret in (key.split(":") for key in keys.split(","))]
    scopes = [TenantScope(1, "aurora", "eu-1")]
    sequencer = Sequencer(
        url, ContextSigner(contexts), FileSigner(Path(keys_file)), lambda: scopes, checkpoint_seconds=0.05
    )
    while not sequencer.leads:
        await sequencer.step()
        await asyncio.sleep(0.02)
    print("leads", flush=True)
    while True:
        if not await sequencer.step():
            await asyncio.sleep(0.005)


asyncio.run(main(*sys.argv[1:]))
