"""The proof finds nothing in sound books, and each of its checks finds the damage that it is for."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories.players import AURORA
from tests.integration.ledger.conftest import Books

from pitboss.ledger.store.proof import _CHECKS, verify_tenant
from pitboss.platform.db import create_engine

DAMAGE = {
    "wallet equals journal": "update wallet set real_minor = real_minor + 1 where wallet_id = :busy",
    "journal without wallet": "delete from wallet where wallet_id = :quiet",
    "each row continues the last": "update journal set real_after = real_after + 1 where wallet_id = :busy and version = 2",
    "no bucket negative": "update journal set debt_after = -1 where wallet_id = :busy and version = 2",
    "house equals journal": "update house_delta set delta_minor = delta_minor + 1 where batch_id ="
    " (select min(batch_id) from house_delta)",
    "booking on an account that is not there": "update journal set account_id = 999 where wallet_id = :busy and version = 1",
    "money is conserved": "update wallet set held_minor = held_minor - 1 where wallet_id = :busy",
    "one currency a booking": "update wallet set currency = 'JPY' where wallet_id = :quiet",
    "every booking has its key": "delete from call_key where wallet_id = :busy and version = 3",
    "every accepted key has its booking": "delete from journal where wallet_id = :busy and version = 10",
    "a reversal negates what it reverses": "update journal set d_real = d_real + 1 where wallet_id = :busy"
    " and reverses_version is not null",
    "open holds equal held": "update hold set amount_minor = amount_minor + 1 where wallet_id = :busy and state = 1",
    "awards equal bonus": "update award set remaining_minor = remaining_minor + 1 where wallet_id = :busy",
}
"""By the check that must see it; every check has one."""


async def prove(books: Books, damage: str = "") -> dict[str, list[str]]:
    """Damage the books past all guards, prove them, and take the damage back."""
    engine = create_engine(books.house.database.admin_url)
    try:
        async with engine.connect() as connection, AsyncSession(bind=connection) as session:
            if damage:
                await session.execute(text("set local session_replication_role = replica"))
                await session.execute(text("alter table journal drop constraint ck_journal_after"))
                seats = {"busy": books.busy.wallet_id, "quiet": books.quiet.wallet_id}
                statement = text(damage)
                result = await session.execute(statement, {name: seats[name] for name in statement._bindparams})
                assert result.rowcount == 1  # type: ignore[attr-defined]
            proof = await verify_tenant(session, AURORA)
            await session.rollback()
    finally:
        await engine.dispose()
    assert proof.bookings >= 10
    found: dict[str, list[str]] = {}
    for finding in proof.findings:
        found.setdefault(finding.check, []).append(finding.subject)
    return found


async def test_sound_books_have_no_finding(books: Books) -> None:
    assert await prove(books) == {}


def test_every_check_has_a_damage() -> None:
    assert set(DAMAGE) == set(_CHECKS)


@pytest.mark.parametrize("check", DAMAGE)
async def test_a_check_finds_its_damage(books: Books, check: str) -> None:
    found = await prove(books, DAMAGE[check])
    assert check in found
    assert all(found[check])
