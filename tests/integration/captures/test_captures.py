"""Changes at the tables themselves are captured, and no event or change goes unmatched without being found."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.factories.captures import reconcile_cell
from tests.factories.databases import PlaneDatabase
from tests.factories.players import make_origin, open_cell

from pitboss.audit.contracts import WRITES, AuditEvent
from pitboss.audit.service import record_event
from pitboss.captures import service as captures
from pitboss.games import service as games
from pitboss.kernel.scope import Actor, ActorKind, TenantScope
from pitboss.migrations.catalog import find_drift
from pitboss.migrations.schema import list_captured
from pitboss.platform.db import ContextSigner, Database
from pitboss.platform.telemetry import Metrics
from pitboss.worker.capture_jobs import RECONCILE_JOB, capture_jobs
from pitboss_sdk.games import GameInfo

OPERATOR = Actor(ActorKind.OPERATOR, "ada")


@pytest.fixture
async def cell(module_cell_database: PlaneDatabase) -> AsyncIterator[Database]:
    async with open_cell(module_cell_database) as opened:
        yield opened


@pytest.fixture
async def admin(module_cell_database: PlaneDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(module_cell_database.admin_url)
    yield connection
    await connection.close()


def fresh(numbers: list[int] = [100]) -> TenantScope:  # noqa: B006 - one counter for the module
    """Return a tenant that no other test of the module writes to."""
    numbers[0] += 1
    return TenantScope(numbers[0], f"tenant-{numbers[0]}", "eu-1")


def game(code: str, title: str = "Book of Tests") -> GameInfo:
    return GameInfo(code=code, title=title, provider="pragma", category="slots", version_hash="1" * 64)


async def sync(cell: Database, scope: TenantScope, *listed: GameInfo) -> None:
    async with cell.transaction(scope) as session:
        await games.sync_catalogue(session, scope, "softswiss", listed, OPERATOR, make_origin())


async def switch(cell: Database, scope: TenantScope, code: str, *, enabled: bool) -> None:
    async with cell.transaction(scope) as session:
        await games.set_game_enabled(session, scope, code, enabled=enabled, actor=OPERATOR, origin=make_origin())


async def captured(admin: asyncpg.Connection, scope: TenantScope) -> list[tuple[str, ...]]:
    rows = await admin.fetch(
        "select table_name, operation, row_key, changed from capture where tenant_id = $1 order by capture_id",
        scope.tenant_id,
    )
    return [tuple(row) for row in rows]


async def test_a_change_is_captured_with_names_alone(
    cell: Database, admin: asyncpg.Connection, module_cell_database: PlaneDatabase
) -> None:
    scope = fresh()
    await sync(cell, scope, game("book"))
    await sync(cell, scope, game("book"))
    await sync(cell, scope, game("book", "Book of Proofs"))
    await switch(cell, scope, "book", enabled=False)
    await switch(cell, scope, "book", enabled=False)
    assert await captured(admin, scope) == [
        ("game", "insert", "softswiss:book", ""),
        ("game", "update", "softswiss:book", "synced_at title"),
        ("game", "update", "softswiss:book", "enabled switched_on"),
    ]
    row = await admin.fetchrow("select * from capture where tenant_id = $1 limit 1", scope.tenant_id)
    assert row is not None
    assert row["login"].startswith("pitboss_app")
    written = await admin.fetchval("select written_in from audit_event where tenant_id = $1 limit 1", scope.tenant_id)
    assert written == row["written_in"]
    assert (await reconcile_cell(module_cell_database, scope)).findings == []


async def test_a_change_that_is_rolled_back_is_not_captured(cell: Database, admin: asyncpg.Connection) -> None:
    scope = fresh()

    async def fail() -> None:
        async with cell.transaction(scope) as session:
            await games.sync_catalogue(session, scope, "softswiss", (game("gone"),), OPERATOR, make_origin())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await captured(admin, scope) == []


async def test_a_write_behind_the_applications_back_is_found(
    cell: Database, admin: asyncpg.Connection, module_cell_database: PlaneDatabase
) -> None:
    scope = fresh()
    await sync(cell, scope, game("book"), game("dice"))
    await admin.execute("update game set title = 'x' where tenant_id = $1 and code = 'dice'", scope.tenant_id)
    (found,) = (await reconcile_cell(module_cell_database, scope)).findings
    assert (found.kind, found.subject) == ("unexplained", "game softswiss:dice")
    assert found.detail == f"update by {await admin.fetchval('select session_user')}"


async def test_a_write_by_the_applications_login_without_an_event_is_found(
    cell: Database, module_cell_database: PlaneDatabase
) -> None:
    from sqlalchemy import text

    scope = fresh()
    await sync(cell, scope, game("book"))
    async with cell.transaction(scope) as session:
        await session.execute(text("update game set category = 'x' where tenant_id = :id"), {"id": scope.tenant_id})
    (found,) = (await reconcile_cell(module_cell_database, scope)).findings
    assert found.detail.startswith("update by pitboss_app")


async def test_an_event_without_a_write_is_found(cell: Database, module_cell_database: PlaneDatabase) -> None:
    scope = fresh()
    await sync(cell, scope, game("book"))
    async with cell.transaction(scope) as session:
        event = AuditEvent("game.disabled", OPERATOR, make_origin(), "game", "softswiss:book")
        await record_event(session, scope, event)
    (found,) = (await reconcile_cell(module_cell_database, scope)).findings
    assert (found.kind, found.subject) == ("unfounded", "game.disabled softswiss:book")


async def test_an_event_of_another_transaction_explains_nothing(
    cell: Database, admin: asyncpg.Connection, module_cell_database: PlaneDatabase
) -> None:
    scope = fresh()
    await sync(cell, scope, game("book"))
    await admin.execute("update game set switched_on = false where tenant_id = $1", scope.tenant_id)
    async with cell.transaction(scope) as session:
        event = AuditEvent("game.disabled", OPERATOR, make_origin(), "game", "softswiss:book")
        await record_event(session, scope, event)
    kinds = sorted(found.kind for found in (await reconcile_cell(module_cell_database, scope)).findings)
    assert kinds == ["unexplained", "unfounded"]


LOGINS = ("pitboss_app", "pitboss_worker", "pitboss_relay", "pitboss_seq")
ATTEMPTS = {
    "write": "insert into capture (tenant_id, written_in, login, table_name, operation, row_key, changed)"
    " values (1, 1, 'x', 'x', 'x', 'x', '')",
    "change": "update capture set login = 'x'",
    "remove": "delete from capture",
    "empty": "truncate capture",
    "switch off": "alter table game disable trigger capture",
    "switch off all": "set session_replication_role = replica",
    "drop": "drop trigger capture on game",
    "replace": "create or replace function capture_row() returns trigger language plpgsql as 'begin return null; end'",
    "call": "select capture_row()",
    "call what notes": "select capture_note('{\"tenant_id\": 1}', null, 'DELETE', 'game', 'game_id', '')",
    "act as the owner": "set role pitboss_owner",
}


@pytest.mark.parametrize("login", LOGINS)
async def test_no_login_writes_or_keeps_a_capture_away(module_cell_database: PlaneDatabase, login: str) -> None:
    connection = await asyncpg.connect(module_cell_database.urls[login])
    token = ContextSigner(module_cell_database.context_keys).sign([1], connection.get_server_pid())
    for name, statement in ATTEMPTS.items():
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("select set_config('pitboss.ctx', $1, true)", token)
        with pytest.raises(asyncpg.PostgresError):
            pytest.fail(f"{login} may {name}: {await connection.execute(statement)}")
        await transaction.rollback()
    await connection.close()


@pytest.mark.parametrize(
    "statement",
    ["update capture set login = 'x'", "delete from capture", "truncate capture", "truncate game cascade"],
)
async def test_even_a_superuser_does_not_get_around_by_accident(
    cell: Database, admin: asyncpg.Connection, statement: str
) -> None:
    await sync(cell, fresh(), game("book"))
    with pytest.raises(asyncpg.RestrictViolationError):
        await admin.execute(statement)


async def test_a_removed_or_disabled_trigger_is_drift(cell_database: PlaneDatabase) -> None:
    admin = await asyncpg.connect(cell_database.admin_url)
    await admin.execute(
        "drop trigger capture on game; alter table award_terms disable trigger capture_unheld;"
        "alter function capture_row() security invoker"
    )
    await admin.close()
    drift = await find_drift(cell_database.migrate_url, "cell")
    assert "trigger game.capture: missing in the database" in drift
    assert "trigger award_terms.capture_unheld: differs from the code" in drift
    assert "function capture_row(): differs from the code" in drift


def test_every_audited_table_is_captured_and_told_of() -> None:
    told = {table for written in WRITES.values() for each in written for table in each.tables.split()}
    tables = {table.name for plane in ("cell", "control") for table in list_captured(plane)}
    assert tables - told == set(), "no type of event tells of changes of these tables: see WRITES"
    assert told - tables == set(), "events tell of tables that are not captured"
    assert {"player", "tenant", "award_terms"} <= tables


async def test_the_money_path_pays_nothing(admin: asyncpg.Connection) -> None:
    rows = await admin.fetch(
        "select distinct c.relname from pg_trigger t join pg_class c on c.oid = t.tgrelid where t.tgname like 'capture%'"
    )
    captured_tables = {row["relname"] for row in rows}
    posting = {
        "wallet",
        "journal",
        "call_key",
        "hold",
        "award",
        "award_entry",
        "usage",
        "house_delta",
        "batch",
        "round",
    }
    assert captured_tables & posting == set()
    assert "game" in captured_tables


async def test_findings_are_kept_told_and_accepted(
    cell: Database, admin: asyncpg.Connection, module_cell_database: PlaneDatabase
) -> None:
    scope, metrics = fresh(), Metrics()
    reconcile, tell = capture_jobs(metrics, lambda: [scope])
    assert (reconcile.name, reconcile.permission) == (RECONCILE_JOB, "captures.finding.edit")

    def gauge() -> float | None:
        return metrics.registry.get_sample_value("pitboss_capture_findings", {"tenant": scope.slug})

    async with open_cell(module_cell_database, module_cell_database.worker_url) as worker:

        async def run() -> None:
            async with worker.transaction(scope) as session:
                await reconcile.handler(session, scope, {})

        await sync(cell, scope, game("book"))
        await run()
        assert gauge() == 0
        await admin.execute("update game set title = 'x' where tenant_id = $1", scope.tenant_id)
        await run()
        await run()
        assert gauge() == 1, "one finding is told once, however often is looked"
        incidents = await admin.fetch(
            "select target_id, category, outcome from audit_event where tenant_id = $1 and type = 'capture.unexplained'",
            scope.tenant_id,
        )
        assert [tuple(row) for row in incidents] == [("game softswiss:book", "security", "error")]
        async with worker.transaction(scope) as session:
            await tell.handler(session, scope, {})
        assert gauge() == 1
        async with cell.transaction(scope) as session:
            assert await captures.accept_findings(session, scope, "repaired_by_hand", OPERATOR, make_origin()) == 1
        await run()
        assert gauge() == 0
    assert len((await reconcile_cell(module_cell_database, scope)).findings) == 1, "the log keeps what was found"


async def test_a_transaction_that_is_larger_than_a_piece_is_looked_at_whole(
    cell: Database, module_cell_database: PlaneDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures, "_ROWS", 4)
    scope = fresh()
    await sync(cell, scope, *(game(f"g{number}") for number in range(30)))
    for number in range(7):
        await switch(cell, scope, f"g{number}", enabled=False)
    outcome = await reconcile_cell(module_cell_database, scope)
    assert (outcome.transactions, outcome.captures, outcome.events) == (8, 37, 8)
    assert outcome.findings == []


async def test_what_still_runs_is_waited_for(
    cell: Database, admin: asyncpg.Connection, module_cell_database: PlaneDatabase
) -> None:
    scope = fresh()
    await sync(cell, scope, game("book"))
    async with cell.transaction(scope) as session:
        await games.set_game_enabled(session, scope, "book", enabled=False, actor=OPERATOR, origin=make_origin())
        outcome = await reconcile_cell(module_cell_database, scope)
        assert outcome.transactions == 1
    assert (await reconcile_cell(module_cell_database, scope)).transactions == 2
