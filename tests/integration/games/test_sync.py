"""Lists of games that are taken over at the same time: one event for each change, none for a change of another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from tests.factories.databases import PlaneDatabase

from pitboss.games import service as games
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss_sdk.games import GameInfo

SCOPE = TenantScope(1, "aurora", "eu-1")
ACTOR, ORIGIN = Actor(ActorKind.SERVICE, "games.sync_catalogue"), Origin()
WAITING_SQL = "select count(*) from pg_locks where not granted"


@pytest.fixture
async def database(cell_database: PlaneDatabase) -> AsyncIterator[Database]:
    engine = create_engine(cell_database.worker_url)
    yield Database(engine, "eu-1", ContextSigner(cell_database.context_keys))
    await engine.dispose()


async def sync(database: Database, title: str) -> None:
    async with database.transaction(SCOPE) as session:
        await games.sync_catalogue(session, SCOPE, "softswiss", (GameInfo("copper-dice", title),), ACTOR, ORIGIN)


@pytest.mark.parametrize("known", [False, True])
async def test_of_two_lists_that_say_the_same_one_changed_something(database: Database, known: bool) -> None:
    if known:
        await sync(database, "Copper Dice")
    async with database.transaction(SCOPE) as session:
        await games.sync_catalogue(session, SCOPE, "softswiss", (GameInfo("copper-dice", "Bronze"),), ACTOR, ORIGIN)
        second = asyncio.create_task(sync(database, "Bronze"))
        async with asyncio.timeout(10):
            while not (second.done() or await session.scalar(text(WAITING_SQL))):  # noqa: ASYNC110 - another session's state
                await asyncio.sleep(0.02)
    await second
    async with database.transaction(SCOPE) as session:
        told = await session.scalar(text("select count(*) from audit_event where type = 'game.catalogue_synced'"))
    assert told == 1 + known


async def test_lists_of_two_providers_do_not_wait_for_each_other(database: Database) -> None:
    async with database.transaction(SCOPE) as session, asyncio.timeout(10):
        await games.sync_catalogue(session, SCOPE, "hub88", (GameInfo("h88_lantern_bay", "Bay"),), ACTOR, ORIGIN)
        await sync(database, "Copper Dice")
