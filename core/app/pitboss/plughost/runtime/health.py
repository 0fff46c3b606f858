"""How the drivers of a cell fare, told by every process that uses them and read by any."""

from __future__ import annotations

from typing import Final

import msgspec
import structlog

from pitboss.kernel.clock import epoch_seconds
from pitboss.platform.redis import CellRedis
from pitboss.plughost.contracts import DriverHealth, HealthState

NOTE_LIFETIME_SECONDS: Final = 900
"""A driver of which nothing was heard for so long is not in trouble any more, or not used."""

_log = structlog.get_logger(__name__)


class HealthBoard:
    """Notes about drivers in trouble, in the cell's Redis; a healthy driver has none."""

    def __init__(self, redis: CellRedis, process: str) -> None:
        self._redis = redis
        self._key = redis.cell_key("plughost", "health")
        self._process = process

    async def record(self, health: DriverHealth) -> None:
        """Note the state of a driver as this process sees it; without Redis it is logged and not noted."""
        field = f"{health.tenant}/{health.plugin}/{self._process}"
        note = None if health.state is HealthState.HEALTHY else msgspec.json.encode(health)
        if not await self._redis.write_note(self._key, field, note):
            _log.warning("plugin.health_untold", plugin=health.plugin, tenant=health.tenant)

    async def list_troubled(self) -> list[DriverHealth]:
        """Return the drivers in trouble, the worst of what processes say of each, by tenant and plugin."""
        oldest = epoch_seconds() - NOTE_LIFETIME_SECONDS
        worst: dict[tuple[str, str], DriverHealth] = {}
        for field, raw in (await self._redis.read_notes(self._key)).items():
            note = msgspec.json.decode(raw, type=DriverHealth)
            if note.seen_at < oldest:
                await self._redis.write_note(self._key, field, None)
                continue
            known = worst.get((note.tenant, note.plugin))
            if known is None or note.state > known.state:
                worst[note.tenant, note.plugin] = note
        return [worst[key] for key in sorted(worst)]
