"""Password reset: a token that exists in the mail alone, works once and not for long, and tells nobody who has an account."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.factories.databases import PlaneDatabase
from tests.factories.keys import make_ring
from tests.factories.players import AURORA, JADE, PASSWORD, make_origin, make_registration, open_cell, register, sign_in

from pitboss.accounts import service as accounts
from pitboss.accounts.contracts import Letter, Player, SignIn, SignInFailure, StatusReason
from pitboss.accounts.errors import ResetTokenInvalid, TooManyAttempts
from pitboss.accounts.runtime import Passwords
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import Database, create_engine
from pitboss.platform.mail import MailSpool
from pitboss.platform.outbox import lease_due
from pitboss.worker.account_jobs import account_jobs

NEW_PASSWORD = "another horse, another battery"


@pytest.fixture
async def cell(cell_database: PlaneDatabase) -> AsyncIterator[Database]:
    async with open_cell(cell_database) as database:
        yield database


@pytest.fixture
async def worker(cell_database: PlaneDatabase) -> AsyncIterator[Database]:
    async with open_cell(cell_database, cell_database.worker_url) as database:
        yield database


@pytest.fixture(scope="module")
def passwords() -> Passwords:
    return Passwords()


async def ask(cell: Database, email: str, brand: str = "aurora") -> None:
    async with cell.transaction(AURORA) as session:
        await accounts.request_password_reset(
            session, AURORA, make_ring(), brand=brand, domain="aurora.example", email=email, origin=make_origin()
        )


async def take_jobs(worker: Database) -> list[dict[str, Any]]:
    async with worker.transaction(AURORA) as session:
        jobs = await lease_due(session)
    assert {job.job for job in jobs} <= {accounts.RESET_MAIL_JOB}
    return [job.payload for job in jobs]


async def make_letter(worker: Database, payload: dict[str, Any]) -> Letter | None:
    async with worker.transaction(AURORA) as session:
        return await accounts.make_password_reset(
            session,
            AURORA,
            make_ring(),
            player_id=payload["player_id"],
            domain=payload["domain"],
            causation_id=payload["causation_id"],
        )


def token_in(letter: Letter) -> str:
    (token,) = re.findall(r"#token=(\S+)", letter.body)
    return token


async def get_letter(cell: Database, worker: Database, email: str) -> Letter:
    await ask(cell, email)
    (payload,) = await take_jobs(worker)
    letter = await make_letter(worker, payload)
    assert letter is not None
    return letter


async def reset(cell: Database, passwords: Passwords, token: str, scope: TenantScope = AURORA) -> None:
    password_hash = await passwords.hash(NEW_PASSWORD)
    async with cell.transaction(scope) as session:
        await accounts.reset_password(session, scope, token=token, password_hash=password_hash, origin=make_origin())


async def test_a_token_replaces_the_password_once_and_ends_all_sessions(
    cell: Database, worker: Database, passwords: Passwords
) -> None:
    registration = make_registration()
    await register(cell, passwords, registration)
    signed = await sign_in(cell, passwords, registration.email)
    assert isinstance(signed, SignIn)
    letter = await get_letter(cell, worker, registration.email)
    assert letter.recipient == registration.email
    async with cell.transaction(AURORA) as session:
        await accounts.check_reset_token(session, AURORA, token_in(letter))
    await reset(cell, passwords, token_in(letter))
    async with cell.transaction(AURORA) as session:
        assert await accounts.find_session(session, AURORA, signed.token) is None
    assert await sign_in(cell, passwords, registration.email, PASSWORD) is SignInFailure.WRONG
    assert isinstance(await sign_in(cell, passwords, registration.email, NEW_PASSWORD), SignIn)
    with pytest.raises(ResetTokenInvalid):
        await reset(cell, passwords, token_in(letter))


async def test_simultaneous_uses_of_a_token_replace_once(
    cell: Database, worker: Database, passwords: Passwords
) -> None:
    registration = make_registration()
    await register(cell, passwords, registration)
    token = token_in(await get_letter(cell, worker, registration.email))
    results = await asyncio.gather(*(reset(cell, passwords, token) for _ in range(6)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NoneType"] + ["ResetTokenInvalid"] * 5


async def test_an_old_a_foreign_and_an_invented_token_are_one_refusal(
    cell: Database, worker: Database, passwords: Passwords, cell_database: PlaneDatabase
) -> None:
    registration = make_registration()
    await register(cell, passwords, registration)
    token = token_in(await get_letter(cell, worker, registration.email))
    details: set[str] = set()
    for wrong, scope in ((token, JADE), ("invented", AURORA), (token + "A", AURORA), ("", AURORA)):
        with pytest.raises(ResetTokenInvalid) as refused:
            await reset(cell, passwords, wrong, scope)
        details.add(refused.value.detail)
    admin = create_engine(cell_database.admin_url)
    async with admin.begin() as connection:
        await connection.execute(text("update password_reset set expires_at = now()"))
    await admin.dispose()
    with pytest.raises(ResetTokenInvalid) as refused:
        await reset(cell, passwords, token)
    details.add(refused.value.detail)
    assert len(details) == 1
    assert isinstance(await sign_in(cell, passwords, registration.email), SignIn)


async def test_using_one_token_uses_up_the_others(cell: Database, worker: Database, passwords: Passwords) -> None:
    registration = make_registration()
    await register(cell, passwords, registration)
    first = token_in(await get_letter(cell, worker, registration.email))
    second = token_in(await get_letter(cell, worker, registration.email))
    await reset(cell, passwords, second)
    with pytest.raises(ResetTokenInvalid):
        await reset(cell, passwords, first)


async def test_what_is_left_behind_is_the_same_for_an_unknown_address(
    cell: Database, worker: Database, passwords: Passwords
) -> None:
    registration = make_registration()
    player = await register(cell, passwords, registration)
    await ask(cell, registration.email)
    await ask(cell, "nobody@example.com")
    await ask(cell, "no address")
    known, unknown, senseless = await take_jobs(worker)
    assert known.keys() == unknown.keys() == senseless.keys()
    assert known["player_id"] == player.player_id
    assert await make_letter(worker, unknown) is None
    assert await make_letter(worker, senseless) is None
    for payload in (known, unknown, senseless):
        assert registration.email not in str(payload)
        assert "nobody" not in str(payload)


async def test_nobody_can_be_flooded_with_mail(cell: Database, passwords: Passwords) -> None:
    registration = make_registration()
    await register(cell, passwords, registration)
    for email in (registration.email, "nobody@example.com"):
        for _ in range(3):
            await ask(cell, email)
        with pytest.raises(TooManyAttempts):
            await ask(cell, email)


async def test_a_closed_account_gets_no_mail_and_its_token_dies(
    cell: Database, worker: Database, passwords: Passwords
) -> None:
    registration = make_registration()
    player = await register(cell, passwords, registration)
    token = token_in(await get_letter(cell, worker, registration.email))
    await ask(cell, registration.email)
    await close(cell, player)
    (payload,) = await take_jobs(worker)
    assert await make_letter(worker, payload) is None
    with pytest.raises(ResetTokenInvalid):
        await reset(cell, passwords, token)


async def close(cell: Database, player: Player) -> None:
    async with cell.transaction(AURORA) as session:
        await accounts.close(
            session,
            AURORA,
            player.public_id,
            holds_money=False,
            reason=StatusReason.PLAYER_REQUEST,
            actor=accounts.player_actor(player),
            origin=make_origin(),
        )


@pytest.mark.parametrize(
    ("language", "first_name", "email", "words"),
    [
        ("en", "Zoë", "Zoë.{n}@example.com", "Choose a new password"),
        ("es", "Íñigo", "inigo.{n}@ejemplo.example", "Elige una contraseña nueva"),
        ("pt-BR", "João", "joão.{n}@m\u00fcnchen.example", "Escolha uma nova senha"),
    ],
)
async def test_the_mail_is_a_file_that_a_mail_program_reads(
    cell: Database,
    worker: Database,
    passwords: Passwords,
    tmp_path: Path,
    language: str,
    first_name: str,
    email: str,
    words: str,
) -> None:
    address = email.format(n=make_registration().email.split(".")[1])
    await register(cell, passwords, make_registration(language=language, first_name=first_name, email=address))
    await ask(cell, address)
    (payload,) = await take_jobs(worker)
    (job,) = [
        found
        for found in account_jobs(MailSpool(tmp_path / "mail"), make_ring())
        if found.name == accounts.RESET_MAIL_JOB
    ]
    for _ in range(2):  # a job that runs again writes the same mail, not another one
        async with worker.transaction(AURORA) as session:
            await job.handler(session, AURORA, payload)
    (path,) = (tmp_path / "mail").iterdir()
    assert (path.name, path.stat().st_mode & 0o777) == (f"aurora-{payload['mail_id']}.eml", 0o600)
    mail = message_from_bytes(path.read_bytes(), policy=policy.SMTPUTF8)
    assert (mail["To"], mail["From"], mail["Subject"]) == (address, "no-reply@aurora.example", words)
    assert mail["Content-Language"] == language
    body = mail.get_content()
    assert first_name in body
    (token,) = re.findall(r"https://aurora\.example/reset-password#token=(\S+)", body)
    await reset(cell, passwords, token)
    assert isinstance(await sign_in(cell, passwords, address, NEW_PASSWORD), SignIn)
