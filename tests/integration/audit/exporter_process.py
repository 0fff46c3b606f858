"""An exporter in a process of its own, to be killed; its batches and leases are small, so that a kill falls between."""

from __future__ import annotations

import asyncio
import sys

from pitboss.audit.runtime import Exporter
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.platform.secrets import SecretStore
from pitboss.platform.settings import ContextKey
from pitboss.platform.telemetry import Metrics


async def main(url: str, keys: str) -> None:
    contexts = [ContextKey(name, bytes.fromhex(secret)) for name, secret in (key.split(":") for key in keys.split(","))]
    database = Database(create_engine(url), "eu-1", ContextSigner(contexts))
    scopes = [TenantScope(1, "aurora", "eu-1")]
    exporter = Exporter(database, SecretStore(None), lambda: scopes, Metrics(), batch_events=17, lease_seconds=1.0)
    while True:
        await exporter.step()
        await asyncio.sleep(0.02)


asyncio.run(main(*sys.argv[1:]))
