"""Player accounts in a real database: registration, sign-in, sessions, status, closing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from sqlalchemy import text
from tests.factories.databases import PlaneDatabase
from tests.factories.keys import make_ring
from tests.factories.players import (
    AURORA,
    JADE,
    PASSWORD,
    TERMS,
    make_origin,
    make_registration,
    open_cell,
    register,
    sign_in,
)

from pitboss.accounts import service as accounts
from pitboss.accounts.contracts import BrandTerms, Player, PlayerStatus, SignIn, SignInFailure, StatusReason
from pitboss.accounts.errors import EmailTaken, MoneyLeft, PlayerClosed, PlayerNotFound, SessionInvalid, TooManyAttempts
from pitboss.accounts.runtime import Passwords
from pitboss.accounts.service import player_actor
from pitboss.audit.contracts import EventFilter
from pitboss.audit.service import list_events
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, ActorKind, TenantScope
from pitboss.platform.db import Database

OPERATOR = Actor(ActorKind.OPERATOR, "operator")


@pytest.fixture
async def cell(module_cell_database: PlaneDatabase) -> AsyncIterator[Database]:
    async with open_cell(module_cell_database) as database:
        yield database


@pytest.fixture(scope="module")
def passwords() -> Passwords:
    return Passwords()


async def fetch(cell: Database, public_id: UUID, scope: TenantScope = AURORA) -> Player:
    async with cell.transaction(scope) as session:
        return await accounts.get_player(session, scope, public_id)


async def event_types(cell: Database, player: Player) -> list[str]:
    async with cell.transaction(AURORA) as session:
        page = await list_events(session, AURORA, EventFilter(target=f"player:{player.public_id}"))
    return [event.type for event in reversed(page.items)]


async def find(cell: Database, token: str, scope: TenantScope = AURORA) -> Player | None:
    async with cell.transaction(scope) as session:
        found = await accounts.find_session(session, scope, token)
    return found.player if found else None


async def run_as_admin(database: PlaneDatabase, statement: str, **values: object) -> None:
    """Move time or rows in a way that no login of the application may."""
    from pitboss.platform.db import create_engine

    admin = create_engine(database.admin_url)
    async with admin.begin() as connection:
        await connection.execute(text(statement), values)
    await admin.dispose()


async def test_a_player_registers_signs_in_and_out(cell: Database, passwords: Passwords) -> None:
    registration = make_registration(language="pt-BR")
    player = await register(cell, passwords, registration)
    assert (player.status, player.currency, player.language) == (PlayerStatus.ACTIVE, "EUR", "pt-BR")
    signed = await sign_in(cell, passwords, f"  {registration.email.upper()} ")
    assert isinstance(signed, SignIn)
    assert signed.player == player
    assert await find(cell, signed.token) == player
    async with cell.transaction(AURORA) as session:
        current = await accounts.get_session(session, AURORA, signed.token)
        await accounts.sign_out(session, AURORA, current, make_origin())
        await accounts.sign_out(session, AURORA, current, make_origin())
    assert await find(cell, signed.token) is None
    assert await event_types(cell, player) == ["player.registered", "player.signed_in", "player.signed_out"]


async def test_an_address_registers_once_a_brand_however_it_is_spelt(cell: Database, passwords: Passwords) -> None:
    registration = make_registration()
    await register(cell, passwords, registration)
    async with cell.transaction(AURORA) as session:
        before = (await session.execute(text("select count(*) from player"))).scalar_one()
    for email in (registration.email, f" {registration.email.upper()}"):
        with pytest.raises(EmailTaken):
            await register(cell, passwords, make_registration(email=email))
    async with cell.transaction(AURORA) as session:
        assert (await session.execute(text("select count(*) from player"))).scalar_one() == before
    other_brand = BrandTerms("aurora-live", TERMS.languages, "en", TERMS.currencies)
    await register(cell, passwords, registration, terms=other_brand)
    await register(cell, passwords, registration, scope=JADE)


async def test_simultaneous_registrations_make_one_account(cell: Database, passwords: Passwords) -> None:
    registration = make_registration()
    results = await asyncio.gather(*(register(cell, passwords, registration) for _ in range(8)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["EmailTaken"] * 7 + ["Player"]


async def test_unknown_and_wrong_get_the_same_answer(cell: Database, passwords: Passwords) -> None:
    registration = make_registration()
    player = await register(cell, passwords, registration)
    assert await sign_in(cell, passwords, registration.email, "another password") is SignInFailure.WRONG
    assert await sign_in(cell, passwords, "nobody@example.com") is SignInFailure.WRONG
    assert await sign_in(cell, passwords, registration.email, scope=JADE) is SignInFailure.WRONG
    assert await sign_in(cell, passwords, registration.email, brand="aurora-live") is SignInFailure.WRONG
    assert await sign_in(cell, passwords, "not an address \x00") is SignInFailure.WRONG
    assert await event_types(cell, player) == ["player.registered", "player.sign_in_failed"]


async def test_an_account_that_does_not_exist_costs_a_hash_too() -> None:
    """Measured in argon2 runs, not in time: the same work is done whether or not there is a hash to compare with."""
    passwords = Passwords()
    hasher = passwords._hasher
    checked: list[str] = []

    class Counting:
        def hash(self, password: str) -> str:
            return hasher.hash(password)

        def verify(self, password_hash: str, password: str) -> bool:
            checked.append(password_hash)
            return hasher.verify(password_hash, password)

    passwords._hasher = Counting()  # type: ignore[assignment]
    somebodys = await passwords.hash(PASSWORD)
    assert not await passwords.verify("", PASSWORD)
    assert not await passwords.verify(somebodys, "another password")
    assert await passwords.verify(somebodys, PASSWORD)
    assert len(checked) == 3
    costs = {password_hash.rpartition("$")[0].rpartition("$")[0] for password_hash in checked}
    assert costs == {"$argon2id$v=19$m=19456,t=2,p=1"}


async def test_hashing_leaves_the_event_loop_free() -> None:
    """Hashing waits for what only the loop does; on the loop it would wait in vain."""
    begun, loop_is_free = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    class Waiting:
        def hash(self, password: str) -> str:
            loop.call_soon_threadsafe(begun.set)
            assert loop_is_free.wait(30), "the loop did not run meanwhile"
            return f"hash of {password}"

    passwords = Passwords()
    passwords._hasher = Waiting()  # type: ignore[assignment]
    hashing = asyncio.create_task(passwords.hash(PASSWORD))
    await begun.wait()
    loop_is_free.set()
    assert await hashing == f"hash of {PASSWORD}"


async def test_guessing_is_slowed_down_and_the_right_password_too(cell: Database, passwords: Passwords) -> None:
    registration = make_registration()
    await register(cell, passwords, registration)
    for _ in range(10):
        assert await sign_in(cell, passwords, registration.email, "guess") is SignInFailure.WRONG
    with pytest.raises(TooManyAttempts):
        await sign_in(cell, passwords, registration.email)


async def test_simultaneous_guesses_get_exactly_what_is_allowed(cell: Database) -> None:
    email = make_registration().email

    async def guess() -> bool:
        try:
            async with cell.transaction(AURORA) as session:
                await accounts.begin_sign_in(
                    session, AURORA, make_ring(), brand="aurora", email=email, origin=make_origin()
                )
        except TooManyAttempts:
            return False
        return True

    assert sum(await asyncio.gather(*(guess() for _ in range(40)))) == 10


async def test_an_address_on_the_network_is_counted_over_all_accounts(cell: Database) -> None:
    allowed = 0
    try:
        for _ in range(130):
            async with cell.transaction(AURORA) as session:
                await accounts.begin_sign_in(
                    session,
                    AURORA,
                    make_ring(),
                    brand="aurora",
                    email=make_registration().email,
                    origin=make_origin("198.51.100.9"),
                )
            allowed += 1
    except TooManyAttempts:
        pass
    assert 100 <= allowed < 130


async def test_success_gives_the_allowance_back(cell: Database, passwords: Passwords) -> None:
    registration = make_registration()
    await register(cell, passwords, registration)
    for _ in range(3):
        for _ in range(7):
            await sign_in(cell, passwords, registration.email, "guess")
        assert isinstance(await sign_in(cell, passwords, registration.email), SignIn)


async def test_a_session_ends_by_idleness_and_by_age(
    cell: Database, passwords: Passwords, module_cell_database: PlaneDatabase
) -> None:
    registration = make_registration()
    player = await register(cell, passwords, registration)
    idle, old, fresh = [await sign_in(cell, passwords, registration.email) for _ in range(3)]
    assert isinstance(idle, SignIn)
    assert isinstance(old, SignIn)
    assert isinstance(fresh, SignIn)
    move = "update player_session set {} where token_hash = sha256(cast(:token as bytea))"
    await run_as_admin(
        module_cell_database, move.format("last_seen_at = now() - interval '31 minutes'"), token=idle.token.encode()
    )
    await run_as_admin(module_cell_database, move.format("expires_at = now()"), token=old.token.encode())
    await run_as_admin(
        module_cell_database, move.format("last_seen_at = now() - interval '29 minutes'"), token=fresh.token.encode()
    )
    assert await find(cell, idle.token) is None
    assert await find(cell, old.token) is None
    assert await find(cell, fresh.token) == player
    # The use was noted: the next half hour begins now.
    async with cell.transaction(AURORA) as session:
        seen = await session.execute(
            text(
                "select count(*) from player_session where player_id = :id and last_seen_at > now() - interval '1 minute'"
            ),
            {"id": player.player_id},
        )
        assert seen.scalar_one() == 2  # the fresh one, and the one that is only too old
    async with (
        open_cell(module_cell_database, module_cell_database.worker_url) as worker,
        worker.transaction(AURORA) as session,
    ):
        assert await accounts.prune_sessions(session, AURORA) >= 2
    assert await find(cell, fresh.token) == player


async def test_a_token_is_worth_nothing_elsewhere_or_changed(cell: Database, passwords: Passwords) -> None:
    registration = make_registration()
    await register(cell, passwords, registration)
    signed = await sign_in(cell, passwords, registration.email)
    assert isinstance(signed, SignIn)
    assert await find(cell, signed.token, JADE) is None
    for token in ("", signed.token[:-1], signed.token + "A", signed.token.swapcase(), "é" * 40, "\ud800"):
        assert await find(cell, token) is None
        async with cell.transaction(AURORA) as session:
            with pytest.raises(SessionInvalid):
                await accounts.get_session(session, AURORA, token)


async def test_no_token_or_password_stands_in_the_database(
    cell: Database, passwords: Passwords, module_cell_database: PlaneDatabase
) -> None:
    registration = make_registration()
    await register(cell, passwords, registration)
    signed = await sign_in(cell, passwords, registration.email)
    assert isinstance(signed, SignIn)
    from pitboss.platform.db import create_engine

    admin = create_engine(module_cell_database.admin_url)
    async with admin.connect() as connection:
        tables = list(
            await connection.scalars(text("select tablename from pg_tables where schemaname = 'public' order by 1"))
        )
        assert "player_session" in tables
        for table in tables:
            rows = " ".join(await connection.scalars(text(f"select t::text from {table} t")))
            assert signed.token not in rows
            assert signed.token.encode().hex() not in rows
            assert registration.password not in rows
    await admin.dispose()


async def set_status(cell: Database, player: Player, status: PlayerStatus) -> Player:
    async with cell.transaction(AURORA) as session:
        return await accounts.change_status(
            session,
            AURORA,
            player.public_id,
            status=status,
            reason=StatusReason.OPERATOR_REVIEW,
            actor=OPERATOR,
            origin=make_origin(),
        )


async def close(cell: Database, player: Player, *, holds_money: bool = False) -> Player:
    async with cell.transaction(AURORA) as session:
        return await accounts.close(
            session,
            AURORA,
            player.public_id,
            holds_money=holds_money,
            reason=StatusReason.PLAYER_REQUEST,
            actor=player_actor(player),
            origin=make_origin(),
        )


async def test_suspending_ends_sessions_and_bars_sign_in_until_it_is_lifted(
    cell: Database, passwords: Passwords
) -> None:
    registration = make_registration()
    player = await register(cell, passwords, registration)
    signed = await sign_in(cell, passwords, registration.email)
    assert isinstance(signed, SignIn)
    suspended = await set_status(cell, player, PlayerStatus.SUSPENDED)
    assert (suspended.status, suspended.status_reason) == (PlayerStatus.SUSPENDED, "operator_review")
    assert await fetch(cell, player.public_id) == suspended
    assert await find(cell, signed.token) is None
    assert await sign_in(cell, passwords, registration.email) is SignInFailure.NOT_ACTIVE
    assert await sign_in(cell, passwords, registration.email, "guess") is SignInFailure.WRONG
    await set_status(cell, player, PlayerStatus.ACTIVE)
    await set_status(cell, player, PlayerStatus.ACTIVE)
    assert isinstance(await sign_in(cell, passwords, registration.email), SignIn)
    assert (await event_types(cell, player)).count("player.status_changed") == 2


async def test_closing_is_final_and_refused_while_there_is_money(cell: Database, passwords: Passwords) -> None:
    registration = make_registration()
    player = await register(cell, passwords, registration)
    signed = await sign_in(cell, passwords, registration.email)
    assert isinstance(signed, SignIn)
    before = await event_types(cell, player)
    with pytest.raises(MoneyLeft):
        await close(cell, player, holds_money=True)
    assert await fetch(cell, player.public_id) == player
    assert await find(cell, signed.token) == player
    assert await event_types(cell, player) == before

    closed = await close(cell, player)
    assert (closed.status, closed.status_reason) == (PlayerStatus.CLOSED, "player_request")
    assert closed.closed_at is not None
    assert await close(cell, player) == closed
    assert await find(cell, signed.token) is None
    assert await sign_in(cell, passwords, registration.email) is SignInFailure.NOT_ACTIVE
    for status in (PlayerStatus.ACTIVE, PlayerStatus.SUSPENDED):
        with pytest.raises(PlayerClosed):
            await set_status(cell, player, status)
    assert (await event_types(cell, player)).count("player.closed") == 1
    with pytest.raises(EmailTaken):
        await register(cell, passwords, registration)


async def test_another_tenants_player_is_not_found_and_not_touched(cell: Database, passwords: Passwords) -> None:
    player = await register(cell, passwords, make_registration())
    for public_id in (player.public_id, new_uuid()):
        async with cell.transaction(JADE) as session:
            for call in (
                accounts.get_player(session, JADE, public_id),
                accounts.get_identity(session, JADE, make_ring(), player),
                accounts.change_status(
                    session,
                    JADE,
                    public_id,
                    status=PlayerStatus.SUSPENDED,
                    reason=StatusReason.OPERATOR_REVIEW,
                    actor=OPERATOR,
                    origin=make_origin(),
                ),
            ):
                with pytest.raises(PlayerNotFound):
                    await call
    assert await fetch(cell, player.public_id) == player


async def test_an_account_id_of_a_call_is_found_for_its_own_tenant_only(
    cell: Database, passwords: Passwords, module_cell_database: PlaneDatabase
) -> None:
    import asyncpg

    from pitboss.platform.db import SET_SESSION_CONTEXT, ContextSigner

    own = await register(cell, passwords, make_registration())
    foreign = await register(cell, passwords, make_registration(), scope=JADE)
    asked = [(1, own.public_id), (2, foreign.public_id), (1, foreign.public_id), (2, own.public_id)]
    connection = await asyncpg.connect(module_cell_database.app_url)
    signer = ContextSigner(module_cell_database.context_keys)
    await connection.execute(SET_SESSION_CONTEXT, signer.sign([1, 2], connection.get_server_pid()))
    assert await accounts.read_player_numbers(connection, asked) == {
        (1, own.public_id): own.player_id,
        (2, foreign.public_id): foreign.player_id,
    }
    await connection.execute(SET_SESSION_CONTEXT, signer.sign([1], connection.get_server_pid()))
    assert await accounts.read_player_numbers(connection, asked) == {(1, own.public_id): own.player_id}
    await connection.close()
