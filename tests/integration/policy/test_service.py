"""A tenant's policy in a real cell: applied, audited, answered for a moment, and never guessed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.factories.databases import PlaneDatabase
from tests.factories.packs import load

from pitboss.audit.contracts import EventFilter
from pitboss.audit.service import list_events
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.plughost.contracts import LoadedPack
from pitboss.policy.contracts import TenantPolicy
from pitboss.policy.errors import LicenceUnknown, PackNotLoaded, PolicyMissing
from pitboss.policy.service import apply_policy, check_policy, get_policy, plan_policy
from pitboss_sdk.jurisdiction import LimitKind

AURORA = TenantScope(7, "aurora", "eu-1")
BOREAL = TenantScope(8, "boreal", "eu-1")
ACTOR = Actor(ActorKind.DEPLOYMENT, "tests")
ORIGIN = Origin("request-1")
MOMENT = datetime(2026, 11, 21, 12, tzinfo=UTC)
PACKS = {code: load(code) for code in ("mt_mga", "br_spa")}
MALTA = {"mt_mga": PACKS["mt_mga"]}
TABLE: dict[str, Any] = {
    "minimum_age_years": 21,
    "mandatory_limits": ["deposit"],
    "limit_ceilings_minor": {"deposit": {"day": {"EUR": 50_000}}},
    "retention_years": {"game_records": "forever"},
    "licences": {"br_spa": {"retention_years": {"aml_records": 10}}},
}


@pytest.fixture
async def database(cell_database: PlaneDatabase) -> AsyncIterator[Database]:
    engine = create_engine(cell_database.app_url)
    yield Database(engine, "eu-1", ContextSigner(cell_database.context_keys))
    await engine.dispose()


def read(table: dict[str, Any], packs: dict[str, LoadedPack] = PACKS) -> TenantPolicy:
    """Return a checked policy."""
    policy, problems = check_policy(table, packs, moment=MOMENT, file="policy.toml")
    assert policy is not None
    assert problems == []
    return policy


async def put(
    database: Database, table: dict[str, Any], packs: dict[str, LoadedPack] = PACKS, scope: TenantScope = AURORA
) -> bool:
    async with database.transaction(scope) as session:
        return await apply_policy(session, scope, read(table, packs), packs, actor=ACTOR, origin=ORIGIN)


async def events(database: Database, scope: TenantScope = AURORA) -> list[dict[str, tuple[Any, Any]]]:
    async with database.transaction(scope) as session:
        page = await list_events(session, scope, EventFilter(target=f"policy:{scope.slug}"))
    assert {event.type for event in page.items} <= {"policy.applied"}
    return [{change.path: (change.before, change.after) for change in event.changes} for event in reversed(page.items)]


async def test_applying_is_audited_once_and_repeating_it_changes_nothing(database: Database) -> None:
    assert await put(database, TABLE)
    assert not await put(database, dict(reversed(TABLE.items())))
    async with database.transaction(AURORA) as session:
        assert await plan_policy(session, AURORA, read(TABLE), PACKS) == ()
    assert await events(database) == [
        {
            "applied": (None, True),
            "figures.licences.br_spa.retention_years.aml_records": (None, "10 years from creation"),
            "figures.limit_ceilings_minor.deposit.day.EUR": (None, 50_000),
            "figures.mandatory_limits": (None, "deposit"),
            "figures.minimum_age_years": (None, 21),
            "figures.retention_years.game_records": (None, "for ever"),
            "packs.br_spa": (None, "0.1.0"),
            "packs.mt_mga": (None, "0.1.0"),
        }
    ]


async def test_a_change_and_another_version_of_a_pack_are_told(database: Database) -> None:
    await put(database, {"minimum_age_years": 21}, MALTA)
    newer = {"mt_mga": msgspec.structs.replace(PACKS["mt_mga"], version="0.2.0")}
    async with database.transaction(AURORA) as session:
        planned = await plan_policy(session, AURORA, read({}, newer), newer)
    assert [(change.path, change.before, change.after) for change in planned] == [
        ("figures.minimum_age_years", 21, None),
        ("packs.mt_mga", "0.1.0", "0.2.0"),
    ]
    assert await put(database, {}, newer)
    assert (await events(database))[1] == {change.path: (change.before, change.after) for change in planned}


async def test_what_applies_is_answered_for_the_licences_day(database: Database) -> None:
    await put(database, TABLE)
    async with database.transaction(AURORA) as session:
        malta = await get_policy(session, AURORA, PACKS, MOMENT, licence="mt_mga")
        brazil = await get_policy(session, AURORA, PACKS, MOMENT, licence="br_spa")
        # 20 November began in Brazil three hours after UTC's, and its law was read on that day.
        before = await get_policy(session, AURORA, PACKS, datetime(2026, 11, 20, 2, 59, tzinfo=UTC), licence="br_spa")
        on = await get_policy(session, AURORA, PACKS, datetime(2026, 11, 20, 3, 0, tzinfo=UTC), licence="br_spa")
    assert (malta.time_zone, malta.bonus_allowed, malta.minimum_age_years) == ("Europe/Malta", True, 21)
    assert (brazil.time_zone, brazil.bonus_allowed, brazil.minimum_age_years) == ("America/Sao_Paulo", False, 21)
    assert brazil.mandatory_limits == {LimitKind.DEPOSIT, LimitKind.LOSS, LimitKind.SESSION_TIME}
    assert malta.mandatory_limits == {LimitKind.DEPOSIT}
    assert (before.bonus_allowed, on.bonus_allowed) == (True, False)
    assert (before.on.day, on.on.day) == (19, 20)


async def test_nothing_is_guessed(database: Database) -> None:
    async with database.transaction(AURORA) as session:
        with pytest.raises(PolicyMissing):
            await get_policy(session, AURORA, PACKS, MOMENT, licence="mt_mga")
    await put(database, {})
    async with database.transaction(AURORA) as session:
        with pytest.raises(LicenceUnknown):
            await get_policy(session, AURORA, PACKS, MOMENT, licence="")
        with pytest.raises(PackNotLoaded):
            await get_policy(session, AURORA, MALTA, MOMENT, licence="br_spa")
    await put(database, {}, MALTA)
    async with database.transaction(AURORA) as session:
        assert (await get_policy(session, AURORA, PACKS, MOMENT, licence="mt_mga")).licence == "mt_mga"
        with pytest.raises(LicenceUnknown):
            await get_policy(session, AURORA, PACKS, MOMENT, licence="br_spa")


async def test_a_tenant_without_packs_has_the_platforms_defaults(database: Database) -> None:
    await put(database, {"minimum_age_years": 20}, {})
    async with database.transaction(AURORA) as session:
        policy = await get_policy(session, AURORA, PACKS, MOMENT, licence="")
    assert (policy.licence, policy.time_zone, policy.minimum_age_years) == ("", "UTC", 20)
    assert policy.limit_increase_wait_hours == 24


async def test_a_policy_is_its_tenants_alone(database: Database) -> None:
    await put(database, {"minimum_age_years": 21}, MALTA)
    async with database.transaction(BOREAL) as session:
        with pytest.raises(PolicyMissing):
            await get_policy(session, BOREAL, PACKS, MOMENT, licence="mt_mga")
        with pytest.raises(PolicyMissing):
            await get_policy(session, AURORA, PACKS, MOMENT, licence="mt_mga")
    await put(database, {"minimum_age_years": 25}, MALTA, BOREAL)
    async with database.transaction(AURORA) as session:
        assert (await get_policy(session, AURORA, PACKS, MOMENT, licence="mt_mga")).minimum_age_years == 21
        with pytest.raises(DBAPIError, match="permission denied"):
            await session.execute(text("delete from tenant_policy"))


async def test_two_applies_at_once_leave_one_row_and_no_event_for_nothing(database: Database) -> None:
    assert sorted(await asyncio.gather(*(put(database, TABLE) for _ in range(4)))) == [False, False, False, True]
    assert len(await events(database)) == 1
