"""Contexts that must open nothing, and powers that no login has."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterator, Sequence

import asyncpg
from tests.factories.databases import PlaneDatabase
from tests.isolation.probes import LOGINS, Arena, Ending, Report, run_statement
from tests.isolation.seeding import NOBODY, A, B, make_row

from pitboss.platform.db import ContextSigner, parse_url
from pitboss.platform.settings import ContextKey


def sign(key: ContextKey, tenants: str, pid: int | str, expiry: int | str, key_id: str = "") -> str:
    """Return a context made by hand, so that its parts can be wrong one at a time."""
    message = f"{key_id or key.key_id}.{tenants}.{pid}.{expiry}"
    return f"{message}.{hmac.digest(key.secret, message.encode(), 'sha256').hex()}"


def false_contexts(key: ContextKey, pid: int, other_pid: int) -> Iterator[tuple[str, str]]:
    """Yield a name and a context for each way in which one can be false."""
    soon = int(time.time()) + 300
    good = sign(key, str(A), pid, soon)
    message, _, mac = good.rpartition(".")
    guessed = ContextKey(key.key_id, b"\0" * 32)
    yield "missing", ""
    yield "expired", sign(key, f"{B}", pid, int(time.time()) - 1)
    yield "of long ago", sign(key, f"{B}", pid, 0)
    yield "of another session", sign(key, f"{B}", other_pid, soon)
    yield "of no session", sign(key, f"{B}", "", soon)
    yield "of an unknown key", sign(key, f"{B}", pid, soon, "k999")
    yield "of a guessed key", sign(guessed, f"{B}", pid, soon)
    yield "of another tenant under a good mac", f"{key.key_id}.{B}.{pid}.{soon}.{mac}"
    yield "with a tenant added", f"{key.key_id}.{A},{B}.{pid}.{soon}.{mac}"
    yield "with a later end", f"{key.key_id}.{A}.{pid}.{soon + 9}.{mac}"
    yield "without mac", f"{message}."
    yield "with half a mac", f"{message}.{mac[:32]}"
    yield "with an upper-case mac", f"{message}.{mac.upper()}"
    yield "with more behind", f"{good}.{B}"
    yield "with a dot before", f".{good}"
    yield "with a mac of nothing", f"{key.key_id}.{B}.{pid}.{soon}.{'0' * 64}"
    yield "of no tenant", sign(key, "", pid, soon)
    yield "of another cell's tenant", sign(key, "999", pid, soon)
    yield "with a huge expiry", f"{key.key_id}.{B}.{pid}.{'9' * 30}.{mac}"
    yield "with a negative expiry", sign(key, f"{B}", pid, "-1")
    yield "that is a bare tenant", f"{B}"
    yield "with quotes", f"{key.key_id}'.{B}' or '1'='1.{pid}.{soon}.{mac}"
    yield "with a statement", f"'; set role pitboss_owner; select '{B}"
    yield "in other letters", f"{key.key_id}.２.{pid}.{soon}.{mac}"
    yield "with unicode", "𝕜1.2\u202e.3.4.5"
    yield "of a megabyte", "9" * 2**20
    yield "of a megabyte of dots", "." * 2**20
    yield "of a megabyte of tenants", f"{key.key_id}.{','.join(['2'] * 2**19)}.{pid}.{soon}.{mac}"


async def probe_contexts(arena: Arena, report: Report) -> None:
    """Read every relation as every login under every false context: no row of anybody."""
    key = arena.database.context_keys[0]
    for login in LOGINS:
        readable = await list_readable(arena, login)
        async with arena.connect(login) as connection, arena.connect(login) as other:
            pids = connection.get_server_pid(), other.get_server_pid()
            # A context taken from the other session: it is good there and nowhere else.
            taken = ("taken from a neighbour", arena.signer.sign([B], pids[1]))
            for name, context in (*false_contexts(key, *pids), taken):
                # A session keeps what is set for longer than a transaction; a huge one is tried once.
                for scope in ("true", "false") if len(context) < 1000 else ("true",):
                    what = f"{login} context {name} ({scope})"
                    await _look_under(connection, report, what, readable, (context, scope))
            report.count(
                f"{login} sees", "" if await _count_rows(connection, readable) == dict.fromkeys(readable, 0) else "rows"
            )


async def probe_foreign_keys(arena: Arena, keys: Sequence[ContextKey], report: Report) -> None:
    """Read every relation as every login under contexts that another cell signs: no row of anybody."""
    signer = ContextSigner(tuple(keys))
    for login in LOGINS:
        readable = await list_readable(arena, login)
        async with arena.connect(login) as connection:
            for tenants in ([A], [B], [A, B]):
                context = signer.sign(tenants, connection.get_server_pid())
                await _look_under(connection, report, f"{login} context of another cell", readable, (context, "true"))


async def list_readable(arena: Arena, login: str) -> list[str]:
    """Return the relations of tenants that a login may read; the others refuse it before any wall."""
    role = await arena.admin.fetchval("select $1::regrole::text", login)
    return [
        relation.name
        for relation in arena.relations
        if relation.has_tenant
        and await arena.admin.fetchval("select has_table_privilege($1, $2, 'select')", role, relation.name)
    ]


async def _count_rows(connection: asyncpg.Connection, relations: list[str]) -> dict[str, int]:
    counts = " union all ".join(f"select '{name}' as name, count(*) from {name}" for name in relations)
    return {row["name"]: row["count"] for row in await connection.fetch(counts)}


async def _look_under(
    connection: asyncpg.Connection, report: Report, what: str, relations: list[str], setting: tuple[str, str]
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(f"select set_config('pitboss.ctx', $1, {setting[1]})", setting[0])
    try:
        counted = await _count_rows(connection, relations)
    except asyncpg.DataError:
        counted = dict.fromkeys(relations, 0)  # an error shows no row either
    for name, rows in counted.items():
        report.count(f"{what} {name}", f"shows {rows} rows" if rows else "")
    await transaction.rollback()


async def probe_lifetime(arena: Arena, report: Report) -> None:
    """A context ends with its transaction, and a good one opens its own tenants and no more."""
    for login in LOGINS:
        async with arena.connect(login) as connection:
            look = f"select count(*) from {await _pick_readable(arena, login)}"
            async with connection.transaction():
                await arena.enter(connection, A)
            rows = await connection.fetchval(look)
            report.count(f"{login} context after its transaction", f"{rows} rows" if rows else "")
            async with connection.transaction():
                await arena.enter(connection, A, B)
                rows = await connection.fetchval(look)
            report.count(f"{login} context of two", "" if rows == 2 else f"{rows} rows of 2")
            retired = ContextSigner([ContextKey("old1", b"r" * 32)])
            await _expire_key(arena, retired, connection, report, login)


async def _pick_readable(arena: Arena, login: str) -> str:
    """Return a relation that a login may read and in which each tenant has one row."""
    readable = await list_readable(arena, login)
    return next(name for name in ("outbox_job", "audit_event") if name in readable)


async def _expire_key(
    arena: Arena, retired: ContextSigner, connection: asyncpg.Connection, report: Report, login: str
) -> None:
    """A key opens while it is valid and nothing from then on."""
    block = (b"r" * 32).ljust(64, b"\0")
    pads = bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)
    insert = (
        "insert into ctx.key (key_id, inner_pad, outer_pad, valid_until)"
        " values ('old1', $1, $2, now() + interval '1 hour')"
    )
    await arena.admin.execute(insert, *pads)
    for change, wanted in (
        ("select 1", 1),
        ("update ctx.key set valid_until = now() where key_id = 'old1'", 0),
        ("delete from ctx.key where key_id = 'old1'", 0),
    ):
        await arena.admin.execute(change)
        async with connection.transaction():
            context = retired.sign([A], connection.get_server_pid())
            await connection.execute("select set_config('pitboss.ctx', $1, true)", context)
            rows = await connection.fetchval(f"select count(*) from {await _pick_readable(arena, login)}")
        report.count(f"{login} context of a retired key", "" if rows == wanted else f"{rows} rows, not {wanted}")


FORBIDDEN = (
    "select * from ctx.key",
    "select count(*) from ctx.key",
    "insert into ctx.key values ('k9', decode(repeat('00', 64), 'hex'), decode(repeat('00', 64), 'hex'), 'infinity')",
    "update ctx.key set valid_until = 'infinity'",
    "delete from ctx.key",
    "copy ctx.key to stdout",
    "set role pitboss_owner",
    "set role pitboss_ctx",
    "set role pitboss_admin",
    "set role pitboss_platform",
    "set session authorization pitboss_owner",
    "set session_replication_role = replica",
    "alter role current_user bypassrls",
    "grant pitboss_owner to current_user",
    "create role pitboss_x",
    "create database pitboss_x",
    "create schema x",
    "create table x (y int)",
    "create table ctx.x (y int)",
    "create temp table x (y int)",
    "create function pg_temp.f() returns int language sql as 'select 1'",
    "create function f() returns int language sql as 'select 1'",
    "create or replace function ctx.tenants() returns bigint[] language sql as 'select array[2::bigint]'",
    "alter function ctx.tenants() security invoker",
    "drop function ctx.tenants()",
    "create extension dblink",
    "create extension postgres_fdw",
    "alter system set fsync = off",
    "alter database postgres set row_security = off",
    "select pg_read_file('/etc/passwd')",
    "select pg_ls_dir('.')",
    "select lo_import('/etc/passwd')",
    "select pg_read_binary_file('pg_hba.conf')",
    "select rolpassword from pg_authid",
    "select stavalues1::text from pg_statistic",
    "select pg_reload_conf()",
    "copy outbox_job to program 'cat'",
    "copy outbox_job to '/tmp/x'",
    "select * from pg_ls_waldir()",
    "select pg_create_logical_replication_slot('x', 'pgoutput')",
    "select pg_log_backend_memory_contexts(pg_backend_pid())",
    "lock table ctx.key in access share mode",
)
TABLE_FORBIDDEN = (
    "alter table {} disable row level security",
    "alter table {} no force row level security",
    "alter table {} disable trigger all",
    "alter table {} owner to current_user",
    "drop policy tenant_wall on {}",
    "create policy mine on {} using (true)",
    "alter policy tenant_wall on {} using (true)",
    "create rule r as on select to {} do also select 1",
    "create trigger t before insert on {} for each row execute function suppress_redundant_updates_trigger()",
    "create index on {} (tenant_id)",
    "drop table {}",
    "comment on table {} is 'x'",
    "truncate {}",
)


async def probe_powers(arena: Arena, report: Report) -> None:
    """Try what only owners and superusers may; each must be refused, with the tenant's context and without."""
    for login in LOGINS:
        async with arena.connect(login) as connection:
            statements = [*FORBIDDEN]
            statements += [
                each.format(table.name) for each in TABLE_FORBIDDEN for table in arena.relations if table.kind == "r"
            ]
            for statement in statements:
                transaction = connection.transaction()
                await transaction.start()
                await arena.enter(connection, A)
                ending = await run_statement(connection, statement, ())
                await transaction.rollback()
                report.count(f"{login} {statement[:60]}", "" if ending.error else "was allowed")
            await _probe_grants(arena, connection, report, login)
            await _probe_settings(arena, connection, report, login)


