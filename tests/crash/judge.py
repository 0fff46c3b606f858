"""Compares what was acknowledged with what is in the books, and what was left to be done with what was done."""

from __future__ import annotations

import asyncio
import json

import asyncpg
from tests.crash.cell import Cell
from tests.crash.traffic import Book, Traffic

from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Op, Verification
from pitboss.limits.contracts import LimitKind
from pitboss.platform.db import Database

OWN_OPS = [Op.TERMS, Op.AWARD_CONVERT, Op.AWARD_FORFEIT]
"""Bookings that nobody asked for by a reference: changes of terms, and ends of awards."""
DRAIN_SECONDS = 720
"""A job whose relay died between lease and sending comes again when its lease ends, after a minute; one that was broken
off eleven times waits for ten."""


async def compare(admin: asyncpg.Connection, database: Database, cell: Cell, traffic: Traffic) -> dict[str, int]:
    rows = await admin.fetch(
        "select reference, count(*) as times from journal where op <> all($1::smallint[]) group by reference", OWN_OPS
    )
    booked = {row["reference"]: row["times"] for row in rows}
    wallets = await admin.fetch("select wallet_id, real_minor, bonus_minor, held_minor, debt_minor from wallet")
    balances = {row["wallet_id"]: tuple(row)[1:] for row in wallets}
    async with database.snapshot(cell.scope) as session:
        proof: Verification = await ledger.verify_tenant(session, cell.scope)
    for finding in proof.findings:
        print(finding)
    wrong: list[Book] = []
    for book in traffic.books:
        real, bonus, held, debt = balances[book.seat.wallet_id]
        if (real + bonus, held, debt) != (book.balance, 0, 0) or (bonus and not book.is_awarded):
            print(book, "has", {"real": real, "bonus": bonus, "held": held, "debt": debt})
            wrong.append(book)
    return {
        "lost_acknowledged": len(traffic.legs - booked.keys()),
        "double_effects": len(booked.keys() - traffic.legs) + sum(times > 1 for times in booked.values()),
        "nonzero_sums": len(proof.findings),
        "wrong_balances": len(wrong),
        "wrong_awards": await _judge_awards(admin, traffic),
        "wrong_usage": await _judge_usage(admin, traffic),
    }


async def _judge_awards(admin: asyncpg.Connection, traffic: Traffic) -> int:
    """Every award that was acknowledged has one row with what was given, and terms; no other award is there."""
    ordered = await admin.fetch("select wallet_id, award_id::text, amount_minor from award_terms")
    granted = await admin.fetch(
        "select a.wallet_id, j.reference, a.granted_minor from award a"
        " join journal j using (tenant_id, wallet_id) where j.version = a.granted_version"
    )
    given = [
        (book.seat.wallet_id, award_id, minor) for book in traffic.books for award_id, minor in book.awards.items()
    ]
    assert any(given), "nobody was given an award"
    lists = [sorted(tuple(row) for row in found) for found in (ordered, granted)]
    return sum(len(set(found) ^ set(given)) + abs(len(found) - len(given)) for found in lists)


async def _judge_usage(admin: asyncpg.Connection, traffic: Traffic) -> int:
    """What limits have counted is what was staked, lost and deposited, once each, whatever was killed meanwhile."""
    rows = await admin.fetch(
        "select wallet_id, kind, sum(used_minor)::bigint from usage where wallet_id = any($1::bigint[]) group by 1, 2",
        [book.seat.wallet_id for book in traffic.books],
    )
    counted = {(row[0], LimitKind(row[1])): row[2] for row in rows}
    wanted: dict[tuple[int, LimitKind], int] = {}
    for book in traffic.books:
        if book.seat.is_limited:
            wanted[book.seat.wallet_id, LimitKind.DEPOSIT] = book.deposited
            wanted[book.seat.wallet_id, LimitKind.STAKE] = book.staked
            wanted[book.seat.wallet_id, LimitKind.LOSS] = book.staked - book.won
    assert wanted, "nobody has limits"
    different = {name for name in counted.keys() | wanted.keys() if counted.get(name) != wanted.get(name)}
    for name in different:
        print(name, "counted", counted.get(name), "wanted", wanted.get(name))
    return len(different)


async def judge_jobs(admin: asyncpg.Connection, cell: Cell, traffic: Traffic) -> dict[str, int]:
    """Every job that was left behind is done, once: one audit row and one mail for each request to reset."""
    last = await admin.fetchval("select max(job_id) from outbox_job")
    count_open = "select count(*) from outbox_job where done_at is null and job_id <= $1"
    still_open = 0
    for _ in range(DRAIN_SECONDS * 5):
        still_open = await admin.fetchval(count_open, last)
        if not still_open:
            break
        await asyncio.sleep(0.2)
    asked = await admin.fetch("select payload from outbox_job where job = 'accounts.send_password_reset'")
    payloads = [json.loads(row["payload"]) for row in asked]
    effects = await admin.fetch(
        "select origin ->> 'causation_id' as cause, count(*) as times from audit_event"
        " where type = 'player.password_reset_requested' group by 1"
    )
    done = {row["cause"]: row["times"] for row in effects}
    mails = {path.stem for path in cell.mail.glob("*.eml")}
    tokens = await admin.fetchval("select count(*) from password_reset")
    missing = [found for found in payloads if found["causation_id"] not in done]
    unsent = {f"{cell.scope.slug}-{found['mail_id']}" for found in payloads} ^ mails
    lost = still_open + len(missing) + len(unsent) + max(0, traffic.resets - len(payloads))
    twice = sum(times > 1 for times in done.values()) + abs(tokens - len(payloads))
    return {"jobs": len(payloads), "jobs_lost": lost, "jobs_twice": twice}
