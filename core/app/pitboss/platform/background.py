"""Work that a process repeats beside its main task, for as long as it lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import structlog

_log = structlog.get_logger(__name__)


class Repeating(msgspec.Struct, frozen=True):
    """A call that is made again and again; one that fails is logged and made again."""

    action: str
    every_seconds: float
    call: Callable[[], Awaitable[object]]


@asynccontextmanager
async def keep_repeating(*repeated: Repeating) -> AsyncGenerator[None]:
    """Repeat each call while the block runs; the first of each is made and awaited before it begins."""
    for entry in repeated:
        await _call(entry)
    tasks = [asyncio.create_task(_repeat(entry)) for entry in repeated]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(entry: Repeating) -> None:
    while True:
        await asyncio.sleep(entry.every_seconds)
        await _call(entry)


async def _call(entry: Repeating) -> None:
    try:
        await entry.call()
    except Exception as error:  # noqa: BLE001 - whatever goes wrong once, the next time may go well
        _log.warning("background.failed", action=entry.action, exc_info=error)
