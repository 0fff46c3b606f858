"""Rounds in pages: whatever began at one moment, each is on one page, once."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from tests.integration.games.conftest import GamesUnderTest

from pitboss.cli.simulate.calls import Call, Leg


async def play(games: GamesUnderTest) -> set[tuple[str, str]]:
    """Let three players meet in three rounds and one play a fourth, all begun at one moment; return each part."""
    holders = [await games.hold(await games.enter()) for _ in range(3)]
    for number, holder in enumerate(holders):
        for name in ("r1", "r2", "r3"):
            answer = await games.call(Call("betwin", name, (Leg("bet", f"{name}-{number}", 100),)), holder)
            assert answer.status == 200
    assert (await games.call(Call("betwin", "alone", (Leg("bet", "alone", 100),)), holders[0])).status == 200
    connection = await asyncpg.connect(games.database.admin_url)
    try:
        await connection.execute("update round set started_at = '2026-11-20 12:00:00.123456+00'")
    finally:
        await connection.close()
    return {(name, holder.account) for name in ("r1", "r2", "r3") for holder in holders} | {
        ("alone", holders[0].account)
    }


async def read_pages(games: GamesUnderTest, page_size: int) -> list[Any]:
    """Return everything on the operator's pages, in their order."""
    items: list[Any] = []
    cursor = ""
    for _ in range(50):
        query = {"page_size": page_size, **({"cursor": cursor} if cursor else {})}
        answer = await games.operate("GET", "/rounds", params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= page_size
        items += page["items"]
        cursor = page["next_cursor"]
        if not cursor:
            return items
    raise AssertionError("the pages do not end")


async def test_rounds_of_one_moment_are_on_one_page_each(games: GamesUnderTest) -> None:
    played = await play(games)
    for page_size in (1, 2, 3, 4, 7, 200):
        found = [(item["provider_round"], item["player_id"]) for item in await read_pages(games, page_size)]
        assert sorted(found) == sorted(played), page_size


@pytest.mark.parametrize("cursor", ["nonsense", "W10", "WzFd"])
async def test_a_cursor_that_is_none_is_refused(games: GamesUnderTest, cursor: str) -> None:
    assert (await games.operate("GET", "/rounds", params={"cursor": cursor})).status_code == 422
