"""`pitboss rounds` as an engineer runs it: what is given out is proved, told in the log, and found cut off where it was."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from click.testing import CliRunner, Result
from tests.factories.databases import PlaneDatabase
from tests.factories.sealed import SealedHouse
from tests.factories.tenants import environment_of
from tests.factories.web import cell_settings, store_directory

from pitboss.cli.rounds import rounds
from pitboss.kernel.clock import utc_now
from pitboss.platform.settings import Settings
from pitboss.platform.worm.local import LocalWormStore
from pitboss.platform.worm.port import Mode, Retention
from pitboss_verify.command import verify
from pitboss_verify.note import parse_key


@pytest.fixture
async def books(cell_database: PlaneDatabase, tmp_path: Path) -> SealedHouse:
    books = SealedHouse(cell_database, tmp_path)
    await books.open()
    await books.play_rounds(4)
    await books.seal(most=9)
    return books


@pytest.fixture
async def settings(books: SealedHouse) -> Settings:
    found = cell_settings(books.database, "redis://127.0.0.1:1")
    await store_directory(found)
    return msgspec.structs.replace(found, audit_keys_file=books.keys_file, worm_store=f"file:{books.folder}")


async def say(settings: Settings, *words: str) -> Result:
    return await asyncio.to_thread(CliRunner(env=environment_of(settings)).invoke, rounds, list(words))


async def told(books: SealedHouse) -> list[tuple[str, str, dict[str, Any]]]:
    async with books.connect() as connection:
        rows = await connection.fetch(
            "select type, target_id, changes from audit_event where category = 'data_access' order by occurred_at"
        )
    return [
        (row["type"], row["target_id"], {each["path"]: each["after"] for each in json.loads(row["changes"])})
        for row in rows
    ]


async def test_what_is_given_out_is_proved_to_a_stranger_and_told_in_the_log(
    books: SealedHouse, settings: Settings, tmp_path: Path
) -> None:
    keys = [parse_key(line) for line in (await say(settings, "keys", "aurora")).output.split("\n") if line]
    out, proof, named = tmp_path / "out", tmp_path / "proof.json", str(books.round_id("r2"))
    for words in (("export", "aurora", "--into", str(out)), ("prove", "aurora", named, "--into", str(proof))):
        done = await say(settings, *words)
        assert done.exit_code == 0, done.output
    for given, entries in ((out, 27), (proof, 6)):
        report = verify(given, keys)
        assert (report.findings, report.entries) == ([], entries)
    exported, viewed = await told(books)
    assert exported[:2] == ("round.exported", "aurora")
    assert viewed[:2] == ("round.viewed", named)
    assert {(each[2]["access.mode"], each[2]["access.sensitivity"]) for each in (exported, viewed)} == {
        ("export", "confidential")
    }


async def test_a_log_that_was_cut_off_with_its_books_is_found_by_the_store(
    books: SealedHouse, settings: Settings
) -> None:
    sound = await say(settings, "verify", "aurora")
    assert (sound.exit_code, "journal, segments and checkpoints agree" in sound.output) == (0, True), sound.output
    await books.administer(
        "update round_log set segments = 0, size = 0, edge = '', last_digest = '';"
        " delete from round_segment; delete from round_tile; delete from journal_sealed; delete from journal;"
        " update wallet set version = 0"
    )
    cut = await say(settings, "verify", "aurora")
    assert cut.exit_code == 1
    assert "the store has 3 segments, the table 0: the end of the log is not in it" in cut.output


async def test_a_lock_that_was_shortened_or_weakened_is_found(books: SealedHouse) -> None:
    assert (await books.check()).findings == ()
    worm = cast("LocalWormStore", books.worm)
    keys = [f"rounds/eu-1/aurora/000000000{number}.parquet" for number in (0, 1)]
    soon = Retention(Mode.COMPLIANCE, utc_now() + timedelta(days=300))
    later = Retention(Mode.GOVERNANCE, utc_now() + timedelta(days=4000))
    for key, retention in zip(keys, (soon, later), strict=True):
        # What a dishonest service lets pass: the journal of this store says it from now on.
        worm._versions[key, "00000001"] = msgspec.structs.replace(worm._versions[key, "00000001"], retention=retention)
    first, second = (await books.check()).findings
    assert first.startswith(f"{keys[0]}: version 00000001 is kept until ")
    assert second == f"{keys[1]}: version 00000001 is not kept by compliance"
