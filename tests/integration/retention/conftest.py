"""A cell with players of two licences and a stranger's, whose rows have ages, and the words that the tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.packs import load, state, with_statements
from tests.factories.players import AURORA, JADE

from pitboss.kernel.clock import utc_now
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.plughost.contracts import LoadedPack
from pitboss.policy.contracts import TenantPolicy
from pitboss.policy.service import apply_policy
from pitboss.retention import service as retention
from pitboss.retention.contracts import Draft, Hold, Run
from pitboss_sdk.jurisdiction import CountsFrom, RecordClass, RetentionFigure

ADA, BO = (Actor(ActorKind.DEPLOYMENT, name) for name in ("ada", "bo"))
WORKER = Actor(ActorKind.SERVICE, "retention.carry_out")
ORIGIN = Origin("request-1")
TABLES = ("round", "game_session", "exclusion", "play_time_limit")


def make_packs() -> dict[str, LoadedPack]:
    """Return two packs: one that keeps play for five years, and exclusions for five after closing; one that is silent."""
    periods = (
        (RecordClass.GAME_RECORDS, CountsFrom.CREATION),
        (RecordClass.EXCLUSION_RECORDS, CountsFrom.ACCOUNT_CLOSED),
        (RecordClass.PLAYER_DATA, CountsFrom.ACCOUNT_CLOSED),
        (RecordClass.AML_RECORDS, CountsFrom.ACCOUNT_CLOSED),
        (RecordClass.KYC_DOCUMENTS, CountsFrom.ACCOUNT_CLOSED),
    )
    malta = load("mt_mga")
    figures = [state(RetentionFigure, record=record, value=5, counts_from=start) for record, start in periods]
    pack = with_statements(malta.pack, "retention", retention_years=figures)
    return {"mt_mga": LoadedPack(pack, malta.distribution, malta.version), "br_spa": load("br_spa")}


PACKS = make_packs()
ROUND = """
insert into round (tenant_id, round_id, wallet_id, first_version, last_version, bet_real, bet_bonus, win_minor,
    jackpot_minor, balance_before, balance_after, game_version_id, player_id, started_at, updated_at, source_id, bets,
    mode, state, currency, reference, jackpot_pool)
