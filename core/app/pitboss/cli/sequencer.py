"""`pitboss sequencer`: the process that puts the audit events of a cell into their logs."""

from __future__ import annotations

import asyncio
import signal
from functools import partial

import click

from pitboss.permissions.service import deployment_command
from pitboss.platform.settings import Settings, load_settings, require


@click.command("sequencer")
@deployment_command("platform.process.configure")
def sequencer() -> None:
    """Put audit events into the logs of their tenants, sign checkpoints, and have them witnessed."""
    asyncio.run(_run(load_settings()))


async def _run(settings: Settings) -> None:
    from pitboss.audit.runtime import FileSigner, Sequencer, WitnessClient
    from pitboss.directory.contracts import PublicKey
    from pitboss.directory.runtime import REFRESH_SECONDS, Directory
    from pitboss.platform.background import Repeating, keep_repeating
    from pitboss.platform.context_check import find_context_problem
    from pitboss.platform.db import ContextSigner, Database, create_engine
    from pitboss.platform.probes import Probes
    from pitboss.platform.telemetry import Metrics, Readiness, configure_logging

    metrics = Metrics()
    configure_logging("sequencer", settings.log_level, metrics)
    url = require(settings, "cell_sequencer_database_url")
    contexts = ContextSigner(require(settings, "context_keys"))
    engine = create_engine(url, pool_size=1)
    database = Database(engine, settings.cell, contexts)
    keys = [PublicKey(key.key_id, key.raw) for key in require(settings, "directory_public_keys")]
    directory = Directory(settings.cell, keys)
    metrics.directory_version.set_function(lambda: directory.version)
    metrics.directory_age_seconds.set_function(lambda: directory.age_seconds() or 0)
    sequencer = Sequencer(
        url,
        contexts,
        FileSigner(require(settings, "audit_keys_file")),
        # Closed tenants too: that they were closed is the last thing that their logs tell.
        lambda: [directory.scope_of(tenant) for tenant in directory.tenants()],
        witness=WitnessClient.read(settings.witness) if settings.witness else None,
    )

    async def look_at_directory() -> str:
        return "" if directory.is_loaded else "no signed snapshot has been loaded yet"

    readiness = Readiness({"database": partial(find_context_problem, database), "directory": look_at_directory})
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        async with (
            keep_repeating(Repeating("directory.refresh", REFRESH_SECONDS, partial(directory.refresh, database))),
            Probes(metrics, readiness).serve(settings.host, settings.metrics_port),
        ):
            await sequencer.run(stopping)
    finally:
        await engine.dispose()
