"""Gates inside jobs: triggers of the test's database at which a job waits for as long as the test holds the gate.

Each asks for an advisory lock that nobody else has an interest in; who holds it exclusively holds every job there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum

import asyncpg

WAIT_SECONDS = 30


class Gate(IntEnum):
    """Where a job waits; the number is the lock's."""

    RUNNING = 7001
    """Before its first effect."""
    WRITTEN = 7002
    """Its effects are written, the mark that it is done is not."""
    COMMITTING = 7003
    """Everything is written and the commit was asked for."""
    FAILING = 7004
    """Who meets this one fails instead of waiting."""


def install() -> tuple[str, ...]:
    """Return the statements that put the gates into a cell's database."""
    return (
        f"""
        create function torture_gate() returns trigger language plpgsql as $$
        begin
            if tg_argv[0] = '{Gate.RUNNING.value}' and not pg_try_advisory_xact_lock_shared({Gate.FAILING.value}) then
                raise exception 'a job is made to fail';
            end if;
            perform pg_advisory_xact_lock_shared(tg_argv[0]::bigint);
            return new;
        end $$
        """,
        "grant execute on function torture_gate() to public",
        f"""create trigger torture_running before insert on password_reset
            for each row execute function torture_gate({Gate.RUNNING.value})""",
        f"""create trigger torture_running before update of suspended on game
            for each row execute function torture_gate({Gate.RUNNING.value})""",
        f"""create trigger torture_written before update of done_at on outbox_job
            for each row execute function torture_gate({Gate.WRITTEN.value})""",
        f"""create constraint trigger torture_committing after update of done_at on outbox_job
            deferrable initially deferred for each row when (new.done_at is not null)
            execute function torture_gate({Gate.COMMITTING.value})""",
    )


@asynccontextmanager
async def administering(admin_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection of the superuser, past every proxy; it is let go of however it ends."""
    admin = await asyncpg.connect(admin_url, timeout=5)
    try:
        yield admin
    finally:
        try:
            await admin.close(timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            admin.terminate()


@asynccontextmanager
async def holding(admin_url: str, gate: Gate) -> AsyncIterator[asyncpg.Connection]:
    """Hold a gate while the block runs."""
    async with administering(admin_url) as admin:
        await admin.execute(f"select pg_advisory_lock({gate.value})")
        yield admin


async def await_job(admin: asyncpg.Connection, gate: Gate) -> bool:
    """Wait until a job stands at a gate that is held; return whether one came."""
    query = "select count(*) from pg_locks where locktype = 'advisory' and objid = $1 and not granted"
    return await await_count(admin, query, gate.value)


async def await_count(admin: asyncpg.Connection, query: str, *values: object) -> bool:
    """Wait until a query counts something; return whether it did in time."""
    for _ in range(WAIT_SECONDS * 20):
        if await admin.fetchval(query, *values):
            return True
        await asyncio.sleep(0.05)
    return False
