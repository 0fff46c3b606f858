"""Redis: one client per process, and the one builder of keys, which puts cell and tenant first."""

from __future__ import annotations

from typing import Any, Final, NewType, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pitboss.kernel.clock import epoch_seconds
from pitboss.kernel.scope import ForeignCell, TenantScope
from pitboss_sdk.errors import ErrorKind, PitbossError

RedisKey = NewType("RedisKey", str)
"""A key that `CellRedis` made; nothing else is taken for one."""

_SEPARATOR: Final = ":"
_NO_TENANT: Final = "-"
NOTE_LIFETIME_SECONDS: Final = 20
"""A process that has been silent for so long is gone."""


class RedisUnavailable(PitbossError):
    """Redis is away, and what was asked cannot be done safely without it."""

    code = "platform.redis_unavailable"
    kind = ErrorKind.UNAVAILABLE


class ProcessNote(msgspec.Struct, frozen=True):
    """A process of the cell as it describes itself; moments are whole seconds since 1970."""

    name: str
    pid: int
    started_at: int
    seen_at: int
    problems: dict[str, str] = {}


class CellRedis:
    """The Redis of one cell; it refuses a scope of another cell."""

    def __init__(self, url: str, cell: str) -> None:
        self.cell = cell
        # Any: the library types its keywords as unknown.
        self._client: Redis = cast("Any", Redis).from_url(url, socket_connect_timeout=2, socket_timeout=5)

    def key(self, scope: TenantScope, room: str, *parts: str) -> RedisKey:
        """Return `<cell>:<tenant>:<room>:…`; a part may not hold the separator, so that no two keys collide."""
        if scope.cell != self.cell:
            raise ForeignCell(f"scope of cell {scope.cell} used in cell {self.cell}")
        if scope.slug == _NO_TENANT:
            raise ValueError("a tenant bears the name of no tenant")
        return self._join(scope.slug, room, *parts)

    def cell_key(self, room: str, *parts: str) -> RedisKey:
        """Return the key of something that belongs to the cell and to no tenant."""
        return self._join(_NO_TENANT, room, *parts)

    def _join(self, *parts: str) -> RedisKey:
        names = (self.cell, *parts)
        if any(_SEPARATOR in name or not name for name in names):
            raise ValueError("a part of a Redis key is empty or holds the separator")
        return RedisKey(_SEPARATOR.join(names))

    async def is_first(self, room: str, *parts: str, lifetime_seconds: int, made_at: int) -> bool:
        """Remember a name of the cell for a while and return whether it was unknown; raise `RedisUnavailable`.

        So it does for what was made, by `made_at`, before the memory began: a server that came back empty has
        forgotten which names it knew, and a name that comes again would pass for a new one.
        """
        try:
            async with cast("Any", self._client).pipeline(transaction=True) as pipeline:
                pipeline.set(self._since_key, epoch_seconds(), nx=True)
                pipeline.get(self._since_key)
                pipeline.set(self.cell_key(room, *parts), b"1", nx=True, ex=lifetime_seconds)
                _, since, is_unknown = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise RedisUnavailable(f"Redis did not answer ({type(error).__name__})") from error
        if made_at < int(since):
            raise RedisUnavailable("Redis has forgotten what it knew when this was made")
        return bool(is_unknown)

    async def begin_memory(self) -> None:
        """Mark that the memory of names begins now, unless it has begun."""
        await cast("Any", self._client).set(self._since_key, epoch_seconds(), nx=True)

    @property
    def _since_key(self) -> RedisKey:
        return self.cell_key("platform", "since")

    async def announce(self, process: ProcessNote) -> None:
        """Say that a process lives; the note fades when it is not repeated."""
        key = self.cell_key("platform", "processes")
        fields = {f"{process.name}-{process.pid}": msgspec.json.encode(process)}
        await cast("Any", self._client).hset(key, mapping=fields)

    async def list_processes(self) -> list[ProcessNote]:
        """Return the processes of the cell that announced themselves lately."""
        key = self.cell_key("platform", "processes")
        stored: dict[bytes, bytes] = await cast("Any", self._client).hgetall(key)
        notes = {field: msgspec.json.decode(raw, type=ProcessNote) for field, raw in stored.items()}
        faded = [field for field, note in notes.items() if epoch_seconds() - note.seen_at > NOTE_LIFETIME_SECONDS]
        if faded:
            await cast("Any", self._client).hdel(key, *faded)
        return sorted(
            (note for field, note in notes.items() if field not in faded), key=lambda note: (note.name, note.pid)
        )

    async def write_note(self, key: RedisKey, field: str, note: bytes | None) -> bool:
        """Keep a note under a key, or take it away (None); False when the server cannot be had."""
        try:
            if note is None:
                await cast("Any", self._client).hdel(key, field)
            else:
                await cast("Any", self._client).hset(key, mapping={field: note})
        except (RedisError, OSError):
            return False
        return True

    async def read_notes(self, key: RedisKey) -> dict[str, bytes]:
        """Return the notes under a key."""
        stored: dict[bytes, bytes] = await cast("Any", self._client).hgetall(key)
        return {field.decode(): note for field, note in stored.items()}

    async def forget_tenant(self, scope: TenantScope) -> int:
        """Delete every key of a tenant and return how many there were."""
        pattern = f"{self.key(scope, 'x')[:-1]}*"
        client = cast("Any", self._client)
        return sum([int(await client.delete(key)) async for key in client.scan_iter(match=pattern, count=1000)])

    async def is_alive(self) -> bool:
        """Return whether the server answers."""
        try:
            return bool(await cast("Any", self._client).ping())
        except (RedisError, OSError):
            return False

    async def find_problem(self) -> str:
        """Return what keeps a process from working with this server, or an empty text."""
        return "" if await self.is_alive() else "did not answer"

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()
