"""Compare the guards of a live database (functions, policies, triggers, grants, row security, keys) with the code."""

from __future__ import annotations

from sqlalchemy import Connection, Constraint, text

from pitboss.migrations.schema import GROUP_ROLES, Plane, clear_statement, load_metadata
from pitboss.migrations.upgrade import apply_context, apply_guards, run_exclusively, run_script

_NAMES = ", ".join(f"'{role}'" for role in GROUP_ROLES)

_QUERIES = {
    "function": """
        select p.oid::regprocedure::text, pg_get_functiondef(p.oid) || ' owner ' || pg_get_userbyid(p.proowner)
            || ' acl ' || coalesce((select string_agg(item::text, ',' order by item::text) from unnest(p.proacl) item), '')
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname in ('public', 'ctx') and p.prokind in ('f', 'p')""",
    "policy": """
        select tablename || '.' || policyname, concat_ws('|', permissive, roles, cmd, qual, with_check)
        from pg_policies where schemaname in ('public', 'ctx')""",
    "trigger": """
        select c.relname || '.' || t.tgname, pg_get_triggerdef(t.oid) || ' enabled ' || t.tgenabled::text
        from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('public', 'ctx') and not t.tgisinternal""",
    "relation": """
        select n.nspname || '.' || c.relname, concat_ws('|', c.relkind, pg_get_userbyid(c.relowner),
            c.relrowsecurity, c.relforcerowsecurity, c.reloptions,
            case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end,
            (select string_agg(item::text, ',' order by item::text) from unnest(c.relacl) item))
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('public', 'ctx') and c.relkind in ('r', 'v', 'm', 'S', 'p')
            and c.relname <> 'alembic_version'""",
    "column grant": """
        select c.relname || '.' || a.attname,
            (select string_agg(item::text, ',' order by item::text) from unnest(a.attacl) item) from pg_attribute a join pg_class c on c.oid = a.attrelid
        join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('public', 'ctx') and a.attacl is not null""",
    "role power": f"""
        select r.rolname, 'superuser, bypassrls, createrole, or the owner of what it uses' from pg_roles r
        where (r.rolsuper or r.rolbypassrls or r.rolcreaterole
                or exists (select from pg_auth_members m where m.member = r.oid
                    and m.roleid::regrole::text in ('pitboss_owner', 'pitboss_ctx')))
            and (r.rolname in ({_NAMES}) or exists (select from pg_auth_members m where m.member = r.oid
                and m.roleid::regrole::text in ({_NAMES})))""",
    "schema": """
        select nspname, concat_ws('|', pg_get_userbyid(nspowner),
            (select string_agg(item::text, ',' order by item::text) from unnest(nspacl) item)) from pg_namespace
        where nspname in ('public', 'ctx')""",
}


def read_catalog(connection: Connection) -> dict[str, str]:
    """Return every guard of the database as `kind name` → definition."""
    return {
        f"{kind} {name}": str(definition)
        for kind, query in _QUERIES.items()
        for name, definition in connection.execute(text(query))
    }


_RULES = """
    select t.relname || '.' || c.conname from pg_constraint c join pg_class t on t.oid = c.conrelid
    join pg_namespace n on n.oid = t.relnamespace
    where n.nspname = 'public' and c.contype in ('p', 'u', 'f', 'c') and c.convalidated
    union select t.relname || '.' || x.relname from pg_index i join pg_class t on t.oid = i.indrelid
    join pg_class x on x.oid = i.indexrelid join pg_namespace n on n.oid = t.relnamespace
    where n.nspname = 'public' and i.indisvalid"""


def _find_lost_rules(connection: Connection, plane: Plane) -> list[str]:
    """Return keys, checks and indexes of the tables that the database does not have, or does not hold to."""
    live = {str(name) for (name,) in connection.execute(text(_RULES))}
    preparer = connection.dialect.identifier_preparer
    wanted = {
        f"{table.name}.{name}"
        for table in load_metadata(plane).tables.values()
        for rule in (*table.constraints, *table.indexes)
        if (name := preparer.format_constraint(rule) if isinstance(rule, Constraint) else rule.name)
    }
    return [f"rule {name}: missing in the database" for name in wanted - live]


def _find_drift(connection: Connection, plane: Plane) -> list[str]:
    connection.execute(text("set local role pitboss_owner"))
    live = read_catalog(connection)
    run_script(connection, clear_statement())
    if plane == "cell":
        connection.execute(text("set local role pitboss_ctx"))
        apply_context(connection)
        connection.execute(text("set local role pitboss_owner"))
    apply_guards(connection, plane)
    wanted = read_catalog(connection)
    connection.rollback()
    findings = [f"{name}: not in the code" for name in live if name not in wanted]
    findings += [f"{name}: missing in the database" for name in wanted if name not in live]
    findings += [f"{name}: differs from the code" for name in live if wanted.get(name, live[name]) != live[name]]
    declared = {f"relation public.{table}" for table in load_metadata(plane).tables} | {
        "relation ctx.key",
        "relation ctx.frozen",
    }
    tables = {
        name for name, definition in live.items() if name.startswith("relation ") and definition[:2] in {"r|", "p|"}
    }
    findings += [f"{name}: not in the code" for name in tables - declared]
    findings += _find_lost_rules(connection, plane)
    findings += [f"{name}: has too much power" for name in live if name.startswith("role power ")]
    return sorted(findings)


async def find_drift(migrate_url: str, plane: Plane) -> list[str]:
    """Return what differs between the live guards and the code; the database is left as it was.

    The code's guards are written inside a transaction that is rolled back, so both sides come from the same
    server's own words. Tables are locked meanwhile; raises `TableBusy`.
    """
    return await run_exclusively(migrate_url, lambda connection: _find_drift(connection, plane))
