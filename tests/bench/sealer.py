"""A sealer in a process of its own: reads `go` and `stop`, and tells after each how much it has sealed and used."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from pitboss.audit.runtime import FileSigner
from pitboss.cli.round_sealing import YIELDS
from pitboss.evidence.runtime import Sealer
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import ContextSigner
from pitboss.platform.settings import ContextKey
from pitboss.platform.worm.local import LocalWormStore


async def main(plan: dict[str, str]) -> None:
    """Catch up at `catch`; seal every four seconds between `go` and `stop`, which is more often than in service."""
    contexts = ContextSigner([ContextKey(plan["key_id"], bytes.fromhex(plan["secret"]))])
    scopes = [TenantScope(*each) for each in json.loads(plan["scopes"])]
    store = LocalWormStore(Path(plan["store"]))
    sealer = Sealer(
        plan["url"], contexts, FileSigner(Path(plan["keys_file"])), store, lambda: scopes, pause_seconds=4.0
    )
    stopping, work = asyncio.Event(), None
    print("{}", flush=True)
    while command := (await asyncio.to_thread(sys.stdin.readline)).strip():
        began, cpu, before = time.monotonic(), time.process_time(), sealer.entries
        if command == "catch":
            await sealer.step()
        elif command == "go":
            stopping = asyncio.Event()
            work = asyncio.create_task(sealer.run(stopping))
            continue
        elif work is not None:
            stopping.set()
            await work
        told = {
            "entries": sealer.entries - before,
            "seconds": time.monotonic() - began,
            "cpu": time.process_time() - cpu,
        }
        print(json.dumps({**told, "all": sealer.entries}), flush=True)
    await sealer.close()


os.nice(YIELDS)
asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
