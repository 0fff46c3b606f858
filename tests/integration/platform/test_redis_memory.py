"""What Redis has forgotten is not taken for new."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis

from pitboss.kernel.clock import epoch_seconds
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


async def test_a_name_is_first_once(memory: CellRedis) -> None:
    await memory.begin_memory()
    now = epoch_seconds()
    assert [await is_first(memory, "a", now) for _ in range(3)] == [True, False, False]
    assert await is_first(memory, "b", now)


@pytest.mark.parametrize("begins", [True, False])
async def test_what_is_older_than_the_memory_is_refused(memory: CellRedis, redis_url: str, begins: bool) -> None:
    """Whether a process marked the beginning before the name came again, or nobody did."""
    await memory.begin_memory()
    made_at = epoch_seconds() - 1
    forget(redis_url)
    if begins:
        await memory.begin_memory()
    for _ in range(2):
        with pytest.raises(RedisUnavailable, match="has forgotten"):
            await is_first(memory, "a", made_at)
    assert await is_first(memory, "b", epoch_seconds())


async def test_a_memory_begins_once(memory: CellRedis) -> None:
    await memory.begin_memory()
    made_at = epoch_seconds()
    await memory.begin_memory()
    assert await is_first(memory, "a", made_at)
    assert not await is_first(memory, "a", made_at)


async def test_without_redis_nothing_is_first() -> None:
    away = CellRedis("redis://127.0.0.1:9/0", "eu-1")
    with pytest.raises(RedisUnavailable, match="did not answer"):
        await is_first(away, "a", epoch_seconds())
    await away.close()
