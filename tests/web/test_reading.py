"""Whoever reads what is held of players leaves an event, and so does whoever is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import asyncpg
import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, PASSWORD
from tests.factories.web import WebUnderTest, open_cell, register

from pitboss.kernel.classes import find_data_class
from pitboss.kernel.scope import Actor, ActorKind
from pitboss.migrations.schema import load_metadata
from pitboss.web.reading import OPTION, list_fields, read_sorts
from pitboss.web.refusals import MAX_SUBJECTS, WINDOW_SECONDS, Refusals, Subject

OF_PLAYERS = frozenset(
    {"subject_key", "account", "play", "money", "protection", "identity", "opaque", "staff", "credential"}
)
AMBIGUOUS = frozenset({"name", "state", "status", "kind", "type", "key", "version", "mode", "end", "first", "size"})
"""Names that stand for other things in answers than in the columns of players' tables."""
NOTHING_HELD = frozenset({"/api/v1/games", "/api/v1/operator/games", "/api/v1/operator/games/{code:str}/enabled"})
"""The catalogue: its fields bear names of columns of players' tables, and none of their values."""


@pytest.fixture
async def web(cell_database: PlaneDatabase, redis_url: str) -> AsyncIterator[WebUnderTest]:
    async with open_cell(cell_database, redis_url) as opened:
        yield opened


def sorts_by_name() -> dict[str, set[str]]:
    """Return of which sorts the columns of a name are, as far as they tell of players or staff."""
    found: dict[str, set[str]] = {}
    for table in load_metadata("cell").tables.values():
        for name, sorts in table.info["columns"].items():
            if set(sorts) & OF_PLAYERS and name not in AMBIGUOUS:
                found.setdefault(name, set()).update(sorts)
    return found


def handlers(web: WebUnderTest) -> Iterator[tuple[str, Any]]:
    for route in cast("Any", web.front)._app.routes:
        for handler in getattr(route, "route_handlers", []):
            if isinstance(handler, HTTPRouteHandler) and set(handler.http_methods) != {"OPTIONS"}:
                yield route.path, handler


def find_silent(path: str, handler: Any) -> frozenset[str]:
    """Return fields of players that a handler shows to others without saying so; what writes has an event anyway."""
    if "/operator/" not in path or "GET" not in handler.http_methods or path in NOTHING_HELD:
        return frozenset()
    told = list_fields(handler.parsed_fn_signature.return_type.annotation) & sorts_by_name().keys()
    return frozenset() if OPTION in handler.opt else frozenset(told)


async def test_every_endpoint_that_shows_players_to_others_says_so(web: WebUnderTest) -> None:
    found = {path: silent for path, handler in handlers(web) if (silent := find_silent(path, handler))}
    assert found == {}, "name the sorts that it shows in `reads`, and record the reading"
    reading = {path for path, handler in handlers(web) if OPTION in handler.opt}
    assert reading >= {"/api/v1/operator/rounds", "/api/v1/operator/players/{player_id:uuid}/limits"}
    others = {path for path, handler in handlers(web) if "GET" in handler.http_methods} - reading
    operators = {path for path in others if path.startswith("/api/v1") and "/operator/" in path}
    assert operators <= NOTHING_HELD, "an answer whose fields bear no name of a column is looked at by a person"
    rooms = {path: str(handler.opt.get("permission", "")).partition(".")[0] for path, handler in handlers(web)}
    pages = {path for path in others if path.startswith("/operator/") and rooms[path] in {"subjects", "retention"}}
    assert pages == {"/operator/subjects/exports/{export_id:uuid}"}, "a fetch leaves an event of its own"
    for path, handler in handlers(web):
        if OPTION in handler.opt:
            assert "reading" in handler.parsed_fn_signature.parameters, path
            assert find_data_class(read_sorts(handler.opt[OPTION])) in {"confidential", "restricted"}, path


async def list_written(database: PlaneDatabase, where: str) -> list[dict[str, Any]]:
    admin = await asyncpg.connect(database.admin_url)
    rows = await admin.fetch(
        "select type, target_id, outcome, actor_kind, actor_name, origin ->> 'request_id' as request_id, changes"
        f" from audit_event where {where} order by occurred_at, event_id"
    )
    await admin.close()
    return [
        {**row, "facts": {each["path"]: each["after"] for each in msgspec.json.decode(row["changes"])}} for row in rows
    ]


