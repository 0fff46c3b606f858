"""What Redis has forgotten is not taken for new."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
from tests.factories.ports import free_port

from pitboss.kernel.clock import epoch_seconds
from pitboss.platform.embedded import RedisServer
from pitboss.platform.redis import CellRedis, RedisUnavailable

LIFETIME_SECONDS = 120


@pytest.fixture
async def memory(redis_url: str) -> AsyncIterator[CellRedis]:
    opened = CellRedis(redis_url, "eu-1")
    yield opened
    await opened.close()


def forget(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()


async def is_first(memory: CellRedis, name: str, made_at: int) -> bool:
    return await memory.is_first("hosting", "calls", name, lifetime_seconds=LIFETIME_SECONDS, made_at=made_at)


async def wait_a_second() -> int:
    """Wait until the clock has moved on, and return what it says."""
    began = epoch_seconds()
    while epoch_seconds() == began:  # noqa: ASYNC110 - nothing else tells that the clock moved on
        await asyncio.sleep(0.05)
    return epoch_seconds()


async def test_a_name_is_first_once(memory: CellRedis) -> None:
    await memory.begin_memory()
    later = epoch_seconds() + 2
    assert [await is_first(memory, "a", later) for _ in range(3)] == [True, False, False]
    assert await is_first(memory, "b", later)


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("age_seconds", [0, 1])
async def test_what_is_not_younger_than_the_memory_is_refused(
    memory: CellRedis, redis_url: str, begins: bool, age_seconds: int
) -> None:
    """Whether a process marked the beginning before the name came again, or nobody did; in its very second too."""
    await memory.begin_memory()
    made_at = epoch_seconds() - age_seconds
    forget(redis_url)
    if begins:
        await memory.begin_memory()
    for _ in range(2):
        with pytest.raises(RedisUnavailable, match="has forgotten"):
            await is_first(memory, "a", made_at)
    assert await is_first(memory, "b", epoch_seconds() + 2)


async def test_a_memory_begins_once(memory: CellRedis) -> None:
    await memory.begin_memory()
    later = await wait_a_second()
    await memory.begin_memory()
    assert await is_first(memory, "a", later)
    assert not await is_first(memory, "a", later)


async def test_a_memory_that_was_stored_before_is_not_believed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The server comes back with what it held before a name was used: with a beginning, and without the name."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), port=free_port())
    server.start()
    opened = CellRedis(server.url(), "eu-1")
    try:
        await opened.begin_memory()
        with redis.Redis.from_url(server.url()) as client:
            client.save()
        used_at = await wait_a_second()
        assert await is_first(opened, "a", used_at)
        server.kill()
        server.start()
        with redis.Redis.from_url(server.url()) as client:
            assert client.keys(), "nothing was stored"
        assert [await opened.is_alive() for _ in range(2)][1], "the first notices that its line is gone"
        with pytest.raises(RedisUnavailable, match="has forgotten"):
            await is_first(opened, "a", used_at)
    finally:
        await opened.close()
        server.remove()


async def test_without_redis_nothing_is_first() -> None:
    away = CellRedis("redis://127.0.0.1:9/0", "eu-1")
    with pytest.raises(RedisUnavailable, match="did not answer"):
        await is_first(away, "a", epoch_seconds())
    await away.close()
