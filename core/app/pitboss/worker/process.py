"""The main loops of a worker and of a relay process: until SIGTERM or SIGINT, then in order to the end."""

from __future__ import annotations

import asyncio
import signal

import structlog

from pitboss.worker.relay import Relay
from pitboss.worker.runner import JobWorker

_log = structlog.get_logger(__name__)


async def run_worker(worker: JobWorker) -> None:
    """Consume until a signal; what runs is finished, what waits goes back to the broker."""
    stopping = stop_on_signals()
    worker.start()
    _log.info("worker.started")
    await stopping.wait()
    await worker.stop()
    _log.info("worker.stopped")


async def run_relay(relay: Relay) -> None:
    """Relay until a signal."""
    stopping = stop_on_signals()
    _log.info("relay.started")
    await relay.run(stopping)
    _log.info("relay.stopped")


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping
