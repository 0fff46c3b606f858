"""A tenant's rows in a cell, table by table: the statements are made from the catalog, names quoted by the server.

An administrator's login runs them. It takes a role of the cell for each table that it reads or fills, so that the wall
and the tenant's signed context hold it; only what no role may do, removing, it does itself, by the tenant's number.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg

from pitboss.relocation.contracts import AccountSum, PlayerSums, Shape, Sums

PAGE_ROWS: Final = 2000

_SHAPES: Final = """
select c.relname as name,
    array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        and a.attgenerated = '' order by a.attnum) as columns,
    array(select format_type(a.atttypid, a.atttypmod) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0
        and not a.attisdropped and a.attgenerated = '' order by a.attnum) as types,
    array(select a.attname::text from pg_index i cross join unnest(i.indkey::int2[]) with ordinality k(attnum, place)
        join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
        where i.indrelid = c.oid and i.indisprimary order by k.place) as key,
    array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attidentity <> '') as counted
from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and exists (select from pg_attribute a
    where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
order by c.relname
"""
_ROLE_FOR: Final = """
select r from unnest(array['pitboss_app', 'pitboss_worker', 'pitboss_seq', 'pitboss_relay']) with ordinality t(r, place)
where has_table_privilege(r, $1::regclass, $2) order by place limit 1
"""


async def read_shapes(connection: asyncpg.Connection) -> list[Shape]:
    """Return every table whose rows belong to tenants."""
    rows = await connection.fetch(_SHAPES)
    return [
        Shape(
            row["name"],
            dict(zip(row["columns"], row["types"], strict=True)),
            tuple(row["key"]),
            tuple(row["counted"]),
        )
        for row in rows
    ]


async def enter(connection: asyncpg.Connection, token: str) -> None:
    """Bind the tenant's signed context, and times as UTC, to the current transaction."""
    await connection.execute("select set_config('pitboss.ctx', $1, true), set_config('timezone', 'UTC', true)", token)


async def take_role(connection: asyncpg.Connection, table: str, privilege: str) -> None:
    """Become a role of the cell that may do `privilege` on a table, until the transaction ends or another is taken."""
    await connection.execute("reset role")
    role = await connection.fetchval(_ROLE_FOR, f"public.{quoted(table)}", privilege)
    if role is None:
        raise LookupError(f"no role of the cell may {privilege} on {table}")
    await connection.execute(f"set local role {quoted(role)}")


async def read_rows(
    connection: asyncpg.Connection, shape: Shape, columns: Sequence[str], tenant_id: int
) -> AsyncIterator[str]:
    """Yield each row as one line of JSON, in the order of the key."""
    await take_role(connection, shape.name, "select")
    listed, key = (", ".join(map(quoted, names)) for names in (columns, shape.key))
    statement = (
        f"select row_to_json(r)::text from (select {listed} from public.{quoted(shape.name)}"  # noqa: S608 - names out of the catalog
        f" where tenant_id = $1 order by {key}) r"
    )
    async for row in connection.cursor(statement, tenant_id, prefetch=PAGE_ROWS):
        yield row[0]


async def write_rows(
    connection: asyncpg.Connection,
    shape: Shape,
    columns: Sequence[str],
    constants: Mapping[str, int],
    lines: list[str],
) -> None:
    """Add rows out of their lines; numbers that a sequence would give are those of the lines."""
    listed = ", ".join(map(quoted, columns))
    named = ", ".join([listed, *map(quoted, constants)])
    values = ", ".join([listed, *(str(int(value)) for value in constants.values())])
    table = f"public.{quoted(shape.name)}"
    await connection.execute(
        f"insert into {table} ({named}) overriding system value"  # noqa: S608 - names out of the catalog
        f" select {values} from json_populate_recordset(null::{table}, $1::json)",
        f"[{','.join(lines)}]",
    )


async def lift_sequences(connection: asyncpg.Connection, shape: Shape, tenant_id: int) -> None:
    """Let sequences go on above the numbers that came in."""
    table = f"public.{quoted(shape.name)}"
    for column in shape.counted:
        await connection.execute(
            f"select setval(s, m) from (select pg_get_serial_sequence($1, $2) as s, max({quoted(column)}) as m"  # noqa: S608 - names out of the catalog
            f" from {table} where tenant_id = $3) t where m > coalesce((select last_value from pg_sequences"
            " where format('%I.%I', schemaname, sequencename) = s), 0)",
            table,
            column,
            tenant_id,
        )


async def lift_batches(connection: asyncpg.Connection, tenant_id: int, block: int) -> None:
    """Let numbers of batches go on above those that came in; `block` is how many one number of the sequence means."""
    await connection.execute(
        "select setval('batch_block_seq', n) from (select max(batch_id) / $2 + 1 as n from batch where tenant_id = $1) t"
        " where n > coalesce((select last_value from pg_sequences where sequencename = 'batch_block_seq'), 0)",
        tenant_id,
        block,
    )


async def delete_rows(connection: asyncpg.Connection, shapes: Sequence[Shape], tenant_id: int) -> int:
    """Remove everything of a tenant; guards that refuse it to everybody else are put aside for this transaction."""
    await connection.execute("reset role")
    await connection.execute("set local session_replication_role = replica")
    removed = 0
    for shape in shapes:
        done = await connection.execute(
            f"delete from public.{quoted(shape.name)} where tenant_id = $1",  # noqa: S608 - names out of the catalog
            tenant_id,
        )
        removed += int(done.split()[-1])
    return removed


async def count_rows(connection: asyncpg.Connection, shapes: Sequence[Shape], tenant_id: int) -> dict[str, int]:
    """Return how many rows of a tenant each table has that has any, whatever a context would show."""
    await connection.execute("reset role")
    counts: dict[str, int] = {}
    for shape in shapes:
        count = await connection.fetchval(
            f"select count(*) from public.{quoted(shape.name)} where tenant_id = $1",  # noqa: S608 - names out of the catalog
            tenant_id,
        )
        if count:
            counts[shape.name] = int(count)
    return counts


async def set_aside_guards(connection: asyncpg.Connection) -> None:
    """Let rows come in as they are: triggers made them what they are where they were written."""
    await connection.execute("reset role")
    await connection.execute("set local session_replication_role = replica")


async def begin_captures(connection: asyncpg.Connection, tenant_id: int) -> None:
    """Let events that came with the tenant, of no transaction of this server, not be held against its captures."""
    await connection.execute(
        "insert into capture_reconciliation (tenant_id, reconciled_before, reconciled_at, findings)"
        " values ($1, 1, now(), 0)",
        tenant_id,
    )


_PLAYERS: Final = """
select currency, count(*) as wallets, sum(real_minor)::bigint as real_minor, sum(bonus_minor)::bigint as bonus_minor,
    sum(held_minor)::bigint as held_minor, sum(debt_minor)::bigint as debt_minor
from wallet where tenant_id = $1 group by currency order by currency
"""
_HOUSE: Final = """
select a.account_id, a.kind, a.currency, a.provider, (coalesce(b.folded_minor, 0)
    + coalesce((select sum(d.delta_minor) from house_delta d
        where d.tenant_id = $1 and d.account_id = a.account_id), 0))::bigint as balance_minor
from house_account a left join house_balance b on b.tenant_id = $1 and b.account_id = a.account_id
where a.tenant_id = $1 order by a.account_id
"""


async def read_sums(connection: asyncpg.Connection, tenant_id: int) -> Sums:
    """Return the sums of a tenant's ledger."""
    await take_role(connection, "house_balance", "select")
    players = await connection.fetch(_PLAYERS, tenant_id)
    house = await connection.fetch(_HOUSE, tenant_id)
    return Sums(
        players={row["currency"]: PlayerSums(**{k: v for k, v in row.items() if k != "currency"}) for row in players},
        house=tuple(AccountSum(**row) for row in house),
    )


async def freeze(connection: asyncpg.Connection, tenant_id: int) -> datetime:
    """Let nobody read or write the tenant's rows from now on; return the moment by the server's clock."""
    await connection.execute("insert into ctx.frozen (tenant_id) values ($1) on conflict do nothing", tenant_id)
    return await connection.fetchval("select clock_timestamp()")


async def thaw(connection: asyncpg.Connection, tenant_id: int) -> None:
    """Let the tenant's rows be reached again."""
    await connection.execute("delete from ctx.frozen where tenant_id = $1", tenant_id)


async def list_older(connection: asyncpg.Connection, moment: datetime) -> list[str]:
    """Return who in this database is in a transaction that began before `moment`."""
    rows: list[Any] = await connection.fetch(
        "select format('%s (%s)', pid, application_name) as who from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
        " and xact_start <= $1",
        moment,
    )
    return [row["who"] for row in rows]


def quoted(name: str) -> str:
    """Return a name as an identifier."""
    return '"' + name.replace('"', '""') + '"'
