"""The plan trap: on grown tables every statement of a lane still finds its rows by whole keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
from tests.factories.databases import PlaneDatabase
from tests.factories.money import House

from pitboss.accounts import store as accounts_store
from pitboss.games.store import rounds as rounds_store
from pitboss.ledger.store import posting
from pitboss.limits import store as limits_store
from pitboss.platform.db import SET_SESSION_CONTEXT, ContextSigner, connect_lane

STATEMENTS = {
    "wallets": (posting._READ_WALLETS, {"wallet": 2}),
    "keys": (posting._READ_KEYS, {"call_key": 3, "journal": 3}),
    "holds": (posting._READ_HOLDS, {"call_key": 3, "hold": 3}),
    "awards": (posting._READ_AWARDS, {"award": 2}),
    "award entries": (posting._READ_AWARD_ENTRIES, {"award_entry": 3}),
    "usage": (posting._READ_USAGE, {"usage": 2}),
    "wallet numbers": (posting._WALLET_NUMBERS, {"wallet": 3}),
    "player numbers": (accounts_store._READ_NUMBERS, {"player": 2}),
    "limits": (limits_store._READ, {"player_limit": 2}),
    "sessions": (rounds_store._READ_SESSIONS, {"game_session": 2}),
    "games": (rounds_store._READ_GAMES, {"game": 3}),
    "rounds": (rounds_store._READ_ROUNDS, {"round": 3}),
    "standing": (f"select {posting._STILL_STANDS}", {"wallet": 2}),
    "new": (f"select {posting._STILL_NEW}", {"call_key": 3}),
    "seen": (f"select {rounds_store._STILL_AS_SEEN}", {"round": 3}),
    "played": (f"select {rounds_store._GAMES_STAND}", {"game": 3}),
    "continued": (rounds_store._CONTINUE, {"round": 3}),
    "resolved": (posting._RESOLVE_HOLDS, {"hold": 3}),
    "moved": (posting._MOVE_AWARDS, {"award": 3}),
}
"""Statement, and for each table how many key columns its index condition must have."""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


async def explain(connection: asyncpg.Connection, name: str, statement: str) -> dict[str, Any]:
    """Return the generic plan of a prepared statement, as a lane's connection makes it."""
    title = f"plan_{name.replace(' ', '_')}"
    await connection.execute(f"prepare {title} as {statement}")
    count = await connection.fetchval(
        "select cardinality(parameter_types) from pg_prepared_statements where name = $1", title
    )
    values = ", ".join(["null"] * count)
    (row,) = await connection.fetch(f"explain (format json) execute {title}({values})")
    return json.loads(row[0])[0]["Plan"]


async def test_no_statement_of_a_lane_scans(cell_database: PlaneDatabase) -> None:
    house = House(cell_database)
    await house.open()
    admin = await asyncpg.connect(cell_database.admin_url)
    await admin.execute(_GROW)
    await admin.close()
    connection = await connect_lane(house.database.app_url, "plans")
    try:
        signer = ContextSigner(house.database.context_keys)
        await connection.execute(SET_SESSION_CONTEXT, signer.sign([1], connection.get_server_pid()))
        for name, (statement, wanted) in STATEMENTS.items():
            plan = await explain(connection, name, statement)
            found: dict[str, int] = {}
            for node in nodes(plan):
                assert node["Node Type"] not in {"Seq Scan", "Bitmap Heap Scan", "Hash Join", "Merge Join"}, (
                    name,
                    node,
                )
                if node["Node Type"] != "ModifyTable" and (table := node.get("Relation Name")):
                    condition = str(node.get("Index Cond", ""))
                    columns = condition.count(" = ")
                    found[table] = min(found.get(table, 99), columns)
            assert {table: found.get(table, 0) >= columns for table, columns in wanted.items()} == dict.fromkeys(
                wanted, True
            ), (name, found)
    finally:
        await connection.close()


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
