"""Requests by which somebody of tenant A names what is tenant B's, generated from the API's own description."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from tests.factories.players import PASSWORD
from tests.isolation.probes import Report
from tests.isolation.world import PLUGIN, Side, World

MISSING = {
    "player_id": str(UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0001)),
    "round_id": str(UUID(int=0x0190_0000_0000_5000_8000_0000_0000_0002)),
    "game_session": str(UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0003)),
    "session_id": str(UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0003)),
    "code": "game-of-nobody",
    "provider_round": "round-of-nobody-2",
    "email": "canary.nobody@example.com",
    "token": "t" * 43,
    "session_token": "s" * 43,
    "reference": "credit-of-nobody",
    "bet": "bet-of-nobody-2",
    "award_id": str(UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0005)),
    "exclusion_id": str(UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0004)),
    "target": "player:01900000-0000-7000-8000-000000000001",
    "actor": "player:01900000-0000-7000-8000-000000000001",
}
"""What nobody has, by the name under which calls carry it."""
HARMLESS: dict[str, Any] = {
    "page_size": 50,
    "type": "player.registered",
    "since": "2020-01-01T00:00:00Z",
    "until": "2100-01-01T00:00:00Z",
    "currency": "EUR",
    "plugin": PLUGIN,
    "mobile": False,
    "days": 1,
    "expires_at": "2030-01-01T00:00:00Z",
    "wagering_times": 10,
    "wagering_minor": None,
    "months": None,
    "limits": [],
    "minutes": 60,
    "play_time_limits": [],
    "kind": "deposit",
    "period": "day",
    "enabled": True,
    "amount_minor": 100,
    "status": "active",
    "reason": "test",
    "password": PASSWORD,
    "new_password": "another good phrase",
    "first_name": "Ana",
    "last_name": "Lopez",
    "birth_date": "1990-02-28",
    "country": "MT",
    "phone": "",
    "language": "",
}
"""What names nothing of anybody; a new parameter must be put here or among the ids, or the suite stops."""
OWN_REASONS = {"StatusRequest": {"reason": "operator_decision"}, "RegisterRequest": {"password": "yet another phrase"}}
"""Values of a body that differ from those of the same name elsewhere."""
PAGES = (
    "/api/v1/me",
    "/api/v1/games",
    "/api/v1/me/balances",
    "/api/v1/me/rounds",
    "/api/v1/operator/rounds",
    "/api/v1/operator/games",
    "/api/v1/operator/audit-events",
    "/",
)
"""What is asked for under names that are not one's own."""
CURSOR = "cursor"
FOREIGN = "this domain is served at https://another.example"


class UnknownParameter(AssertionError):
    """The API has a parameter of which the probes do not know whether it names something."""


@dataclass(frozen=True)
class Operation:
    """One operation of the API with the names that it takes."""

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...]
    schema: str
    fields: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.parameters] + list(self.fields)

    def is_operators(self) -> bool:
        return "/operator/" in self.path


def read_operations(description: Mapping[str, Any]) -> list[Operation]:
    """Return what the OpenAPI document describes, with bodies unfolded."""
    found: list[Operation] = []
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            content = (operation.get("requestBody") or {}).get("content", {})
            schema = next((str(each["schema"].get("$ref", "")) for each in content.values()), "").rpartition("/")[2]
            fields = description["components"]["schemas"][schema]["properties"] if schema else {}
            parameters = tuple((each["name"], each["in"]) for each in operation.get("parameters", []))
            found.append(Operation(method.upper(), path, parameters, schema, tuple(fields)))
    unknown = {name for each in found for name in each.names} - MISSING.keys() - HARMLESS.keys() - {CURSOR}
    if unknown:
        raise UnknownParameter(f"do these name something of a tenant? {sorted(unknown)}")
    return [each for each in found if each.path.startswith("/api/v1")]


