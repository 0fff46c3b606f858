"""The plan trap: on empty tables and on grown ones, whatever a lane says to the server finds its rows by whole keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any

import asyncpg
import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.money import House, running
from tests.property.asks import make_request
from tests.property.model import Ask, Step

from pitboss.accounts import store as accounts_store
from pitboss.bonus import service as bonus
from pitboss.games.contracts import GameFacts, RoundFacts, RoundSubject
from pitboss.games.store import rounds as rounds_store
from pitboss.kernel.statements import WritePart, compose_reads, compose_writes
from pitboss.ledger.contracts import OpenAward, OpenHold, PostingBatch
from pitboss.ledger.store import posting
from pitboss.limits import service as limits
from pitboss.platform.db import SET_SESSION_CONTEXT, ContextSigner, connect_lane
from pitboss.wallet.runtime import Lane

ROUND = "01a1fca6-46b5-7139-98ca-c53f592daa3c"
SEATS = [(1, 1), (1, 2)]
KEYS = [(1, 1, b"0" * 16), (1, 1, b"1" * 16)]
NAMES = [(1, ROUND, 1), (1, ROUND, 2)]
READS = {
    "wallets": (posting.ask_wallets(SEATS), {"wallet": 2}),
    "keys": (posting.ask_keys(KEYS), {"call_key": 3, "journal": 3}),
    "holds": (posting.ask_holds(KEYS), {"call_key": 3, "hold": 3}),
    "awards": (posting.ask_awards(SEATS), {"award": 2, "journal": 3}),
    "terms of awards": (bonus.ask_terms(SEATS), {"award_terms": 2}),
    "award entries": (posting.ask_award_entries([(1, 1, 3)]), {"award_entry": 3}),
    "times": (posting.ask_times([(1, 1, 3)]), {"journal": 3}),
    "usage": (posting.ask_usage(SEATS, date(2026, 11, 1), date(2026, 11, 21)), {"usage": 2}),
    "limits": (limits.ask_limits(SEATS), {"player_limit": 2}),
    "sessions": (rounds_store.ask_sessions([(1, 1, ROUND)]), {"game_session": 2}),
    "games": (rounds_store.ask_games([(1, "softswiss", "dice")]), {"game": 3}),
    "rounds": (rounds_store.ask_rounds(NAMES), {"round": 3}),
}
"""A part, and for each table how many key columns its index condition has on tables that have grown.

On empty ones any index will do: a lane plans anew as its tables grow.
"""
ALONE = {
    "wallet numbers": (posting._WALLET_NUMBERS, {"wallet": 3}),
    "player numbers": (accounts_store._READ_NUMBERS, {"player": 2}),
}
WRITTEN = {"hold": 3, "award": 3, "round": 3, "wallet": 2, "call_key": 3, "game": 3}
"""What the composed write looks up: rows that it updates, and rows that its checks are about."""
SCANS = {"Seq Scan", "Bitmap Heap Scan", "Hash Join", "Merge Join"}


def subject() -> RoundSubject:
    return RoundSubject(1, "EUR", "softswiss", "dice", "", False, "r", False, False, {}, "")


def everything() -> list[WritePart]:
    """Return every part that a batch can have."""
    batch = PostingBatch()
    batch.bookings.append((1, 1, 1, 1, 1, 1, -5, 0, 0, 0, 5, 0, 0, 0, ROUND, "b", None))
    batch.house[1, 1] = 5
    batch.keys.append((*KEYS[0], 1, 0, 1, 0, 1, 5))
    ends = datetime(2026, 12, 1, tzinfo=UTC)
    batch.new_holds.append((1, 1, 9, 5, ends))
    batch.holds[1, 1, 2] = OpenHold(2, 5, 1, 0, ends)
    batch.new_awards.append((1, 1, 8, 5))
    batch.awards |= {(1, 1, 8): OpenAward(8, 5, 0), (1, 1, 3): OpenAward(3, 1, 0)}
    batch.award_entries.append((1, 1, 4, 3, -1))
    batch.usage[1, 1, 1, 1, date(2026, 11, 1)] = 5
    batch.right_before_us = 10**15
    parts = posting.plan_post(7, 1, batch)
    rounds = [(NAMES[0], 1, subject(), RoundFacts()), (NAMES[1], 1, subject(), RoundFacts(stored=True))]
    parts += rounds_store.plan_rounds(rounds)
    parts += [rounds_store.plan_seen({NAMES[0]: (0, 0)}), posting.plan_standing([(1, 1, 1)]), posting.plan_new(KEYS)]
    parts.append(rounds_store.plan_games({(1, "softswiss", "dice"): GameFacts(enabled=True, version_id=1)}))
    assert {part.sql for part in parts if part.sql} == {
        *(posting._BOOK, posting._TELL_HOUSE, posting._COUNT, posting._KEEP_KEYS, posting._NEW_HOLDS),
        *(posting._RESOLVE_HOLDS, posting._NEW_AWARDS, posting._MOVE_AWARDS, posting._NEW_AWARD_ENTRIES),
        *(posting._ADD_USAGE, rounds_store._OPEN, rounds_store._CONTINUE),
    }
    return parts


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


async def explain(connection: asyncpg.Connection, statement: str) -> dict[str, Any]:
    """Return the generic plan of a prepared statement, as a lane's connection makes it."""
    await connection.execute(f"prepare looked_at as {statement}")
    count = await connection.fetchval(
        "select cardinality(parameter_types) from pg_prepared_statements where name = 'looked_at'"
    )
    values = ", ".join(["null"] * count)
    (row,) = await connection.fetch(f"explain (format json) execute looked_at({values})")
    await connection.execute("deallocate looked_at")
    return json.loads(row[0])[0]["Plan"]


