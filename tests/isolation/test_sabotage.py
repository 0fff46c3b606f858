"""The probes are probed: each guard of the database is taken away once, and the probe that watches it must see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from tests.factories.databases import PlaneDatabase
from tests.isolation.catalog import find_faults, read_sequences
from tests.isolation.conftest import Figures
from tests.isolation.contexts import (
    probe_append_only,
    probe_contexts,
    probe_lifetime,
    probe_neighbours,
    probe_owner,
    probe_powers,
    probe_sequences,
    probe_terms,
)
from tests.isolation.probes import Arena, Report, probe_relations, read_again
from tests.isolation.test_sql import declared_tables

Probe = Callable[[Arena, Report], Awaitable[None]]


@dataclass(frozen=True)
class Sabotage:
    """What is broken, how, by whom it must be seen, and the words of the finding; `undo` is for what roles keep."""

    name: str
    statements: str
    probe: Probe
    words: tuple[str, ...]
    undo: str = ""


def of(*tables: str) -> Probe:
    async def probe(arena: Arena, report: Report) -> None:
        await probe_relations(arena, report, only=tables)

    return probe


async def catalog(arena: Arena, report: Report) -> None:
    for fault in await find_faults(arena.admin, declared_tables()):
        report.count("catalog", fault)


async def sequences(arena: Arena, report: Report) -> None:
    await probe_sequences(arena, report, await read_sequences(arena.admin))


def context_without(condition: str) -> str:
    """Return a change of `ctx.tenants()` after which one of its conditions always holds."""
    return f"""
        do $$ declare body text := pg_get_functiondef('ctx.tenants()'::regprocedure); changed text; begin
            changed := replace(body, $old${condition}$old$, 'true');
            if changed = body then raise exception 'there is no such condition'; end if;
            execute changed;
        end $$"""


WALL = "(tenant_id + 0) = any ((select ctx.tenants())::bigint[])"
APP = "pitboss_app_test_cell"

SABOTAGES = (
    Sabotage(
        "a wall is dropped", "drop policy tenant_wall on wallet", of("wallet"), ("wallet read all", "answer holds")
    ),
    Sabotage("a wall is dropped, by catalog", "drop policy tenant_wall on round", catalog, ("round", "wall")),
    Sabotage(
        "row security is off",
        "alter table player_identity disable row level security",
        of("player_identity"),
        ("copy",),
    ),
    Sabotage(
        "the owner is not held",
        "alter table wallet no force row level security; grant select on wallet to pitboss_owner; create policy own on wallet to pitboss_owner using (true)",
        probe_owner,
        ("wallet", "shows 3 rows"),
    ),
    Sabotage(
        "the owner is not held, by catalog",
        "alter table journal no force row level security",
        catalog,
        ("journal", "forced"),
    ),
    Sabotage(
        "the wall is permissive",
        f"drop policy tenant_wall on player; create policy tenant_wall on player using ({WALL}) with check ({WALL})",
        of("player"),
        ("player read all",),
    ),
    Sabotage(
        "the wall checks what is read, not what is written",
        f"drop policy tenant_wall on game; create policy tenant_wall on game as restrictive using ({WALL}) with check (true)",
        of("game"),
        ("game plant",),
    ),
    Sabotage(
        "the wall opens without a context",
        f"alter policy tenant_wall on outbox_job using ((select ctx.tenants()) is null or {WALL})",
        probe_contexts,
        ("context missing", "outbox_job"),
    ),
    Sabotage(
        "the mac is not checked",
        context_without(
            "encode(sha256(outer_block || sha256(inner_block || convert_to(left(token, -65), 'UTF8'))), 'hex') = part[5]"
        ),
        probe_contexts,
        ("of a guessed key",),
    ),
    Sabotage(
        "the end is not checked",
        context_without("part[4]::bigint > extract(epoch from clock_timestamp())"),
        probe_contexts,
        ("expired",),
    ),
    Sabotage(
        "the session is not checked",
        context_without("part[3] = pg_backend_pid()::text"),
        probe_contexts,
        ("neighbour",),
    ),
    Sabotage(
        "a retired key is believed",
        context_without("k.valid_until > statement_timestamp()"),
        probe_lifetime,
        ("retired key",),
    ),
    Sabotage(
        "the context runs in parallel workers", "alter function ctx.tenants() parallel safe", catalog, ("parallel",)
    ),
    Sabotage(
        "the journal may be updated",
        "grant update on journal to pitboss_app",
        probe_append_only,
        ("pitboss_app update journal",),
    ),
    Sabotage(
        "the journal may be emptied",
        "grant truncate on journal to pitboss_worker",
        probe_append_only,
        ("truncate journal",),
    ),
    Sabotage(
        "the journal's trigger is gone", "drop trigger append_only on journal", probe_append_only, ("owner", "journal")
    ),
    Sabotage(
        "a trigger sleeps", "alter table call_key disable trigger append_only", probe_append_only, ("owner", "call_key")
    ),
    Sabotage(
        "a unique key without tenant",
        "create unique index on player_identity (email_index)",
        of("player_identity"),
        ("same key",),
    ),
    Sabotage(
        "a unique key without tenant, by catalog", "create unique index on game (code)", catalog, ("game: key (code)",)
    ),
    Sabotage(
        "a foreign key without tenant",
        "create unique index one on player (player_id); alter table player add unique using index one;"
        "alter table password_reset drop constraint fk_password_reset_tenant_id_player_id_player;"
        "alter table password_reset add foreign key (player_id) references player (player_id)",
        of("password_reset"),
        ("refer",),
    ),
    Sabotage(
        "a view with a superuser's rights",
        "alter view ledger_line set (security_invoker = false); alter view ledger_line owner to pitboss_admin",
        of("ledger_line"),
        ("ledger_line read all",),
    ),
    Sabotage(
        "a view with its owner's rights",
        "alter view ledger_line reset (security_invoker)",
        catalog,
        ("ledger_line", "rights"),
    ),
    Sabotage(
        "a definer function of a superuser",
        "create function peek() returns setof wallet security definer language sql as 'select * from wallet'",
        catalog,
        ("peek()", "no list"),
    ),
    Sabotage(
        "a definer function that searches where its caller says",
        "alter function ledger_change_terms reset search_path",
        catalog,
        ("ledger_change_terms", "search_path"),
    ),
    Sabotage(
        "a partition with a grant of its own",
        "create table notes (tenant_id bigint not null, note text) partition by list (tenant_id);"
        "create table notes_of_b partition of notes for values in (2); insert into notes values (2, 'x');"
        "grant select on notes_of_b to pitboss_app",
        of("notes_of_b"),
        ("notes_of_b read all",),
    ),
    Sabotage(
        "a materialized view",
        "create materialized view rich as select * from wallet; grant select on rich to pitboss_app",
        of("rich"),
        ("rich read all",),
    ),
    Sabotage(
        "a child table",
        "create table wallet_old () inherits (wallet); insert into wallet_old select * from wallet where tenant_id = 2;"
        "grant select on wallet_old to pitboss_app",
        of("wallet_old"),
        ("wallet_old read all",),
    ),
    Sabotage(
        "a table that nobody declared",
        "create table notes (tenant_id bigint, note text)",
        catalog,
        ("notes", "declares"),
    ),
    Sabotage(
        "terms are changed with a superuser's rights",
        "alter function ledger_change_terms owner to pitboss_admin",
        probe_terms,
        ("changes terms", "something is told"),
    ),
    Sabotage(
        "terms are changed by an owner whom no wall holds",
        "alter table wallet no force row level security; alter table journal no force row level security",
        probe_terms,
        ("changes terms", "something is told"),
    ),
    Sabotage(
        "everybody may change terms",
        "grant execute on function ledger_change_terms to public",
        probe_terms,
        ("pitboss_relay changes its own terms", "may"),
    ),
    Sabotage("the keys may be read", "grant select on ctx.key to pitboss_app", probe_powers, ("ctx.key",)),
    Sabotage(
        "objects may be made", "grant create on schema public to pitboss_worker", probe_powers, ("create table x",)
    ),
    Sabotage("everybody may read", "grant select on round to public", catalog, ("round", "everybody")),
    Sabotage(
        "a sequence can be wound back",
        "grant update on all sequences in schema public to pitboss_app",
        sequences,
        ("setval",),
    ),
    Sabotage(
        "a login that no wall holds",
        f"alter role {APP} bypassrls",
        of("wallet"),
        ("wallet read all",),
        f"alter role {APP} nobypassrls",
    ),
    Sabotage(
        "a login in the owner's group",
        f"grant pitboss_owner to {APP}",
        probe_powers,
        ("set role pitboss_owner",),
        f"revoke pitboss_owner from {APP}",
    ),
)


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.name)
async def test_a_missing_guard_is_seen(arena: Arena, figures: Figures, sabotage: Sabotage) -> None:
    figures.sabotages[sabotage.name] = False
    report = Report()
    try:
        await arena.admin.execute(sabotage.statements)
        await read_again(arena)
        await sabotage.probe(arena, report)
    finally:
        if sabotage.undo:
            await arena.admin.execute(sabotage.undo)
    found = report.leaks_of(*sabotage.words)
    figures.sabotages[sabotage.name] = bool(found)
    assert found, f"not among the findings: {report.leaks[:20]}"


async def test_an_open_door_between_databases_is_seen(
    cell_database: PlaneDatabase, control_database: PlaneDatabase, arena: Arena, figures: Figures
) -> None:
    figures.sabotages["an open door"] = False
    report = Report()
    await arena.admin.execute(f"grant connect on database {cell_database.name} to public")
    await probe_neighbours(control_database.urls, cell_database, report)
    figures.sabotages["an open door"] = bool(report.leaks_of("pitboss_app to cell"))
    assert figures.sabotages["an open door"]
