"""The players' API over HTTP on real servers: register, sign in, see money, reset, close."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.factories.databases import PlaneDatabase
from tests.factories.keys import make_ring
from tests.factories.players import AURORA, PASSWORD
from tests.factories.players import open_cell as open_database
from tests.factories.web import WebUnderTest, open_cell, register, registration_body

from pitboss.kernel.ids import new_uuid
from pitboss.ledger import service as ledger
from pitboss.platform.mail import MailSpool
from pitboss.platform.outbox import lease_due
from pitboss.worker.account_jobs import account_jobs

PLAYERS, SESSIONS = "/api/v1/players", "/api/v1/sessions"


@pytest.fixture
async def web(cell_database: PlaneDatabase, redis_url: str) -> AsyncIterator[WebUnderTest]:
    async with open_cell(cell_database, redis_url) as opened:
        yield opened


async def enter(client: httpx.AsyncClient, **changes: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Register and sign in; return what was sent, with the player's id, and the headers of the session."""
    sent = registration_body(**changes)
    player_id, headers = await register(client, **sent)
    return {**sent, "player_id": player_id}, headers


async def test_a_player_comes_sees_and_leaves(client: httpx.AsyncClient) -> None:
    sent, headers = await enter(client, language="pt-BR", phone="+35621234567")
    me = (await client.get("/api/v1/me", headers=headers)).json()
    assert me["account"]["status"] == "active"
    assert me["account"]["language"] == "pt-BR"
    assert (me["email"], me["last_name"], me["birth_date"]) == (sent["email"], "López", "1990-02-28")
    assert datetime.fromisoformat(me["account"]["registered_at"]).utcoffset() is not None
    balances = (await client.get("/api/v1/me/balances", headers=headers)).json()["balances"]
    assert balances == [
        {
            "currency": "EUR",
            "decimals": 2,
            "real_minor": 0,
            "bonus_minor": 0,
            "held_minor": 0,
            "debt_minor": 0,
            "playable_minor": 0,
        }
    ]
    history = (await client.get("/api/v1/me/history", headers=headers)).json()
    assert history == {"currency": "EUR", "items": [], "next_cursor": None}
    assert (await client.delete("/api/v1/sessions/current", headers=headers)).status_code == 204
    for path in ("/api/v1/me", "/api/v1/me/balances", "/api/v1/me/history"):
        assert (await client.get(path, headers=headers)).status_code == 401


async def test_a_closed_player_is_out_for_good(client: httpx.AsyncClient) -> None:
    sent, headers = await enter(client)
    assert (await client.delete("/api/v1/me", headers=headers)).status_code == 204
    assert (await client.get("/api/v1/me", headers=headers)).status_code == 401
    again = await client.post(SESSIONS, json={"email": sent["email"], "password": PASSWORD})
    assert (again.status_code, again.json()["code"]) == (409, "accounts.account_not_active")
    replayed = await client.post(PLAYERS, json=registration_body(email=sent["email"]))
    assert (replayed.status_code, replayed.json()["code"]) == (409, "accounts.email_taken")


async def test_a_replayed_registration_conflicts_and_changes_nothing(
    client: httpx.AsyncClient, cell_database: PlaneDatabase
) -> None:
    sent = registration_body()
    first = await client.post(PLAYERS, json=sent)
    before = await count_rows(cell_database)
    for email in (sent["email"], sent["email"].upper()):
        second = await client.post(PLAYERS, json={**sent, "email": email})
        assert (second.status_code, second.json()["code"]) == (409, "accounts.email_taken")
        assert first.json()["player_id"] not in second.text
    assert await count_rows(cell_database) == before


