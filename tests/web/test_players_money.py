"""Deposits by hand over HTTP and from the command line: through the wallet, once, within limits, written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA
from tests.factories.players import open_cell as open_database
from tests.factories.web import WebUnderTest, open_bank, register, run_command

from pitboss.kernel.ids import new_uuid
from pitboss.limits.contracts import LimitKind, Period


@pytest.fixture
async def web(cell_database: PlaneDatabase, redis_url: str) -> AsyncIterator[WebUnderTest]:
    async with open_bank(cell_database, redis_url) as opened:
        yield opened


def credit(reference: str, amount_minor: int = 2500, **changes: Any) -> dict[str, Any]:
    return {
        "amount_minor": amount_minor,
        "currency": "EUR",
        "reference": reference,
        "reason": "goodwill",
        **changes,
    }


async def real_minor(client: httpx.AsyncClient, headers: dict[str, str]) -> int:
    (balance,) = (await client.get("/api/v1/me/balances", headers=headers)).json()["balances"]
    return balance["real_minor"]


async def count_orders(cell_database: PlaneDatabase) -> int:
    statement = text("select count(*) from audit_event where type = 'player.credit_ordered'")
    async with open_database(cell_database) as database, database.transaction(AURORA) as session:
        return (await session.execute(statement)).scalar_one()


async def test_a_deposit_is_booked_once_however_often_it_is_sent(
    web: WebUnderTest, client: httpx.AsyncClient, cell_database: PlaneDatabase
) -> None:
    player_id, headers = await register(client)
    path = f"/api/v1/operator/players/{player_id}"
    answers = await asyncio.gather(
        *(client.post(f"{path}/credits", json=credit("d-1"), headers=web.operator) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {201}
    booked = [answer.json() for answer in answers]
    assert {(found["transaction"], found["playable_after_minor"]) for found in booked} == {
        (booked[0]["transaction"], 2500)
    }
    assert sum(not found["replayed"] for found in booked) == 1
    assert await real_minor(client, headers) == 2500
    assert (await client.get(path, headers=web.operator)).json()["balances"][0]["playable_minor"] == 2500
    # Every order is written down, the replayed ones too: somebody asked.
    assert await count_orders(cell_database) == 8


async def test_a_reference_with_other_content_is_refused(web: WebUnderTest, client: httpx.AsyncClient) -> None:
    player_id, headers = await register(client)
    other_id, other_headers = await register(client)
    path = "/api/v1/operator/players/{}/credits"
    assert (await client.post(path.format(player_id), json=credit("d-1"), headers=web.operator)).status_code == 201
    for target, body in ((player_id, credit("d-1", 9999)), (other_id, credit("d-1"))):
        answer = await client.post(path.format(target), json=body, headers=web.operator)
        assert (answer.status_code, answer.json()["code"]) == (409, "wallet.movement_refused")
    assert await real_minor(client, headers) == 2500
    assert await real_minor(client, other_headers) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_minor": 0},
        {"amount_minor": -1},
        {"amount_minor": 10**15 + 1},
        {"amount_minor": 10**30},
        {"amount_minor": 1.5},
        {"amount_minor": 100.0},
        {"amount_minor": "100"},
        {"amount_minor": "1e2"},
        {"amount_minor": True},
        {"currency": "eur"},
        {"reference": ""},
        {"reference": "a b"},
        {"reference": "x" * 101},
        {"reference": "x\n"},
        {"reference": "\u0000"},
        {"reason": "Because Ana asked"},
        {"reason": ""},
        {"note": "extra"},
    ],
)
async def test_a_senseless_deposit_is_refused_before_anything_is_written(
    web: WebUnderTest, client: httpx.AsyncClient, cell_database: PlaneDatabase, changes: dict[str, Any]
) -> None:
    player_id, headers = await register(client)
    path = f"/api/v1/operator/players/{player_id}/credits"
    answer = await client.post(path, json={**credit("d-1"), **changes}, headers=web.operator)
    assert answer.status_code == 422, answer.text
    assert await real_minor(client, headers) == 0
    assert await count_orders(cell_database) == 0


async def test_only_the_operator_deposits(web: WebUnderTest, client: httpx.AsyncClient) -> None:
    player_id, headers = await register(client)
    path = f"/api/v1/operator/players/{player_id}"
    calls: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("PATCH", "", {"status": "suspended", "reason": "operator_review"}),
        ("POST", "/credits", credit("d-1")),
    ]
    for method, tail, body in calls:
        for given, status in ((headers, 403), ({}, 401), ({"authorization": "Bearer invented"}, 401)):
            answer = await client.request(method, path + tail, json=body, headers=given)
            assert answer.status_code == status, (method, tail)
    assert await real_minor(client, headers) == 0


async def test_unknown_wallets_and_players_are_not_found(web: WebUnderTest, client: httpx.AsyncClient) -> None:
    player_id, _ = await register(client)
    path = "/api/v1/operator/players/{}/credits"
    no_wallet = await client.post(path.format(player_id), json=credit("d-1", currency="BTC"), headers=web.operator)
    assert (no_wallet.status_code, no_wallet.json()["code"]) == (404, "ledger.wallet_not_found")
    no_player = await client.post(path.format(new_uuid()), json=credit("d-1"), headers=web.operator)
    assert (no_player.status_code, no_player.json()["code"]) == (404, "accounts.player_not_found")
    assert (await client.post(path.format("7"), json=credit("d-1"), headers=web.operator)).status_code == 404


async def test_a_deposit_beyond_the_players_limit_is_refused_for_good(
    web: WebUnderTest, client: httpx.AsyncClient, cell_database: PlaneDatabase
) -> None:
    player_id, headers = await register(client)
    await limit_deposits(cell_database, 3000)
    path = f"/api/v1/operator/players/{player_id}/credits"
    assert (await client.post(path, json=credit("d-1"), headers=web.operator)).status_code == 201
    for _ in range(2):
        answer = await client.post(path, json=credit("d-2"), headers=web.operator)
        assert answer.status_code == 409
        assert answer.json()["detail"].startswith("limit_reached")
    assert (await client.post(path, json=credit("d-3", 500), headers=web.operator)).status_code == 201
    assert await real_minor(client, headers) == 3000


async def limit_deposits(cell_database: PlaneDatabase, amount_minor: int) -> None:
    async with open_database(cell_database) as database, database.transaction(AURORA) as session:
        await session.execute(
            text(
                "insert into player_limit (tenant_id, wallet_id, kind, period, amount_minor)"
                " select tenant_id, wallet_id, :kind, :period, :amount_minor from wallet"
            ),
            {"kind": int(LimitKind.DEPOSIT), "period": int(Period.DAY), "amount_minor": amount_minor},
        )
        await session.execute(
            text("select ledger_change_terms(tenant_id, wallet_id, null, true, false, null) from wallet")
        )


async def test_who_is_not_active_gets_no_deposit(web: WebUnderTest, client: httpx.AsyncClient) -> None:
    player_id, _ = await register(client)
    path = f"/api/v1/operator/players/{player_id}"
    change = {"status": "suspended", "reason": "fraud_suspected"}
    assert (await client.patch(path, json=change, headers=web.operator)).status_code == 200
    assert (await client.post(f"{path}/credits", json=credit("d-1"), headers=web.operator)).status_code == 409
    assert (await client.get(path, headers=web.operator)).json()["balances"][0]["real_minor"] == 0


async def test_history_is_paged_from_the_journal(web: WebUnderTest, client: httpx.AsyncClient) -> None:
    player_id, headers = await register(client)
    path = f"/api/v1/operator/players/{player_id}/credits"
    for number in range(1, 8):
        await client.post(path, json=credit(f"d-{number}", number), headers=web.operator)
    seen: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"page_size": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/api/v1/me/history", params=query, headers=headers)).json()
        seen += page["items"]
        cursor = page["next_cursor"]
    assert [(item["kind"], item["amount_minor"]) for item in seen] == [("deposit", n) for n in range(7, 0, -1)]
    assert [item["playable_after_minor"] for item in seen] == [28, 21, 15, 10, 6, 3, 1]
    assert len({item["transaction"] for item in seen}) == 7


async def test_an_account_with_money_cannot_be_closed_by_anybody(web: WebUnderTest, client: httpx.AsyncClient) -> None:
    player_id, headers = await register(client)
    path = f"/api/v1/operator/players/{player_id}"
    await client.post(f"{path}/credits", json=credit("d-1"), headers=web.operator)
    closing = {"status": "closed", "reason": "operator_review"}
    for answer in (
        await client.delete("/api/v1/me", headers=headers),
        await client.patch(path, json=closing, headers=web.operator),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "accounts.money_left")
    assert (await client.get("/api/v1/me", headers=headers)).json()["account"]["status"] == "active"


async def test_no_deposit_slips_into_an_account_that_is_being_closed(
    web: WebUnderTest, client: httpx.AsyncClient
) -> None:
    """Whichever comes first wins: a closed account has no money, and money keeps an account open."""
    for number in range(6):
        player_id, _ = await register(client)
        path = f"/api/v1/operator/players/{player_id}"
        closing = {"status": "closed", "reason": "operator_review"}
        deposit, close = await asyncio.gather(
            client.post(f"{path}/credits", json=credit(f"race-{number}"), headers=web.operator),
            client.patch(path, json=closing, headers=web.operator),
        )
        assert sorted((deposit.status_code, close.status_code)) in ([201, 409], [200, 409])
        account = (await client.get(path, headers=web.operator)).json()
        is_closed = account["account"]["status"] == "closed"
        assert account["balances"][0]["real_minor"] == (0 if is_closed else 2500)


async def test_the_command_deposits_decimals_exactly_once(web: WebUnderTest, client: httpx.AsyncClient) -> None:
    player_id, headers = await register(client)
    fixed = ["--tenant", "aurora", "--player", player_id, "--reason", "goodwill"]
    first = await asyncio.to_thread(
        run_command, web.settings, "player", "credit", *fixed, "--amount", "12.34", "--reference", "c-1"
    )
    assert first.returncode == 0, first.stderr
    assert "12.34 EUR is booked as" in first.stdout
    again = await asyncio.to_thread(
        run_command, web.settings, "player", "credit", *fixed, "--amount", "12.34", "--reference", "c-1"
    )
    assert (again.returncode, "was booked before" in again.stdout) == (0, True)
    assert await real_minor(client, headers) == 1234
    for changes in (
        ["--amount", "12.345", "--reference", "c-2"],
        ["--amount", "0", "--reference", "c-2"],
        ["--amount", "-1", "--reference", "c-2"],
        ["--amount", "1e3", "--reference", "c-2"],
        ["--amount", "99.99", "--reference", "c-1"],
        ["--amount", "1", "--reference", "c 2"],
        ["--amount", "1", "--reference", "c-2", "--tenant", "nobody"],
        ["--amount", "1", "--reference", "c-2", "--player", str(new_uuid())],
        ["--amount", "1", "--reference", "c-2", "--reason", "Because I can"],
    ):
        refused = await asyncio.to_thread(run_command, web.settings, "player", "credit", *fixed, *changes)
        assert refused.returncode != 0, changes
        assert "Traceback" not in refused.stderr, changes
    assert await real_minor(client, headers) == 1234