async def _probe_grants(arena: Arena, connection: asyncpg.Connection, report: Report, login: str) -> None:
    """Handing on one's rights is refused with a warning only; what counts is that nothing was handed on."""
    held = "select coalesce(relacl::text, '') from pg_class where oid = $1::text::regclass"
    for relation in arena.relations:
        transaction = connection.transaction()
        await transaction.start()
        before = await connection.fetchval(held, relation.name)
        await run_statement(connection, f"grant all on {relation.name} to public", ())
        after = await connection.fetchval(held, relation.name)
        await transaction.rollback()
        report.count(f"{login} grant on {relation.name}", "" if before == after else after)


async def _probe_settings(arena: Arena, connection: asyncpg.Connection, report: Report, login: str) -> None:
    """What a session may set about itself opens nothing."""
    for setting in (
        "row_security = off",
        "search_path = pg_temp, public",
        "pitboss.ctx = '2'",
        "debug_parallel_query = on",
        "plan_cache_mode = force_generic_plan",
        "enable_seqscan = off",
        "default_transaction_isolation = 'serializable'",
    ):
        for relation in arena.relations:
            if not relation.has_tenant:
                continue
            transaction = connection.transaction()
            await transaction.start()
            if not setting.startswith("pitboss.ctx"):
                await arena.enter(connection, A)
            await run_statement(connection, f"set local {setting}", ())
            ending = await run_statement(connection, f"select * from {relation.name}", ())
            await transaction.rollback()
            found = arena.find_marks(ending.raw)
            report.count(f"{login} set {setting} {relation.name}", f"shows {found[0]}" if found else "")
    for view in ("pg_stats", "pg_stats_ext", "pg_stat_activity", "pg_policies", "pg_prepared_statements", "pg_locks"):
        ending = await run_statement(connection, f"select t::text from {view} t", ())
        found = arena.find_marks(ending.raw)
        report.count(f"{login} {view}", f"shows {found[0]}" if found else "")


