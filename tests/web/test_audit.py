"""The audit log over HTTP and from the command line: of one's own tenant, to whom it may be shown, page by page."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA
from tests.factories.players import open_cell as open_database
from tests.factories.tenants import environment_of
from tests.factories.web import WebUnderTest, open_cell, register

from pitboss.accounts import service as accounts
from pitboss.accounts.contracts import PlayerStatus, StatusReason
from pitboss.audit.contracts import AuditEvent
from pitboss.audit.service import record_control_event
from pitboss.kernel.scope import Actor, ActorKind, Origin
from pitboss.platform.db import ControlDatabase, create_engine
from pitboss.platform.settings import Settings

LOG = "/api/v1/operator/audit-events"
HOSTS = {"aurora": "aurora.localhost", "jade": "jade.localhost"}


@pytest.fixture
async def web(cell_database: PlaneDatabase, redis_url: str) -> AsyncIterator[WebUnderTest]:
    async with open_cell(cell_database, redis_url) as opened:
        yield opened


async def ask(client: httpx.AsyncClient, web: WebUnderTest, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(LOG, params=query, headers=web.operator)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def test_an_operator_reads_what_happened_and_who_did_it(web: WebUnderTest) -> None:
    async with web.client() as client:
        player_id, _ = await register(client)
        suspend = {"status": "suspended", "reason": "operator_review"}
        await client.patch(f"/api/v1/operator/players/{player_id}", json=suspend, headers=web.operator)
        events = await ask(client, web, target=f"player:{player_id}")
        assert [event["type"] for event in events] == ["player.status_changed", "player.signed_in", "player.registered"]
        newest = events[0]
        assert newest["actor"] == {"kind": "operator", "name": "operator"}
        assert (newest["reason"], newest["outcome"]) == ("operator_review", "success")
        assert newest["changes"] == [{"path": "status", "before": "active", "after": "suspended"}]
        assert newest["request_id"]
        text = json.dumps(events)
        assert "203.0.113.7" not in text, "the address that a request came from is personal"
        assert "@" not in text
        by_operator = await ask(client, web, actor="operator", target=f"player:{player_id}")
        assert [event["type"] for event in by_operator] == ["player.status_changed"]
        moment = newest["occurred_at"]
        assert await ask(client, web, since=moment, target=f"player:{player_id}") == [newest]
        assert newest not in await ask(client, web, until=moment, target=f"player:{player_id}")
        assert [e["type"] for e in await ask(client, web, type="player.registered")] == ["player.registered"]


async def test_pages_continue_by_their_cursor(web: WebUnderTest) -> None:
    async with web.client() as client:
        for _ in range(3):
            await register(client)
        whole = [event["event_id"] for event in await ask(client, web, type="player.registered")]
        assert len(whole) == 3
        found: list[str] = []
        query: dict[str, Any] = {"type": "player.registered", "page_size": 2}
        while True:
            page = (await client.get(LOG, params=query, headers=web.operator)).json()
            found += [event["event_id"] for event in page["items"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert found == whole


async def test_another_tenants_events_do_not_exist(web: WebUnderTest) -> None:
    async with web.client(HOSTS["aurora"]) as aurora, web.client(HOSTS["jade"]) as jade:
        player_id, _ = await register(aurora)
        assert len(await ask(aurora, web, target=f"player:{player_id}")) == 2
        assert await ask(jade, web, target=f"player:{player_id}") == []
        assert player_id not in json.dumps(await ask(jade, web))
        assert await ask(jade, web, target="player") == []
        page = await aurora.get(LOG, params={"page_size": 1}, headers=web.operator)
        continued = await ask(jade, web, target="player", cursor=page.json()["next_cursor"])
        assert continued == []


async def test_players_and_visitors_do_not_read_it(web: WebUnderTest) -> None:
    async with web.client() as client:
        _, player = await register(client)
        for headers, status in ((player, 403), ({}, 401), ({"authorization": "Bearer nonsense"}, 401)):
            assert (await client.get(LOG, headers=headers)).status_code == status


@pytest.mark.parametrize(
    "query",
    [
        {"type": "player.teleported"},
        {"target": "spaceship:1"},
        {"actor": "ada"},
        {"since": "2026-03-01T12:00:00"},
        {"since": "yesterday"},
        {"since": "2026-03-02T00:00:00Z", "until": "2026-03-01T00:00:00Z"},
        {"cursor": "W10"},
        {"page_size": "0"},
        {"page_size": "201"},
    ],
)
async def test_what_makes_no_sense_is_refused(web: WebUnderTest, query: Mapping[str, str]) -> None:
    async with web.client() as client:
        assert (await client.get(LOG, params=query, headers=web.operator)).status_code == 422


def run(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pitboss.bootstrap", "audit", "list", *words],
        check=False,
        env=environment_of(settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


async def test_the_command_lists_a_tenants_log(web: WebUnderTest, cell_database: PlaneDatabase) -> None:
    async with web.client() as client:
        player_id, _ = await register(client)
    operator = Actor(ActorKind.OPERATOR, "ada")
    async with open_database(cell_database) as cell, cell.transaction(AURORA) as session:
        await accounts.change_status(
            session,
            AURORA,
            UUID(player_id),
            status=PlayerStatus.SUSPENDED,
            reason=StatusReason.FRAUD_SUSPECTED,
            actor=operator,
            origin=Origin(),
        )

    async def listed(*words: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(run, web.settings, *words)

    plain = await listed("aurora", "--actor", "operator:ada")
    assert plain.returncode == 0, plain.stderr
    head, change = plain.stdout.splitlines()
    assert f"player.status_changed  player:{player_id}  by operator:ada  fraud_suspected" in head
    assert change == '    status  "active" → "suspended"'
    lines = (await listed("aurora", "--json", "--target", f"player:{player_id}")).stdout.splitlines()
    assert [json.loads(line)["type"] for line in lines] == [
        "player.status_changed",
        "player.signed_in",
        "player.registered",
    ]
    assert len((await listed("aurora", "--json", "--limit", "1")).stdout.splitlines()) == 1
    assert (await listed("aurora", "--json", "--until", "2020-01-01")).stdout == ""
    since = await listed("aurora", "--json", "--since", "2020-01-01", "--target", "player")
    assert since.stdout.splitlines() == lines
    assert (await listed("jade", "--json", "--target", "player")).stdout == ""
    assert player_id not in (await listed("jade", "--json")).stdout
    for wrong, code, message in (
        (["aurora", "--type", "player.teleported"], 1, "audit.filter_invalid"),
        (["nobody"], 1, "directory.tenant_unknown"),
        ([], 2, "name a tenant, or give --control"),
        (["aurora", "--control"], 2, "name a tenant, or give --control"),
        (["aurora", "--since", "yesterday"], 2, "a day or a moment"),
    ):
        answer = await listed(*wrong)
        assert (answer.returncode, message in answer.stderr) == (code, True), answer.stderr


async def test_the_command_lists_the_log_of_control(web: WebUnderTest, control_database: PlaneDatabase) -> None:
    engine = create_engine(control_database.app_url)
    try:
        async with ControlDatabase(engine).transaction() as session:
            for number in range(201):  # more than a page
                event = AuditEvent(
                    "tenant.updated", Actor(ActorKind.DEPLOYMENT, "ada"), Origin(), "tenant", f"t{number}"
                )
                await record_control_event(session, event)
    finally:
        await engine.dispose()
    settings = msgspec.structs.replace(web.settings, control_database_url=control_database.app_url)
    answer = await asyncio.to_thread(run, settings, "--control", "--json", "--limit", "0", "--type", "tenant.updated")
    found = [json.loads(line)["target_id"] for line in answer.stdout.splitlines()]
    assert found == [f"t{number}" for number in reversed(range(201))], answer.stderr
