"""`pitboss sequencer`: the process that puts audit events into their logs, and what is signed into write-once storage."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pitboss.permissions.service import deployment_command
from pitboss.platform.settings import Settings, load_settings, require, require_all

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from pitboss.audit.runtime import Sealer, Sequencer, WitnessClient
    from pitboss.audit.runtime.seals import OpenTransaction
    from pitboss.kernel.scope import TenantScope
    from pitboss.platform.telemetry import Metrics, Readiness

_SEAL_LOOK_SECONDS: Final = 5


@click.command("sequencer")
@click.option("--control", is_flag=True, help="The control plane's own log instead of those of a cell.")
@deployment_command("platform.process.configure")
def sequencer(control: bool) -> None:
    """Put audit events into logs, sign checkpoints, have them witnessed, and put them into write-once storage."""
    asyncio.run((_run_control if control else _run_cell)(load_settings()))


async def _run_cell(settings: Settings) -> None:
    from pitboss.audit.runtime import FileSigner, Sequencer
    from pitboss.cli.round_sealing import YIELDS, seal_rounds
    from pitboss.directory.contracts import PublicKey
    from pitboss.directory.runtime import REFRESH_SECONDS, Directory
    from pitboss.platform.background import Repeating, keep_repeating
    from pitboss.platform.context_check import find_context_problem
    from pitboss.platform.db import ContextSigner, Database, create_engine
    from pitboss.platform.telemetry import Metrics, Readiness, configure_logging

    require_all(settings, "cell_sequencer_database_url", "context_keys", "directory_public_keys", "audit_keys_file")
    os.nice(YIELDS)
    metrics = Metrics()
    configure_logging("sequencer", settings.log_level, metrics)
    url = require(settings, "cell_sequencer_database_url")
    contexts = ContextSigner(require(settings, "context_keys"))
    engine = create_engine(url, pool_size=2)
    database = Database(engine, settings.cell, contexts)
    keys = [PublicKey(key.key_id, key.raw) for key in require(settings, "directory_public_keys")]
    directory = Directory(settings.cell, keys)
    metrics.directory_version.set_function(lambda: directory.version)
    metrics.directory_age_seconds.set_function(lambda: directory.age_seconds() or 0)

    def list_scopes() -> list[TenantScope]:
        # Closed tenants too: that they were closed is the last thing that their logs tell.
        return [directory.scope_of(tenant) for tenant in directory.tenants()]

    signer = FileSigner(require(settings, "audit_keys_file"))
    sequencer = Sequencer(url, contexts, signer, list_scopes, witness=_read_witness(settings))

    async def look_at_directory() -> str:
        return "" if directory.is_loaded else "no signed snapshot has been loaded yet"

    readiness = Readiness({"database": partial(find_context_problem, database), "directory": look_at_directory})
    try:
        async with (
            keep_repeating(Repeating("directory.refresh", REFRESH_SECONDS, partial(directory.refresh, database))),
            _open_sealer(settings, metrics, database.transaction, list_scopes) as sealer,
            seal_rounds(settings, metrics, list_scopes, find_longest_years()),
        ):
            await _serve(settings, metrics, readiness, sequencer, sealer)
    finally:
        await engine.dispose()


async def _run_control(settings: Settings) -> None:
    from pitboss.audit.contracts import CONTROL_SCOPE
    from pitboss.audit.runtime import FileSigner, Sequencer
    from pitboss.platform.db import ControlDatabase, create_engine
    from pitboss.platform.telemetry import Metrics, Readiness, configure_logging

    require_all(settings, "control_sequencer_database_url", "audit_keys_file")
    metrics = Metrics()
    configure_logging("sequencer", settings.log_level, metrics)
    url = require(settings, "control_sequencer_database_url")
    engine = create_engine(url, pool_size=2)
    database = ControlDatabase(engine)
    signer = FileSigner(require(settings, "audit_keys_file"))

    @asynccontextmanager
    async def transaction(_scope: TenantScope) -> AsyncGenerator[AsyncSession]:
        async with database.transaction() as session:
            yield session

    async def reach() -> str:
        async with engine.connect():  # the pool asks the server before it gives a connection out
            return ""

    sequencer = Sequencer(url, None, signer, lambda: [CONTROL_SCOPE], witness=_read_witness(settings))
    try:
        async with _open_sealer(settings, metrics, transaction, lambda: [CONTROL_SCOPE]) as sealer:
            await _serve(settings, metrics, Readiness({"database": reach}), sequencer, sealer)
    finally:
        await engine.dispose()


async def _serve(
    settings: Settings, metrics: Metrics, readiness: Readiness, sequencer: Sequencer, sealer: Sealer
) -> None:
    from pitboss.platform.background import Repeating, keep_repeating
    from pitboss.platform.probes import Probes

    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with (
        Probes(metrics, readiness).serve(settings.host, settings.metrics_port),
        keep_repeating(Repeating("audit.seal", _SEAL_LOOK_SECONDS, sealer.seal_due)),
    ):
        await sequencer.run(stopping)


@asynccontextmanager
async def _open_sealer(
    settings: Settings,
    metrics: Metrics,
    transaction: OpenTransaction,
    list_scopes: Callable[[], Sequence[TenantScope]],
) -> AsyncGenerator[Sealer]:
    from pitboss.audit.runtime import FileSigner, Sealer
    from pitboss.platform.worm import open_worm_store

    store = open_worm_store(settings)
    try:
        yield Sealer(
            transaction,
            FileSigner(require(settings, "audit_keys_file")),
            store,
            list_scopes,
            seal_seconds=settings.seal_seconds,
            years=find_longest_years(),
            witnessed=settings.witness is not None,
            observe_wait=lambda scope, seconds: metrics.audit_unsealed_seconds.labels(scope.slug).set(seconds),
        )
    finally:
        await store.close()


def find_longest_years() -> int:
    """Return for how many years evidence is locked: what any installed pack that was verified asks for, ten at least.

    All that are installed count, not those of one tenant: a lock that is too long can be explained, one that is too
    short cannot be mended. A pack whose figure nobody verified may lengthen it, and not shorten it.
    """
    from pitboss.audit.runtime import choose_years
    from pitboss.plughost.runtime import discover_packs
    from pitboss_sdk.jurisdiction import RecordClass, read_pack

    named: list[int] = []
    for candidate in discover_packs():
        pack = read_pack(Path(candidate.manifest_file).parent)
        figures = [each for each in pack.retention.retention_years if each.record is RecordClass.AUDIT_RECORDS]
        named += [each.value for each in figures]
    return choose_years(named)


def _read_witness(settings: Settings) -> WitnessClient | None:
    from pitboss.audit.runtime import WitnessClient

    return WitnessClient.read(settings.witness) if settings.witness else None