async def probe_sequences(arena: Arena, report: Report, sequences: list[str]) -> None:
    """A sequence gives numbers to who may insert; nobody winds it back or looks where others have brought it."""
    for login in LOGINS:
        async with arena.connect(login) as connection:
            for sequence in sequences:
                for statement in (
                    f"select setval('{sequence}', 1)",
                    f"select last_value from {sequence}",
                    f"alter sequence {sequence} restart",
                    f"drop sequence {sequence}",
                ):
                    ending = await run_statement(connection, statement, ())
                    report.count(f"{login} {statement}", "" if ending.error else "was allowed")


APPEND_ONLY = (
    "audit_checkpoint",
    "audit_cosignature",
    "audit_entry",
    "audit_event",
    "audit_tile",
    "award_entry",
    "batch",
    "call_key",
    "directory_snapshot",
    "journal",
)


async def probe_append_only(arena: Arena, report: Report) -> None:
    """What was written stays: no login may change it, and not even the owner can."""
    for table in APPEND_ONLY:
        statements = (
            f"update {table} set {_last_column(arena, table)} = null",
            f"delete from {table}",
            f"truncate {table}",
        )
        for statement in statements:
            for login in LOGINS:
                async with arena.connect(login) as connection, connection.transaction():
                    await arena.enter(connection, A)
                    ending = await run_statement(connection, statement, ())
                refused = ending.error.startswith("42501")
                report.count(f"{login} {statement}", "" if refused else f"ended with {ending.error or 'success'}")
            ending = await run_statement(arena.admin, statement, ())
            refused = ending.error.startswith("23001")
            report.count(f"owner {statement}", "" if refused else f"ended with {ending.error or 'success'}")


