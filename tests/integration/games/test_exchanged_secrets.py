"""A secret that is exchanged in the file is taken up by processes that go on running, and the one before is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories.players import AURORA
from tests.factories.players import open_cell as open_database
from tests.integration.games.conftest import SECRETS, GamesUnderTest

from pitboss.cli.simulate.softswiss import Softswiss

NEW = "exchanged-" + "7" * 32
FORGED = "403"
UNREADABLE = "test-secret = "
LACKING = 'another = "1"\n'


def write(folder: Path, text: str) -> None:
    (folder / "secrets.toml").write_text(text)


async def ask(games: GamesUnderTest, secret: str) -> str:
    """Return the code that a call signed with `secret` is answered with; whom it asks for does not exist."""
    body = b'{"account_id":"1","currency":"EUR"}'
    headers = {games.vendor.signature_header: Softswiss("aurora", secret.encode()).sign(body)}
    answer = await games.client.post("/wallet/aurora/softswiss/balance", content=body, headers=headers)
    return str(answer.json()["meta"]["api_code"])


async def await_refusal(games: GamesUnderTest, secret: str) -> None:
    async with asyncio.timeout(20):
        while await ask(games, secret) != FORGED:  # noqa: ASYNC110 - the renewal tells nobody
            await asyncio.sleep(0.1)


async def test_callbacks_are_verified_with_the_exchanged_secret(games: GamesUnderTest, tmp_path: Path) -> None:
    old = SECRETS["test-secret"]
    assert await ask(games, old) != FORGED
    assert await ask(games, NEW) == FORGED
    write(tmp_path, f'test-secret = "{NEW}"\n')
    await await_refusal(games, old)
    assert await ask(games, NEW) != FORGED


async def test_a_file_that_cannot_be_used_takes_nobody_out_of_service(games: GamesUnderTest, tmp_path: Path) -> None:
    old = SECRETS["test-secret"]
    for text in (UNREADABLE, LACKING):
        write(tmp_path, text)
        await asyncio.sleep(5)  # more than two renewals
        assert await ask(games, old) != FORGED
        assert await ask(games, NEW) == FORGED
    write(tmp_path, f'test-secret = "{NEW}"\n')
    await await_refusal(games, old)


async def test_a_driver_is_made_anew_for_another_secret_only(games: GamesUnderTest, tmp_path: Path) -> None:
    async def get(session: AsyncSession) -> object:
        return await games.drivers.get(session, AURORA, "softswiss")

    path = tmp_path / "secrets.toml"
    async with open_database(games.database) as cell, cell.transaction(AURORA) as session:
        first = await get(session)
        path.write_text(path.read_text() + 'another = "1"\n')
        assert await get(session) is first
        for text in (UNREADABLE, LACKING):
            write(tmp_path, text)
            assert await get(session) is first
        write(tmp_path, f'test-secret = "{NEW}"\n')
        second = await get(session)
        assert second is not first
        assert await get(session) is second
