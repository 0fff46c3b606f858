"""How much of its tables the games room reads: as much as is asked for, however much there is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.money import House
from tests.factories.plans import count_read, explain
from tests.factories.players import AURORA, open_cell

from pitboss.games.contracts import MAX_TITLE_LENGTH
from pitboss.games.service import SESSION_LIFETIME
from pitboss.games.store import catalogue
from pitboss.kernel.clock import utc_now
from pitboss.limits.contracts import LONGEST_WINDOW
from pitboss_sdk.games import GameInfo

_OLD_SESSIONS = """
insert into game_session (tenant_id, session_id, player_id, wallet_id, game_id, state, opened_at, expires_at)
select s.tenant_id, uuidv7(), s.player_id, s.wallet_id, s.game_id, 2, at, at + interval '12 hours'
from game_session s, generate_series(1, $1::int) n, lateral (select now() - interval '40 days' - n * interval '1 hour') a(at)
"""


_MANY_GAMES = """
insert into game (tenant_id, plugin, code, title, provider, category, version_id)
select tenant_id, plugin, 'game-' || n, 'Title ' || md5(n::text), 'test', 'table', version_id
from game, generate_series(1, 10000) n where code = 'dice'
"""


@pytest.fixture
async def house(cell_database: PlaneDatabase) -> House:
    opened = House(cell_database)
    await opened.open()
    return opened


async def test_old_sessions_are_not_read_for_play_time(house: House) -> None:
    (seat, *_) = await house.add_players(20)
    read: list[int] = []
    for old in (0, 4000):
        await house.administer(_OLD_SESSIONS, old // 20)
        await house.administer("analyze game_session")
        async with open_cell(house.database) as cell, cell.transaction(AURORA) as session:
            spans = catalogue.list_session_spans(
                session, AURORA, seat.player_id, utc_now() - LONGEST_WINDOW, lifetime=SESSION_LIFETIME
            )
            read.append(count_read(await explain(session, spans), "game_session"))
    assert read[1] == 1
    assert read[0] <= 20


async def test_a_session_that_reaches_into_the_window_counts(house: House) -> None:
    """The bound by the opening leaves out nothing that the bound by the end would let in."""
    (seat,) = await house.add_players(1)
    since = utc_now() - LONGEST_WINDOW
    instant = timedelta(microseconds=1)
    await house.administer(
        "update game_session set opened_at = $1, expires_at = $2", since + instant - SESSION_LIFETIME, since + instant
    )
    async with open_cell(house.database) as cell, cell.transaction(AURORA) as session:
        found = await catalogue.list_session_spans(session, AURORA, seat.player_id, since, lifetime=SESSION_LIFETIME)
        none = await catalogue.list_session_spans(
            session, AURORA, seat.player_id, since + instant, lifetime=SESSION_LIFETIME
        )
    assert [span[1] for span in found] == [since + instant]
    assert none == []


async def test_a_front_page_reads_the_games_that_it_shows(house: House) -> None:
    await house.administer(_MANY_GAMES)
    await house.administer("analyze game")
    async with open_cell(house.database) as cell, cell.transaction(AURORA) as session:
        nodes = await explain(session, catalogue.list_offered(session, AURORA, 24))
        shown = await catalogue.list_offered(session, AURORA, 24)
    assert count_read(nodes, "game") == 2 * 24, "each is picked, and told"
    titles = [game.title for game in shown]
    assert len(titles) == 24
    everything = await house.administer("select title from game where enabled order by title limit 24")
    assert titles == [row[0] for row in everything]


async def test_a_title_that_no_index_holds_is_cut(house: House) -> None:
    title = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(4000))
    async with open_cell(house.database) as cell, cell.transaction(AURORA) as session:
        await catalogue.upsert_games(session, AURORA, "softswiss", [GameInfo("long", title)])
        game = await catalogue.find_game(session, AURORA, "long")
    assert game is not None
    assert game.title == title[:MAX_TITLE_LENGTH]
