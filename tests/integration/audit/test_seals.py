"""Evidence in write-once stores: whole, once, chained, and found out where somebody reached into the store."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories.audit_logs import Log, public_of, write_keys
from tests.factories.cloud import REGION, serve_cloud
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, open_cell

from pitboss.audit.contracts import CONTROL_SCOPE, AuditEvent
from pitboss.audit.errors import SealRefused
from pitboss.audit.rules.note import NoteKey
from pitboss.audit.runtime import (
    FileSigner,
    PackageOrder,
    Sealer,
    Sequencer,
    choose_years,
    list_faults,
    write_package,
)
from pitboss.audit.service import record_control_event
from pitboss.cli.bucket import BucketStore
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.platform.db import ControlDatabase, Database, create_engine
from pitboss.platform.worm.local import LocalWormStore
from pitboss.platform.worm.port import Mode, Retention
from pitboss.platform.worm.s3 import S3WormStore, connect
from pitboss_verify.command import verify
from pitboss_verify.note import parse_checkpoint, parse_key
from pitboss_verify.package import Report

ORIGIN = "pitboss.audit/eu-1/aurora"
BUCKET: dict[str, Any] = {
    "Bucket": "evidence-of-the-test",
    "ObjectLockEnabledForBucket": True,
    "CreateBucketConfiguration": {"LocationConstraint": REGION},
}


@pytest.fixture
def log(cell_database: PlaneDatabase, tmp_path: Path) -> Log:
    return Log(cell_database, tmp_path)


@pytest.fixture
async def cell(cell_database: PlaneDatabase) -> AsyncIterator[Database]:
    async with open_cell(cell_database, cell_database.sequencer_url) as database:
        yield database


def make_sealer(cell: Database, log: Log, folder: Path) -> Sealer:
    store = LocalWormStore(folder)
    signer = FileSigner(log.keys)
    return Sealer(cell.transaction, signer, store, lambda: log.scopes, seal_seconds=0, witnessed=False)


def judge(folder: Path, log: Log, since: str = "") -> Report:
    keys = [parse_key(NoteKey(ORIGIN, public_of(log.seed)).text)]
    return verify(folder, keys, parse_checkpoint(since) if since else None)


async def seal(cell: Database, log: Log, folder: Path, count: int) -> None:
    await log.write(count)
    await log.sequence()
    assert await make_sealer(cell, log, folder).seal_due() == 1


async def test_packages_follow_each_other_and_an_auditor_finds_them_sound_and_locked(
    log: Log, cell: Database, tmp_path: Path
) -> None:
    store = tmp_path / "worm"
    await seal(cell, log, store, 300)
    visit = (await log.notes())[-1]
    await seal(cell, log, store, 40)
    await seal(cell, log, store, 500)
    assert await make_sealer(cell, log, store).seal_due() == 0, "nothing is due any more"
    report = judge(store, log, visit)
    assert (report.findings, report.packages, report.entries, report.end) == ([], 3, 840, 840)
    assert report.locked == report.objects == 12
    for version in await LocalWormStore(store).list_versions():
        assert version.key.startswith("eu-1/aurora/audit/")
        assert version.retention is not None
        assert version.retention.mode is Mode.COMPLIANCE
    content = b"".join(path.read_bytes() for path in store.iterdir())
    assert b"192.0.2." not in content, "addresses are in no file, and none of the log's"


def test_the_longest_term_that_any_law_names_counts_and_never_less_than_ten_years() -> None:
    assert [choose_years(named) for named in ([], [5], [5, 12], [150, 5])] == [10, 10, 12, 100]


def reach_past_an_entries_file(store: Path) -> None:
    path = next(path for path in store.iterdir() if "%entries%" in path.name)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)


def remove_a_file(store: Path) -> None:
    next(path for path in store.iterdir() if "%entries%" in path.name).unlink()


def put_a_file_beside(store: Path) -> None:
    (store / "eu-1%aurora%audit%000000000000%more@00000001").write_bytes(b"x")


def replace_an_object(store: Path) -> None:
    async def replace() -> None:
        worm = LocalWormStore(store)
        version = (await worm.list_versions())[0]
        assert version.retention is not None
        await worm.put(version.key, b"something else", version.retention)

    asyncio.run(replace())


def shorten_a_lock(store: Path) -> None:
    """Write the journal anew, as only somebody with the disk in hand can, with a shorter term in it."""
    lines = [json.loads(line) for line in (store / "journal.jsonl").read_bytes().splitlines()]
    lines[1]["until"] = "2027-01-01T00:00:00Z"
    write_journal(store, lines)


def weaken_a_lock(store: Path) -> None:
    lines = [json.loads(line) for line in (store / "journal.jsonl").read_bytes().splitlines()]
    lines[1]["mode"] = "GOVERNANCE"
    write_journal(store, lines)


def break_the_journal(store: Path) -> None:
    lines = (store / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (store / "journal.jsonl").write_bytes(b"".join([*lines[:2], *lines[3:]]))


def drop_a_package(store: Path) -> None:
    """Leave out the second of three packages everywhere."""
    lines = [json.loads(line) for line in (store / "journal.jsonl").read_bytes().splitlines()]
    gone = sorted({line["key"].split("/")[3] for line in lines})[1]
    write_journal(store, [line for line in lines if f"/{gone}/" not in line["key"]])
    for path in list(store.iterdir()):
        if f"%{gone}%" in path.name:
            path.unlink()


def leave_a_stump(store: Path) -> None:
    """Leave nothing but the beginning of the first package, as if it were still on its way."""
    lines = [json.loads(line) for line in (store / "journal.jsonl").read_bytes().splitlines()]
    write_journal(store, lines[:1])
    for path in store.iterdir():
        if path.name not in {"journal.jsonl", "eu-1%aurora%audit%000000000000%checkpoints.jsonl@00000001"}:
            path.unlink()


def write_journal(store: Path, lines: list[dict[str, object]]) -> None:
    before, written = "0" * 64, []
    for line in lines:
        written.append(json.dumps({**line, "before": before}, separators=(",", ":")).encode() + b"\n")
        before = hashlib.sha256(written[-1]).hexdigest()
    (store / "journal.jsonl").write_bytes(b"".join(written))


TAMPERINGS = {
    reach_past_an_entries_file: "archive",
    remove_a_file: "archive",
    put_a_file_beside: "store",
    replace_an_object: "lock",
    shorten_a_lock: "lock",
    weaken_a_lock: "lock",
    break_the_journal: "store",
    drop_a_package: "sequence",
    leave_a_stump: "archive",
}
"""Ways to reach into a store, and the check that has to tell of each."""


async def test_who_reaches_into_the_store_is_found_out(log: Log, cell: Database, tmp_path: Path) -> None:
    store = tmp_path / "worm"
    for count in (3, 4, 5):
        await seal(cell, log, store, count)
    assert judge(store, log).findings == []
    missed: list[str] = []
    for tamper, found in TAMPERINGS.items():
        shutil.copytree(store, tmp_path / tamper.__name__)
        await asyncio.to_thread(tamper, tmp_path / tamper.__name__)
        checks = {each["check"] for each in judge(tmp_path / tamper.__name__, log).findings}
        missed += [] if found in checks else [tamper.__name__]
    assert missed == []


async def test_an_archive_that_ends_before_the_last_visit_is_found_out(
    log: Log, cell: Database, tmp_path: Path
) -> None:
    await seal(cell, log, tmp_path / "worm", 20)
    await log.write(5)
    await log.sequence()
    report = judge(tmp_path / "worm", log, (await log.notes())[-1])
    assert [each["check"] for each in report.findings] == ["consistency"]


async def test_what_stands_where_a_package_belongs_stops_the_sealing_of_that_log(
    log: Log, cell: Database, tmp_path: Path
) -> None:
    worm = LocalWormStore(tmp_path / "worm")
    keep = Retention(Mode.COMPLIANCE, worm.now() + timedelta(days=1))
    await worm.put("eu-1/aurora/audit/000000000000/entries/000000000000.jsonl.gz", b"planted", keep)
    await log.write(5)
    await log.sequence()
    sealer = make_sealer(cell, log, tmp_path / "worm")
    with pytest.raises(SealRefused):
        await sealer.seal_next(AURORA)
    async with log.connect() as connection:
        assert await connection.fetchval("select count(*) from audit_seal") == 0


async def test_a_sealer_that_is_killed_again_and_again_puts_nothing_twice_and_leaves_no_gap(
    log: Log, tmp_path: Path
) -> None:
    """Each process is killed a little later in its work than the one before, while the log grows."""
    store = tmp_path / "worm"
    keys = ",".join(f"{key.key_id}:{key.secret.hex()}" for key in log.database.context_keys)
    script = Path(__file__).with_name("sealer_process.py")
    arguments = (str(script), log.database.sequencer_url, str(log.keys), keys, str(store))
    for round_number in range(4):
        await log.write(11)
        await log.sequence()
        child = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
        assert child.stdout is not None
        puts = 0
        while puts <= round_number:  # a package is put in four objects
            line = await asyncio.wait_for(child.stdout.readline(), 20)
            assert line, "it ended by itself"
            puts += line.startswith(b"put ")
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
    child = await asyncio.create_subprocess_exec(sys.executable, *arguments, "once")
    assert await asyncio.wait_for(child.wait(), 30) == 0
    versions = await LocalWormStore(store).list_versions()
    keys_put = [version.key for version in versions]
    assert len(keys_put) == len(set(keys_put)), "nothing was put twice"
    assert LocalWormStore(store).find_damage() == []
    report = judge(store, log)
    assert (report.findings, report.entries, report.unfinished) == ([], 44, None)
    assert report.packages >= 2


async def test_control_has_a_log_of_its_own_that_the_same_tools_prove(
    control_database: PlaneDatabase, tmp_path: Path
) -> None:
    keys_file = write_keys(tmp_path / "keys.toml", seed := secrets.token_bytes(32))
    database = ControlDatabase(create_engine(control_database.sequencer_url, pool_size=1))
    app = ControlDatabase(create_engine(control_database.app_url, pool_size=1))

    @asynccontextmanager
    async def transaction(_scope: TenantScope) -> AsyncIterator[AsyncSession]:
        async with database.transaction() as session:
            yield session

    signer = FileSigner(keys_file)
    sequencer = Sequencer(control_database.sequencer_url, None, signer, lambda: [CONTROL_SCOPE], checkpoint_seconds=0)
    event = AuditEvent("cell.registered", Actor(ActorKind.DEPLOYMENT, "shell"), Origin(), "cell", "eu-1")
    try:
        for _ in range(7):
            async with app.transaction() as session:
                await record_control_event(session, event)
        taken = sum([await sequencer.step() for _ in range(3)])
        store = LocalWormStore(tmp_path / "worm")
        sealer = Sealer(transaction, signer, store, lambda: [CONTROL_SCOPE], seal_seconds=0, witnessed=False)
        assert (taken, await sealer.seal_due()) == (7, 1)
        async with app.transaction() as session:
            assert await list_faults(session, CONTROL_SCOPE) == []
            await write_package(session, CONTROL_SCOPE, signer, tmp_path / "package", PackageOrder())
    finally:
        await sequencer.close()
        await database.engine.dispose()
        await app.engine.dispose()
    keys = [parse_key(NoteKey("pitboss.audit/control/platform", public_of(seed)).text)]
    for place in (tmp_path / "worm", tmp_path / "package"):
        report = verify(place, keys)
        assert (report.findings, report.entries) == ([], 7)


async def test_a_bucket_is_read_with_its_locks_and_tells_what_was_shortened_or_replaced(
    log: Log, cell: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in lets compliance be shortened: what a service should refuse is found all the same."""
    with serve_cloud() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        await asyncio.to_thread(connect(REGION).create_bucket, **BUCKET)
        store = S3WormStore(BUCKET["Bucket"], REGION)
        await log.write(30)
        await log.sequence()
        signer = FileSigner(log.keys)
        sealer = Sealer(cell.transaction, signer, store, lambda: log.scopes, seal_seconds=0, witnessed=False)
        assert await sealer.seal_due() == 1
        keys = [parse_key(NoteKey(ORIGIN, public_of(log.seed)).text)]

        def judge_bucket() -> Report:
            return verify(BucketStore.open(f"s3:{BUCKET['Bucket']}@{REGION}"), keys)

        report = await asyncio.to_thread(judge_bucket)
        assert (report.findings, report.entries, report.locked) == ([], 30, 4)
        entries, manifest = [
            each for each in await store.list_versions() if "entries" in each.key or each.key.endswith(".json")
        ]
        soon = Retention(Mode.COMPLIANCE, utc_now().replace(microsecond=0) + timedelta(days=1))
        await store.set_retention(entries.key, entries.version, soon)
        assert [each["check"] for each in (await asyncio.to_thread(judge_bucket)).findings] == ["lock"]
        await store.put(manifest.key, b"{}", soon)
        found = (await asyncio.to_thread(judge_bucket)).findings
        assert [each["check"] for each in found] == ["lock", "lock"]
        assert "put 2 times" in found[0]["detail"] + found[1]["detail"]
        await store.close()
