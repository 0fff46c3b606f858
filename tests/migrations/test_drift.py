"""Whoever changes a guard by hand is found out: functions, policies, triggers, grants, row security, roles."""

from __future__ import annotations

import asyncpg
import pytest
from tests.factories.databases import PlaneDatabase

from pitboss.migrations.catalog import find_drift
from pitboss.migrations.upgrade import upgrade

CHANGES = {
    "drop policy tenant_wall on wallet": "policy wallet.tenant_wall: missing",
    "drop policy access_app on wallet": "policy wallet.access_app: missing",
    "create policy wide on wallet using (true)": "policy wallet.wide: not in the code",
    "alter policy tenant_wall on round using (true)": "policy round.tenant_wall: differs",
    "alter policy access_app on round to public": "policy round.access_app: differs",
    "alter table journal no force row level security": "relation public.journal: differs",
    "alter table journal disable row level security": "relation public.journal: differs",
    "drop trigger append_only on journal": "trigger journal.append_only: missing",
    "alter table journal disable trigger append_only": "trigger journal.append_only: differs",
    "alter table journal enable always trigger append_only": "trigger journal.append_only: differs",
    "grant update on journal to pitboss_app": "relation public.journal: differs",
    "grant update (reference) on journal to pitboss_app": "column grant journal.reference",
    "grant update on journal to pitboss_worker_test_cell": "relation public.journal: differs",
    "grant select (reference) on journal to pitboss_relay_test_cell": "column grant journal.reference: not in the code",
    "grant select on wallet to public": "relation public.wallet: differs",
    "revoke select on wallet from pitboss_app": "relation public.wallet: differs",
    "grant select on ctx.key to pitboss_app": "relation ctx.key: differs",
    "grant select on ctx.key to pitboss_relay_test_cell": "relation ctx.key: differs",
    "grant all on schema public to pitboss_app": "schema public: differs",
    "grant create on schema ctx to pitboss_app_test_cell": "schema ctx: differs",
    "create table notes (tenant_id bigint)": "relation public.notes: not in the code",
    "create table ctx.notes (tenant_id bigint)": "relation ctx.notes: not in the code",
    "grant usage on sequence batch_block_seq to pitboss_relay": "relation public.batch_block_seq: differs",
    "alter view ledger_line reset (security_invoker)": "relation public.ledger_line: differs",
    "drop view ledger_line": "relation public.ledger_line: missing",
    "do $$ begin execute 'create or replace view ledger_line with (security_invoker = true) as select * from ('"
    " || rtrim(pg_get_viewdef('ledger_line'::regclass), ';') || ') x where false'; end $$": (
        "relation public.ledger_line: differs"
    ),
    "alter table retention_run drop constraint ck_retention_run_four_eyes": (
        "rule retention_run.ck_retention_run_four_eyes: missing"
    ),
    "alter table retention_step drop constraint pk_retention_step": "rule retention_step.pk_retention_step: missing",
    "drop index uq_outbox_job_dedupe": "rule outbox_job.uq_outbox_job_dedupe: missing",
    "alter table hold drop constraint fk_hold_tenant_id_wallet_id_wallet; alter table hold add constraint"
    " fk_hold_tenant_id_wallet_id_wallet foreign key (tenant_id, wallet_id) references wallet not valid": (
        "rule hold.fk_hold_tenant_id_wallet_id_wallet: missing"
    ),
    "create view everything as select * from wallet": "relation public.everything: not in the code",
    "create materialized view everything as select * from wallet": "relation public.everything: not in the code",
    "create function helper() returns int language sql as 'select 1'": "function helper(): not in the code",
    "alter function ctx.tenants() security invoker": "function ctx.tenants(): differs",
    "alter function ctx.tenants() parallel safe": "function ctx.tenants(): differs",
    "alter function ledger_refuse_change() owner to pitboss_ctx": "function ledger_refuse_change(): differs",
    "grant execute on function ctx.tenants() to public": "function ctx.tenants(): differs",
    "create or replace function ledger_refuse_change() returns trigger language plpgsql as 'begin return null; end'": (
        "function ledger_refuse_change(): differs"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_by_hand_is_found(cell_database: PlaneDatabase, change: str) -> None:
    admin = await asyncpg.connect(cell_database.admin_url)
    try:
        await admin.execute(change)
    finally:
        await admin.close()
    findings = await find_drift(cell_database.migrate_url, "cell")
    assert any(finding.startswith(CHANGES[change]) for finding in findings), findings
    assert await find_drift(cell_database.migrate_url, "cell") == findings, "looking changed something"


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        ("alter role {} bypassrls", "alter role {} nobypassrls"),
        ("alter role {} createrole", "alter role {} nocreaterole"),
        ("grant pitboss_owner to {}", "revoke pitboss_owner from {}"),
    ],
)
async def test_a_login_with_too_much_power_is_found(cell_database: PlaneDatabase, change: str, undo: str) -> None:
    login = "pitboss_worker_test_cell"
    admin = await asyncpg.connect(cell_database.admin_url)
    try:
        await admin.execute(change.format(login))
        findings = await find_drift(cell_database.migrate_url, "cell")
    finally:
        await admin.execute(undo.format(login))
        await admin.close()
    assert findings == [f"role power {login}: has too much power"]
    assert await find_drift(cell_database.migrate_url, "cell") == []


async def test_the_next_upgrade_of_the_guards_heals_what_was_changed(cell_database: PlaneDatabase) -> None:
    admin = await asyncpg.connect(cell_database.admin_url)
    await admin.execute(
        "drop policy tenant_wall on wallet; alter table journal disable trigger append_only;"
        "grant all on journal to public, pitboss_worker_test_cell; grant select on ctx.key to pitboss_app;"
        "create view everything as select * from wallet; comment on schema public is 'an older version of the guards'"
    )
    await admin.close()
    await upgrade(cell_database.migrate_url, "cell", cell_database.context_keys)
    assert await find_drift(cell_database.migrate_url, "cell") == []


async def test_the_log_of_control_is_compared_too(control_database: PlaneDatabase) -> None:
    assert await find_drift(control_database.migrate_url, "control") == []
    admin = await asyncpg.connect(control_database.admin_url)
    await admin.execute("drop trigger append_only on audit_event; grant delete on audit_event to pitboss_app")
    await admin.close()
    assert await find_drift(control_database.migrate_url, "control") == [
        "relation public.audit_event: differs from the code",
        "trigger audit_event.append_only: missing in the database",
    ]