def build(operation: Operation, side: Side, changes: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of a request with the ids of `side`, some of them replaced."""
    values = {**HARMLESS, **OWN_REASONS.get(operation.schema, {}), **side.ids, **changes}
    path = operation.path
    for name, place in operation.parameters:
        if place == "path":
            path = path.replace("{" + name + "}", values[name])
    query = {n: values[n] for n, place in operation.parameters if place == "query" and (n != CURSOR or n in changes)}
    request: dict[str, Any] = {"method": operation.method, "url": path, "params": query}
    if operation.schema:
        request["json"] = {name: values[name] for name in operation.fields}
    return request


def view(answer: httpx.Response, *typed: str) -> tuple[Any, ...]:
    """Return what of an answer may not tell one id from another: status, headers' names, body without own values."""
    text = answer.text
    for value in typed:
        text = text.replace(value, "‹typed›")
    text = re.sub(r'"request_id":"[^"]*"', "", text)
    if answer.is_success:
        # Ids, times and amounts of what was just made differ by nature; their number and place may not.
        text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|[A-Za-z0-9_-]{43}", "‹id›", text)
        text = re.sub(r"\d+", "0", text)
    return answer.status_code, sorted(answer.headers.keys()), answer.headers.get("content-type"), text


class HttpProber:
    """Sends attacks to one world and counts what they bring to light."""

    def __init__(self, world: World, report: Report) -> None:
        self.world = world
        self.report = report

    def tokens(self) -> dict[str, str]:
        """Who may ask on A's domain; the last two have nothing to do there."""
        world = self.world
        return {
            "visitor": "",
            "player": world.a.token,
            "operator": str(world.web.settings.operator_token),
            "stranger": MISSING["session_token"],
            "player of the other": world.b.token,
        }

    def judge(self, what: str, answer: httpx.Response, typed: tuple[str, ...] = (), wrong: str = "") -> None:
        """Count one probe; an answer with a mark of B's is a leak, unless the asker typed it."""
        shown = [mark for mark in self.world.b.marks if mark in answer.text + str(answer.headers) and mark not in typed]
        if shown:
            wrong = f"the answer holds {shown[0]}: {answer.text[:200]}"
        elif answer.status_code >= 500 and "launch" not in what:
            wrong = wrong or f"answered {answer.status_code}"
        self.report.count(what, wrong)

    async def probe_operations(self) -> None:
        """Put each id of B where one of A's belongs, as everybody who may ask; the twin asks for nobody's."""
        async with self.world.web.client(self.world.a.host) as client:
            description = (await client.get("/api/openapi.json")).json()
            for operation in read_operations(description):
                for who, token in self.tokens().items():
                    await self._probe(client, operation, who, token)

    async def _probe(self, client: httpx.AsyncClient, operation: Operation, who: str, token: str) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        what = f"{who} {operation.method} {operation.path}"
        if who == "player of the other" or (operation.is_operators() and who != "operator"):
            # Nobody, or somebody without the right: refused before anything is looked up.
            answer = await client.request(**build(operation, self.world.a, {}), headers=headers)
            wanted = 403 if who == "player" else 401
            open_to_all = not operation.is_operators() and not token
            wrong = "" if open_to_all or answer.status_code == wanted else f"answered {answer.status_code}"
            self.judge(f"{what} without the right", answer, wrong=wrong)
        for name in operation.names:
            if name == CURSOR:
                answer = await client.request(
                    **build(operation, self.world.a, {CURSOR: self.world.b.ids[CURSOR]}), headers=headers
                )
                self.judge(f"{what} cursor", answer)
            if name not in MISSING:
                continue
            theirs, nobodys = self.world.b.ids[name], MISSING[name]
            answer = await client.request(**build(operation, self.world.a, {name: theirs}), headers=headers)
            twin = await client.request(**build(operation, self.world.a, {name: nobodys}), headers=headers)
            mine, other = view(answer, theirs), view(twin, nobodys)
            self.judge(
                f"{what} {name}", answer, (theirs,), "" if mine == other else f"{mine} where nothing is there: {other}"
            )

    async def probe_hosts(self, pages: tuple[str, ...] = PAGES) -> None:
        """Ask under a name that is not one's own, and try to be taken for another by headers."""
        world = self.world
        for headers, query in host_tricks(world):
            for page in pages:
                for who, token in self.tokens().items():
                    if who == "operator" and page == "/":
                        continue  # the status page is the platform's: it shows every tenant of the cell
                    sent = [*headers, *([("authorization", f"Bearer {token}")] if token else [])]
                    async with world.web.client(world.a.host) as client:
                        answer = await client.get(page, headers=sent, params=query)
                    self.judge(f"{who} {page} {headers} {query}", answer)
        for page in pages:
            async with world.b.client() as client:
                mine = await client.get(page, headers={"authorization": f"Bearer {world.a.token}"})
                nobodys = await client.get(page, headers={"authorization": f"Bearer {MISSING['session_token']}"})
            same = view(mine) == view(nobodys)
            # What B shows to everybody on its own domain, it may show to A.
            shown = tuple(world.b.marks) if page == "/" else ()
            wrong = "" if same else f"{mine.text} {nobodys.text}"
            self.judge(f"token of A on the domain of B {page}", mine, shown, wrong)
        if world.b.scope.cell != world.a.scope.cell:
            await self._probe_foreign_domain([*pages[:-1], "/healthz/../api/v1/me"])

    async def _probe_foreign_domain(self, paths: list[str]) -> None:
        """Ask A's cell under B's domain: it tells where B is, to everybody alike, and nothing else."""
        async with self.world.web.client(self.world.b.host) as client:
            for path in paths:
                for who, token in self.tokens().items():
                    answer = await client.get(path, headers={"authorization": f"Bearer {token}"} if token else {})
                    wrong = ""
                    if answer.status_code != 421 or as_json(answer)["detail"] != FOREIGN:
                        wrong = f"answered {answer.status_code} {answer.text[:200]}"
                    self.judge(f"{who} {path} of B's domain in A's cell", answer, wrong=wrong)


def host_tricks(world: World) -> Iterator[tuple[list[tuple[str, str]], dict[str, str]]]:
    """Yield headers and queries that say B while the connection says A."""
    a, b = world.a.host, world.b.host
    slug, number = world.b.scope.slug, str(world.b.scope.tenant_id)
    for name in (
        "x-forwarded-host",
        "x-original-host",
        "x-host",
        "x-forwarded-server",
        "x-http-host-override",
        "x-rewrite-url",
    ):
        yield [(name, b)], {}
    for name in ("x-tenant", "x-tenant-id", "x-pitboss-tenant", "tenant", "x-brand"):
        yield [(name, slug)], {}
        yield [(name, number)], {}
    yield [("forwarded", f"host={b};for=127.0.0.1")], {}
    yield [("cookie", f"tenant={slug}; tenant_id={number}; session={world.b.token}")], {}
    yield [("host", f"{a}, {b}")], {}
    yield [("host", f"{b}@{a}")], {}
    yield [("host", f"{a}:80@{b}")], {}
    yield [("host", f"{a}\t{b}")], {}
    yield [("host", f"{a}/{b}")], {}
    yield [("host", f"{b}.{a}")], {}
    yield [("host", a), ("host", b)], {}
    yield [("x-original-url", "/api/v1/operator/players/" + world.b.ids["player_id"])], {}
    yield [("x-http-method-override", "DELETE")], {}
    for key in ("tenant", "tenant_id", "brand", "host"):
        yield [], {key: slug}
        yield [], {key: number}
    yield [], {"access_token": world.b.token, "token": world.b.token}


def as_json(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.content)
    return found
