"""The proof finds nothing in sound books, and each of its checks finds every damage that it is for."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, open_cell
from tests.integration.ledger.conftest import Books

from pitboss.ledger.contracts import AwardClaim, Finding
from pitboss.ledger.store.proof import (
    _AWARDS,
    _CHECKS,
    _MARKS,
    _plan_for_whole_tables,
    verify_awards,
    verify_tenant,
    verify_wallet_marks,
)
from pitboss.platform.db import create_engine

REVERSAL = "wallet_id = :busy and reverses_version is not null"
OF_WIN = "wallet_id = :indebted and reverses_version is not null"
A_BATCH = "batch_id = (select batch_id from journal where wallet_id = :busy and version = 1)"
DAMAGES: Sequence[tuple[str, str]] = (
    ("wallet equals journal", "update wallet set real_minor = real_minor + 1 where wallet_id = :busy"),
    ("journal without wallet", "delete from wallet where wallet_id = :quiet"),
    (
        "each row continues the last",
        "update journal set real_after = real_after + 1 where wallet_id = :busy and version = 2",
    ),
    ("no bucket negative", "update journal set debt_after = -1 where wallet_id = :busy and version = 2"),
    (
        "house equals journal",
        "update house_delta set delta_minor = delta_minor + 1 where batch_id = (select min(batch_id) from house_delta)",
    ),
    (
        "booking on an account that is not there",
        "update journal set account_id = 999 where wallet_id = :busy and version = 1",
    ),
    ("money is conserved", "update wallet set held_minor = held_minor - 1 where wallet_id = :busy"),
    ("one currency a booking", "update wallet set currency = 'JPY' where wallet_id = :quiet"),
    ("every booking has its key", "delete from call_key where wallet_id = :busy and version = 3"),
    ("every accepted key has its booking", "delete from journal where wallet_id = :busy and version = 10"),
    ("a change of terms moves nothing", "update journal set op = 12 where wallet_id = :busy and version = 1"),
    ("a batch counts its bookings", f"update batch set bookings = bookings + 1 where {A_BATCH}"),
    ("a batch counts its bookings", f"update batch set counter_minor = counter_minor - 1 where {A_BATCH}"),
    ("a batch counts its bookings", f"delete from batch where {A_BATCH}"),
    (
        "a batch counts its bookings",
        "insert into batch (tenant_id, batch_id, bookings, lane, counter_minor) values (1, 987654321, 1, 1, 0)",
    ),
    ("a reversal fits what it reverses", f"update journal set op = 4 where {REVERSAL}"),
    ("a reversal fits what it reverses", f"update journal set reverses_version = 1 where {REVERSAL}"),
    ("a reversal fits what it reverses", f"update journal set reverses_version = null where {REVERSAL}"),
    ("a reversal fits what it reverses", f"update journal set reverses_version = 999 where {REVERSAL}"),
    ("a reversal fits what it reverses", f"update journal set account_id = account_id + 1 where {REVERSAL}"),
    ("a reversal fits what it reverses", f"update journal set round_id = null where {REVERSAL}"),
    (
        "a bet's rollback is its exact negation",
        f"update journal set d_real = d_real - 7, d_bonus = d_bonus + 7 where {REVERSAL}",
    ),
    ("a bet's rollback is its exact negation", f"update journal set d_real = d_real + 1 where {REVERSAL}"),
    ("a win's rollback takes back the claim", f"update journal set d_real = d_real + 1 where {OF_WIN}"),
    ("a win's rollback takes back the claim", f"update journal set real_after = 5 where {OF_WIN}"),
    ("a win's rollback takes back the claim", f"update journal set d_held = 1, d_real = d_real - 1 where {OF_WIN}"),
    (
        "a win's rollback takes back the claim",
        f"update journal set d_bonus = 5, d_real = d_real - 5, bonus_after = 5 where {OF_WIN}",
    ),
    (
        "a win's rollback takes back the claim",
        f"update journal set d_debt = -1, d_real = -81 where {OF_WIN}",
    ),
    (
        "a win's rollback takes back the claim",
        f"update journal set d_bonus = -5, d_real = d_real + 5 where {OF_WIN}",
    ),
    ("open holds equal held", "update hold set amount_minor = amount_minor + 1 where wallet_id = :busy and state = 1"),
    ("awards equal bonus", "update award set remaining_minor = remaining_minor + 1 where wallet_id = :busy"),
    (
        "an award holds what its entries leave",
        "update award set remaining_minor = remaining_minor + 1 where wallet_id = :busy",
    ),
    (
        "award entries equal the bonus moved",
        "update award_entry set version = version - 1 where wallet_id = :busy and version = 4",
    ),
    (
        "what was wagered is what was staked of an award",
        "update award set wagered_minor = wagered_minor + 1 where wallet_id = :busy",
    ),
    ("bonus becomes real without the house", "update journal set op = 13 where wallet_id = :busy and version = 2"),
    ("an open award is marked", "update wallet set has_awards = false where wallet_id = :busy"),
)
"""By the check that must see it; every check has one, and each of its conditions too."""


@asynccontextmanager
async def damaged(books: Books, damage: str) -> AsyncIterator[AsyncSession]:
    """Yield a session in which the books are damaged past all guards; the damage is taken back."""
    engine = create_engine(books.house.database.admin_url)
    try:
        async with engine.connect() as connection, AsyncSession(bind=connection) as session:
            await session.execute(text("set local session_replication_role = replica"))
            await session.execute(text("alter table journal drop constraint ck_journal_after"))
            if damage:
                seats = {"busy": books.busy, "quiet": books.quiet, "indebted": books.indebted}
                statement = text(damage)
                values = {name: seats[name].wallet_id for name in statement._bindparams}
                result = await session.execute(statement, values)
                assert result.rowcount == 1  # type: ignore[attr-defined]
            yield session
            await session.rollback()
    finally:
        await engine.dispose()


def by_check(findings: Iterable[Finding]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in findings:
        found.setdefault(finding.check, []).append(finding.subject)
    return found


async def test_sound_books_have_no_finding(books: Books) -> None:
    async with damaged(books, "") as session:
        proof = await verify_tenant(session, AURORA)
        assert (
            await verify_wallet_marks(session, AURORA, inactive_players=[], limited_wallets=[], licences=("", {})) == []
        )
    assert proof.findings == ()
    assert (proof.wallets, proof.bookings) == (3, 16)


def test_every_check_has_a_damage() -> None:
    assert {check for check, _ in DAMAGES} == set(_CHECKS)


@pytest.mark.parametrize(("check", "damage"), DAMAGES)
async def test_a_check_finds_its_damage(books: Books, check: str, damage: str) -> None:
    async with damaged(books, damage) as session:
        found = by_check((await verify_tenant(session, AURORA)).findings)
    assert check in found
    assert all(found[check])


async def test_a_debt_is_the_one_exception_to_exact_negation(books: Books) -> None:
    async with damaged(books, "") as session:
        row = await session.execute(
            text("select d_real, d_debt, real_after, debt_after from journal where wallet_id = :w and version = 5"),
            {"w": books.indebted.wallet_id},
        )
        assert row.one() == (-30, 50, 0, 50)


async def find_marks(
    books: Books,
    damage: str,
    *,
    inactive: Sequence[int] = (),
    limited: Sequence[int] = (),
    licences: tuple[str, dict[int, str]] = ("", {}),
) -> object:
    async with damaged(books, damage) as session:
        return by_check(
            await verify_wallet_marks(
                session, AURORA, inactive_players=inactive, limited_wallets=limited, licences=licences
            )
        )


async def test_a_wallets_status_is_held_against_the_players(books: Books) -> None:
    status, _, limited = _MARKS
    wallet_id, player_id = books.busy.wallet_id, books.busy.player_id
    block = "update wallet set status = 2 where wallet_id = :busy"
    mark = "update wallet set has_limits = true where wallet_id = :busy"
    assert await find_marks(books, "", inactive=[player_id]) == {status: [str(wallet_id)]}
    assert await find_marks(books, block) == {status: [str(wallet_id)]}
    assert await find_marks(books, block, inactive=[player_id]) == {}
    assert await find_marks(books, "", limited=[wallet_id]) == {limited: [str(wallet_id)]}
    assert await find_marks(books, mark, limited=[wallet_id]) == {}
    assert await find_marks(books, mark) == {}, "a mark that outlives its limit costs a look-up and no more"
    assert await find_marks(books, "", limited=[10**9]) == {limited: [str(10**9)]}


async def test_a_wallets_licence_is_held_against_the_players(books: Books) -> None:
    _, licence, _ = _MARKS
    wallet_id, player_id = books.busy.wallet_id, books.busy.player_id
    softer = "update wallet set licence = 'softer' where wallet_id = :busy"
    others = [str(each.wallet_id) for each in (books.quiet, books.indebted)]
    assert await find_marks(books, softer) == {licence: [str(wallet_id)]}
    assert await find_marks(books, softer, licences=("", {player_id: "softer"})) == {}
    assert await find_marks(books, "", licences=("", {player_id: "stricter"})) == {licence: [str(wallet_id)]}
    found = await find_marks(books, "", licences=("usual", {player_id: ""}))
    assert isinstance(found, dict)
    assert sorted(found[licence]) == sorted(others)


NOW = datetime.now(UTC)
CLAIM = AwardClaim("a1", 0, 300, 10_000, NOW + timedelta(days=1), NOW + timedelta(days=1))
"""The terms of the busy wallet's award, which was granted as its version 2."""


