"""Tenants whose records are whole and right in an hour that is over, and statements that spoil one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

import asyncpg
import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.players import open_cell

from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_event
from pitboss.games.rules import compute_round_id
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.rules import compute_key
from pitboss.platform.db import Database
from pitboss.quality import service as quality
from pitboss.quality.contracts import Area, Dimension, Finding, Measure
from pitboss.worker.quality_jobs import measure_hour

WORKER = Actor(ActorKind.SERVICE, "quality.measure")
ADA = Actor(ActorKind.OPERATOR, "ada")
_BOOK = """
insert into journal (tenant_id, wallet_id, version, op, account_id, source_id, d_real, d_bonus, d_held, d_debt,
    real_after, bonus_after, held_after, debt_after, reference, round_id, batch_id, reverses_version, created_at)
values ($1, $2, $3, $4, 1, $5, $6, 0, 0, 0, $7, 0, 0, 0, $8, $9, 1, $11, $10)
"""
_KEY = """
insert into call_key (tenant_id, source_id, outcome, refusal, wallet_id, content_hash, version, answered_minor, key)
values ($1, $2, $3, 0, $4, 0, $5, 0, $6)
"""
_ROUND = """
insert into round (tenant_id, round_id, wallet_id, first_version, last_version, bet_real, bet_bonus, win_minor,
    jackpot_minor, balance_before, balance_after, game_version_id, player_id, started_at, updated_at, source_id, bets,
    mode, state, currency, reference, jackpot_pool)
values ($1, $2, $3, $4, $5, $6, 0, $7, 0, 0, 0, 1, 1, $8, $9, $10, 1, 1, $11, 'EUR', $12, '')
"""
_EVENT = """
update audit_event set occurred_at = $3 where tenant_id = $1 and event_id in
    (select event_id from audit_event where tenant_id = $1 and occurred_at >= $2)
"""
_LOG = """
insert into audit_entry (tenant_id, log_seq, event_id, recorded_at, body)
select $1, coalesce((select max(log_seq) + 1 from audit_entry where tenant_id = $1), 0)
    + row_number() over (order by occurred_at) - 1, event_id, occurred_at, ''
from audit_event e where tenant_id = $1 and not exists
    (select from audit_entry x where x.tenant_id = $1 and x.event_id = e.event_id)
