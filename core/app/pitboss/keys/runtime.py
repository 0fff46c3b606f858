"""What a process keeps of keys while it lives: the way to the key service, and unwrapped epoch keys for a short while."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from pitboss.kernel.clock import monotonic_seconds
from pitboss.kernel.scope import ForeignCell, TenantScope
from pitboss.keys.rules import epoch_context, tenant_key_name
from pitboss.platform.keys import open_key_service
from pitboss.platform.keys.local import LocalKeyService
from pitboss.platform.keys.service import KeyService, WrappedKey
from pitboss.platform.settings import Settings

KEEP_SECONDS: Final = 300
"""An epoch's key is forgotten so long after it was unwrapped, however often it was used."""
KEEP_KEYS: Final = 256


class KeyRing:
    """The key service of one cell, and the epoch keys that it unwrapped lately, bounded in number and time.

    What is kept stands under the wrapped bytes themselves: a key that was rolled back, or another tenant's, is never
    found for them. Keys of subjects are not kept: their rows are read each time, so that an erasure or a restriction
    counts everywhere at once, and unwrapping them costs microseconds.
    """

    def __init__(
        self,
        service: KeyService,
        cell: str,
        *,
        now: Callable[[], float] = monotonic_seconds,
        size: int = KEEP_KEYS,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        self.service = service
        self._cell = cell
        self._now = now
        self._size = size
        self._keep_seconds = keep_seconds
        self._kept: OrderedDict[tuple[int, int, WrappedKey], tuple[float, bytes]] = OrderedDict()

    def check(self, scope: TenantScope) -> None:
        """Raise `ForeignCell` for a scope of another cell."""
        if scope.cell != self._cell:
            raise ForeignCell(f"scope of cell {scope.cell} used with keys of cell {self._cell}")

    async def unwrap_epoch(self, scope: TenantScope, epoch: int, wrapped: WrappedKey) -> bytes:
        """Return an epoch's key, asking the key service unless it did so lately; raise what its `unwrap` raises."""
        self.check(scope)
        place = (scope.tenant_id, epoch, wrapped)
        found = self._kept.get(place)
        if found is not None and found[0] > self._now():
            return found[1]
        name = tenant_key_name(scope.cell, scope.tenant_id)
        raw = await self.service.unwrap(name, wrapped, epoch_context(scope.cell, scope.tenant_id, epoch))
        now = self._now()
        self._kept.pop(place, None)
        self._kept[place] = (now + self._keep_seconds, raw)
        # All are kept equally long, so they stand in the order in which they end.
        while self._kept and (len(self._kept) > self._size or next(iter(self._kept.values()))[0] <= now):
            self._kept.popitem(last=False)
        return raw

    def forget(self, scope: TenantScope) -> None:
        """Forget every epoch of a tenant."""
        for place in [each for each in self._kept if each[0] == scope.tenant_id]:
            del self._kept[place]

    def __len__(self) -> int:
        return len(self._kept)


@asynccontextmanager
async def open_ring(settings: Settings, *, is_used: bool = True) -> AsyncGenerator[KeyRing]:
    """Yield the keys of the settings' cell; raise `SettingsInvalid`. The key service is asked when a key is needed.

    A process that never seals or opens says so: it needs no right at the key service, and every call is refused.
    """
    service = open_key_service(settings) if is_used else LocalKeyService(Path(os.devnull))
    try:
        yield KeyRing(service, settings.cell)
    finally:
        await service.close()