async def look_up(connection: asyncpg.Connection, statement: str) -> dict[str, int]:
    """Return by table the fewest key columns that an index look-up of the statement goes by; nothing may scan."""
    found: dict[str, int] = {}
    for node in nodes(await explain(connection, statement)):
        assert node["Node Type"] not in SCANS, (statement, node)
        if "Index" in node["Node Type"]:
            table, columns = node["Relation Name"], str(node.get("Index Cond", "")).count(" = ")
            found[table] = min(found.get(table, 99), columns)
    return found


@asynccontextmanager
async def lane_of(database: PlaneDatabase) -> AsyncIterator[asyncpg.Connection]:
    """Return a connection as a lane has it."""
    connection = await connect_lane(database.app_url, "plans")
    try:
        signer = ContextSigner(database.context_keys)
        await connection.execute(SET_SESSION_CONTEXT, signer.sign([1], connection.get_server_pid()))
        yield connection
    finally:
        await connection.close()


async def grow(database: PlaneDatabase) -> None:
    admin = await asyncpg.connect(database.admin_url)
    await admin.execute(_GROW)
    await admin.close()


@pytest.mark.parametrize("grown", [False, True], ids=["empty", "grown"])
async def test_no_statement_of_a_lane_scans(cell_database: PlaneDatabase, *, grown: bool) -> None:
    await House(cell_database).open()
    if grown:
        await grow(cell_database)
    async with lane_of(cell_database) as connection:
        for name, (part, wanted) in READS.items():
            found = await look_up(connection, compose_reads(((part.sql, len(part.args)),)))
            assert set(found) == set(wanted), (name, found)
            assert not grown or all(found[table] >= columns for table, columns in wanted.items()), (name, found)
        for statement, wanted in ALONE.values():
            found = await look_up(connection, statement)
            assert not grown or all(found[table] >= columns for table, columns in wanted.items()), (statement, found)
        parts = [part for part, _ in READS.values()]
        together = await look_up(connection, compose_reads(tuple((part.sql, len(part.args)) for part in parts)))
        assert set(together) == {table for _, wanted in READS.values() for table in wanted}
        writes = tuple((part.sql, part.check, len(part.args)) for part in everything())
        written = await look_up(connection, compose_writes(writes))
        assert set(written) >= set(WRITTEN)
        assert not grown or all(written[table] >= columns for table, columns in WRITTEN.items()), written


async def count_scans(database: PlaneDatabase) -> dict[str, tuple[int, int]]:
    """Return (whole reads, look-ups by index) of each table so far."""
    admin = await asyncpg.connect(database.admin_url)
    try:
        rows = await admin.fetch("select relname, seq_scan, coalesce(idx_scan, 0) from pg_stat_user_tables")
    finally:
        await admin.close()
    return {row[0]: (row[1], row[2]) for row in rows}


STEPS = (
    Step("deposit", "d", 1000),
    Step("award", "a", 300),
    Step("bet", "b", 100),
    Step("bet", "b2", 1000),
    Step("win", "w", 500),
    Step("rollback", "r", 0, "b"),
    Step("hold", "h", 200),
    Step("capture", "c", 50, "h"),
    Step("void", "v", 0, "h"),
    Step("bet", "too much", 99_999),
)


