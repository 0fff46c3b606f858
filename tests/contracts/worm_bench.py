"""A write-once store under attack, and the register of the checks that it is held against."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from pitboss.platform.worm.port import (
    Mode,
    ObjectMissing,
    Retention,
    StoredVersion,
    WormAdministration,
    WormRefused,
    WormStore,
)

COMPLIANCE, GOVERNANCE = Mode.COMPLIANCE, Mode.GOVERNANCE


class Store(WormStore, WormAdministration, Protocol):
    """A store, and what someone with every right may ask of it."""


@dataclass
class Bench:
    """A store under attack.

    `let_pass` makes a moment be over for the store, `set_forward` moves clocks that it must not believe; `now` is the
    store's own time.
    """

    store: Store
    let_pass: Callable[[datetime], Awaitable[None]]
    set_forward: Callable[[], Awaitable[None]]
    now: Callable[[], datetime]
    prefix: str = field(default_factory=lambda: secrets.token_hex(4))
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def key(self) -> str:
        return f"{self.prefix}/tenant=7/segment-{next(self.numbers)}.jsonl"

    def until(self, **duration: int) -> datetime:
        return self.now().replace(microsecond=0) + timedelta(**(duration or {"days": 30}))

    async def put(
        self, mode: Mode = COMPLIANCE, content: bytes = b"first", key: str = "", *, hold: bool = False, **duration: int
    ) -> StoredVersion:
        return await self.store.put(key or self.key(), content, Retention(mode, self.until(**duration)), hold=hold)

    async def refused(self, attack: Awaitable[object]) -> None:
        """An attack may say that it was refused, or not; what counts is what is left of it."""
        try:
            await attack
        except (WormRefused, ObjectMissing):
            return

    async def stands(self, stored: StoredVersion, content: bytes = b"first") -> None:
        """The version is as it was put: content, retention and hold."""
        found = await self.store.head(stored.key, stored.version)
        assert found == stored, f"{found} is not {stored}"
        assert await self.store.get(stored.key, stored.version) == content

    async def is_gone(self, stored: StoredVersion) -> None:
        try:
            await self.store.head(stored.key, stored.version)
        except ObjectMissing:
            return
        raise AssertionError("it is still there")

    async def survives(self, stored: StoredVersion, attack: Awaitable[object]) -> None:
        await self.refused(attack)
        await self.stands(stored)


Check = Callable[[Bench], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function  # pyright: ignore[reportAttributeAccessIssue]
    return function


async def parts_of(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
