"""Faults of the database and of Redis: each breaks something, lets go of it, and tells when that was."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import redis
from tests.torture.gates import administering
from tests.torture.replays import use_call
from tests.torture.world import World

HOLD_SECONDS = (0.8, 2.0)
"""How long a fault that lasts does so: long enough to be met, short enough that what waits is not what is tested."""
LATENCY_MS = 500
LOCK_TIMEOUT = "150ms"
INJECTED = "/* injected */"
"""Begins statements that wait for locks, so that a deadlock in the log tells whether one of ours was in it."""


@dataclass(frozen=True)
class Harm:
    """A fault that is over: since when nothing stands in the way any more, and whether anybody could notice it."""

    ended_at: float
    is_felt: bool = True


Fault = Callable[[World, random.Random], Harm]


def _hold(rng: random.Random) -> None:
    time.sleep(rng.uniform(*HOLD_SECONDS))


def _admin(world: World) -> AbstractAsyncContextManager[asyncpg.Connection]:
    return administering(world.database.admin_url)


def end_sessions(world: World, rng: random.Random) -> Harm:
    """Let the server end sessions of every process, about two of three."""

    async def end() -> int:
        async with _admin(world) as admin:
            query = "select pid from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()"
            pids = [row["pid"] for row in await admin.fetch(query, world.database.name)]
            chosen = [pid for pid in pids if rng.random() < 0.67]
            ended = await admin.fetch("select pg_terminate_backend(pid) from unnest($1::int[]) as t(pid)", chosen)
            return len(ended)

    ended = asyncio.run(end())
    return Harm(time.monotonic(), ended > 0)


def kill_backend(world: World, _rng: random.Random) -> Harm:
    """Kill the server process behind a lane: the server throws everybody out and recovers by itself."""
    killed_at = time.monotonic()

    async def kill() -> int:
        async with _admin(world) as admin:
            query = "select pid from pg_stat_activity where application_name like 'pitboss lane%' and datname = $1"
            pids = [row["pid"] for row in await admin.fetch(query, world.database.name)]
        if pids:
            os.kill(pids[0], signal.SIGKILL)
        return len(pids)

    return Harm(killed_at, asyncio.run(kill()) > 0)


def kill_server(world: World, _rng: random.Random) -> Harm:
    """Kill every process of the server at once, and start it."""
    killed_at = time.monotonic()
    world.postgres.kill()
    world.postgres.start()
    return Harm(killed_at)


def stop_at_once(world: World, _rng: random.Random) -> Harm:
    """Stop the server without a checkpoint, as `pg_ctl stop -m immediate` does, and start it."""
    stopped_at, pid = time.monotonic(), world.postgres.pid
    assert pid is not None
    os.kill(pid, signal.SIGQUIT)
    world.postgres.stop()
    world.postgres.start()
    return Harm(stopped_at)


def fill_disk(world: World, rng: random.Random) -> Harm:
    """Fill the disk under data and log, wait until the server complains, and make room again."""
    complaints = world.postgres.log.read_text(errors="replace").count("No space left on device")
    filler = world.disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 1_048_576):
            pass
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    # A new segment of the log is what runs out soonest; its files are made ahead, so one is asked for.
    _use_up_log(world)
    deadline = time.monotonic() + 10
    while world.postgres.pid is not None and not _complains(world.postgres.log, complaints):
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    _hold(rng)
    filler.unlink()
    ended_at = time.monotonic()
    if world.postgres.pid is None:
        world.postgres.stop()
        world.postgres.start()
    return Harm(ended_at, _complains(world.postgres.log, complaints))


def _complains(log: Path, before: int) -> bool:
    return log.read_text(errors="replace").count("No space left on device") > before


def _use_up_log(world: World) -> None:
    async def use_up() -> None:
        async with _admin(world) as admin:
            for _ in range(20):
                await admin.fetchval("select pg_switch_wal()", timeout=5)
                await admin.execute(
                    "create table torture_filler as select repeat('x', 900) from generate_series(1, 9000)"
                )
                await admin.execute("drop table torture_filler")

    with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        asyncio.run(use_up())


def storm_of_locks(world: World, rng: random.Random) -> Harm:
    """Hold every wallet and the table of jobs for a while."""

    async def storm() -> None:
        async with _admin(world) as wallets, _admin(world) as jobs, wallets.transaction(), jobs.transaction():
            await wallets.execute("set local lock_timeout = '10s'")
            await wallets.execute(f"{INJECTED} select 1 from wallet for update")
            await jobs.execute("set local lock_timeout = '10s'")
            await jobs.execute(f"{INJECTED} lock table outbox_job, webhook, audit_event in exclusive mode")
            await asyncio.sleep(rng.uniform(*HOLD_SECONDS))

    # The tables are locked one by one, in an order that nobody else keeps. Where that meets the platform in a circle,
    # one of both is told so; deadlocks without the storm are counted in the end, and there may be none.
    with contextlib.suppress(asyncpg.DeadlockDetectedError):
        asyncio.run(storm())
    return Harm(time.monotonic())


def time_out_locks(world: World, rng: random.Random) -> Harm:
    """Let statements fail that wait for a lock, and make them wait."""

    async def time_out() -> None:
        name = world.database.name
        async with _admin(world) as admin, _admin(world) as holder:
            await admin.execute(f"alter database {name} set lock_timeout = '{LOCK_TIMEOUT}'")
            await _throw_out(admin, name, holder.get_server_pid())
            try:
                async with holder.transaction():
                    await holder.execute("set local lock_timeout = '10s'")
                    await holder.execute(f"{INJECTED} select 1 from wallet for update")
                    await holder.execute(f"{INJECTED} lock table outbox_job in exclusive mode")
                    await asyncio.sleep(rng.uniform(*HOLD_SECONDS))
            finally:
                await admin.execute(f"alter database {name} reset lock_timeout")
            await _throw_out(admin, name, holder.get_server_pid())

    asyncio.run(time_out())
    return Harm(time.monotonic())


async def _throw_out(admin: asyncpg.Connection, name: str, but: int) -> None:
    await admin.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> all($2::int[])",
        name,
        [but, admin.get_server_pid()],
    )


def deadlock(world: World, rng: random.Random) -> Harm:
    """Take the locks of wallets one by one, from both ends and against the order of batches."""

    async def take(wallets: list[int]) -> None:
        async with _admin(world) as admin:
            with contextlib.suppress(asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError):
                async with admin.transaction():
                    await admin.execute("set local lock_timeout = '3s'")
                    for wallet in wallets:
                        await admin.execute(f"{INJECTED} select 1 from wallet where wallet_id = $1 for update", wallet)
                        await asyncio.sleep(0.05)

    async def take_all() -> None:
        async with _admin(world) as admin:
            found = [row[0] for row in await admin.fetch("select wallet_id from wallet order by 1 limit 12")]
        rng.shuffle(found)
        await asyncio.gather(take(found), take(found[::-1]), take(sorted(found, reverse=True)))

    asyncio.run(take_all())
    return Harm(time.monotonic())


def cut_database(world: World, rng: random.Random) -> Harm:
    """Cut the line to the database and refuse new ones for a while."""
    world.database_proxy.cut(refuse=True)
    _hold(rng)
    world.database_proxy.heal()
    return Harm(time.monotonic())


def stall_database(world: World, rng: random.Random) -> Harm:
    """Let nothing pass on the lines to the database, then cut them."""
    world.database_proxy.freeze()
    _hold(rng)
    world.database_proxy.cut()
    return Harm(time.monotonic())


def slow_database(world: World, rng: random.Random) -> Harm:
    """Make each piece to and from the database wait."""
    world.database_proxy.slow_down(LATENCY_MS // 2)
    _hold(rng)
    world.database_proxy.heal()
    return Harm(time.monotonic())


def _redis_fault(fault: Callable[[World, random.Random], object]) -> Fault:
    """Mark the time in which Redis, and nothing but Redis, is away."""

    def inflict(world: World, rng: random.Random) -> Harm:
        fault(world, rng)
        return Harm(time.monotonic())

    inflict.__name__, inflict.__doc__ = fault.__name__, fault.__doc__
    return inflict


def _client(world: World) -> redis.Redis:
    return redis.Redis.from_url(world.redis.url())


@_redis_fault
def forget_everything(world: World, _rng: random.Random) -> None:
    """FLUSHALL: every message and every memory is gone."""
    with _client(world) as client:
        client.flushall()


@_redis_fault
def kill_redis(world: World, _rng: random.Random) -> None:
    """Kill the server and start it empty."""
    world.redis.kill()
    (world.redis.directory / "dump.rdb").unlink(missing_ok=True)
    world.redis.start()


@_redis_fault
def come_back_stale(world: World, rng: random.Random) -> None:
    """Kill the server and start it with what it held some time before: messages of jobs that are done are back."""
    with _client(world) as client:
        client.save()
    _hold(rng)
    world.used.append(use_call(world))
    world.redis.kill()
    world.redis.start()


@_redis_fault
def part_redis(world: World, rng: random.Random) -> None:
    """Cut every line to Redis and refuse new ones for a while."""
    for proxy in (world.redis_proxy, world.worker_redis_proxy):
        proxy.cut(refuse=True)
    _hold(rng)
    for proxy in (world.redis_proxy, world.worker_redis_proxy):
        proxy.heal()


@_redis_fault
def leave_redis_half_open(world: World, _rng: random.Random) -> None:
    """Let nothing pass any more on the lines to Redis that there are, for ever; new ones work."""
    for proxy in (world.redis_proxy, world.worker_redis_proxy):
        proxy.freeze()


@_redis_fault
def slow_redis(world: World, rng: random.Random) -> None:
    """Make each piece to and from Redis wait."""
    for proxy in (world.redis_proxy, world.worker_redis_proxy):
        proxy.slow_down(LATENCY_MS)
    _hold(rng)
    for proxy in (world.redis_proxy, world.worker_redis_proxy):
        proxy.heal()


DATABASE: tuple[Fault, ...] = (
    end_sessions,
    kill_backend,
    kill_server,
    stop_at_once,
    fill_disk,
    storm_of_locks,
    time_out_locks,
    deadlock,
    cut_database,
    stall_database,
    slow_database,
)
REDIS: tuple[Fault, ...] = (
    forget_everything,
    kill_redis,
    come_back_stale,
    part_redis,
    leave_redis_half_open,
    slow_redis,
)