@pytest.mark.parametrize("grown", [False, True], ids=["empty", "grown"])
async def test_what_triggers_and_keys_look_for_is_found_by_index_too(
    cell_database: PlaneDatabase, *, grown: bool
) -> None:
    house = House(cell_database)
    await house.open()
    if grown:
        await grow(cell_database)
    (seat,) = await house.add_players(1)
    before = await count_scans(cell_database)
    # Two lanes in turn: what one remembers, the other has moved, so that everything is read and refused as well.
    for number, step in enumerate(STEPS * 2):
        lane = Lane(house.make_poster(number % 2))
        name = "r" if step.op in {"bet", "win", "rollback"} else ""
        ask = Ask(seat.wallet_id, house.source_id, (step,), round=name, session=seat.session if name else "")
        request = make_request(
            ask,
            tenant_id=seat.tenant_id,
            account_id=house.revenue["EUR"],
            wallet_id=seat.wallet_id,
            source_id=house.source_id,
            player_id=seat.player_id,
        )
        async with running(lane):
            result = await lane.submit(request)
        assert (result.refusal is None) == (step.ref != "too much"), (step, result)
    await asyncio.sleep(0.1)
    after = await count_scans(cell_database)
    moved = ("wallet", "journal", "call_key", "hold", "award", "award_entry", "round", "game_session", "game")
    assert {table: after[table][0] - before[table][0] for table in moved} == dict.fromkeys(moved, 0)
    looked_up = {table for table in moved if after[table][1] > before[table][1]}
    assert looked_up >= {"wallet", "journal", "call_key", "hold", "award", "round", "game_session", "game"}


_GROW = """
set session_replication_role = replica;
insert into player (tenant_id, public_id, brand, language, currency)
select 1, uuidv7(), 'b', 'en', 'EUR' from generate_series(1, 20000);
insert into wallet (tenant_id, player_id, currency) select 1, player_id, 'EUR' from player on conflict do nothing;
insert into journal (tenant_id, wallet_id, version, batch_id, d_real, d_bonus, d_held, d_debt, real_after, bonus_after,
    held_after, debt_after, account_id, source_id, op, reference, round_id, reverses_version)
select 1, wallet_id, v, v, 1, 0, 0, 0, v, 0, 0, 0, 1, 1, 1, wallet_id || '/' || v, uuidv7(),
    case when v = 3 then 2 end
from wallet, generate_series(2, 4) v;
insert into call_key (tenant_id, source_id, key, wallet_id, content_hash, outcome, refusal, version, answered_minor)
select 1, 1, gen_random_uuid(), wallet_id, 0, 1, 0, version, 0 from journal;
insert into hold (tenant_id, wallet_id, opened_version, amount_minor, expires_at)
select 1, wallet_id, v, 5, now() from wallet, generate_series(2, 3) v;
insert into award (tenant_id, wallet_id, granted_version, granted_minor, remaining_minor)
select 1, wallet_id, v, 5, 5 from wallet, generate_series(2, 3) v;
insert into award_entry (tenant_id, wallet_id, version, granted_version, d_remaining)
select tenant_id, wallet_id, granted_version + 1, granted_version, 1 from award;
insert into award_terms (tenant_id, award_id, wallet_id, amount_minor, required_minor, expires_at, reference, reason)
select 1, award_id, wallet_id, 5, 5, now() + interval '1 day', award_id::text, ''
from (select wallet_id, uuidv7() as award_id from award) a;
insert into usage (tenant_id, wallet_id, kind, period, window_start, used_minor)
select 1, wallet_id, kind, 1, current_date, 5 from wallet, generate_series(1, 3) kind;
insert into player_limit (tenant_id, wallet_id, kind, period, amount_minor)
select 1, wallet_id, kind, 1, 5 from wallet, generate_series(1, 3) kind;
insert into game_session (tenant_id, session_id, player_id, wallet_id, game_id, state, expires_at)
select 1, uuidv7(), player_id, wallet_id, 1, 2, now() from wallet;
insert into game (tenant_id, plugin, code, title, provider, category, version_id)
select 1, 'softswiss', 'game-' || n, '', '', '', n from generate_series(1, 5000) n;
insert into round (tenant_id, round_id, wallet_id, first_version, last_version, bet_real, bet_bonus, win_minor,
    jackpot_minor, balance_before, balance_after, game_version_id, player_id, source_id, bets, mode, state, currency,
    reference, jackpot_pool)
select 1, round_id, wallet_id, version, version, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 'EUR', '', '' from journal
where round_id is not null;
analyze;
"""