"""
_CHECKPOINT = """
insert into audit_checkpoint (tenant_id, size, made_at, note)
select $1, max(log_seq) + 1, $2, '' from audit_entry where tenant_id = $1 on conflict do nothing
"""


@dataclass
class Records:
    """The records of one tenant, written as an administrator who looks past every trigger."""

    scope: TenantScope
    cell: Database
    worker: Database
    admin: asyncpg.Connection
    plugin: str = "hub88"
    source_id: int = 0
    manual_id: int = 0
    wallet_id: int = 0
    version: int = 0
    balance: int = 0

    @property
    def hour(self) -> datetime:
        """The last hour but one: whatever the minute, everything about it can be known."""
        return utc_now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)

    @property
    def middle(self) -> datetime:
        return self.hour + timedelta(minutes=30)

    async def open(self) -> None:
        async with self.cell.transaction(self.scope) as session:
            self.source_id = await ledger.ensure_source(session, self.scope, f"games.{self.plugin}")
            self.manual_id = await ledger.ensure_source(session, self.scope, "manual")
        self.wallet_id = await self.admin.fetchval(
            "insert into wallet (tenant_id, player_id, currency) values ($1, 1, 'EUR') returning wallet_id",
            self.scope.tenant_id,
        )

    async def run(self, statement: str, *values: object) -> None:
        """Run a statement past triggers and foreign keys."""
        async with self.admin.transaction():
            await self.admin.execute("set local session_replication_role = replica")
            await self.admin.execute(statement, *values)

    async def book(
        self,
        op: int,
        reference: str,
        amount: int,
        round_name: str = "",
        *,
        at: datetime | None = None,
        reverses: int | None = None,
        source_id: int = 0,
    ) -> int:
        """Book one leg as a posting does, at a moment of the past; return its version."""
        self.version += 1
        self.balance += amount
        source = source_id or self.source_id
        round_id = compute_round_id(source, round_name) if round_name else None
        tenant_id, moment = self.scope.tenant_id, at or self.middle
        values = (op, source, amount, self.balance, reference, round_id, moment, reverses)
        await self.run(_BOOK, tenant_id, self.wallet_id, self.version, *values)
        key = compute_key(reference).hex()
        await self.run(_KEY, tenant_id, source, 1, self.wallet_id, self.version, key)
        return self.version

    async def play(self, name: str, *, at: datetime | None = None, state: int = 2, win: int = 300) -> None:
        """Let a round be played: a bet of 500 and a win."""
        moment = at or self.middle
        first = await self.book(1, f"{name}-bet", -500, name, at=moment)
        last = await self.book(2, f"{name}-win", win, name, at=moment) if win else first
        round_id = compute_round_id(self.source_id, name)
        place = (self.scope.tenant_id, round_id, self.wallet_id)
        await self.run(_ROUND, *place, first, last, 500, win, moment, moment, self.source_id, state, name)

    async def deposit(self, reference: str, amount: int = 100_000, *, at: datetime | None = None) -> None:
        """Order a deposit by hand and book it two seconds later."""
        moment = at or self.middle - timedelta(minutes=10)
        await self.tell("player.credit_ordered", "player", reference, moment)
        await self.book(5, reference, amount, at=moment + timedelta(seconds=2), source_id=self.manual_id)

    async def tell(self, name: str, target: str, reference: str, at: datetime) -> None:
        """Let an event have happened at a moment of the past."""
        began = utc_now()
        async with self.cell.transaction(self.scope) as session:
            changes = (Change("reference", None, reference), Change("at", None, at.isoformat()))
            await record_event(session, self.scope, AuditEvent(name, ADA, Origin(), target, reference, changes))
        await self.run(_EVENT, self.scope.tenant_id, began, at)

    async def log(self, proved_after: timedelta = timedelta(seconds=30)) -> None:
        """Give every event its place, and prove all of them some time after the middle of the hour."""
        await self.run(_LOG, self.scope.tenant_id)
        await self.run(_CHECKPOINT, self.scope.tenant_id, self.middle + proved_after)

    async def reconcile(self, *, at: datetime | None = None) -> None:
        """Say that events and changes were held against each other."""
        statement = (
            "insert into capture_reconciliation (tenant_id, reconciled_before, reconciled_at, findings)"
            " values ($1, 1, $2, 0) on conflict (tenant_id) do update set reconciled_at = excluded.reconciled_at"
        )
        await self.run(statement, self.scope.tenant_id, at or utc_now())

    async def fill(self) -> None:
        """Leave an hour in which everything is whole and right."""
        await self.deposit("gift-1", at=self.middle)
        for number in range(3):
            await self.play(f"r{number}")
        await self.tell("player.status_changed", "player", "p", self.middle)
        await self.log()
        await self.reconcile()

    async def measure(self) -> dict[tuple[Area, Dimension], Measure]:
        """Measure the hour as the worker does."""
        await measure_hour(self.worker, self.scope, self.hour, WORKER)
        async with self.cell.transaction(self.scope) as session:
            measures, _ = await quality.list_hour(session, self.scope, self.hour)
        return {(each.area, each.dimension): each for each in measures}

    async def findings(self, area: Area) -> list[Finding]:
        async with self.cell.transaction(self.scope) as session:
            page = await quality.list_findings(session, self.scope, self.hour, area, cursor=None, page_size=200)
        return page.items

    async def count_events(self, name: str) -> int:
        query = "select count(*) from audit_event where tenant_id = $1 and type = $2"
        found: int = await self.admin.fetchval(query, self.scope.tenant_id, name)
        return found


async def leave_open(records: Records) -> None:
    """Let nobody have played on in a round for seven hours."""
    await records.run(
        "update round set state = 1, updated_at = now() - interval '7 hours' where tenant_id = $1 and reference = 'r1'",
        records.scope.tenant_id,
    )


_numbers = count(100)


@pytest.fixture
async def house(module_cell_database: PlaneDatabase) -> AsyncIterator[Records]:
    """A tenant that no other test of the module writes to."""
    async for records in _open(module_cell_database):
        yield records


@pytest.fixture
async def neighbour(module_cell_database: PlaneDatabase) -> AsyncIterator[Records]:
    """Another tenant of the same cell."""
    async for records in _open(module_cell_database):
        yield records


async def _open(database: PlaneDatabase) -> AsyncIterator[Records]:
    number = next(_numbers)
    admin = await asyncpg.connect(database.admin_url)
    async with open_cell(database) as cell, open_cell(database, database.worker_url) as worker:
        records = Records(TenantScope(number, f"tenant-{number}", "eu-1"), cell, worker, admin)
        await records.open()
        yield records
    await admin.close()
