"""Requests on their way: a trace of our own making, carried on by the job that they leave behind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.factories.collector import tracing
from tests.factories.databases import PlaneDatabase
from tests.factories.web import WebUnderTest, open_cell

FOREIGN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CANARY = "canary-4711@example.com"


@pytest.fixture
async def web(cell_database: PlaneDatabase, redis_url: str) -> AsyncIterator[WebUnderTest]:
    async with open_cell(cell_database, redis_url) as opened:
        yield opened


async def test_what_a_caller_brings_is_neither_believed_nor_kept(web: WebUnderTest) -> None:
    headers = {"traceparent": FOREIGN, "tracestate": f"x={CANARY}", "baggage": f"email={CANARY}", "user-agent": CANARY}
    with tracing() as (collector, _):
        async with web.client() as client:
            await client.get("/api/v1/me", headers=headers, params={"email": CANARY})
            await client.get(f"/{CANARY}", headers=headers)
            await client.get("/healthz", headers=headers)
    known, unknown = collector.spans()
    assert {**known.facts, "pitboss.request_id": ""} == {
        "http.request.method": "GET",
        "http.route": "/api/v1/me",
        "http.response.status_code": 401,
        "pitboss.tenant": "aurora",
        "pitboss.request_id": "",
    }
    assert unknown.facts["http.route"] == "unmatched"
    for span in (known, unknown):
        assert span.parent_id == ""
        assert span.trace_id != FOREIGN[3:35]
    assert not any(CANARY.encode() in body for body in collector.bodies)


async def test_a_method_of_a_callers_own_making_is_not_told(web: WebUnderTest) -> None:
    with tracing() as (collector, _):
        async with web.client() as client:
            for made_up in ("CANARY4711", "PROPFIND", "X-35621234567"):
                await client.request(made_up, "/api/v1/me")
            await client.put("/api/v1/me")
    assert [span.facts["http.request.method"] for span in collector.spans()] == ["other", "other", "other", "PUT"]
    counted = [line for line in web.metrics.render().decode().splitlines() if "pitboss_http_requests_total{" in line]
    assert {line.partition('method="')[2].partition('"')[0] for line in counted} == {"other", "PUT"}


async def test_a_job_carries_the_trace_of_the_request_that_left_it(
    web: WebUnderTest, cell_database: PlaneDatabase
) -> None:
    player = {"email": CANARY, "password": "correct horse battery"}
    born = {"birth_date": "1980-01-01", "first_name": "A", "last_name": "B", "country": "MT"}
    async with web.client() as client:
        made = await client.post("/api/v1/players", json={**player, **born})
        assert made.status_code == 201, made.text
        with tracing() as (collector, _):
            asked = await client.post("/api/v1/password-reset-requests", json={"email": CANARY})
            assert asked.status_code < 300
    (span,) = collector.spans()
    connection = await asyncpg.connect(cell_database.admin_url)
    try:
        traces = await connection.fetch("select trace from outbox_job where job = 'accounts.send_password_reset'")
        assert [row["trace"] for row in traces] == [f"00-{span.trace_id}-{span.span_id}-01"]
        for smuggled in (CANARY, FOREIGN + "-more", FOREIGN.upper(), ""):
            with pytest.raises(asyncpg.CheckViolationError):
                await connection.execute("update outbox_job set trace = $1", smuggled)
    finally:
        await connection.close()