async def find_of_awards(books: Books, damage: str = "", *claims: AwardClaim) -> dict[str, list[str]]:
    async with damaged(books, damage) as session:
        return by_check(await verify_awards(session, AURORA, claims))


async def test_awards_are_held_against_their_terms(books: Books) -> None:
    busy, quiet = books.busy.wallet_id, books.quiet.wallet_id
    claim = msgspec.structs.replace(CLAIM, wallet_id=busy)
    hour = timedelta(hours=1)
    assert await find_of_awards(books, "", claim) == {}
    booked, termless = "an award is booked as it was ordered", "an award has its terms"
    staked, real = "nothing is staked of an award that has ended", "bonus becomes real when enough was staked"
    left = "what is left of an award is taken back"
    for change in ({"amount_minor": 301}, {"wallet_id": quiet}):
        assert booked in await find_of_awards(books, "", msgspec.structs.replace(claim, **change))
    # Version 4 staked 100 of it.
    over = msgspec.structs.replace(claim, expires_at=NOW - hour)
    assert await find_of_awards(books, "", over) == {staked: [f"{busy}/4"]}
    turned = "update journal set op = 13 where wallet_id = :busy and version = 5"
    assert real in await find_of_awards(books, turned, claim)
    met = msgspec.structs.replace(claim, required_minor=100)
    assert await find_of_awards(books, turned, met) == {}
    for ended_at, wanted in ((NOW - hour - timedelta(seconds=1), {left: [f"{busy}/2"]}), (NOW, {})):
        assert await find_of_awards(books, "", msgspec.structs.replace(claim, ended_at=ended_at)) == wanted
    stray = "insert into source (tenant_id, name) overriding system value values (1, 'bonus')"
    assert await find_of_awards(books, stray, claim) == {}
    theirs = "update source set name = 'bonus' where name = 'games.softswiss'"
    assert await find_of_awards(books, theirs) == {termless: [f"{busy}/2"]}


@pytest.mark.parametrize("check", [*_CHECKS, *_MARKS, "awards"])
async def test_no_check_goes_through_a_table_row_by_row(module_cell_database: PlaneDatabase, check: str) -> None:
    """Whatever the planner knows: here it knows nothing, and takes every table for a small one."""
    statement = {**_CHECKS, **_MARKS, "awards": _AWARDS}[check]
    statement = re.sub(r"cast\(:\w+ as (\w+)\[\]\)", r"array[]::\1[]", statement)
    async with open_cell(module_cell_database) as cell, cell.snapshot(AURORA) as session:
        await _plan_for_whole_tables(session)
        plan = "\n".join(await session.scalars(text(f"explain {statement}"), {"tenant_id": 1}))
    assert "Nested Loop" not in plan, plan