async def count_rows(cell_database: PlaneDatabase) -> tuple[int, ...]:
    async with open_database(cell_database) as database, database.transaction(AURORA) as session:
        counts = [
            (await session.execute(text(f"select count(*) from {table}"))).scalar_one()
            for table in (
                "player",
                "player_identity",
                "player_credential",
                "wallet",
                "audit_event where target_type = 'player'",
            )
        ]
    return tuple(counts)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"birth_date": "2015-01-01"}, 422),
        ({"birth_date": "yesterday"}, 422),
        ({"email": "x"}, 422),
        ({"email": "ana@example.com\u0000"}, 422),
        ({"email": "a" * 100_000 + "@example.com"}, 422),
        ({"password": "x" * 100_000}, 422),
        ({"first_name": "\u0000"}, 422),
        ({"first_name": "\u202e" * 5}, 422),
        ({"currency": "XXX"}, 422),
        ({"currency": "eur'; drop table player; --"}, 422),
        ({"language": "klingon"}, 422),
        ({"country": "??"}, 422),
        ({"phone": "call me"}, 422),
        ({"surprise": 1}, 422),
        ({"password": None}, 422),
        ({"password": 12345678}, 422),
        ({"first_name": ["Ana"]}, 422),
    ],
)
async def test_what_is_wrong_is_refused_before_any_row(
    client: httpx.AsyncClient, cell_database: PlaneDatabase, changes: dict[str, Any], status: int
) -> None:
    answer = await client.post(PLAYERS, json=registration_body(**changes))
    assert answer.status_code == status, answer.text
    assert await count_rows(cell_database) == (0, 0, 0, 0, 0)


async def test_names_of_all_scripts_are_kept_as_written(client: httpx.AsyncClient) -> None:
    for first, last in (("José", "Muñoz-O'Hara"), ("Ἀριστοτέλης", "王"), ("ياسمين", "דוד"), ("Zoë 🎲", "d’Été")):
        _, headers = await enter(client, first_name=first, last_name=last)
        me = (await client.get("/api/v1/me", headers=headers)).json()
        assert (me["first_name"], me["last_name"]) == (first, last)


async def test_unknown_and_wrong_are_told_alike(client: httpx.AsyncClient) -> None:
    sent, _ = await enter(client)
    attempts = [
        {"email": sent["email"], "password": "another password"},
        {"email": "nobody@example.com", "password": PASSWORD},
        {"email": "not an address", "password": PASSWORD},
    ]
    answers = []
    for attempt in attempts:
        answer = await client.post(SESSIONS, json=attempt)
        body = answer.json()
        body.pop("request_id")
        answers.append((answer.status_code, body))
    assert answers[0][0] == 401
    assert answers[0] == answers[1] == answers[2]


