"""Redis: one client per process, and the one builder of keys, which puts cell and tenant first."""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pitboss.kernel.scope import ForeignCell, TenantScope

_SEPARATOR: Final = ":"


class CellRedis:
    """The Redis of one cell; it refuses a scope of another cell."""

    def __init__(self, url: str, cell: str) -> None:
        self.cell = cell
        connect: Any = Redis.from_url  # the library types its keywords as unknown
        self.client: Redis = connect(url, socket_connect_timeout=2, socket_timeout=5)

    def key(self, scope: TenantScope, room: str, *parts: str) -> str:
        """Return `<cell>:<tenant>:<room>:…`; a part may not hold the separator, so that no two keys collide."""
        if scope.cell != self.cell:
            raise ForeignCell(f"scope of cell {scope.cell} used in cell {self.cell}")
        names = (self.cell, scope.slug, room, *parts)
        if any(_SEPARATOR in name or not name for name in names):
            raise ValueError("a part of a Redis key is empty or holds the separator")
        return _SEPARATOR.join(names)

    async def is_alive(self) -> bool:
        """Return whether the server answers."""
        try:
            ping: Any = self.client.ping
            return bool(await ping())
        except (RedisError, OSError):
            return False

    async def close(self) -> None:
        """Give the connections back."""
        await self.client.aclose()
