"""What a tenant's state means to wallet calls and to its site: suspended takes nothing new and pays, closed is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from tests.factories.web import CONTENT, make_tenant, store_directory
from tests.integration.games.conftest import GamesUnderTest

from pitboss.bootstrap import ENDPOINT_SECONDS
from pitboss.cli.simulate.calls import Call, Leg
from pitboss.directory.contracts import TenantState
from pitboss.directory.runtime import REFRESH_SECONDS


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what takes one look at the directory and one renewal of the addresses."""
    for _ in range(30 * (REFRESH_SECONDS + ENDPOINT_SECONDS)):
        if await holds():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it did not come about")


async def become(games: GamesUnderTest, state: TenantState, version: int) -> None:
    """Store a directory in which Aurora is `state`, and wait until the web goes by it."""
    others = tuple(found for found in CONTENT.tenants if found.slug != "aurora")
    content = msgspec.structs.replace(CONTENT, tenants=(make_tenant(1, "aurora", state), *others))
    await store_directory(games.web.settings, content, version)
    wanted = 200 if state is TenantState.ACTIVE else 404

    async def shows() -> bool:
        return (await games.client.get("/api/v1/games")).status_code == wanted

    await until(shows)


async def test_a_suspended_tenant_takes_no_bet_and_pays_what_is_owed(games: GamesUnderTest) -> None:
    player = await games.enter()
    holder = await games.hold(player)
    assert (await games.call(Call("betwin", "r1", (Leg("bet", "b1", 500),)), holder)).balance == "95.00"
    assert (await games.call(Call("betwin", "r2", (Leg("bet", "b2", 300),)), holder)).balance == "92.00"
    await become(games, TenantState.SUSPENDED, 2)
    refused = await games.call(Call("betwin", "r3", (Leg("bet", "b3", 100),)), holder)
    assert (refused.status, refused.api_code) == (400, "107")
    both = await games.call(Call("betwin", "r3", (Leg("bet", "b4", 100), Leg("win", "w4", 900))), holder)
    assert (both.status, both.api_code) == (400, "107")
    # A bet that was taken before is told again: its answer may have been lost.
    assert (await games.call(Call("betwin", "r2", (Leg("bet", "b2", 300),)), holder)).balance == "92.00"
    assert (await games.call(Call("betwin", "r1", (Leg("win", "w1", 700),)), holder)).balance == "99.00"
    assert (await games.call(Call("rollback", "r2", (Leg("rollback", "x1", 0, "b2"),)), holder)).balance == "102.00"
    await become(games, TenantState.ACTIVE, 3)
    # What was refused while suspended was not for good.
    assert (await games.call(Call("betwin", "r3", (Leg("bet", "b3", 100),)), holder)).balance == "101.00"


async def test_a_closed_tenant_is_unknown_to_callers(games: GamesUnderTest) -> None:
    player = await games.enter()
    holder = await games.hold(player)
    assert (await games.call(Call("betwin", "r1", (Leg("bet", "b1", 500),)), holder)).balance == "95.00"
    # Asked without a signature nothing is booked, and a dialect says so only for a tenant that it knows.
    path, unsigned = "/wallet/aurora/softswiss/betwin", {"x-request-sign": "0" * 64}
    known = await games.client.post(path, content=b"{}", headers=unsigned)
    await become(games, TenantState.CLOSED, 2)

    async def is_forgotten() -> bool:
        return (await games.client.post(path, content=b"{}", headers=unsigned)).content != known.content

    await until(is_forgotten)
    refused = await games.call(Call("betwin", "r1", (Leg("win", "w1", 700),)), holder)
    assert refused.status >= 400
