"""What is there in the end, held against what was acknowledged."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import asyncpg
from tests.crash.judge import compare, judge_jobs
from tests.crash.traffic import Traffic
from tests.torture.faults import INJECTED
from tests.torture.jobs import Jobs
from tests.torture.world import World

from pitboss.ledger.contracts import Op
from pitboss.limits.contracts import LimitKind
from pitboss.platform.db import ContextSigner, Database, create_engine

SEQUENCED_SECONDS = 120


async def judge(world: World, traffic: Traffic, jobs: Jobs) -> dict[str, Any]:
    """Return every count that has to be zero, under its name."""
    admin = await asyncpg.connect(world.database.admin_url)
    database = Database(create_engine(world.database.app_url), "eu-1", ContextSigner(world.database.context_keys))
    try:
        _expect_purses(world, traffic)
        first = await compare(admin, database, world, traffic)
        different = await traffic.replay_all()
        second = await compare(admin, database, world, traffic)
        print("\n".join(different[:10]))
        found: dict[str, int] = {name: max(value, second[name]) for name, value in first.items()}
        found["lost_acknowledged"] += len(different)
        found |= await judge_jobs(admin, world, traffic)
        found |= await _judge_notices(admin, jobs)
        found |= await _judge_parity(admin)
        found["weaker_decisions"] = len(jobs.weak) + await admin.fetchval(
            "select (select count(*) from journal where reference like 'probe-%' and op = $1)"
            " + (select count(*) from usage where wallet_id = $2 and kind = $3 and used_minor <> 0)",
            Op.BET.value,
            world.limited.wallet_id,
            LimitKind.STAKE.value,
        )
        found["unsequenced"] = await _judge_log(admin)
        found["own_deadlocks"] = count_own_deadlocks(world.postgres.log.read_text(errors="replace"))
    finally:
        await admin.close()
        await database.engine.dispose()
    return found


def _expect_purses(world: World, traffic: Traffic) -> None:
    """What those who may not play were given is in the books too."""
    traffic.legs |= {f"purse-{seat.wallet_id}" for seat in (world.limited, world.excluded)}


async def _judge_notices(admin: asyncpg.Connection, jobs: Jobs) -> dict[str, int]:
    """Each notice that was acknowledged was carried out once: one change of its game, one audit event."""
    rows = await admin.fetch(
        "select origin ->> 'causation_id' as cause, count(*) as times from audit_event"
        " where type in ('game.suspended', 'game.resumed') group by 1"
    )
    done: Mapping[str, int] = {row["cause"]: row["times"] for row in rows}
    assert jobs.notices, "no notice was acknowledged"
    return {
        "webhooks_lost": len(set(jobs.notices) - done.keys()),
        "webhooks_twice": sum(times > 1 for times in done.values()) + len(done.keys() - set(jobs.notices)),
    }


_PARITY = {
    "deposits without an order": """
        select count(*) from journal j where op = 5 and not exists (select 1 from audit_event e
            where e.type = 'player.credit_ordered' and e.changes @> jsonb_build_array(
                jsonb_build_object('path', 'reference', 'after', j.reference)))""",
    "awards without exactly one order": """
        select count(*) from award_terms t where 1 <> (select count(*) from audit_event e
            where e.type = 'award.ordered' and e.target_id = t.award_id::text)""",
    "orders of awards that are not there": """
        select count(*) from audit_event e where e.type = 'award.ordered'
            and not exists (select 1 from award_terms t where t.award_id::text = e.target_id)""",
    "tokens and requests that differ": """
        select abs((select count(*) from password_reset)
            - (select count(*) from audit_event where type = 'player.password_reset_requested'))""",
    "players and registrations that differ": """
        select abs((select count(*) from player) - (select count(*) from audit_event where type = 'player.registered'))""",
    "games whose last event says otherwise": """
        select count(*) from game g where g.code like 'noticed-%' and g.suspended <> coalesce((
            select e.type = 'game.suspended' from audit_event e where e.target_id = g.plugin || ':' || g.code
                and e.type in ('game.suspended', 'game.resumed') order by e.occurred_at desc limit 1), false)""",
}


async def _judge_parity(admin: asyncpg.Connection) -> dict[str, int]:
    """Rows of business and rows of audit are those of the same changes."""
    total = 0
    for name, query in _PARITY.items():
        found = await admin.fetchval(query)
        if found:
            print(name, found)
        total += found
    return {"parity": total}


async def _judge_log(admin: asyncpg.Connection) -> int:
    """Return how many audit events are not in the log of their tenant, each once, after some time."""
    query = """
        select (select count(*) from audit_event e where tenant_id = 1 and not exists (
            select 1 from audit_entry n where n.event_id = e.event_id and n.tenant_id = e.tenant_id))
            + (select count(*) - count(distinct event_id) from audit_entry)
    """
    found = 0
    for _ in range(SEQUENCED_SECONDS * 2):
        found = await admin.fetchval(query)
        if not found:
            break
        await asyncio.sleep(0.5)
    return int(found)


_DEADLOCK = re.compile(r"ERROR:  deadlock detected\n(?:.* DETAIL:  (?P<detail>.*(?:\n\t.*)*))?")


def count_own_deadlocks(log: str) -> int:
    """Return how many deadlocks the platform made by itself: in none of their circles was a statement of a fault."""
    details = [found["detail"] or "" for found in _DEADLOCK.finditer(log)]
    own = [detail for detail in details if INJECTED not in detail]
    print(f"{len(details)} deadlocks", *(own or details)[:3], sep="\n")
    return len(own)


def prove(world: World) -> dict[str, int]:
    """Let our own commands prove books and log; 1 for each that finds something."""
    found: dict[str, int] = {}
    for name, words in {
        "ledger_findings": ("ledger", "verify", "--json"),
        "log_findings": ("audit", "check", "aurora"),
        "capture_findings": ("audit", "reconcile", "aurora"),
    }.items():
        done = world.command(*words)
        if done.returncode:
            print(done.stdout, done.stderr)
        found[name] = int(done.returncode != 0)
    return found
