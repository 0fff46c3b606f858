"""The operators' page of retention: who gets in, what is shown where there is nothing, and what a hold and a plan look like."""

from __future__ import annotations

import html
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import asyncpg
import httpx
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, open_cell
from tests.factories.web import STRANGER, apply_policies, cell_settings, store_directory

from pitboss.bootstrap import open_cell_web
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, ActorKind, Origin
from pitboss.platform.telemetry import Metrics
from pitboss.policy.contracts import Retention
from pitboss.retention import service as retention
from pitboss.retention.contracts import Draft, Schedule, ScheduleLine, Step
from pitboss.web.texts import LANGUAGES, texts_of
from pitboss_sdk.jurisdiction import CountsFrom

ADA = Actor(ActorKind.DEPLOYMENT, "ada")
PAGE = "/operator/retention"


async def leave_something(cell_database: PlaneDatabase) -> None:
    """Place a hold, and propose a plan, in words that a page must not take for markup."""
    line = ScheduleLine("round", "", Retention(5, CountsFrom.CREATION), (), utc_now())
    step = Step(1, "round", "", "creation", datetime.now(UTC) - timedelta(days=2000), 42, 0, None)
    async with open_cell(cell_database) as cell, cell.transaction(AURORA) as session:
        await retention.place_hold(
            session, AURORA, case_reference="case-7", reason="claim", actor=ADA, origin=Origin(), table="round"
        )
        draft = Draft(Schedule((line,), "v", utc_now()), (step,))
        await retention.propose_plan(session, AURORA, draft, reason="law", actor=ADA, origin=Origin())
    admin = await asyncpg.connect(cell_database.admin_url)
    await admin.execute(
        "update legal_hold set case_reference = 'case <7>'; update retention_run set reason = '<b>law</b>'"
    )
    await admin.close()


async def test_the_page_shows_schedules_holds_and_plans_in_three_languages(
    cell_database: PlaneDatabase, redis_url: str
) -> None:
    settings = cell_settings(cell_database, redis_url)
    await store_directory(settings)
    await apply_policies(settings)
    async with open_cell_web(settings, Metrics()) as front:
        transport = httpx.ASGITransport(cast("Any", front), client=STRANGER, raise_app_exceptions=False)
        headers = {"sec-fetch-site": "same-origin"}
        async with httpx.AsyncClient(
            transport=transport, base_url="https://aurora.localhost", headers=headers
        ) as client:
            refused = await client.get(PAGE)
            assert (refused.status_code, refused.headers.get("location")) == (303, "/operator")
            await client.post("/operator", data={"token": settings.operator_token or ""})
            for language in LANGUAGES:
                page = html.unescape((await client.get(PAGE, params={"lang": language})).text)
                words = texts_of(language)
                assert words["retention_nothing"] in page
                assert f'aria-current="page">{words["retention"]}</a>' in page
                assert words["retention_no_holds"] in page
                assert words["retention_no_runs"] in page
            await leave_something(cell_database)
            for language in LANGUAGES:
                answer = await client.get(PAGE, params={"lang": language})
                words = texts_of(language)
                assert answer.status_code == 200
                assert "<b>law</b>" not in answer.text
                page = html.unescape(answer.text)
                assert "case <7>" in page
                assert f"0 {words['retention_of']} 42" in page
                assert words["retention_proposed"] in page
                assert words["retention_no_holds"] not in page
        other = httpx.ASGITransport(cast("Any", front), client=STRANGER, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=other, base_url="https://jade.localhost", headers=headers) as client:
            await client.post("/operator", data={"token": settings.operator_token or ""})
            assert "case" not in html.unescape((await client.get(PAGE)).text).partition('id="holds-title"')[2]
