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
_REMEMBER: Final = """
local run = redis.call('info', 'server'):match('run_id:(%w+)')
local since = (redis.call('get', KEYS[1]) or ''):match('^' .. run .. ' (%d+)$')
if not since then
    since = math.max(tonumber(ARGV[1]), tonumber(redis.call('time')[1]))
    redis.call('set', KEYS[1], run .. ' ' .. string.format('%d', since))
end
local unknown = KEYS[2] and redis.call('set', KEYS[2], '1', 'nx', 'ex', ARGV[2])
return {tonumber(since), unknown and 1 or 0}
"""
"""A memory is one run's of the server: what a later run reads from a disk may lack the names of the last moments."""


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

        So it does for what was made, by `made_at`, before the memory began or in the same second: a server that came
        back empty, or with what it held a while before, has forgotten names, and one that comes again would pass for new.
        """
        key = self.cell_key(room, *parts)
        try:
            since, is_unknown = await self._remember(key, lifetime_seconds)
        except (RedisError, OSError) as error:
            raise RedisUnavailable(f"Redis did not answer ({type(error).__name__})") from error
        if made_at <= since:
            raise RedisUnavailable("Redis has forgotten what it knew when this was made")
        return is_unknown

    async def begin_memory(self) -> None:
        """Mark that the memory of names begins now, unless this run of the server has one."""
        await self._remember()

    async def _remember(self, key: RedisKey | None = None, lifetime_seconds: int = 0) -> tuple[int, bool]:
        """Return when the memory of names began, and whether a name was unknown to it."""
        keys = (self._since_key,) if key is None else (self._since_key, key)
        client = cast("Any", self._client)
        since, is_unknown = await client.eval(_REMEMBER, len(keys), *keys, epoch_seconds(), lifetime_seconds)
        return int(since), bool(is_unknown)

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
