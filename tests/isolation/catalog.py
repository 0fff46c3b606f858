"""What the database says about itself, and what is wrong with it as far as tenants are concerned."""

from __future__ import annotations

import re
from dataclasses import dataclass

import asyncpg

WALL = "((tenant_id + 0) = ANY (( SELECT ctx.tenants() AS tenants)::bigint[]))"
"""The only shape of the restrictive policy, in the server's own words."""
DEFINERS = {
    "capture_row()": "pitboss_owner",
    "ctx.tenants()": "pitboss_ctx",
    "ledger_change_terms(bigint,bigint,smallint,boolean,boolean,timestamp with time zone)": "pitboss_owner",
    "ledger_move_wallets()": "pitboss_owner",
    "retention_destroy(bigint,uuid,integer,bigint)": "pitboss_owner",
}
"""Functions that run with their owner's rights, and that owner. A new one needs a reason beside it.

`capture_row()` is a trigger: it keeps what was changed where no login may write; its owner is held by the wall too.
`ctx.tenants()` reads the keys of the context, which no login may read. `ledger_move_wallets()` moves balances,
which no login may update; it is a trigger, its owner is held by the wall, and so by the caller's context.
`ledger_change_terms()` sets the marks of a wallet together with the journal's row that tells lanes of it.
`retention_destroy()` deletes what an approved plan says, of tables whose rows no login may delete.
"""
OWNERS_POLICIES = {
    f"{table}.access_owner"
    for table in (
        "capture",
        "exclusion",
        "game_session",
        "journal",
        "legal_hold",
        "play_time_limit",
        "player",
        "retention_run",
        "retention_step",
        "round",
        "wallet",
    )
}
"""Permissive policies for the tables' owner: what `ledger_move_wallets()` updates, `capture_row()` inserts, and
`retention_destroy()` reads and deletes."""
POWERLESS = (
    "pitboss_owner",
    "pitboss_ctx",
    "pitboss_app",
    "pitboss_worker",
    "pitboss_relay",
    "pitboss_seq",
    "pitboss_platform",
)


@dataclass(frozen=True)
class Column:
    """One column; `identity` and `generated` are '' where they do not apply."""

    name: str
    type: str
    nullable: bool
    identity: str
    generated: str


@dataclass(frozen=True)
class Reference:
    """A foreign key: columns here, columns there."""

    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]


@dataclass(frozen=True)
class Relation:
    """A table or view with what the probes need to know."""

    name: str
    kind: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    uniques: tuple[tuple[str, ...], ...]
    references: tuple[Reference, ...]

    @property
    def has_tenant(self) -> bool:
        return any(column.name == "tenant_id" for column in self.columns)

    @property
    def writable(self) -> list[Column]:
        """Columns that an insert may name."""
        return [column for column in self.columns if not column.generated]

    def columns_of_type(self, *types: str) -> list[str]:
        return [column.name for column in self.columns if column.type in types]


_RELATIONS = """
    select c.oid::int as oid, c.relname, c.relkind::text as kind from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'public' and c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relname <> 'alembic_version'
    order by c.relname"""
_COLUMNS = """
    select attrelid::int as oid, attname, format_type(atttypid, atttypmod) as type, not attnotnull as nullable,
        attidentity::text as identity, attgenerated::text as generated
    from pg_attribute where attnum > 0 and not attisdropped and attrelid::int = any($1) order by attrelid, attnum"""
_INDEXES = """
    select i.indrelid::int as oid, i.indisprimary, array(select a.attname::text
        from unnest(i.indkey::int2[]) with ordinality k(attnum, place)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum order by k.place) as columns
    from pg_index i where i.indisunique and i.indrelid::int = any($1) order by i.indexrelid"""
_REFERENCES = """
    select conrelid::int as oid, confrelid::regclass::text as target,
        array(select a.attname::text from unnest(conkey) with ordinality k(attnum, place)
            join pg_attribute a on a.attrelid = conrelid and a.attnum = k.attnum order by k.place) as columns,
        array(select a.attname::text from unnest(confkey) with ordinality k(attnum, place)
            join pg_attribute a on a.attrelid = confrelid and a.attnum = k.attnum order by k.place) as target_columns
    from pg_constraint where contype = 'f' and conrelid::int = any($1) and conparentid = 0"""


