"""A context key that the database does not believe is named: otherwise every table would look empty, and in order."""

from __future__ import annotations

import subprocess
import sys

import asyncpg
import msgspec
from tests.factories.databases import PlaneDatabase
from tests.factories.tenants import environment_of
from tests.factories.web import BROWSER, cell_settings, open_cell, store_directory

from pitboss.platform.settings import ContextKey, Settings


def command(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pitboss.bootstrap", *words],
        check=False,
        env=environment_of(settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


async def test_a_command_of_a_cell_refuses_to_look_at_nothing(cell_database: PlaneDatabase, redis_url: str) -> None:
    settings = cell_settings(cell_database, redis_url)
    await store_directory(settings)
    stranger = msgspec.structs.replace(settings, context_keys=(ContextKey("k9", b"9" * 32),))
    for words in (("ledger", "verify"), ("audit", "list", "aurora")):
        refused = command(stranger, *words)
        assert refused.returncode == 1, refused.stdout
        assert "platform.context_refused" in refused.stderr
        assert refused.stdout == ""
        assert command(settings, *words).returncode == 0


async def test_a_command_of_a_cell_names_a_database_that_is_away(cell_database: PlaneDatabase, redis_url: str) -> None:
    settings = cell_settings(cell_database, redis_url)
    away = msgspec.structs.replace(settings, cell_database_url="postgresql://nobody:x@127.0.0.1:1/nothing")
    refused = command(away, "ledger", "verify")
    assert refused.returncode == 1
    assert "platform.database_unavailable" in refused.stderr


async def test_a_process_whose_key_is_believed_no_more_is_not_ready(
    cell_database: PlaneDatabase, redis_url: str
) -> None:
    async with open_cell(cell_database, redis_url) as web, web.client("127.0.0.1", BROWSER) as client:
        assert (await client.get("/readyz")).status_code == 200
        admin = await asyncpg.connect(cell_database.admin_url)
        try:
            await admin.execute("update ctx.key set valid_until = now()")
        finally:
            await admin.close()
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert set(answer.json()["problems"]) == {"database"}
        assert "PITBOSS_CONTEXT_KEYS" in answer.json()["problems"]["database"]
