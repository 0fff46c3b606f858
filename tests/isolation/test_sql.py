"""Tenant B's rows from tenant A's context: as if they did not exist, for every login, on every relation."""

from __future__ import annotations

from tests.factories.databases import PlaneDatabase
from tests.isolation.catalog import find_faults, read_sequences
from tests.isolation.conftest import Figures
from tests.isolation.contexts import (
    probe_append_only,
    probe_contexts,
    probe_foreign_keys,
    probe_lifetime,
    probe_neighbours,
    probe_owner,
    probe_powers,
    probe_sequences,
    probe_terms,
)
from tests.isolation.destroy_probes import probe_destroy
from tests.isolation.probes import LOGINS, Arena, Report, open_arena, probe_relations
from tests.isolation.seeding import A, B, make_row

from pitboss.migrations.schema import load_metadata


def declared_tables() -> dict[str, bool]:
    """Return every table of the code and whether its rows belong to tenants."""
    return {name: bool(table.info["tenant"]) for name, table in load_metadata("cell").tables.items()}


def expect_clean(report: Report, least: int) -> None:
    assert report.leaks == [], "\n".join(report.leaks)
    assert report.probes >= least


async def test_the_catalog_shows_no_fault(arena: Arena) -> None:
    faults = await find_faults(arena.admin, declared_tables())
    assert faults == [], "\n".join(faults)


async def test_each_tenant_sees_its_own_row_and_the_probes_see_something(arena: Arena) -> None:
    """The positive control: what the logins may read is there, in every table, under the right context."""
    seen: set[str] = set()
    for login in LOGINS:
        async with arena.connect(login) as connection:
            for relation in arena.relations:
                if not relation.has_tenant or relation.kind != "r":
                    continue
                allowed = "select has_table_privilege($1, $2, 'select')"
                if not await arena.admin.fetchval(allowed, login, relation.name):
                    continue
                for tenant_id in (A, B):
                    async with connection.transaction():
                        await arena.enter(connection, tenant_id)
                        rows = await connection.fetch(f"select * from {relation.name}")
                    assert {row["tenant_id"] for row in rows} == {tenant_id}, f"{login} {relation.name}"
                    key = {column: make_row(tenant_id, relation)[column] for column in relation.key}
                    assert key in [{column: row[column] for column in relation.key} for row in rows]
                seen.add(relation.name)
    tables = {relation.name for relation in arena.relations if relation.has_tenant and relation.kind == "r"}
    assert tables - seen == set(), "no login reads these, so the probes prove nothing about them"


async def test_no_statement_reaches_another_tenants_rows(arena: Arena, figures: Figures) -> None:
    report = figures.new_report("sql")
    await probe_relations(arena, report)
    expect_clean(report, 2000)


async def test_no_false_context_opens_anything(arena: Arena, figures: Figures) -> None:
    report = figures.new_report("sql")
    await probe_contexts(arena, report)
    await probe_lifetime(arena, report)
    await probe_owner(arena, report)
    expect_clean(report, 2000)


async def test_no_login_has_the_power_to_open_the_wall(arena: Arena, figures: Figures) -> None:
    report = figures.new_report("sql")
    before = await arena.fingerprint_b()
    await probe_powers(arena, report)
    await probe_sequences(arena, report, await read_sequences(arena.admin))
    await probe_append_only(arena, report)
    await probe_terms(arena, report)
    await probe_destroy(arena, report)
    expect_clean(report, 1000)
    assert await arena.fingerprint_b() == before


async def test_databases_let_in_their_own_logins_only(
    cell_database: PlaneDatabase, control_database: PlaneDatabase, figures: Figures
) -> None:
    report = figures.new_report("sql")
    await probe_neighbours(control_database.urls, cell_database, report)
    await probe_neighbours(cell_database.urls, control_database, report)
    expect_clean(report, 6)


async def test_cells_let_in_their_own_logins_and_believe_their_own_keys(
    cell_database: PlaneDatabase, neighbour_database: PlaneDatabase, figures: Figures
) -> None:
    report = figures.new_report("sql")
    await probe_neighbours(cell_database.urls, neighbour_database, report)
    await probe_neighbours(neighbour_database.urls, cell_database, report)
    async with open_arena(neighbour_database) as arena:
        await probe_foreign_keys(arena, cell_database.context_keys, report)
    expect_clean(report, 100)


async def test_cells_that_share_logins_or_keys_are_seen(
    cell_database: PlaneDatabase, twin_database: PlaneDatabase, arena: Arena
) -> None:
    """The probes between cells are probed: both guards are missing between two databases of one cell."""
    logins, keys = Report(), Report()
    await probe_neighbours(cell_database.urls, twin_database, logins)
    await probe_foreign_keys(arena, twin_database.context_keys, keys)
    assert len(logins.leaks) == len(cell_database.urls)
    assert keys.leaks