async def read_relations(connection: asyncpg.Connection) -> list[Relation]:
    """Return every table and view of the application."""
    found = await connection.fetch(_RELATIONS)
    oids = [row["oid"] for row in found]
    columns = await connection.fetch(_COLUMNS, oids)
    indexes = await connection.fetch(_INDEXES, oids)
    references = await connection.fetch(_REFERENCES, oids)
    return [
        Relation(
            name=row["relname"],
            kind=row["kind"],
            columns=tuple(
                Column(c["attname"], c["type"], c["nullable"], c["identity"], c["generated"])
                for c in columns
                if c["oid"] == row["oid"]
            ),
            key=next((tuple(i["columns"]) for i in indexes if i["oid"] == row["oid"] and i["indisprimary"]), ()),
            uniques=tuple(tuple(i["columns"]) for i in indexes if i["oid"] == row["oid"] and not i["indisprimary"]),
            references=tuple(
                Reference(tuple(r["columns"]), r["target"], tuple(r["target_columns"]))
                for r in references
                if r["oid"] == row["oid"]
            ),
        )
        for row in found
    ]


async def read_sequences(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch(
        "select relname from pg_class where relkind = 'S' and relnamespace = 'public'::regnamespace order by relname"
    )
    return [row["relname"] for row in rows]


_TABLE_FAULTS = {
    "row security is not enabled and forced": """
        select relname from pg_class where relname = any($1) and not (relrowsecurity and relforcerowsecurity)""",
    "there is not exactly one wall": """
        select t.name from unnest($1::text[]) t(name) left join pg_policies p
            on p.tablename = t.name and p.schemaname = 'public' and p.permissive = 'RESTRICTIVE'
        group by t.name
        having count(p.policyname) <> 1 or bool_and(p.policyname = 'tenant_wall' and p.cmd = 'ALL'
            and p.roles = '{public}' and p.qual = $2 and p.with_check = $2) is not true""",
    "a permissive policy is for other roles than one of ours": """
        select tablename || '.' || policyname from pg_policies where tablename = any($1) and permissive = 'PERMISSIVE'
            and $2 <> '' and not (cardinality(roles) = 1
            and roles[1] in ('pitboss_app', 'pitboss_worker', 'pitboss_relay', 'pitboss_seq', 'pitboss_platform'))""",
    "tenant_id may be missing": """
        select c.relname from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
        where c.relname = any($1) and c.relkind = 'r' and $2 <> ''
            and not (coalesce(a.attnotnull, false) and a.atttypid = 'bigint'::regtype)""",
}
_FAULTS = {
    "a view runs with its owner's rights": """
        select relname from pg_class where relkind = 'v' and relnamespace = 'public'::regnamespace
            and not coalesce('security_invoker=true' = any(reloptions), false)""",
    "a relation of a kind that no policy covers": """
        select relname from pg_class where relkind in ('m', 'f', 'p') and relnamespace = 'public'::regnamespace""",
    "a child table inherits rows": "select inhrelid::regclass::text from pg_inherits i join pg_class c on c.oid = i.inhrelid"
    " where c.relkind = 'r'",
    "granted to everybody": """
        select c.oid::regclass::text from pg_class c, aclexplode(c.relacl) g
            where g.grantee = 0 and c.relnamespace in ('public'::regnamespace, 'ctx'::regnamespace)
        union all select p.oid::regprocedure::text from pg_proc p, aclexplode(p.proacl) g
            where g.grantee = 0 and p.pronamespace = 'ctx'::regnamespace
        union all select n.nspname from pg_namespace n, aclexplode(n.nspacl) g
            where g.grantee = 0 and n.nspname in ('public', 'ctx')
        union all select d.datname from pg_database d, aclexplode(d.datacl) g
            where g.grantee = 0 and d.datname = current_database()
        union all select 'default acl of ' || current_database() from pg_database d
            where d.datname = current_database() and d.datacl is null""",
    "a login may make objects": """
        select r.rolname || ' in ' || n.nspname from pg_roles r, pg_namespace n
        where n.nspname in ('public', 'ctx') and r.rolcanlogin and r.rolname like 'pitboss\\_%' and not r.rolsuper
            and r.rolname not like 'pitboss\\_migrate%' and has_schema_privilege(r.oid, n.oid, 'create')
        union all select r.rolname || ' temporarily' from pg_roles r
        where r.rolcanlogin and r.rolname like 'pitboss\\_%' and not r.rolsuper and r.rolname not like 'pitboss\\_migrate%'
            and has_database_privilege(r.oid, current_database(), 'temp, create')""",
    "the context's keys can be reached": """
        select r.rolname from pg_roles r where r.rolname like 'pitboss\\_%' and not r.rolsuper and r.rolname <> 'pitboss_ctx'
            and r.rolname not like 'pitboss\\_migrate%'
            and has_table_privilege(r.oid, 'ctx.key', 'select, insert, update, delete, truncate, references, trigger')""",
    "an extension is installed": "select extname from pg_extension where extname <> 'plpgsql'",
    "a function is an untrusted language's": """
        select p.oid::regprocedure::text from pg_proc p join pg_language l on l.oid = p.prolang
        where p.pronamespace in ('public'::regnamespace, 'ctx'::regnamespace) and l.lanname not in ('sql', 'plpgsql')""",
    "an object belongs to a login or a superuser": """
        select c.oid::regclass::text from pg_class c join pg_roles r on r.oid = c.relowner
        where c.relnamespace in ('public'::regnamespace, 'ctx'::regnamespace) and (r.rolsuper or r.rolcanlogin)
        union all select p.oid::regprocedure::text from pg_proc p join pg_roles r on r.oid = p.proowner
        where p.pronamespace in ('public'::regnamespace, 'ctx'::regnamespace) and (r.rolsuper or r.rolcanlogin)""",
    "the context is evaluated by parallel workers, whose process id is another": """
        select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'ctx'::regnamespace
            and p.proparallel = 's'""",
}


async def find_faults(connection: asyncpg.Connection, declared: dict[str, bool]) -> list[str]:
    """Return what the catalog alone shows to be wrong.

    `declared` names every table of the code and whether its rows belong to tenants.
    """
    relations = await read_relations(connection)
    tables = [relation for relation in relations if relation.kind in {"r", "p"}]
    faults = [f"{table.name}: no code declares this table" for table in tables if table.name not in declared]
    walled = [table.name for table in tables if declared.get(table.name, True)]
    for fault, query in _TABLE_FAULTS.items():
        wall = WALL if "$2" in query else None
        arguments = [walled] if wall is None else [walled, wall]
        rows = [row[0] for row in await connection.fetch(query, *arguments)]
        faults += [f"{name}: {fault}" for name in rows if name not in OWNERS_POLICIES]
    for fault, query in _FAULTS.items():
        faults += [f"{row[0]}: {fault}" for row in await connection.fetch(query)]
    for table in tables:
        if table.name in walled:
            faults += _find_key_faults(table)
    return faults + await _find_power(connection) + await _find_definers(connection)


def _find_key_faults(table: Relation) -> list[str]:
    faults = [
        f"{table.name}: key ({', '.join(key)}) does not begin with tenant_id"
        for key in (table.key, *table.uniques)
        if key[:1] != ("tenant_id",)
    ]
    faults += [
        f"{table.name}: foreign key to {reference.target} does not begin with tenant_id"
        for reference in table.references
        if (reference.columns[0], reference.target_columns[0]) != ("tenant_id", "tenant_id")
    ]
    return faults


async def _find_power(connection: asyncpg.Connection) -> list[str]:
    """Return roles that have more power than any of ours needs, and who is a member of what."""
    faults: list[str] = []
    roles = await connection.fetch(
        "select rolname, rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication as strong, rolcanlogin,"
        " array(select pg_get_userbyid(m.roleid)::text from pg_auth_members m where m.member = r.oid order by 1) as groups"
        " from pg_roles r where rolname like 'pitboss\\_%' and rolname <> 'pitboss_admin'"
    )
    for role in roles:
        name, groups = role["rolname"], role["groups"]
        if role["strong"]:
            faults.append(f"{name}: has an attribute that row security does not hold")
        if name in POWERLESS and (role["rolcanlogin"] or groups):
            faults.append(f"{name}: a group role that signs in or is a member of {groups}")
        deploys = re.match("pitboss_migrate", name) is not None
        if role["rolcanlogin"] and len(groups) != (2 if deploys else 1):
            faults.append(f"{name}: member of {groups}")
        if not deploys and {"pitboss_owner", "pitboss_ctx"} & set(groups):
            faults.append(f"{name}: may act as {groups}")
    return faults


async def _find_definers(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch(
        "select p.pronamespace::regnamespace || '.' || p.oid::regprocedure::text as raw, p.oid::regprocedure::text as name,"
        " pg_get_userbyid(p.proowner)::text as owner, coalesce(p.proconfig, '{}') as settings"
        " from pg_proc p where p.prosecdef and p.pronamespace not in ('pg_catalog'::regnamespace,"
        " 'information_schema'::regnamespace)"
    )
    faults: list[str] = []
    for row in rows:
        if DEFINERS.get(row["name"]) != row["owner"]:
            faults.append(f"{row['name']}: runs with the rights of {row['owner']} and is on no list")
        if not any(setting.startswith("search_path=pg_catalog") for setting in row["settings"]):
            faults.append(f"{row['name']}: runs with its owner's rights and the caller's search_path")
    return faults