def _last_column(arena: Arena, table: str) -> str:
    relation = next(found for found in arena.relations if found.name == table)
    return relation.writable[-1].name


async def probe_owner(arena: Arena, report: Report) -> None:
    """The owner of the tables is held by the wall too: without a context it sees nothing."""
    async with arena.connect("pitboss_migrate") as connection:
        for relation in arena.relations:
            if relation.kind != "r" or not relation.has_tenant:
                continue
            async with connection.transaction():
                await connection.execute("set local role pitboss_owner")
                rows = await connection.fetchval(f"select count(*) from {relation.name}")
            report.count(f"owner without context {relation.name}", f"shows {rows} rows" if rows else "")


CHANGE_TERMS = "select ledger_change_terms($1, $2, 2::smallint, true, true, 'infinity')"


async def probe_terms(arena: Arena, report: Report) -> None:
    """The function that changes what decisions on a wallet depend on sees no further than its caller."""
    wallet = next(relation for relation in arena.relations if relation.name == "wallet")
    mine, theirs, missing = (make_row(tenant, wallet)["wallet_id"] for tenant in (A, B, NOBODY))
    before = await arena.fingerprint_b()
    for login in LOGINS:
        async with arena.connect(login) as connection:
            for tenants in ((A,), ()):
                endings: list[Ending] = []
                for target in ((B, theirs), (NOBODY, missing)):
                    async with connection.transaction():
                        if tenants:
                            await arena.enter(connection, *tenants)
                        endings.append(await run_statement(connection, CHANGE_TERMS, target))
                name = f"{login} changes terms as {tenants}"
                report.count(name, "" if endings[0].error else "was allowed")
                alike = endings[0].like() == endings[1].like()
                report.count(name, "" if alike else "something is told")
            transaction = connection.transaction()
            await transaction.start()
            await arena.enter(connection, A)
            ending = await run_statement(connection, CHANGE_TERMS, (A, mine))
            await transaction.rollback()
            allowed = login in {"pitboss_app", "pitboss_worker"}
            report.count(
                f"{login} changes its own terms", "" if allowed == (not ending.error) else ending.error or "may"
            )
    after = await arena.fingerprint_b()
    for table, rows in before.items():
        report.count(f"terms in {table}", "" if rows == after[table] else "were changed by the other tenant")


async def probe_neighbours(urls: dict[str, str], other: PlaneDatabase, report: Report) -> None:
    """A login of one database is refused by another, whatever plane it is of."""
    for login, url in urls.items():
        address = parse_url(url).set(database=other.name).render_as_string(hide_password=False)
        try:
            connection = await asyncpg.connect(address)
        except asyncpg.InsufficientPrivilegeError:
            report.count(f"{login} to {other.plane}")
        else:
            await connection.close()
            report.count(f"{login} to {other.plane}", "was let in")