values ($1, uuidv7(), 1, 1, 1, 100, 0, 0, 0, 100, 0, 1, $2, $3, $3, 1, 1, 1, $4, 'EUR', 'r', '')
"""
SESSION = """
insert into game_session (tenant_id, session_id, player_id, wallet_id, game_id, state, opened_at, expires_at)
values ($1, uuidv7(), $2, 1, (select min(game_id) from game where tenant_id = $1), 3, $3, $3)
"""
EXCLUSION = """
insert into exclusion (tenant_id, exclusion_id, player_id, starts_at, ends_at, kind, reason)
values ($1, uuidv7(), $2, $3::timestamptz - interval '1 day', case when $4 then $3::timestamptz end, 1, 'player')
"""
TIME_LIMIT = """
insert into play_time_limit (tenant_id, player_id, period, limit_minutes, set_at) values ($1, $2, 1, 60, $3)
"""
PLAYER = """
insert into player (tenant_id, public_id, brand, language, currency, licence, registered_at, closed_at, status)
values ($1, $2, 'aurora', 'en', 'EUR', $3, $4, $5, case when $5::timestamptz is null then 1 else 3 end)
returning player_id
"""


@dataclass(frozen=True)
class Someone:
    player_id: int
    public_id: UUID


@dataclass
class House:
    """A cell's database as its logins see it, and as an administrator fills it."""

    plane: PlaneDatabase
    app: Database
    worker: Database
    admin: asyncpg.Connection

    async def add_player(
        self, *, licence: str = "mt_mga", closed_years: float | None = None, scope: TenantScope = AURORA
    ) -> Someone:
        public_id = new_uuid()
        closed = None if closed_years is None else years_ago(closed_years)
        number = await self.admin.fetchval(PLAYER, scope.tenant_id, public_id, licence, years_ago(20), closed)
        return Someone(number, public_id)

    async def add(self, table: str, who: Someone, years: float, *rest: Any, scope: TenantScope = AURORA) -> None:
        statement = {"round": ROUND, "game_session": SESSION, "exclusion": EXCLUSION, "play_time_limit": TIME_LIMIT}
        await self.admin.execute(statement[table], scope.tenant_id, who.player_id, years_ago(years), *rest)

    async def add_rounds(self, who: Someone, count: int, years: float = 6) -> None:
        for _ in range(count):
            await self.add("round", who, years, 2)

    async def count(self, table: str, who: Someone | None = None) -> int:
        query = f"select count(*) from {table} where $1::bigint is null or player_id = $1"
        return await self.admin.fetchval(query, None if who is None else who.player_id)

    async def draw(self) -> Draft:
        async with self.app.snapshot(AURORA) as session:
            return await retention.draw_plan(session, AURORA, PACKS, utc_now())

    async def propose(self) -> Run:
        draft = await self.draw()
        async with self.app.transaction(AURORA) as session:
            return await retention.propose_plan(session, AURORA, draft, reason="the_law", actor=ADA, origin=ORIGIN)

    async def approve(self, run: Run, actor: Actor = BO, packs: Mapping[str, LoadedPack] = PACKS) -> Run:
        async with self.app.transaction(AURORA) as session:
            return await retention.approve_plan(
                session, AURORA, run.run_id, run.digest, packs, utc_now(), actor=actor, origin=ORIGIN
            )

    async def hold(self, **what: Any) -> Hold:
        async with self.app.transaction(AURORA) as session:
            words = {"case_reference": "case-7", "reason": "claim", **what}
            return await retention.place_hold(session, AURORA, actor=ADA, origin=ORIGIN, **words)

    async def lift(self, hold: Hold) -> None:
        async with self.app.transaction(AURORA) as session:
            for actor in (ADA, BO):
                await retention.lift_hold(session, AURORA, hold.hold_id, reason="over", actor=actor, origin=ORIGIN)

    async def destroy(self, run: Run, most: int = 1000) -> None:
        """Carry a plan out to its end, as the worker does."""
        while True:
            async with self.worker.transaction(AURORA) as session:
                if not await retention.destroy_batch(
                    session, AURORA, run.run_id, utc_now(), actor=WORKER, origin=ORIGIN, most=most
                ):
                    break
        async with self.worker.transaction(AURORA) as session:
            await retention.certify_run(session, AURORA, run.run_id, actor=WORKER, origin=ORIGIN)

    async def get(self, run: Run) -> Run:
        async with self.app.transaction(AURORA) as session:
            return await retention.get_run(session, AURORA, run.run_id)


def years_ago(years: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=365.25 * years)


@asynccontextmanager
async def open_house(plane: PlaneDatabase) -> AsyncIterator[House]:
    signer = ContextSigner(plane.context_keys)
    databases = [Database(create_engine(url), "eu-1", signer) for url in (plane.app_url, plane.worker_url)]
    admin = await asyncpg.connect(plane.admin_url)
    try:
        yield House(plane, databases[0], databases[1], admin)
    finally:
        await admin.close()
        for database in databases:
            await database.engine.dispose()


@pytest.fixture
async def house(module_cell_database: PlaneDatabase) -> AsyncIterator[House]:
    """The cell of the module, without a row that an earlier test left; the law is applied."""
    async with open_house(module_cell_database) as found:
        await found.admin.execute("set session_replication_role = replica")
        for table in (*TABLES, "legal_hold", "retention_step", "retention_run", "player", "game", "outbox_job"):
            await found.admin.execute(f"delete from {table}")
        await found.admin.execute(
            "insert into game (tenant_id, plugin, code, title, provider, category, version_id)"
            " select t, 'softswiss', 'g', 'g', 'p', 'slots', 1 from unnest(array[1, 2]) t"
        )
        await found.admin.execute("set session_replication_role = default")
        for scope in (AURORA, JADE):
            async with found.app.transaction(scope) as session:
                await apply_policy(session, scope, TenantPolicy(), PACKS, actor=ADA, origin=ORIGIN)
        yield found
