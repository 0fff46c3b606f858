"""`pitboss ledger verify` as an engineer runs it: clean books, a cent that appeared, a tenant that is not here."""

from __future__ import annotations

import json
import subprocess
import sys

import asyncpg
import msgspec
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, TERMS, make_registration, open_cell, register
from tests.factories.tenants import environment_of
from tests.factories.web import apply_policies, cell_settings, store_directory

from pitboss.accounts.runtime import Passwords
from pitboss.ledger import service as ledger
from pitboss.platform.settings import Settings


def verify(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pitboss.bootstrap", "ledger", "verify", *words],
        check=False,
        env=environment_of(settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


async def test_the_exit_code_says_whether_the_books_are_right(cell_database: PlaneDatabase, redis_url: str) -> None:
    settings = cell_settings(cell_database, redis_url)
    empty = verify(settings)
    assert (empty.returncode, "no directory snapshot" in empty.stderr) == (1, True)
    await store_directory(settings)
    await apply_policies(settings)
    async with open_cell(cell_database) as cell:
        wallets: list[int] = []
        for licence in ("", "one", "other"):  # the books do not ask which of them the tenant has
            terms = msgspec.structs.replace(TERMS, licence=licence)
            player = await register(cell, Passwords(), make_registration(), terms=terms)
            async with cell.transaction(AURORA) as session:
                wallets.append(await ledger.open_wallet(session, AURORA, player.player_id, "EUR", player.licence))
    clean = verify(settings)
    assert clean.returncode == 0, clean.stderr
    assert "3 tenants, 3 wallets, 0 bookings: every cent is where the journal says" in clean.stdout
    assert "aurora: money is conserved" in clean.stderr

    connection = await asyncpg.connect(cell_database.admin_url)
    try:
        await connection.execute("set session_replication_role = replica")  # past the guards
        await connection.execute("update wallet set real_minor = 1 where wallet_id = $1", wallets[0])
        await connection.execute("update player set status = 2 where licence = 'one'")
        await connection.execute("update wallet set licence = 'one' where licence = 'other'")
        await connection.execute(
            "insert into player_limit (tenant_id, wallet_id, kind, period, amount_minor)"
            " select tenant_id, wallet_id, 1, 1, 5 from wallet where licence = ''"
        )
    finally:
        await connection.close()
    wrong = verify(settings, "--json")
    assert wrong.returncode == 1
    found = {proof["tenant"]: proof["findings"] for proof in json.loads(wrong.stdout)}
    assert {finding["check"] for finding in found["aurora"]} == {
        "wallet equals journal",
        "money is conserved",
        "a wallet's status is its player's",
        "a wallet's licence is its player's",
        "a limited wallet is marked",
    }
    subjects = {finding["check"]: finding["subject"] for finding in found["aurora"]}
    assert subjects["wallet equals journal"] == str(wallets[0])
    assert subjects["a wallet's licence is its player's"] == str(wallets[2])
    assert found["jade"] == found["paused"] == []
    assert verify(settings, "--tenant", "jade").returncode == 0
    assert "nobody" in verify(settings, "--tenant", "nobody").stderr