async def test_guessing_ends_in_429_with_the_time_to_wait(client: httpx.AsyncClient) -> None:
    sent, _ = await enter(client)
    answers = [await client.post(SESSIONS, json={"email": sent["email"], "password": "guess"}) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert int(answers[-1].headers["retry-after"]) >= 30


async def test_a_forgotten_password_is_replaced_through_the_mail(
    client: httpx.AsyncClient, cell_database: PlaneDatabase, tmp_path: Path
) -> None:
    sent, headers = await enter(client, language="es")
    for email in (sent["email"], "nobody@example.com", "no address"):
        asked = await client.post("/api/v1/password-reset-requests", json={"email": email})
        assert (asked.status_code, asked.json()) == (202, {"status": "accepted"})
    await run_jobs(cell_database, tmp_path)
    mail = read_mail(tmp_path)
    assert mail["To"] == sent["email"]
    assert mail["Subject"] == "Elige una contraseña nueva"
    (token,) = re.findall(r"https://aurora\.localhost/reset-password#token=(\S+)", mail.get_content())
    new = "another horse, another battery"
    weak = await client.post("/api/v1/password-resets", json={"token": token, "new_password": "12345678"})
    assert (weak.status_code, weak.json()["code"]) == (422, "accounts.password_invalid")
    done = await client.post("/api/v1/password-resets", json={"token": token, "new_password": new})
    assert done.status_code == 204
    again = await client.post("/api/v1/password-resets", json={"token": token, "new_password": new})
    invented = await client.post("/api/v1/password-resets", json={"token": "invented", "new_password": new})
    assert again.status_code == invented.status_code == 422
    assert again.json()["detail"] == invented.json()["detail"]
    assert (await client.get("/api/v1/me", headers=headers)).status_code == 401
    old = await client.post(SESSIONS, json={"email": sent["email"], "password": PASSWORD})
    assert old.status_code == 401
    assert (await client.post(SESSIONS, json={"email": sent["email"], "password": new})).status_code == 201


def read_mail(folder: Path) -> EmailMessage:
    (path,) = folder.glob("*.eml")
    return message_from_bytes(path.read_bytes(), EmailMessage, policy=policy.SMTPUTF8)


async def run_jobs(cell_database: PlaneDatabase, folder: Path) -> None:
    handlers = {job.name: job.handler for job in account_jobs(MailSpool(folder), make_ring())}
    async with open_database(cell_database, cell_database.worker_url) as worker, worker.transaction(AURORA) as session:
        for job in await lease_due(session):
            await handlers[job.job](session, AURORA, job.payload)


async def test_a_token_of_one_tenant_opens_nothing_at_another(web: WebUnderTest) -> None:
    async with web.client("aurora.localhost") as aurora, web.client("jade.localhost") as jade:
        sent, headers = await enter(aurora)
        for path in ("/api/v1/me", "/api/v1/me/balances", "/api/v1/me/history"):
            foreign = await jade.get(path, headers=headers)
            invented = await jade.get(path, headers={"authorization": "Bearer invented"})
            assert foreign.status_code == invented.status_code == 401
            assert {**foreign.json(), "request_id": ""} == {**invented.json(), "request_id": ""}
        assert (await jade.delete("/api/v1/me", headers=headers)).status_code == 401
        there = await jade.post(SESSIONS, json={"email": sent["email"], "password": PASSWORD})
        assert there.status_code == 401
        # The same person may have an account at each.
        assert (await jade.post(PLAYERS, json=registration_body(email=sent["email"]))).status_code == 201
        assert (await aurora.get("/api/v1/me", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "cursor=x",
        "cursor=WzFd" + "A" * 300,
        "cursor=WzFlMzBd",
        "cursor=Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5XQ",
        "page_size=0",
        "page_size=201",
        "page_size=1.5",
        "currency=XXX",
        "currency=" + "E" * 1000,
        "currency=%00",
    ],
)
async def test_a_made_up_query_is_refused(client: httpx.AsyncClient, query: str) -> None:
    _, headers = await enter(client)
    answer = await client.get(f"/api/v1/me/history?{query}", headers=headers)
    assert answer.status_code == 422, answer.text


async def test_a_currency_without_a_wallet_is_not_found(client: httpx.AsyncClient) -> None:
    _, headers = await enter(client)
    answer = await client.get("/api/v1/me/history?currency=BTC", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "ledger.wallet_not_found")


CANARIES = {
    "email": "canary.4711@example.com",
    "first_name": "Canaryfirst",
    "last_name": "Canarylast",
    "birth_date": "1971-03-17",
    "phone": "+35699471147",
    "password": "canary-password-4711",
}


async def test_no_personal_value_reaches_audit_queue_or_another_table(
    web: WebUnderTest, client: httpx.AsyncClient, cell_database: PlaneDatabase, tmp_path: Path
) -> None:
    """Every use case runs over canaries; afterwards they stand in the mail alone: tables hold them sealed."""
    await prepare_tenant(cell_database)
    sent, headers = await enter(client, **CANARIES)
    path = f"/api/v1/operator/players/{sent['player_id']}"
    await client.post(PLAYERS, json=registration_body(**CANARIES))
    await client.post(SESSIONS, json={"email": CANARIES["email"], "password": "canary-guess-4711"})
    await client.get("/api/v1/me", headers=headers)
    await client.post("/api/v1/password-reset-requests", json={"email": CANARIES["email"]})
    await run_jobs(cell_database, tmp_path)
    (token,) = re.findall(r"#token=(\S+)", read_mail(tmp_path).get_content())
    changed = {"token": token, "new_password": "canary-new-4711"}
    assert (await client.post("/api/v1/password-resets", json=changed)).status_code == 204
    credit = {"amount_minor": 500, "currency": "EUR", "reference": "c-1", "reason": "goodwill"}
    assert (await client.post(f"{path}/credits", json=credit, headers=web.operator)).status_code == 201
    for status in ("suspended", "active", "closed"):
        await client.patch(path, json={"status": status, "reason": "operator_review"}, headers=web.operator)
    session = await client.post(SESSIONS, json={"email": CANARIES["email"], "password": "canary-new-4711"})
    headers = {"authorization": f"Bearer {session.json()['token']}"}
    await client.delete("/api/v1/sessions/current", headers=headers)

    rows = await dump(cell_database)
    assert "player_identity" in rows
    for table, content in rows.items():
        for field, canary in [*CANARIES.items(), ("token", token), ("session", headers["authorization"][7:])]:
            # Bytes are written in hexadecimal: what would stand in them unsealed is looked for as well.
            for written in (canary.lower(), canary.encode().hex()):
                assert written not in content.lower(), (table, field)
        assert "canary" not in content.lower(), table
    types = set(re.findall(r"player\.[a-z_]+", rows["audit_event"]))
    assert types == {
        "player.registered",
        "player.signed_in",
        "player.sign_in_failed",
        "player.signed_out",
        "player.password_reset_requested",
        "player.password_reset",
        "player.credit_ordered",
        "player.status_changed",
    }


async def prepare_tenant(cell_database: PlaneDatabase) -> None:
    """Open the tenant's books, as `pitboss tenant apply` does."""
    async with open_database(cell_database) as database, database.transaction(AURORA) as session:
        await ledger.open_house_accounts(session, AURORA, ["EUR"], ["softswiss"])


async def dump(cell_database: PlaneDatabase) -> dict[str, str]:
    """Return every row of every table as text."""
    from pitboss.platform.db import create_engine

    admin = create_engine(cell_database.admin_url)
    async with admin.connect() as connection:
        tables = list(await connection.scalars(text("select tablename from pg_tables where schemaname = 'public'")))
        rows = {table: "\n".join(await connection.scalars(text(f"select t::text from {table} t"))) for table in tables}
    await admin.dispose()
    return {table: content for table, content in rows.items() if content}


async def test_ids_of_another_tenant_do_not_exist_for_operators(web: WebUnderTest) -> None:
    """The operator of one tenant's host asks for another tenant's player: as if it did not exist, and untouched."""
    async with web.client("aurora.localhost") as aurora, web.client("jade.localhost") as jade:
        sent, _ = await enter(aurora)
        credit = {"amount_minor": 500, "currency": "EUR", "reference": "x-1", "reason": "goodwill"}
        for method, tail, body in (
            ("GET", "", None),
            ("PATCH", "", {"status": "suspended", "reason": "operator_review"}),
            ("PATCH", "", {"status": "closed", "reason": "operator_review"}),
            ("POST", "/credits", credit),
        ):
            shapes = []
            for player_id in (sent["player_id"], str(new_uuid())):
                path = f"/api/v1/operator/players/{player_id}{tail}"
                answer = await jade.request(method, path, json=body, headers=web.operator)
                shapes.append((answer.status_code, {**answer.json(), "request_id": ""}, sorted(answer.headers)))
            assert shapes[0] == shapes[1], (method, tail)
            assert shapes[0][0] == 404
        mine = await aurora.get(f"/api/v1/operator/players/{sent['player_id']}", headers=web.operator)
        assert mine.json()["account"]["status"] == "active"
