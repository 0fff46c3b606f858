"""The sealing of rounds and payments, which runs in the sequencer's process: it has the login, the keys and the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from pitboss.platform.settings import Settings, require

if TYPE_CHECKING:
    from pitboss.kernel.scope import TenantScope
    from pitboss.platform.telemetry import Metrics

YIELDS: Final = 10
"""How far the process steps back behind those that serve players, where the machine has not enough for all."""


@asynccontextmanager
async def seal_rounds(
    settings: Settings, metrics: Metrics, list_scopes: Callable[[], Sequence[TenantScope]], years: int
) -> AsyncGenerator[None]:
    """Seal what is booked in the cell until the block ends."""
    from pitboss.audit.runtime import FileSigner
    from pitboss.evidence.runtime import Sealer
    from pitboss.platform.db import ContextSigner
    from pitboss.platform.worm import open_worm_store

    store = open_worm_store(settings)
    sealer = Sealer(
        require(settings, "cell_sequencer_database_url"),
        ContextSigner(require(settings, "context_keys")),
        FileSigner(require(settings, "audit_keys_file")),
        store,
        list_scopes,
        years=years,
    )
    metrics.rounds_unsealed_seconds.set_function(lambda: sealer.behind_seconds)
    stopping = asyncio.Event()
    work = asyncio.create_task(sealer.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await work
        await store.close()
