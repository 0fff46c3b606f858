"""Limits and exclusions over HTTP: what binds at once, what waits, and what nobody gets around."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import text
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA
from tests.factories.players import open_cell as open_database
from tests.factories.web import WebUnderTest, open_bank, register, registration_body

from pitboss.kernel.ids import new_uuid
from pitboss.ledger import service as ledger
from pitboss.policy.contracts import TenantPolicy
from pitboss_sdk.jurisdiction import LimitKind, LimitPeriod

STRICT = TenantPolicy(
    limit_increase_wait_hours=48,
    exclusion_minimum_months=6,
    limit_ceilings_minor={LimitKind.DEPOSIT: {LimitPeriod.MONTH: {"EUR": 100_000}}},
)
MANDATORY = TenantPolicy(minimum_age_years=21, mandatory_limits=frozenset({LimitKind.DEPOSIT, LimitKind.LOSS}))


@pytest.fixture
async def web(cell_database: PlaneDatabase, redis_url: str) -> AsyncIterator[WebUnderTest]:
    async with open_bank(cell_database, redis_url, STRICT) as web:
        yield web


def limit(amount_minor: int, kind: str = "deposit", period: str = "day") -> dict[str, Any]:
    return {"kind": kind, "period": period, "amount_minor": amount_minor}


async def limits_of(client: httpx.AsyncClient, headers: dict[str, str]) -> list[tuple[Any, ...]]:
    found = (await client.get("/api/v1/me/limits", headers=headers)).json()["limits"]
    return [(each["kind"], each["period"], each["amount_minor"], each["next_minor"]) for each in found]


async def deposit(web: WebUnderTest, client: httpx.AsyncClient, player_id: str, amount_minor: int) -> int:
    body = {"amount_minor": amount_minor, "currency": "EUR", "reference": str(new_uuid()), "reason": "test"}
    path = f"/api/v1/operator/players/{player_id}/credits"
    return (await client.post(path, json=body, headers=web.operator)).status_code


async def administer(cell_database: PlaneDatabase, statement: str, *values: object) -> None:
    connection = await asyncpg.connect(cell_database.admin_url)
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


async def test_a_lower_limit_binds_at_once_and_a_higher_one_after_its_wait(
    web: WebUnderTest, client: httpx.AsyncClient, cell_database: PlaneDatabase
) -> None:
    player_id, headers = await register(client)
    assert (await client.put("/api/v1/me/limits", json=limit(1000), headers=headers)).status_code == 200
    assert await deposit(web, client, player_id, 600) == 201
    assert (await client.put("/api/v1/me/limits", json=limit(700), headers=headers)).status_code == 200
    assert await deposit(web, client, player_id, 200) == 409
    raised = (await client.put("/api/v1/me/limits", json=limit(5000), headers=headers)).json()
    assert (raised["amount_minor"], raised["next_minor"], raised["time_zone"]) == (700, 5000, "UTC")
    waits = datetime.fromisoformat(raised["next_from"]) - datetime.now(UTC)
    assert timedelta(hours=47) < waits <= timedelta(hours=48)
    assert await deposit(web, client, player_id, 200) == 409
    await administer(cell_database, "update player_limit set next_from = now() - interval '1 second'")
    assert await limits_of(client, headers) == [("deposit", "day", 5000, None)]
    assert await deposit(web, client, player_id, 200) == 201


async def test_a_limit_that_is_given_up_stands_until_its_wait_is_over(
    web: WebUnderTest, client: httpx.AsyncClient, cell_database: PlaneDatabase
) -> None:
    player_id, headers = await register(client)
    await client.put("/api/v1/me/limits", json=limit(100), headers=headers)
    query = {"kind": "deposit", "period": "day"}
    for _ in range(2):
        answer = await client.delete("/api/v1/me/limits", params=query, headers=headers)
        assert [each["next_minor"] for each in answer.json()["limits"]] == [None]
        assert answer.json()["limits"][0]["next_from"] is not None
    assert await deposit(web, client, player_id, 101) == 409
    await client.put("/api/v1/me/limits", json=limit(100), headers=headers)
    assert (await client.get("/api/v1/me/limits", headers=headers)).json()["limits"][0]["next_from"] is None
    await client.delete("/api/v1/me/limits", params=query, headers=headers)
    await administer(cell_database, "update player_limit set next_from = now() - interval '1 second'")
    assert await limits_of(client, headers) == []
    assert await deposit(web, client, player_id, 101) == 201


async def test_operators_cannot_loosen_faster_than_players(web: WebUnderTest, client: httpx.AsyncClient) -> None:
    player_id, headers = await register(client)
    path = f"/api/v1/operator/players/{player_id}/limits"
    await client.put("/api/v1/me/limits", json=limit(100), headers=headers)
    assert (await client.put(path, json=limit(900), headers=web.operator)).json()["amount_minor"] == 100
    query = {"kind": "deposit", "period": "day"}
    left = await client.delete(path, params=query, headers=web.operator)
    assert left.json()["limits"][0]["amount_minor"] == 100


async def test_no_limit_is_set_above_the_ceiling(client: httpx.AsyncClient) -> None:
    _, headers = await register(client)
    for amount_minor, status in ((100_001, 422), (100_000, 200)):
        body = limit(amount_minor, period="month")
        answer = await client.put("/api/v1/me/limits", json=body, headers=headers)
        assert answer.status_code == status
    assert await limits_of(client, headers) == [("deposit", "month", 100_000, None)]


async def test_registration_needs_the_limits_and_the_age_that_are_demanded(
    cell_database: PlaneDatabase, redis_url: str
) -> None:
    async with open_bank(cell_database, redis_url, MANDATORY) as web, web.client() as client:
        chosen = [limit(500), limit(300, "loss", "week")]
        too_young = (datetime.now(UTC) - timedelta(days=20 * 366)).date().isoformat()
        for changes, word in (
            ({"limits": []}, "deposit, loss"),
            ({"limits": chosen[:1]}, "loss"),
            ({"limits": chosen, "birth_date": too_young}, "21 years"),
        ):
            refused = await client.post("/api/v1/players", json=registration_body(**changes))
            assert refused.status_code == 422
            assert word in refused.json()["detail"]
        player_id, headers = await register(client, limits=chosen)
        assert await limits_of(client, headers) == [("deposit", "day", 500, None), ("loss", "week", 300, None)]
        assert await deposit(web, client, player_id, 501) == 409
        query = {"kind": "deposit", "period": "day"}
        kept = await client.delete("/api/v1/me/limits", params=query, headers=headers)
        assert (kept.status_code, kept.json()["code"]) == (422, "limits.mandatory")
        await client.put("/api/v1/me/limits", json=limit(900, period="week"), headers=headers)
        assert (await client.delete("/api/v1/me/limits", params=query, headers=headers)).status_code == 200


async def test_a_time_out_takes_no_deposit_until_it_is_over(
    web: WebUnderTest, client: httpx.AsyncClient, cell_database: PlaneDatabase
) -> None:
    player_id, headers = await register(client)
    assert await deposit(web, client, player_id, 100) == 201
    taken = await client.post("/api/v1/me/time-outs", json={"days": 2}, headers=headers)
    assert taken.status_code == 201
    stands = datetime.fromisoformat(taken.json()["stands_until"]) - datetime.now(UTC)
    assert timedelta(days=1, hours=23) < stands <= timedelta(days=2)
    assert await deposit(web, client, player_id, 100) == 409
    lift = f"/api/v1/me/exclusions/{taken.json()['exclusion_id']}/lift-requests"
    refused = await client.post(lift, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "limits.exclusion_stands")
    launch = await client.post("/api/v1/games/dice/launches", json={}, headers=headers)
    assert launch.status_code in {404, 409}
    moment = datetime.now(UTC) + timedelta(seconds=4)
    async with open_database(cell_database) as database, database.transaction(AURORA) as session:
        player = (await session.execute(text("select player_id from player"))).scalar_one()
        await ledger.close_wallets(session, AURORA, player, moment)
    assert await deposit(web, client, player_id, 100) == 409
    async with asyncio.timeout(60):
        while await deposit(web, client, player_id, 100) != 201:  # noqa: ASYNC110 - the clock ends it
            await asyncio.sleep(0.1)
    assert datetime.now(UTC) >= moment


async def test_an_exclusion_lasts_its_term_and_grows_only_longer(web: WebUnderTest, client: httpx.AsyncClient) -> None:
    player_id, headers = await register(client)
    short = await client.post("/api/v1/me/self-exclusions", json={"months": 5}, headers=headers)
    assert (short.status_code, short.json()["code"]) == (422, "limits.exclusion_too_short")
    taken = await client.post("/api/v1/me/self-exclusions", json={"months": 6}, headers=headers)
    ends = datetime.fromisoformat(taken.json()["ends_at"])
    assert timedelta(days=180) < ends - datetime.now(UTC) < timedelta(days=187)
    await client.post("/api/v1/me/time-outs", json={"days": 1}, headers=headers)
    assert await deposit(web, client, player_id, 100) == 409
    listed = (await client.get("/api/v1/me/exclusions", headers=headers)).json()["exclusions"]
    assert [each["kind"] for each in listed] == ["time_out", "self_exclusion"]
    endless = await client.post("/api/v1/me/self-exclusions", json={}, headers=headers)
    assert (endless.json()["ends_at"], endless.json()["stands_until"]) == (None, None)
    lift = f"/api/v1/me/exclusions/{endless.json()['exclusion_id']}/lift-requests"
    lifted = await client.post(lift, headers=headers)
    assert datetime.fromisoformat(lifted.json()["lifted_from"]) >= ends - timedelta(days=1)
    assert (await client.post(lift, headers=headers)).json() == lifted.json()
    assert await deposit(web, client, player_id, 100) == 409


async def test_exclusions_at_the_same_time_leave_the_longest(
    web: WebUnderTest, client: httpx.AsyncClient, cell_database: PlaneDatabase
) -> None:
    player_id, headers = await register(client)
    path = f"/api/v1/operator/players/{player_id}/exclusions"
    asks = [client.post("/api/v1/me/time-outs", json={"days": days}, headers=headers) for days in (1, 30, 2, 3)]
    asks.append(client.post(path, json={"reason": "court", "months": 12}, headers=web.operator))
    assert {answer.status_code for answer in await asyncio.gather(*asks)} == {201}
    async with open_database(cell_database) as database, database.transaction(AURORA) as session:
        until = (await session.execute(text("select closed_until from wallet"))).scalar_one()
        longest = (await session.execute(text("select max(ends_at) from exclusion"))).scalar_one()
    assert until == longest
    assert until - datetime.now(UTC) > timedelta(days=360)


async def test_strangers_and_others_see_and_set_nothing(web: WebUnderTest, client: httpx.AsyncClient) -> None:
    player_id, _ = await register(client)
    path = f"/api/v1/operator/players/{player_id}/exclusions"
    assert (await client.get(path)).status_code == 401
    assert (await client.post("/api/v1/me/time-outs", json={"days": 1})).status_code == 401
    async with web.client("jade.localhost") as jade:
        assert (await jade.get(path, headers=web.operator)).status_code == 404
        assert (await jade.post(path, json={"reason": "x"}, headers=web.operator)).status_code == 404
    for body in ({"days": 0}, {"days": 43}, {"days": 1, "months": 1, "reason": "x"}, {"months": 1}):
        assert (await client.post(path, json=body, headers=web.operator)).status_code == 422
    assert (await client.get(path, headers=web.operator)).json() == {"exclusions": []}
