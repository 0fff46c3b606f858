"""Two brands of one tenant under two laws: each player gets the own law's answer, through whichever address she asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.packs import load
from tests.factories.players import AURORA, make_origin, open_cell
from tests.factories.web import WebUnderTest, register, registration_body
from tests.integration.limits.lawful import open_lawful

from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, ActorKind
from pitboss.policy.contracts import TenantFigures, TenantPolicy
from pitboss.policy.service import apply_policy, compute_exclusion_end
from pitboss_sdk.jurisdiction import LimitKind, LimitPeriod

POLICY = TenantPolicy(
    minimum_age_years=19,
    licences={
        "mt_mga": TenantFigures(minimum_age_years=21, exclusion_minimum_months=12, limit_increase_wait_hours=48),
        "br_spa": TenantFigures(
            limit_ceilings_minor={LimitKind.DEPOSIT: {LimitPeriod.DAY: {"EUR": 500}}}, limit_increase_wait_hours=72
        ),
    },
)
MALTA, BRAZIL = "aurora.localhost", "br-spa.localhost"
"""Hosts of the two brands."""
DEMANDED: dict[str, Any] = {
    "limits": [{"kind": "loss", "period": "day", "amount_minor": 1000}],
    "play_time_limits": [{"period": "day", "minutes": 60}],
}
"""What Brazil demands at registration."""


@dataclass
class Someone:
    """A player of a licence, asked for through the host names of both brands."""

    player_id: str
    headers: dict[str, str]
    own: httpx.AsyncClient
    strange: httpx.AsyncClient

    @property
    def addresses(self) -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
        return self.own, self.strange


@dataclass
class Scene:
    """The web of the tenant, and a player of each licence."""

    web: WebUnderTest
    maltese: Someone
    brazilian: Someone

    async def operate(self, who: Someone, path: str, body: dict[str, Any], *, at: int = 0) -> httpx.Response:
        """Do what an operator does for a player, through one of the two addresses."""
        path = f"/api/v1/operator/players/{who.player_id}/{path}"
        return await who.addresses[at].post(path, json=body, headers=self.web.operator)

    async def deposit(self, who: Someone, amount_minor: int) -> int:
        body = {"amount_minor": amount_minor, "currency": "EUR", "reference": str(new_uuid()), "reason": "test"}
        return (await self.operate(who, "credits", body)).status_code


@pytest.fixture
async def web(cell_database: PlaneDatabase, redis_url: str, tmp_path: Path) -> AsyncIterator[WebUnderTest]:
    async with open_lawful(cell_database, redis_url, tmp_path, ["mt_mga", "br_spa"], POLICY) as opened:
        yield opened


@pytest.fixture
async def scene(web: WebUnderTest) -> AsyncIterator[Scene]:
    async with web.client(MALTA) as malta, web.client(BRAZIL) as brazil:
        maltese = Someone(*await register(malta), malta, brazil)
        brazilian = Someone(*await register(brazil, **DEMANDED), brazil, malta)
        yield Scene(web, maltese, brazilian)


def born(years: int) -> str:
    """Return a birth date of somebody who has been so many years old for some days, wherever it is what day."""
    today = datetime.now(UTC).date() - timedelta(days=3)
    return today.replace(year=today.year - years, day=min(today.day, 28)).isoformat()


async def test_registration_asks_what_the_law_of_the_brand_asks(web: WebUnderTest) -> None:
    async with web.client(MALTA) as malta, web.client(BRAZIL) as brazil:

        async def try_out(client: httpx.AsyncClient, **changes: Any) -> tuple[int, str]:
            answer = await client.post("/api/v1/players", json=registration_body(**changes))
            return answer.status_code, answer.json().get("licence") or answer.json()["detail"]

        assert await try_out(malta) == (201, "mt_mga")
        assert await try_out(malta, birth_date=born(20)) == (422, "birth_date: 21 years of age are needed")
        assert await try_out(brazil, birth_date=born(20), **DEMANDED) == (201, "br_spa")
        assert await try_out(brazil, birth_date=born(18), **DEMANDED) == (
            422,
            "birth_date: 19 years of age are needed",
        )
        status, detail = await try_out(brazil)
        assert (status, "loss, session_time" in detail) == (422, True)
        # Nobody names the law, or the brand, that he would rather have.
        for named in ({"licence": "mt_mga"}, {"brand": "aurora"}, {"pack": "mt_mga"}):
            status, _ = await try_out(brazil, **named)
            assert status in {400, 422}


@pytest.mark.parametrize("at", [0, 1], ids=["own address", "other brand's address"])
async def test_a_player_has_the_own_law_at_every_address(scene: Scene, at: int) -> None:
    for who, zone, demanded in (
        (scene.maltese, "Europe/Malta", []),
        (scene.brazilian, "America/Sao_Paulo", ["loss", "session_time"]),
    ):
        client, headers = who.addresses[at], who.headers
        body = {"kind": "stake", "period": "day", "amount_minor": 100}
        assert (await client.put("/api/v1/me/limits", json=body, headers=headers)).json()["time_zone"] == zone
        told = (await client.get("/api/v1/me/limits", headers=headers)).json()
        assert {each["time_zone"] for each in told["limits"] + told["play_time_limits"]} == {zone}
        assert told["mandatory"] == demanded
        raised = await client.put("/api/v1/me/limits", json={**body, "amount_minor": 200}, headers=headers)
        waits = datetime.fromisoformat(raised.json()["next_from"]) - datetime.now(UTC)
        hours = 48 if who is scene.maltese else 72
        assert timedelta(hours=hours - 1) < waits <= timedelta(hours=hours)
        # Only Brazil's tenant policy has a ceiling, and only Brazil demands a limit of losses and of play time.
        high = {"kind": "deposit", "period": "day", "amount_minor": 501}
        answer = await client.put("/api/v1/me/limits", json=high, headers=headers)
        assert answer.status_code == (200 if who is scene.maltese else 422)
        gone = await client.delete("/api/v1/me/limits", params={"kind": "loss", "period": "day"}, headers=headers)
        assert gone.status_code == (200 if who is scene.maltese else 422)
        gone = await client.delete("/api/v1/me/play-time-limits", params={"period": "day"}, headers=headers)
        assert gone.status_code == (200 if who is scene.maltese else 422)


@pytest.mark.parametrize("at", [0, 1], ids=["own address", "other brand's address"])
async def test_an_operator_gives_nobody_the_other_law(scene: Scene, at: int) -> None:
    expires = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    award = {
        "amount_minor": 100,
        "currency": "EUR",
        "wagering_times": 2,
        "expires_at": expires,
        "reason": "welcome",
    }
    given = await scene.operate(scene.maltese, "awards", {**award, "reference": "mt"}, at=at)
    assert given.status_code == 201, given.text
    refused = await scene.operate(scene.brazilian, "awards", {**award, "reference": "br"}, at=at)
    assert (refused.status_code, refused.json()["code"]) == (409, "bonus.forbidden")
    # Eleven months are too short in Malta, where the tenant says twelve, and long enough in Brazil.
    for who, months, status in ((scene.maltese, 11, 422), (scene.brazilian, 11, 201), (scene.maltese, 12, 201)):
        body = {"months": months, "reason": "risk"}
        excluded = await scene.operate(who, "exclusions", body, at=at)
        assert (excluded.status_code, months) == (status, months), excluded.text


@pytest.mark.parametrize("at", [0, 1], ids=["own address", "other brand's address"])
async def test_an_exclusion_is_of_the_own_law(scene: Scene, at: int) -> None:
    for who, zone, months in ((scene.maltese, "Europe/Malta", 12), (scene.brazilian, "America/Sao_Paulo", 6)):
        client, headers = who.addresses[at], who.headers
        short = await client.post("/api/v1/me/self-exclusions", json={"months": months - 1}, headers=headers)
        assert (short.status_code, short.json()["code"]) == (422, "limits.exclusion_too_short")
        taken = (await client.post("/api/v1/me/self-exclusions", json={"months": 13}, headers=headers)).json()
        starts_at = datetime.fromisoformat(taken["starts_at"])
        assert datetime.fromisoformat(taken["ends_at"]) == compute_exclusion_end(starts_at, 13, zone)
        endless = (await client.post("/api/v1/me/self-exclusions", json={"months": None}, headers=headers)).json()
        path = f"/api/v1/me/exclusions/{endless['exclusion_id']}/lift-requests"
        lifted = (await client.post(path, headers=headers)).json()
        starts_at = datetime.fromisoformat(endless["starts_at"])
        assert datetime.fromisoformat(lifted["lifted_from"]) == compute_exclusion_end(starts_at, months, zone)


async def test_each_brands_page_names_the_age_of_its_law(web: WebUnderTest) -> None:
    for host, age in ((MALTA, "21 years"), (BRAZIL, "19 years")):
        async with web.client(host) as client:
            shown = await client.get("/", headers={"accept": "text/html"})
        assert (shown.status_code, age in shown.text) == (200, True), shown.text


async def test_without_the_own_law_nobody_is_given_another(scene: Scene, cell_database: PlaneDatabase) -> None:
    """The tenant's policy loses a pack that players are under, which no apply does: everything of theirs waits."""
    assert await scene.deposit(scene.brazilian, 100) == 201
    async with open_cell(cell_database) as cell, cell.transaction(AURORA) as session:
        actor = Actor(ActorKind.DEPLOYMENT, "tests")
        malta = {"mt_mga": load("mt_mga")}
        await apply_policy(session, AURORA, TenantPolicy(), malta, actor=actor, origin=make_origin())
    for who, status in ((scene.maltese, 200), (scene.brazilian, 503)):
        answer = await who.own.get("/api/v1/me/limits", headers=who.headers)
        assert answer.status_code == status
    answer = await scene.brazilian.own.post("/api/v1/players", json=registration_body(**DEMANDED))
    assert (answer.status_code, answer.json()["code"]) == (503, "policy.licence_unknown")
    async with asyncio.timeout(30):  # the lanes learn of it in the background
        while await scene.deposit(scene.brazilian, 1) != 503:  # noqa: ASYNC110 - the background ends it
            await asyncio.sleep(0.1)
    assert await scene.deposit(scene.maltese, 100) == 201
