"""Deaths of workers by SIGKILL, each in a chosen moment of a job's life."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable

from tests.torture.faults import Harm
from tests.torture.gates import Gate, administering, await_count, await_job, holding
from tests.torture.world import WORKERS, World

from pitboss.accounts.service import RESET_MAIL_JOB
from pitboss.platform.outbox import LEASE
from pitboss.plughost.contracts import WEBHOOK_JOB

JOBS = f"('{RESET_MAIL_JOB}', '{WEBHOOK_JOB}')"
_LEASED = f"select count(*) from outbox_job where job in {JOBS} and done_at is null and lease_until > $1::timestamptz + interval '{LEASE.seconds} s'"
_WAITING = f"""
select count(*) from outbox_job
where job in {JOBS} and done_at is null and lease_until is null and available_at > now() + interval '0.5 s'
"""
_DONE = f"select count(*) from outbox_job where job in {JOBS} and done_at > $1::timestamptz"

CROWD_SECONDS = 0.7
"""How long a gate stays held after the first job came, so that jobs of every kind stand there."""

Kill = Callable[[World, tuple[str, ...]], Harm]


def _at_gate(gate: Gate) -> Kill:
    def kill(world: World, victims: tuple[str, ...]) -> Harm:
        async def run() -> Harm:
            async with holding(world.database.admin_url, gate) as admin:
                is_felt = await await_job(admin, gate)
                await asyncio.sleep(CROWD_SECONDS)
                world.kill_processes(*victims)
                return Harm(time.monotonic(), is_felt)

        return asyncio.run(run())

    return kill


def kill_leased(world: World, victims: tuple[str, ...]) -> Harm:
    """Die with jobs that were leased and sent, and that nobody had begun: all workers stand still by then."""
    for name in WORKERS:
        os.kill(world.children[name].pid, signal.SIGSTOP)
    try:
        is_felt = asyncio.run(_await(world, _LEASED))
        world.kill_processes(*victims)
        return Harm(time.monotonic(), is_felt)
    finally:
        for name in set(WORKERS) - set(victims):
            os.kill(world.children[name].pid, signal.SIGCONT)


async def _await(world: World, query: str) -> bool:
    """Wait until a query counts something that happened after this moment."""
    async with administering(world.database.admin_url) as admin:
        return await await_count(admin, query, await admin.fetchval("select clock_timestamp()"))


def kill_before_ack(world: World, victims: tuple[str, ...]) -> Harm:
    """Die with jobs that are done and committed, of which the broker was not told."""
    world.worker_redis_proxy.freeze()
    is_felt = asyncio.run(_await(world, _DONE))
    world.kill_processes(*victims)
    killed_at = time.monotonic()
    world.worker_redis_proxy.heal()
    return Harm(killed_at, is_felt)


def kill_after_ack(world: World, victims: tuple[str, ...]) -> Harm:
    """Die just after a job was done, with others under way."""
    is_felt = asyncio.run(_await(world, _DONE))
    world.kill_processes(*victims)
    return Harm(time.monotonic(), is_felt)


def kill_in_backoff(world: World, victims: tuple[str, ...]) -> Harm:
    """Die while jobs that failed wait for their next time."""

    async def run() -> Harm:
        async with holding(world.database.admin_url, Gate.FAILING) as admin:
            is_felt = await await_count(admin, _WAITING)
            world.kill_processes(*victims)
            return Harm(time.monotonic(), is_felt)

    return asyncio.run(run())


KILLS: dict[str, Kill] = {
    "leased": kill_leased,
    "running": _at_gate(Gate.RUNNING),
    "effect_written": _at_gate(Gate.WRITTEN),
    "committing": _at_gate(Gate.COMMITTING),
    "before_ack": kill_before_ack,
    "after_ack": kill_after_ack,
    "in_backoff": kill_in_backoff,
}
"""By the phase of the job."""


def choose_victims(rng: random.Random) -> tuple[str, ...]:
    """Return who dies: one of the workers, whose jobs the other one takes over, or both."""
    return rng.choice(((WORKERS[0],), (WORKERS[1],), WORKERS))
