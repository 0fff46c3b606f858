"""Rows of player accounts under another tenant's context, a worker's login, and no context at all."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, JADE, make_registration, open_cell, register, sign_in

from pitboss.accounts.runtime import Passwords
from pitboss.platform.db import Database, create_engine

TABLES = [
    "player",
    "player_identity",
    "player_credential",
    "player_session",
    "password_reset",
    "attempt_throttle",
    "audit_event",
]


@pytest.fixture
async def cell(cell_database: PlaneDatabase) -> AsyncIterator[Database]:
    """A cell in which the first tenant has a row in every table."""
    passwords = Passwords()
    registration = make_registration()
    async with open_cell(cell_database) as database:
        player = await register(database, passwords, registration)
        await sign_in(database, passwords, registration.email)
        await sign_in(database, passwords, registration.email, "guess")
        async with open_cell(cell_database, cell_database.worker_url) as worker, worker.transaction(AURORA) as session:
            await session.execute(
                text(
                    "insert into password_reset (tenant_id, token_hash, player_id, expires_at) values (1, 'x', :p, now())"
                ),
                {"p": player.player_id},
            )
        yield database


async def count_rows(cell_database: PlaneDatabase) -> dict[str, int]:
    admin = create_engine(cell_database.admin_url)
    async with admin.connect() as connection:
        rows = {
            table: (await connection.execute(text(f"select count(*) from {table} where tenant_id = 1"))).scalar_one()
            for table in TABLES
        }
    await admin.dispose()
    return rows


async def touch(cell: Database, statement: str) -> int | str:
    """Return how many rows the other tenant touched, or that the login may not do this at all."""
    try:
        async with cell.transaction(JADE) as session:
            return (await session.execute(text(statement))).rowcount  # type: ignore[attr-defined]
    except DBAPIError as error:
        return "permission denied" if "permission denied" in str(error) else str(error)


async def test_every_table_has_rows_to_hide(cell: Database, cell_database: PlaneDatabase) -> None:
    assert min((await count_rows(cell_database)).values()) >= 1
    async with cell.transaction(AURORA) as session:
        for table in TABLES:
            assert (await session.execute(text(f"select count(*) from {table}"))).scalar_one() >= 1


async def test_another_tenant_and_nobody_see_and_change_nothing(cell: Database, cell_database: PlaneDatabase) -> None:
    before = await count_rows(cell_database)
    for table in TABLES:
        async with cell.transaction(JADE) as session:
            assert (await session.execute(text(f"select count(*) from {table}"))).scalar_one() == 0
        async with cell.cell_transaction() as session:
            assert (await session.execute(text(f"select count(*) from {table}"))).scalar_one() == 0
        for statement in (f"update {table} set tenant_id = 2", f"delete from {table}"):
            assert await touch(cell, statement) in {0, "permission denied"}
    assert await count_rows(cell_database) == before


@pytest.mark.parametrize(
    "statement",
    [
        "insert into player (tenant_id, public_id, brand, language, currency)"
        " values (1, uuidv7(), 'aurora', 'en', 'EUR')",
        "insert into player_session (tenant_id, token_hash, player_id, expires_at)"
        " values (1, 'forged', 1, now() + interval '1 hour')",
        "insert into attempt_throttle (tenant_id, key, paid_until) values (1, 'k', now())",
    ],
)
async def test_no_row_can_be_planted_for_another_tenant(cell: Database, statement: str) -> None:
    with pytest.raises(DBAPIError, match="row-level security"):
        async with cell.transaction(JADE) as session:
            await session.execute(text(statement))


async def test_a_session_cannot_be_tied_to_another_tenants_player(cell: Database) -> None:
    async with cell.transaction(AURORA) as session:
        player_id = (await session.execute(text("select max(player_id) from player"))).scalar_one()
    with pytest.raises(DBAPIError, match="foreign key"):
        async with cell.transaction(JADE) as session:
            await session.execute(
                text(
                    "insert into player_session (tenant_id, token_hash, player_id, expires_at)"
                    " values (2, 'forged', :player_id, now() + interval '1 hour')"
                ),
                {"player_id": player_id},
            )


@pytest.mark.parametrize(
    "statement",
    [
        "update player_identity set email = 'x'",
        "delete from player",
        "update player_identity set email_index = 'x'",
        "update player_identity set player_id = 1",
        "update erasure set keys_destroyed = 0",
        "delete from erasure",
        "delete from subject_key",
        "update player set currency = 'BTC'",
        "update player set public_id = uuidv7()",
        "update player_session set expires_at = 'infinity'",
        "update player_session set player_id = 1",
        "insert into password_reset (tenant_id, token_hash, player_id, expires_at) values (1, 'y', 1, now())",
    ],
)
async def test_the_web_login_does_only_what_use_cases_do(cell: Database, statement: str) -> None:
    with pytest.raises(DBAPIError, match="permission denied"):
        async with cell.transaction(AURORA) as session:
            await session.execute(text(statement))


async def test_the_workers_login_never_sees_a_password_hash(cell: Database, cell_database: PlaneDatabase) -> None:
    async with open_cell(cell_database, cell_database.worker_url) as worker:
        with pytest.raises(DBAPIError, match="permission denied"):
            async with worker.transaction(AURORA) as session:
                await session.execute(text("select * from player_credential"))
