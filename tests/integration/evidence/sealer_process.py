"""Sealers in processes of their own, to be killed: each line on the standard input forks one, which tells its number."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pyarrow.parquet  # noqa: F401 - loaded once, for all that are forked

from pitboss.audit.runtime import FileSigner
from pitboss.evidence.runtime import Sealer
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import ContextSigner
from pitboss.platform.settings import ContextKey
from pitboss.platform.worm.local import LocalWormStore


async def seal(url: str, keys_file: str, keys: str, folder: str) -> None:
    contexts = [ContextKey(name, bytes.fromhex(secret)) for name, secret in (key.split(":") for key in keys.split(","))]
    scopes = [TenantScope(1, "aurora", "eu-1")]
    store = LocalWormStore(Path(folder))
    sealer = Sealer(url, ContextSigner(contexts), FileSigner(Path(keys_file)), store, lambda: scopes, most=7)
    while not sealer.leads:
        await sealer.step()
        await asyncio.sleep(0.02)
    print(os.getpid(), flush=True)
    while True:
        await sealer.step()
        await asyncio.sleep(0.002)


for _ in sys.stdin:
    child = os.fork()
    if not child:
        asyncio.run(seal(*sys.argv[1:]))
    os.waitpid(child, 0)
