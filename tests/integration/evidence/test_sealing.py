"""Sealing on a real database and a real store: complete, never twice, whatever dies, races or comes late."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from tests.factories.databases import PlaneDatabase, settings_for
from tests.factories.players import open_cell
from tests.factories.sealed import SealedHouse
from tests.property.model import Step

from pitboss.cli.round_sealing import seal_rounds
from pitboss.evidence.errors import RoundUnproven
from pitboss.evidence.runtime import export_segments, prove_round
from pitboss.games import service as games
from pitboss.platform.db import Database
from pitboss.platform.telemetry import Metrics
from pitboss.platform.worm.local import LocalWormStore
from pitboss.platform.worm.port import Mode, Retention, StoredVersion, WormUnavailable
from pitboss_verify.command import verify
from pitboss_verify.note import Key, parse_key


@pytest.fixture
async def books(cell_database: PlaneDatabase, tmp_path: Path) -> SealedHouse:
    books = SealedHouse(cell_database, tmp_path)
    await books.open()
    return books


@pytest.fixture
async def cell(cell_database: PlaneDatabase) -> AsyncIterator[Database]:
    async with open_cell(cell_database) as database:
        yield database


def keys_of(books: SealedHouse) -> list[Key]:
    return [parse_key(line) for line in books.keys]


async def prove(books: SealedHouse, cell: Database, name: str) -> bytes:
    async with cell.snapshot(books.scope) as session, books.connect() as connection:
        parts = await games.get_round(session, books.scope, books.round_id(name))
        return await prove_round(connection, books.scope, books.worm, books.round_id(name), parts)


async def manifests(books: SealedHouse) -> list[dict[str, Any]]:
    async with books.connect() as connection:
        rows = await connection.fetch("select manifest from round_segment order by number")
    return [json.loads(row["manifest"].rpartition(b"\n\n")[0]) for row in rows]


async def test_all_that_is_booked_is_sealed_once_and_agrees_with_the_journal(books: SealedHouse) -> None:
    played = await books.play_rounds(20)
    assert await books.seal(most=50) == played + 3
    await books.play_rounds(2, "later")
    assert (await books.check()).unsealed == 12
    assert await books.seal() == 12
    assert await books.seal() == 0
    found = await books.check()
    assert found.findings == ()
    assert (found.entries, found.unsealed, found.superseded) == (played + 15, 0, 0)
    told = await manifests(books)
    assert [each["number"] for each in told] == list(range(found.segments))
    assert [each["first"] for each in told[1:]] == [each["end"] for each in told[:-1]]
    assert sum(each["sums"]["EUR"]["entries"] for each in told) == found.entries


async def test_objects_are_kept_by_compliance_and_leave_the_database(books: SealedHouse) -> None:
    await books.play_rounds(1)
    await books.seal()
    there = await books.worm.list_versions("rounds/eu-1/aurora/")
    assert [each.key.partition(".")[2] for each in there] == ["jsonl.gz", "manifest", "parquet"]
    for each in there:
        assert each.retention is not None
        assert each.retention.mode is Mode.COMPLIANCE
        assert each.retention.until > datetime.now(UTC) + timedelta(days=3650)
    async with books.connect() as connection:
        left = await connection.fetchval(
            "select count(*) from round_segment where coalesce(lines, columns) is not null"
        )
    assert left == 0
    assert {each["schedule"] for each in await manifests(books)} == {"money_records"}


async def test_a_round_is_proved_with_nothing_but_file_and_keys(
    books: SealedHouse, cell: Database, tmp_path: Path
) -> None:
    await books.play_rounds(10)
    await books.seal(most=20)
    await books.play_rounds(3, "later")
    await books.seal()
    proof = await prove(books, cell, "r4")
    file = tmp_path / "proof.json"
    file.write_bytes(proof)
    report = verify(file, keys_of(books))
    assert report.findings == []
    assert report.entries == 6
    entry = json.loads(json.loads(proof)["entries"][0]["entry"])
    assert (entry["round"]["reference"], entry["round"]["game"], entry["currency"]) == ("r4", "dice", "EUR")
    assert (entry["op"], entry["delta"]["real"], entry["delta"]["counter"]) == ("bet", -104, 104)
    assert entry["reference"].startswith("r4-")
    stranger = SealedHouse(books.database, tmp_path / "other")
    assert {each["check"] for each in verify(file, keys_of(stranger)).findings} == {"signature"}


async def test_a_proof_that_was_changed_is_found(books: SealedHouse, cell: Database, tmp_path: Path) -> None:
    await books.play_rounds(10)
    await books.seal(most=20)
    proof = json.loads(await prove(books, cell, "r4"))
    first = proof["entries"][0]

    def check(**changes: Any) -> set[str]:
        file = tmp_path / "changed.json"
        file.write_text(json.dumps(proof | changes))
        return {each["check"] for each in verify(file, keys_of(books)).findings}

    assert check() == set()
    won = first | {
        "entry": first["entry"].replace('"real":-104', '"real":-103').replace('"counter":104', '"counter":103')
    }
    assert "inclusion" in check(entries=[won, *proof["entries"][1:]])
    assert "inclusion" in check(entries=[first | {"log_seq": first["log_seq"] + 1}, *proof["entries"][1:]])
    assert "round" in check(round=str(books.round_id("r5")))
    assert "sequence" in check(entries=[first, first])
    assert "manifest" in check(manifests=[])
    assert "round" in check(entries=[])
    assert "schema" in check(checkpoint="none")
    assert "inclusion" in check(entries=[first | {"proof": first["proof"][1:]}, *proof["entries"][1:]])


async def test_a_round_that_is_not_sealed_whole_is_not_proved(books: SealedHouse, cell: Database) -> None:
    await books.play_rounds(1)
    await books.seal()
    await books.post([books.play(books.seats[0], "r0x", Step("bet", "r0x-b", 5))])
    with pytest.raises(RoundUnproven, match="1 of 1 bookings"):
        await prove(books, cell, "r0x")


async def test_an_export_is_checked_by_a_stranger(books: SealedHouse, tmp_path: Path) -> None:
    played = await books.play_rounds(10)
    await books.seal(most=25)
    async with books.connect() as connection:
        await export_segments(connection, books.scope, books.worm, tmp_path / "out")
    report = verify(tmp_path / "out", keys_of(books))
    assert report.findings == []
    assert (report.origin, report.entries) == ("pitboss.rounds/eu-1/aurora", played + 3)


async def test_a_booking_that_commits_late_is_not_missed(books: SealedHouse) -> None:
    """Its time lies before what was sealed meanwhile, and its transaction is older."""
    late, other = books.seats[0], books.seats[1]
    admin = await asyncpg.connect(books.database.admin_url)
    try:
        held = admin.transaction()
        await held.start()
        await admin.execute("select pg_current_xact_id()")
        await admin.execute("select 1 from wallet where wallet_id = $1 for no key update", late.wallet_id)
        waiting = asyncio.create_task(books.post([books.play(late, "slow", Step("bet", "slow-b", 5))]))
        await asyncio.sleep(0.3)
        await books.post([books.play(other, "fast", Step("bet", "fast-b", 5))])
        assert await books.seal() == 4
        await held.rollback()
        await waiting
    finally:
        await admin.close()
    assert await books.seal() == 1
    assert (await books.check()).findings == ()


async def test_two_sealers_do_not_meet_and_without_the_lock_nothing_is_taken_twice(books: SealedHouse) -> None:
    await books.play_rounds(5)
    first, second = books.sealer(), books.sealer()
    try:
        await first.step()
        assert await second.step() == 0
        assert (first.leads, second.leads) == (True, False)
        second.leads = True
        total = 0
        for number in range(5):
            await books.play_rounds(2, f"both{number}-")
            total += sum(await asyncio.gather(first.step(), second.step()))
        total += await first.step()
        assert total == 5 * 12
    finally:
        await first.close()
        second.drop()
    assert (await books.check()).findings == ()


async def test_a_key_hands_over_to_the_next(books: SealedHouse) -> None:
    await books.play_rounds(1)
    await books.seal()
    books.change_key()
    await books.play_rounds(1, "after")
    await books.seal()
    assert (await books.check()).findings == ()
    # Who knows the first key alone can follow.
    known = list(books.seeds)
    books.seeds = known[1:]
    assert (await books.check()).findings == ()
    books.seeds = known[:1]
    assert any(finding.startswith("signature: ") for finding in (await books.check()).findings)


async def test_a_database_of_before_says_which_segment_it_replaces(books: SealedHouse) -> None:
    """The store remembers a segment that a restored database never had."""
    await books.play_rounds(1)
    await books.seal()
    await books.administer(
        "update round_log set segments = 0, size = 0, edge = '', last_digest = '';"
        " delete from round_segment; delete from round_tile; delete from journal_sealed"
    )
    old = await books.worm.get("rounds/eu-1/aurora/0000000000.manifest")
    await books.play_rounds(1, "again")
    await books.seal()
    found = await books.check()
    assert (found.findings, found.superseded) == ((), 1)
    assert (await manifests(books))[0]["supersedes"] == sha256(old.rpartition(b"\n\n")[0] + b"\n").hexdigest()


async def test_a_gap_in_the_journal_stops_the_log(books: SealedHouse) -> None:
    await books.play_rounds(2)
    await books.administer(f"delete from journal where wallet_id = {books.seats[0].wallet_id} and version = 2")
    sealer = books.sealer()
    try:
        assert await sealer.step() == 0
        await asyncio.sleep(0.05)
        assert sealer.behind_seconds > 0.04
    finally:
        await sealer.close()
    assert await manifests(books) == []


async def test_what_stands_in_the_place_of_a_manifest_stops_its_log_and_nobody_elses(books: SealedHouse) -> None:
    keep = Retention(Mode.COMPLIANCE, datetime.now(UTC) + timedelta(days=1))
    await books.worm.put("rounds/eu-1/aurora/0000000000.manifest", b"planted \xff", keep)
    await books.play_rounds(1)
    sealer = books.sealer()
    try:
        assert await sealer.step() == 0
    finally:
        await sealer.close()
    assert await manifests(books) == []


class DyingStore(LocalWormStore):
    """Keeps what is put, and says after so many that it is away."""

    def __init__(self, folder: Path, lives: int) -> None:
        super().__init__(folder)
        self._lives = lives

    async def put(self, key: str, content: bytes, retention: Retention, *, hold: bool = False) -> StoredVersion:
        found = await super().put(key, content, retention, hold=hold)
        self._lives -= 1
        if not self._lives:
            raise WormUnavailable("the store is away")
        return found


@pytest.mark.parametrize("lives", [1, 2, 3])
async def test_a_segment_that_was_stored_in_part_is_stored_to_its_end_and_nothing_twice(
    books: SealedHouse, lives: int
) -> None:
    await books.play_rounds(1)
    honest, books.worm = books.worm, DyingStore(books.folder, lives)
    with pytest.raises(WormUnavailable):
        await books.seal()
    books.worm = honest
    assert (await books.check()).entries == 9
    assert await books.seal() == 0
    assert len(await honest.list_versions("rounds/")) == 3
    found = await books.check()
    assert (found.findings, found.entries, found.segments) == ((), 9, 1)


async def test_kill_in_the_middle_leaves_no_gap_and_no_double(books: SealedHouse) -> None:
    program = Path(__file__).with_name("sealer_process.py")
    keys = ",".join(f"{key.key_id}:{key.secret.hex()}" for key in books.database.context_keys)
    arguments = [str(program), books.database.sequencer_url, str(books.keys_file), keys, str(books.folder)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=pipe, stdout=pipe, cwd=Path(__file__).parents[3]
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for number in range(4):
        process.stdin.write(b"another\n")
        child = int(await process.stdout.readline())
        await books.play_rounds(4, f"kill{number}-")
        await asyncio.sleep(0.03 * number)
        os.kill(child, signal.SIGKILL)
    process.stdin.close()
    await process.wait()
    await books.seal()
    found = await books.check()
    assert found.findings == ()
    assert (found.entries, found.unsealed, found.superseded) == (3 + 4 * 24, 0, 0)
    keys_there = [each.key for each in await books.worm.list_versions("rounds/")]
    assert len(keys_there) == len(set(keys_there)) == found.segments * 3


async def test_the_sequencers_process_seals_what_is_booked_and_tells_how_far_behind_it_is(
    books: SealedHouse,
) -> None:
    settings = msgspec.structs.replace(
        settings_for(cell=books.database), audit_keys_file=books.keys_file, worm_store=f"file:{books.folder}"
    )
    metrics = Metrics()
    await books.play_rounds(2)
    async with seal_rounds(settings, metrics, lambda: [books.scope], 10):
        for _ in range(300):
            if not (await books.check()).unsealed:
                break
            await asyncio.sleep(0.1)
        behind = metrics.registry.get_sample_value("pitboss_rounds_unsealed_seconds")
        assert behind is not None
        assert 0 <= behind < 30
    found = await books.check()
    assert (found.findings, found.unsealed, found.entries) == ((), 0, 15)
