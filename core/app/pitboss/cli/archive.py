"""`pitboss archive`: the process that receives a cell's write-ahead log into its backups as it is written."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import Final

import click
import structlog

from pitboss.kernel.clock import utc_now
from pitboss.permissions.service import deployment_command
from pitboss.platform.backup import BackupFolder, Cluster, Owner, Receiver, slot_of
from pitboss.platform.probes import Probes
from pitboss.platform.settings import Settings, load_settings, require, require_all
from pitboss.platform.telemetry import Metrics, Readiness, configure_logging

_LOOK_SECONDS: Final = 1

_log = structlog.get_logger(__name__)


@click.command("archive")
@deployment_command("platform.process.configure")
def archive() -> None:
    """Receive the cell's write-ahead log into PITBOSS_BACKUP_DIR until a signal."""
    settings = load_settings()
    require_all(settings, "backup_database_url", "backup_dir")
    metrics = Metrics()
    configure_logging("archive", settings.log_level, metrics)
    folder = BackupFolder(require(settings, "backup_dir"), Owner(settings.cell, settings.locality))
    receiver = Receiver(folder, Cluster(require(settings, "backup_database_url"), slot_of(settings.cell)))
    receiver.open()
    try:
        asyncio.run(_receive(settings, receiver, metrics))
    finally:
        receiver.close()


async def _receive(settings: Settings, receiver: Receiver, metrics: Metrics) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    metrics.archive_behind_seconds.set_function(receiver.behind_seconds)
    readiness = Readiness({"archive": lambda: _problem(receiver)})
    begun_at = utc_now()
    _log.info("archive.started")
    async with Probes(metrics, readiness).serve(settings.host, settings.metrics_port):
        said = ""
        while not stopping.is_set():
            # In the main thread: the kernel ends the program that receives with the thread that started it.
            receiver.tick()
            newest = receiver.newest_base_at()
            metrics.base_backup_at.set(newest.timestamp() if newest else begun_at.timestamp())
            if bool(receiver.problem) != bool(said):
                _log.warning("archive.away") if receiver.problem else _log.info("archive.receives")
            if receiver.problem and receiver.problem != said:
                click.echo(receiver.problem, err=True)
            said = receiver.problem
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _LOOK_SECONDS)
    _log.info("archive.stopped")


async def _problem(receiver: Receiver) -> str:
    return "does not receive" if receiver.problem else ""
