"""What the code says the schema is: every table, and the policies, grants, functions and triggers beside it."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from sqlalchemy import Table

import pitboss
from pitboss.platform.catalog import Plane, load_metadata

GROUP_ROLES = ("pitboss_app", "pitboss_worker", "pitboss_relay", "pitboss_seq", "pitboss_platform")
"""NOLOGIN roles that grants and policies name; each database's logins are members."""

_PACKAGE = Path(pitboss.__path__[0])


def room_statements(plane: Plane) -> list[str]:
    """Return the SQL files of all rooms, in name order.

    A file of the control plane ends in `.control.sql`, one of both planes in `.both.sql`, any other is of cells.
    """
    kinds = {".both.sql", ".control.sql" if plane == "control" else ".sql"}
    return [
        path.read_text()
        for path in sorted(_PACKAGE.glob("*/sql/*.sql"))
        if path.parent.parent.name != "migrations" and "".join(path.suffixes) in kinds
    ]


def policy_statements(table: Table) -> list[str]:
    """Return the statements that give `table` its wall, its access policies and its grants."""
    info = table.info
    if "grants" not in info:
        raise ValueError(f"table {table.name} declares no table_info()")
    statements = [f"revoke all on {table.name} from public, {', '.join(GROUP_ROLES)}"]
    if info["tenant"]:
        # "+ 0" keeps the wall a filter: as an index condition it is searched for every look-up of a batch, and every
        # statement of ours names its tenant anyway.
        wall = "tenant_id + 0 = any ((select ctx.tenants())::bigint[])"
        statements += [
            f"alter table {table.name} enable row level security",
            f"alter table {table.name} force row level security",
            f"create policy tenant_wall on {table.name} as restrictive for all to public"
            f" using ({wall}) with check ({wall})",
        ]
    elif not info["why_no_tenant"]:
        raise ValueError(f"table {table.name} has no tenant and does not say why")
    for role, grant in sorted(info["grants"].items()):
        if info["tenant"]:
            statements.append(
                f"create policy access_{role} on {table.name} as permissive for all to pitboss_{role}"
                " using (true) with check (true)"
            )
        statements.append(f"grant {grant} on {table.name} to pitboss_{role}")
    return statements


def wanted_statements(plane: Plane) -> list[str]:
    """Return every statement that makes policies, grants, functions and triggers what the code says."""
    statements = [clear_statement(), f"grant usage on schema public to {', '.join(GROUP_ROLES)}"]
    for table in sorted(load_metadata(plane).tables.values(), key=lambda found: found.name):
        statements += policy_statements(table)
    for sequence in ("usage on all sequences in schema public to pitboss_app, pitboss_worker",):
        statements.append(f"grant {sequence}")
    return statements + room_statements(plane) + capture_statements(plane)


def list_captured(plane: Plane) -> list[Table]:
    """Return the tables whose every change is captured: those of which events must tell."""
    tables = sorted(load_metadata(plane).tables.values(), key=lambda found: found.name)
    return [table for table in tables if table.info["audit"] == "events"]


def capture_statements(plane: Plane) -> list[str]:
    """Return the triggers that capture changes, so that no table of which events must tell can be forgotten.

    Whom row security does not hold needs no tenant's context to write, and is captured with rights of its own.
    """
    statements: list[str] = []
    for table in list_captured(plane):
        own = [
            column.name
            for column in table.primary_key.columns
            if not (table.info["tenant"] and column.name == "tenant_id")
        ]
        key, quiet = table.info["audit_key"] or " ".join(own), " ".join(table.info["quiet"])
        unknown = {*key.split(), *quiet.split()} - {column.name for column in table.columns}
        if unknown:
            raise ValueError(f"table {table.name} has no column {', '.join(sorted(unknown))}")
        capture = f"create trigger %s after insert or update or delete on {table.name} for each row %s execute function"
        call = f"('{key}', '{quiet}')"
        if plane == "cell":
            held = "when (%srow_security_active('public.capture'))"
            statements += [
                capture % ("capture", held % "") + f" capture_row{call}",
                capture % ("capture_unheld", held % "not ") + f" capture_row_unheld{call}",
            ]
        else:
            statements.append(capture % ("capture", "") + f" capture_row{call}")
        statements.append(
            f"create trigger capture_all before truncate on {table.name}"
            " for each statement execute function capture_refuse()"
        )
    return statements


def clear_statement() -> str:
    """Return the block that drops every policy, trigger and function of ours, so that none can outlive its file."""
    return (
        revoke_statement("public")
        + """;
do $clear$
declare found record;
begin
    for found in select policyname, tablename from pg_policies where schemaname = 'public' loop
        execute format('drop policy %I on public.%I', found.policyname, found.tablename);
    end loop;
    for found in select t.tgname, c.relname from pg_trigger t join pg_class c on c.oid = t.tgrelid
        join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and not t.tgisinternal loop
        execute format('drop trigger %I on public.%I', found.tgname, found.relname);
    end loop;
    for found in select c.relname, case c.relkind when 'v' then '' else 'materialized' end as kind
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'public' and c.relkind in ('v', 'm') loop
        execute format('drop %s view public.%I cascade', found.kind, found.relname);
    end loop;
    for found in select p.oid::regprocedure as name, p.prokind from pg_proc p
        join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'public' loop
        execute format('drop routine %s cascade', found.name);
    end loop;
end
$clear$"""
    )


def revoke_statement(schema: str) -> str:
    """Return the block that takes every right on a schema and what is in it from everybody but the owners.

    Whoever was granted something by hand loses it, a login or a stranger too; what the code grants comes after.
    """
    return f"""
do $revoke$
declare found record;
begin
    for found in
        select format('%s %I.%I', case c.relkind when 'S' then 'sequence' else 'table' end, n.nspname, c.relname) as what,
            g.grantee, '' as columns
        from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) g
        where n.nspname = '{schema}' and g.grantee <> c.relowner
        union select format('table %I.%I', n.nspname, c.relname), g.grantee, format('(%I)', a.attname)
        from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace,
            aclexplode(a.attacl) g
        where n.nspname = '{schema}' and g.grantee <> c.relowner
        union select 'routine ' || p.oid::regprocedure, g.grantee, ''
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace, aclexplode(p.proacl) g
        where n.nspname = '{schema}' and g.grantee <> p.proowner
        union select format('schema %I', n.nspname), g.grantee, '' from pg_namespace n, aclexplode(n.nspacl) g
        where n.nspname = '{schema}' and g.grantee <> n.nspowner
    loop
        execute format('revoke all %s on %s from %s', found.columns, found.what,
            case found.grantee when 0 then 'public' else found.grantee::regrole::text end);
    end loop;
end
$revoke$"""


def wanted_digest(plane: Plane) -> str:
    """Return a digest of `wanted_statements`: unchanged means that a start leaves the schema's guards alone."""
    return sha256("\n;\n".join(wanted_statements(plane)).encode()).hexdigest()[:32]
