"""Each invariant is attacked by SQL as the application itself; each guard is taken away, and then the attack succeeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import pytest
from tests.integration.ledger.conftest import Books

from pitboss.platform.db import ContextSigner

APP = "pitboss_app_test_cell"
MOVES = "drop trigger moves_wallets on journal"
VERSIONS = "alter table journal drop constraint ck_journal_version"
RESOLVES = "drop trigger resolves_once on hold"
BALANCES = "grant update on wallet to pitboss_app"


@dataclass(frozen=True)
class Attack:
    """What is tried, and all guards against it: without every one of them it succeeds, with any one it does not."""

    name: str
    statement: str
    guards: tuple[str, ...]


def book(
    d_real: str, real_after: str, step: int = 1, reverses: str = "null::bigint", wallet_id: str = "wallet_id"
) -> str:
    """Return a statement that books a row on the busy wallet, as a posting does."""
    return f"""
        insert into journal (tenant_id, wallet_id, version, batch_id, d_real, d_bonus, d_held, d_debt, real_after,
            bonus_after, held_after, debt_after, reverses_version, account_id, source_id, op, reference)
        select tenant_id, {wallet_id}, version + {step}, 1, {d_real}, 0, 0, 0, {real_after}, bonus_minor, held_minor,
            debt_minor, {reverses}, (select min(account_id) from house_account), 1, 1, 'attack'
        from wallet where wallet_id = $1"""


def append_only(table: str) -> list[Attack]:
    where = "wallet_id = $1" if table != "batch" else "$1::bigint is not null"
    trigger = f"drop trigger append_only on {table}"
    return [
        Attack(
            f"{table} is changed",
            f"update {table} set tenant_id = tenant_id where {where}",
            (trigger, f"grant update on {table} to pitboss_app"),
        ),
        Attack(
            f"{table} loses rows",
            f"delete from {table} where {where}",
            (trigger, f"grant delete on {table} to pitboss_app"),
        ),
        Attack(f"{table} is emptied", f"truncate {table}", (trigger, f"grant truncate on {table} to pitboss_app")),
    ]


ATTACKS: Sequence[Attack] = (
    Attack("a bare balance", "update wallet set real_minor = real_minor + 1 where wallet_id = $1", (BALANCES,)),
    Attack("a debt forgiven", "update wallet set debt_minor = 0 where wallet_id = $1", (BALANCES,)),
    Attack("a version without a row", "update wallet set version = version + 1 where wallet_id = $1", (BALANCES,)),
    Attack("a blocked wallet opened in silence", "update wallet set status = 1 where wallet_id = $1", (BALANCES,)),
    Attack("limits forgotten in silence", "update wallet set has_limits = false where wallet_id = $1", (BALANCES,)),
    Attack("another currency", "update wallet set currency = 'JPY' where wallet_id = $1", (BALANCES,)),
    Attack(
        "a wallet that opens with money",
        "insert into wallet (tenant_id, player_id, currency, real_minor) values (1, $1, 'XXX', 100)",
        ("drop trigger opens_empty on wallet",),
    ),
    Attack("a row of a wallet that is not there", book("5", "real_minor + 5", wallet_id="wallet_id + 1000"), (MOVES,)),
    Attack("a gap in the versions", book("5", "real_minor + 5", step=2), (MOVES,)),
    Attack("a row before the last", book("5", "real_minor + 5", step=-100), (MOVES, VERSIONS)),
    Attack("other deltas than the balance", book("1", "real_minor + 100"), (MOVES,)),
    Attack(
        "a second row that does not continue the first",
        f"with a as ({book('5', 'real_minor + 5')}) {book('5', 'real_minor + 5', step=2)}",
        (MOVES,),
    ),
    Attack(
        "a negative bucket",
        book("-real_minor - 1", "-1"),
        ("alter table wallet drop constraint ck_wallet_real", "alter table journal drop constraint ck_journal_after"),
    ),
    Attack(
        "a row that does not sum to zero",
        book("5", "real_minor + 5").replace("reference)", "reference, d_counter)").replace("'attack'", "'attack', 0"),
        ("alter table journal alter column d_counter drop expression",),
    ),
    Attack(
        "a second reversal",
        book("5", "real_minor + 5", reverses="3"),
        ("drop index uq_journal_reverses",),
    ),
    Attack(
        "a hold captured above its amount",
        "update hold set captured_minor = amount_minor + 1, state = 2 where wallet_id = $1 and state = 1",
        ("alter table hold drop constraint ck_hold_resolved",),
    ),
    Attack(
        "a hold that stays open when nothing is left",
        "update hold set released_minor = amount_minor - captured_minor where wallet_id = $1 and state = 1",
        ("alter table hold drop constraint ck_hold_state",),
    ),
    Attack(
        "a resolved hold opens again",
        "update hold set state = 1, released_minor = 0, resolved_at = null where wallet_id = $1 and state <> 1",
        (RESOLVES,),
    ),
    Attack(
        "a capture is taken back",
        "update hold set captured_minor = 0 where wallet_id = $1 and captured_minor > 0",
        (RESOLVES,),
    ),
    Attack(
        "a hold that begins captured above its amount",
        "insert into hold (tenant_id, wallet_id, opened_version, amount_minor, captured_minor, state, expires_at)"
        " values (1, $1, 999, 10, 11, 2, now())",
        ("alter table hold drop constraint ck_hold_resolved",),
    ),
    Attack(
        "a second outcome for a key",
        "insert into call_key select tenant_id, source_id, 2, 1, wallet_id, content_hash, 0, 0, key"
        " from (select tenant_id, source_id, wallet_id, content_hash, key from call_key where wallet_id = $1 limit 1) k",
        ("alter table call_key drop constraint pk_call_key",),
    ),
    Attack(
        "an award below zero",
        "update award set remaining_minor = -1 where wallet_id = $1",
        ("alter table award drop constraint ck_award_remaining",),
    ),
    *[attack for table in ("journal", "call_key", "batch", "award_entry") for attack in append_only(table)],
)


async def attempt(books: Books, attack: Attack, without: Sequence[str]) -> str:
    """Attack as the application in a transaction that is rolled back; return what came of it."""
    connection = await asyncpg.connect(books.house.database.admin_url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        for guard in without:
            await connection.execute(guard)
        await connection.execute(f"set local role {APP}")
        token = ContextSigner(books.house.database.context_keys).sign([1], connection.get_server_pid())
        await connection.execute("select set_config('pitboss.ctx', $1, true)", token)
        values = [books.busy.wallet_id] if "$1" in attack.statement else []
        try:
            status = await connection.execute(attack.statement, *values)
        except asyncpg.PostgresError as error:
            return f"refused: {error}"
        rows = status.rsplit(" ", 1)[-1]
        return "done" if status.startswith("TRUNCATE") or int(rows) else "nothing was there to attack"
    finally:
        await connection.close()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_an_attack_is_refused(books: Books, attack: Attack) -> None:
    assert (await attempt(books, attack, ())).startswith("refused")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_without_its_guards_an_attack_succeeds(books: Books, attack: Attack) -> None:
    assert await attempt(books, attack, attack.guards) == "done"


@pytest.mark.parametrize(
    "attack", [attack for attack in ATTACKS if len(attack.guards) > 1], ids=lambda attack: attack.name
)
async def test_each_guard_holds_alone(books: Books, attack: Attack) -> None:
    for guard in attack.guards:
        others = [other for other in attack.guards if other != guard]
        assert (await attempt(books, attack, others)).startswith("refused"), guard


async def test_an_ordinary_posting_passes_every_guard(books: Books) -> None:
    posting = Attack("a posting", book("5", "real_minor + 5"), ())
    assert await attempt(books, posting, ()) == "done"
