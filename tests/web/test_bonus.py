"""Awards over HTTP: who may give and see them, once, within the law, and real and bonus money apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from sqlalchemy import text
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, make_origin
from tests.factories.players import open_cell as open_database
from tests.factories.web import WebUnderTest, open_bank, register

from pitboss.bonus.contracts import AwardOrder
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, ActorKind
from pitboss.policy.contracts import TenantPolicy
from pitboss.policy.service import resolve_policy
from pitboss.wallet import service as wallets

CEILING = TenantPolicy(bonus_wagering_maximum_times=10)
FORBIDDEN = TenantPolicy(bonus_allowed=False)
SOON = (datetime.now(UTC) + timedelta(days=7)).isoformat()


@pytest.fixture
async def web(cell_database: PlaneDatabase, redis_url: str) -> AsyncIterator[WebUnderTest]:
    async with open_bank(cell_database, redis_url, CEILING) as web:
        yield web


def terms(**changes: Any) -> dict[str, Any]:
    body = {
        "amount_minor": 500,
        "reference": "welcome-1",
        "reason": "welcome",
        "expires_at": SOON,
        "wagering_times": 10,
    }
    return {name: value for name, value in {**body, **changes}.items() if value != "left out"}


def path(player_id: str, *more: str) -> str:
    return "/".join([f"/api/v1/operator/players/{player_id}/awards", *more])


async def balance_of(client: httpx.AsyncClient, headers: dict[str, str]) -> tuple[int, int, int]:
    (found,) = (await client.get("/api/v1/me/balances", headers=headers)).json()["balances"]
    return found["real_minor"], found["bonus_minor"], found["playable_minor"]


async def count_orders(database: PlaneDatabase) -> tuple[int, int]:
    """Return how many awards were written down, and how many of them are in the audit log."""
    statement = text(
        "select (select count(*) from award_terms), (select count(*) from audit_event where type = 'award.ordered')"
    )
    async with open_database(database) as cell, cell.transaction(AURORA) as session:
        written, told = (await session.execute(statement)).one()
    return written, told


async def test_an_award_is_given_once_however_often_it_is_sent(
    web: WebUnderTest, client: httpx.AsyncClient, cell_database: PlaneDatabase
) -> None:
    player_id, headers = await register(client)
    send = [client.post(path(player_id), json=terms(), headers=web.operator) for _ in range(5)]
    answers = [*await asyncio.gather(*send), await client.post(path(player_id), json=terms(), headers=web.operator)]
    assert {answer.status_code for answer in answers} == {201}
    (shown,) = {answer.text for answer in answers}
    assert '"state":"active"' in shown
    assert await balance_of(client, headers) == (0, 500, 500)
    assert await count_orders(cell_database) == (1, 1)
    other, _ = await register(client)
    for changes, whose in (
        ({"amount_minor": 501}, player_id),
        ({"wagering_times": 9}, player_id),
        ({"reason": "sorry"}, player_id),
        ({"expires_at": (datetime.now(UTC) + timedelta(days=8)).isoformat()}, player_id),
        ({}, other),
    ):
        misused = await client.post(path(whose), json=terms(**changes), headers=web.operator)
        assert (misused.status_code, misused.json()["code"]) == (409, "bonus.reference_misused")
    # The same requirement in another way is the same content.
    same = await client.post(
        path(player_id), json=terms(wagering_times=None, wagering_minor=5000), headers=web.operator
    )
    assert same.text == shown
    assert await balance_of(client, headers) == (0, 500, 500)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"amount_minor": 0}, 422, "web.invalid"),
        ({"amount_minor": -1}, 422, "web.invalid"),
        ({"amount_minor": 10**15 + 1}, 422, "web.invalid"),
        ({"amount_minor": "500"}, 422, "web.amount_not_whole"),
        ({"amount_minor": 500.0}, 422, "web.amount_not_whole"),
        ({"wagering_times": 9.0}, 422, "web.amount_not_whole"),
        ({"wagering_times": 0}, 422, "web.invalid"),
        ({"wagering_times": None}, 422, "bonus.terms_invalid"),
        ({"wagering_minor": 100}, 422, "bonus.terms_invalid"),
        ({"wagering_times": 11}, 422, "bonus.wagering_above_ceiling"),
        ({"wagering_times": None, "wagering_minor": 5001}, 422, "bonus.wagering_above_ceiling"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 422, "bonus.terms_invalid"),
        ({"expires_at": "2030-01-01T00:00:00"}, 422, "web.invalid"),
        ({"expires_at": "left out"}, 422, "web.invalid"),
        ({"currency": "BTC"}, 404, "ledger.wallet_not_found"),
        ({"reason": "No code"}, 422, "web.invalid"),
    ],
)
async def test_a_senseless_award_is_refused_before_anything_is_written(
    web: WebUnderTest,
    client: httpx.AsyncClient,
    cell_database: PlaneDatabase,
    changes: dict[str, Any],
    status: int,
    code: str,
) -> None:
    player_id, headers = await register(client)
    answer = await client.post(path(player_id), json=terms(**changes), headers=web.operator)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert await count_orders(cell_database) == (0, 0)
    assert await balance_of(client, headers) == (0, 0, 0)


async def test_where_bonus_is_forbidden_nobody_gets_any(cell_database: PlaneDatabase, redis_url: str) -> None:
    async with open_bank(cell_database, redis_url, FORBIDDEN) as web, web.client() as client:
        player_id, headers = await register(client)
        answer = await client.post(path(player_id), json=terms(), headers=web.operator)
        assert (answer.status_code, answer.json()["code"]) == (409, "bonus.forbidden")
        assert await balance_of(client, headers) == (0, 0, 0)
    assert await count_orders(cell_database) == (0, 0)


async def test_who_may_not_play_gets_no_award_and_keeps_what_was_given(
    web: WebUnderTest, client: httpx.AsyncClient, cell_database: PlaneDatabase
) -> None:
    player_id, headers = await register(client)
    assert (await client.post(path(player_id), json=terms(), headers=web.operator)).status_code == 201
    assert (await client.post("/api/v1/me/time-outs", json={"days": 1}, headers=headers)).status_code == 201
    refused = await client.post(path(player_id), json=terms(reference="second"), headers=web.operator)
    assert (refused.status_code, refused.json()["code"]) == (409, "limits.player_excluded")
    # A repetition is told what was given before.
    assert (await client.post(path(player_id), json=terms(), headers=web.operator)).status_code == 201
    assert await balance_of(client, headers) == (0, 500, 500)
    suspended, _ = await register(client)
    change = {"status": "suspended", "reason": "operator_review"}
    operate = f"/api/v1/operator/players/{suspended}"
    assert (await client.patch(operate, json=change, headers=web.operator)).status_code == 200
    refused = await client.post(path(suspended), json=terms(reference="third"), headers=web.operator)
    assert (refused.status_code, refused.json()["code"]) == (409, "accounts.account_not_active")
    assert await count_orders(cell_database) == (1, 1)


async def test_awards_are_paged_and_shown_to_both(web: WebUnderTest, client: httpx.AsyncClient) -> None:
    player_id, headers = await register(client)
    empty = {"items": [], "next_cursor": None}
    assert (await client.get("/api/v1/me/awards", headers=headers)).json() == empty
    assert (await client.get(path(player_id), headers=web.operator)).json() == empty
    given = [
        (await client.post(path(player_id), json=terms(reference=f"ref-{n}"), headers=web.operator)).json()
        for n in range(3)
    ]
    for url, who in (("/api/v1/me/awards", headers), (path(player_id), web.operator)):
        first = (await client.get(url, params={"page_size": 2}, headers=who)).json()
        rest = (await client.get(url, params={"cursor": first["next_cursor"]}, headers=who)).json()
        shown = [*first["items"], *rest["items"]]
        assert [each["award_id"] for each in shown] == [each["award_id"] for each in reversed(given)]
        assert (len(first["items"]), rest["next_cursor"]) == (2, None)
        wanted = {name: given[0][name] for name in shown[2]}
        assert shown[2] == wanted
        assert ("reason" in shown[2]) is (url != "/api/v1/me/awards")
    assert (await client.get("/api/v1/me/awards", params={"cursor": "x"}, headers=headers)).status_code == 422


async def test_only_operators_give_and_cancel_and_only_of_their_own_players(
    web: WebUnderTest, client: httpx.AsyncClient
) -> None:
    player_id, headers = await register(client)
    given = (await client.post(path(player_id), json=terms(), headers=web.operator)).json()["award_id"]
    cancel = path(player_id, given, "cancellations")
    for who, status in (({}, 401), (headers, 403)):
        assert (await client.post(path(player_id), json=terms(reference="x"), headers=who)).status_code == status
        assert (await client.post(cancel, json={"reason": "abuse"}, headers=who)).status_code == status
        assert (await client.get(path(player_id), headers=who)).status_code == status
    other, _ = await register(client)
    nobody = str(new_uuid())
    for wrong in (path(other, given, "cancellations"), path(player_id, nobody, "cancellations"), path(nobody)):
        answer = await client.post(
            wrong, json={"reason": "abuse"} if "cancel" in wrong else terms(), headers=web.operator
        )
        assert answer.status_code == 404, wrong
    async with web.client("jade.localhost") as stranger:
        for method, url, body in (
            ("POST", path(player_id), terms(reference="x")),
            ("GET", path(player_id), None),
            ("POST", cancel, {"reason": "abuse"}),
        ):
            assert (await stranger.request(method, url, json=body, headers=web.operator)).status_code == 404
    assert await balance_of(client, headers) == (0, 500, 500)


async def test_an_award_is_cancelled_once_and_not_given_again(
    web: WebUnderTest, client: httpx.AsyncClient, cell_database: PlaneDatabase
) -> None:
    player_id, headers = await register(client)
    given = (await client.post(path(player_id), json=terms(), headers=web.operator)).json()["award_id"]
    cancel = path(player_id, given, "cancellations")
    send = [
        client.post(cancel, json={"reason": reason}, headers=web.operator) for reason in ("abuse", "error", "abuse")
    ]
    answers = await asyncio.gather(*send)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert await balance_of(client, headers) == (0, 0, 0)
    again = await client.post(path(player_id), json=terms(), headers=web.operator)
    assert (again.status_code, again.json()["state"]) == (201, "cancelled")
    assert await balance_of(client, headers) == (0, 0, 0)
    async with open_database(cell_database) as cell, cell.transaction(AURORA) as session:
        told = await session.scalars(
            text("select type from audit_event where target_type = 'award' order by occurred_at")
        )
        assert list(told) == ["award.ordered", "award.cancelled"]
    await client.post(path(player_id), json=terms(reference="late"), headers=web.operator)
    connection = await asyncpg.connect(cell_database.admin_url)
    try:
        await connection.execute(
            "update award_terms set ordered_at = now() - interval '1 day', expires_at = now() where reference = 'late'"
        )
    finally:
        await connection.close()
    late = (await client.get(path(player_id), headers=web.operator)).json()["items"][0]
    assert late["state"] == "expired"
    answer = await client.post(
        path(player_id, late["award_id"], "cancellations"), json={"reason": "x"}, headers=web.operator
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "bonus.award_over")


async def test_an_award_that_ended_before_it_was_booked_is_never_booked(
    web: WebUnderTest, client: httpx.AsyncClient, cell_database: PlaneDatabase
) -> None:
    player_id, headers = await register(client)
    order = AwardOrder("lost", 500, 5000, datetime.fromisoformat(SOON), "welcome")
    async with open_database(cell_database) as cell, cell.transaction(AURORA) as session:
        written = await wallets.order_award(
            session,
            AURORA,
            order,
            player_id=UUID(player_id),
            currency="",
            policy=resolve_policy(CEILING, None, datetime.now(UTC).date()),
            actor=Actor(ActorKind.OPERATOR, "tester"),
            origin=make_origin(),
        )
    assert (await client.get(path(player_id), headers=web.operator)).json()["items"][0]["state"] == "ordered"
    cancel = path(player_id, written.leg.reference, "cancellations")
    assert (await client.post(cancel, json={"reason": "error"}, headers=web.operator)).status_code == 200
    again = await client.post(path(player_id), json=terms(reference="lost"), headers=web.operator)
    assert (again.status_code, again.json()["code"]) == (409, "bonus.award_over")
    assert await balance_of(client, headers) == (0, 0, 0)


async def test_an_account_is_closed_over_its_awards(web: WebUnderTest, client: httpx.AsyncClient) -> None:
    player_id, headers = await register(client)
    for number in range(2):
        await client.post(path(player_id), json=terms(reference=f"ref-{number}"), headers=web.operator)
    assert (await client.delete("/api/v1/me", headers=headers)).status_code == 204
    shown = (await client.get(path(player_id), headers=web.operator)).json()["items"]
    assert [(each["state"], each["cancel_reason"]) for each in shown] == [("cancelled", "account_closed")] * 2
    refused = await client.post(path(player_id), json=terms(reference="more"), headers=web.operator)
    assert (refused.status_code, refused.json()["code"]) == (409, "accounts.account_not_active")


async def test_real_and_bonus_money_are_shown_apart(web: WebUnderTest, client: httpx.AsyncClient) -> None:
    player_id, headers = await register(client)
    await client.post(path(player_id), json=terms(), headers=web.operator)
    deposit = {"amount_minor": 200, "currency": "EUR", "reference": "d", "reason": "test"}
    operate = f"/api/v1/operator/players/{player_id}"
    credited = (await client.post(f"{operate}/credits", json=deposit, headers=web.operator)).json()
    detail = (await client.get(operate, headers=web.operator)).json()
    for shown in (credited["balance"], detail["balances"][0]):
        assert (shown["real_minor"], shown["bonus_minor"], shown["playable_minor"]) == (200, 500, 700)
    lines = (await client.get("/api/v1/me/history", headers=headers)).json()["items"]
    told = [(each["kind"], each["real_minor"], each["bonus_minor"], each["real_after_minor"]) for each in lines]
    assert told == [("deposit", 200, 0, 200), ("award", 0, 500, 0)]
    assert [each["bonus_after_minor"] for each in lines] == [500, 500]
