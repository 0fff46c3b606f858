"""Requests that name tenant B beside what an operation asks for: in its body, nested, in bulk, in queries and headers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.isolation.http_probes import MISSING, HttpProber, Operation, build, read_operations
from tests.isolation.world import Side

LEAST = 6
"""Requests for every operation, whatever is added later."""


async def probe_strays(prober: HttpProber) -> None:
    """Send every operation with B's name in the places that nothing should read; B stays unseen and untouched."""
    world = prober.world
    people = {"operator": world.a.operator, "player": {"authorization": f"Bearer {world.a.token}"}, "visitor": {}}
    async with world.web.client(world.a.host) as client:
        description = (await client.get("/api/openapi.json")).json()
        for operation in read_operations(description):
            who = "operator" if operation.is_operators() else "player"
            strays = list(list_strays(operation, world.a, world.b))
            assert len(strays) >= LEAST, f"{operation.path} gets off lightly"
            for name, request in strays:
                asked_by = "visitor" if name.startswith("visitor") else who
                headers = {**people[asked_by], **request.pop("headers", {})}
                answer = await client.request(**request, headers=headers)
                sent = str(request) + str(headers)
                typed = tuple(mark for mark in world.b.marks if mark in sent)
                prober.judge(f"{asked_by} {operation.method} {operation.path} {name}", answer, typed)


def list_strays(operation: Operation, a: Side, b: Side) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a name and a request for each place in which B is named."""
    slug, number = b.scope.slug, b.scope.tenant_id
    named = {"tenant": slug, "tenant_id": number, "brand": slug, "host": b.host, "scope": slug}
    named["player_id"] = b.ids["player_id"]
    base = build(operation, a, {})
    yield "query of strays", {**base, "params": [*_pairs(base), *named.items()]}
    doubled = [(name, b.ids[name]) for name, _ in _pairs(base) if name in b.ids]
    yield "query doubled", {**base, "params": [*_pairs(base), *doubled, ("player_id", b.ids["player_id"])]}
    for header in ("x-forwarded-host", "x-tenant-id", "x-original-host"):
        yield f"header {header}", {**base, "headers": {header: b.host if "host" in header else str(number)}}
    yield "cookie", {**base, "headers": {"cookie": f"session={b.token}; tenant={slug}"}}
    yield "visitor with the token in the query", {**base, "params": [*_pairs(base), ("access_token", b.token)]}
    if "json" not in base:
        yield "body that nobody asks for", {**base, "json": named}
    else:
        body: dict[str, Any] = base["json"]
        yield "body with strays", {**base, "json": {**body, **named}}
        yield "body in bulk", {**base, "json": [body, {**body, **_theirs(body, b)}]}
        yield "body nested", {**base, "json": {"tenant": named, "items": [{**body, **_theirs(body, b)}], **body}}
        for name in _theirs(body, b):
            yield f"{name} in a list", {**base, "json": {**body, name: [body[name], b.ids[name]]}}
            yield f"{name} in an object", {**base, "json": {**body, name: {"id": b.ids[name], "$ne": None}}}


def _theirs(body: dict[str, Any], b: Side) -> dict[str, str]:
    return {name: b.ids[name] for name in body if name in MISSING and name in b.ids}


def _pairs(request: dict[str, Any]) -> list[tuple[str, Any]]:
    return list(request["params"].items())