async def test_each_read_leaves_one_event(web: WebUnderTest, cell_database: PlaneDatabase) -> None:
    async with web.client() as client:
        player_id, _ = await register(client)
        base = f"/api/v1/operator/players/{player_id}"
        asked = {
            base: ("player.viewed", "confidential", 1),
            f"{base}/limits": ("player.viewed", "restricted", 1),
            f"{base}/exclusions": ("player.viewed", "restricted", 1),
            f"{base}/awards": ("player.viewed", "restricted", 0),
            "/api/v1/operator/rounds": ("round.listed", "confidential", 0),
            "/api/v1/operator/audit-events?type=player.registered": ("audit.viewed", "restricted", 1),
        }
        for path, (event_type, sensitivity, rows) in asked.items():
            answer = await client.get(path, headers=web.operator)
            assert answer.status_code == 200, answer.text
            request_id = answer.headers["x-request-id"]
            (event,) = await list_written(
                cell_database, f"category = 'data_access' and origin ->> 'request_id' = '{request_id}'"
            )
            facts = event["facts"]
            assert (event["type"], event["actor_kind"]) == (event_type, "operator")
            assert (facts["access.mode"], facts["access.sensitivity"]) == ("read", sensitivity), path
            assert (facts["access.rows"], len(facts["access.ids_digest"])) == (rows, 64), path
            assert facts["access.fields"], path
            assert "access.ids" in facts or (sensitivity, rows) == ("confidential", 0), path
            assert ("access.query_digest" in facts) == ("?" in path or player_id in path), path
        viewed = await list_written(cell_database, f"target_id = '{player_id}' and category = 'data_access'")
        assert len(viewed) == 4
        assert not await list_written(cell_database, "changes::text like '%@example%'")


async def test_a_read_that_cannot_be_recorded_shows_nothing(web: WebUnderTest, cell_database: PlaneDatabase) -> None:
    async with web.client() as client:
        player_id, _ = await register(client)
        admin = await asyncpg.connect(cell_database.admin_url)
        await admin.execute("revoke insert on audit_event from pitboss_app")
        answer = await client.get(f"/api/v1/operator/players/{player_id}", headers=web.operator)
        await admin.execute("grant insert on audit_event to pitboss_app")
        await admin.close()
        assert answer.status_code == 500
        assert player_id not in answer.text


async def test_refusals_are_security_events_that_a_flood_does_not_multiply(
    web: WebUnderTest, cell_database: PlaneDatabase
) -> None:
    async with web.client() as client:
        player_id, session = await register(client)
        for _ in range(5):
            answer = await client.get(f"/api/v1/operator/players/{player_id}", headers=session)
            assert answer.status_code == 403
            answer = await client.get("/api/v1/me", headers={"authorization": "Bearer nonsense"})
            assert answer.status_code == 401
        body = {"email": "nobody@example.com", "password": PASSWORD}
        answers = [await client.post("/api/v1/sessions", json=body) for _ in range(15)]
        assert answers[-1].status_code == 429
        written = await list_written(cell_database, "target_type = 'refusal' and category = 'security'")
        told = [(event["type"], event["target_id"], event["actor_name"], event["outcome"]) for event in written]
        assert told == [
            ("permission.refused", "accounts.player.view", player_id, "denied"),
            ("token.refused", "bearer", "visitor", "denied"),
            ("request.throttled", "/api/v1/sessions", "visitor", "denied"),
        ]
        assert all(event["facts"] == {"times": 1} for event in written)


def test_what_was_counted_is_told_when_the_window_is_over() -> None:
    refusals, ada = Refusals(), Actor(ActorKind.OPERATOR, "ada")
    subject = Subject(AURORA, "permission.refused", "x", ada)
    assert refusals.note(subject, 0) == [(subject, 1)]
    assert [refusals.note(subject, second) for second in (1, 2, 3)] == [[], [], []]
    other = Subject(AURORA, "permission.refused", "y", ada)
    assert refusals.note(other, WINDOW_SECONDS) == [(subject, 3), (other, 1)]


def test_many_subjects_are_told_as_one() -> None:
    refusals = Refusals()
    written = [
        told
        for number in range(10_000)
        for told in refusals.note(
            Subject(AURORA, "token.refused", "bearer", Actor(ActorKind.PLAYER, str(number))), number / 1000
        )
    ]
    assert len(written) == MAX_SUBJECTS + 1
