"""Base backups, the archive of the log and restores of a real cluster, and every damage that must be found before use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from pitboss.kernel.clock import utc_now
from pitboss.platform.backup import (
    BackupDamaged,
    BackupFailed,
    BackupFolder,
    BackupMissing,
    BackupRefused,
    Cluster,
    Owner,
    Receiver,
    make_base,
    plan_restore,
    restore,
    verify_backup,
)
from pitboss.platform.embedded import PostgresServer
from pitboss.platform.processes import FolderLocked, wait_until

OWNER = Owner("eu-1", "eu")
DURABLE = {"shared_buffers": "32MB", "max_wal_size": "256MB", "min_wal_size": "32MB"}


class Stage:
    """A cluster with one table, the folder of its backups, and a folder for scratch servers."""

    def __init__(self, root: Path, server: PostgresServer) -> None:
        self.root = root
        self.server = server
        self.password = (server.directory / "password").read_text().strip()
        self.number = 0

    async def run(self, *statements: str, url: str = "") -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url or self.server.admin_url())
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetch(statements[-1])
        finally:
            await connection.close()

    def cluster(self, slot: str = "pitboss_archive_test") -> Cluster:
        address = f"127.0.0.1:{self.server.port}"
        return Cluster(f"postgresql://pitboss_backup_test:backup-password@{address}/anything", slot)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        self.number += 1
        folder = self.root / f"scratch-{self.number}"
        yield folder
        PostgresServer(folder).remove()

    async def rows_at(self, folder: BackupFolder, target: datetime | None = None) -> tuple[list[int], int]:
        """Restore and return the numbers that are there, and how many bytes are known to be missing."""
        with self.scratch() as place:
            server, replay = restore(plan_restore(folder, target), place, None, print)
            try:
                url = f"postgresql://pitboss_admin:{self.password}@127.0.0.1:{server.port}/postgres"
                rows = await self.run("select n from told order by n", url=url)
            finally:
                server.stop()
                print(server.log.read_text())
        return [row["n"] for row in rows], replay.missing_bytes


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    # Thousands of small files are made durable: in memory where there is room, since no power is cut here.
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made there
    place = memory if memory.is_dir() and shutil.disk_usage(memory).free > 2**31 else None
    with tempfile.TemporaryDirectory(prefix="pitboss-backup-", dir=place, ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(root / "postgres", options=DURABLE)
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def stage(root: Path, server: PostgresServer) -> Stage:
    stage = Stage(root, server)
    stage.number = time.monotonic_ns()
    await stage.run(
        "drop role if exists pitboss_backup_test",
        "create role pitboss_backup_test login replication password 'backup-password'",
        "drop table if exists told",
        "create table told (n int primary key, filler text)",
        "select 1",
    )
    return stage


@pytest.fixture
def folder(root: Path) -> Iterator[BackupFolder]:
    place = root / f"backups-{time.monotonic_ns()}"
    yield BackupFolder(place, OWNER)
    shutil.rmtree(place, ignore_errors=True)


@contextmanager
def receiving(folder: BackupFolder, cluster: Cluster) -> Iterator[Receiver]:
    receiver = Receiver(folder, cluster)
    receiver.open()
    try:
        yield receiver
    finally:
        receiver.close()


@pytest.fixture(autouse=True)
async def _no_slot_stays(server: PostgresServer) -> None:
    connection = await asyncpg.connect(server.admin_url())
    try:
        await connection.execute(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active"
        )
    finally:
        await connection.close()


def catch_up(receiver: Receiver) -> None:
    """Wait until the archive holds everything that was durable when this began."""
    since = utc_now()

    def is_there() -> bool:
        receiver.tick()
        return receiver.caught_up_at is not None and receiver.caught_up_at >= since

    assert wait_until(is_there, 20), receiver.problem


async def tell(stage: Stage, *numbers: int, switch: bool = False) -> None:
    for number in numbers:
        await stage.run(f"insert into told values ({number})", "select 1")
    if switch:
        await stage.run("select pg_switch_wal()")


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x01
    path.write_bytes(content)


async def test_what_was_committed_comes_back_to_the_moment(stage: Stage, folder: BackupFolder) -> None:
    await tell(stage, 1)
    with receiving(folder, stage.cluster()) as receiver:
        catch_up(receiver)
        made = make_base(folder, stage.cluster(), shared_allowed=False)
        await tell(stage, 2, switch=True)
        between = utc_now()
        await tell(stage, 3)
        after = utc_now()
        catch_up(receiver)
        # Nothing was committed since: that the archive was whole then is known all the same.
        assert await stage.rows_at(folder) == ([1, 2, 3], 0)
        assert await stage.rows_at(folder, between) == ([1, 2], 0)
        assert await stage.rows_at(folder, after) == ([1, 2, 3], 0)
        with pytest.raises(BackupMissing, match="oldest whole one ended"):
            plan_restore(folder, made.begun_at)
        with stage.scratch() as place:
            with pytest.raises(BackupMissing, match="known to be whole until"):
                restore(plan_restore(folder, utc_now() + timedelta(hours=1)), place, None, print)
            assert not place.exists(), "rows of players are left nowhere"
    assert made.databases == 0
    assert verify_backup(*folder.backups()[0]) == []


async def test_the_log_waits_for_a_receiver_that_was_away(stage: Stage, folder: BackupFolder) -> None:
    make_base(folder, stage.cluster(), shared_allowed=False)
    await tell(stage, 1, switch=True)
    await tell(stage, 2, switch=True)
    with receiving(folder, stage.cluster()) as receiver:
        catch_up(receiver)
        await tell(stage, 3, switch=True)
        catch_up(receiver)
    assert await stage.rows_at(folder) == ([1, 2, 3], 0)


async def test_damage_is_found_before_use(stage: Stage, folder: BackupFolder) -> None:
    with receiving(folder, stage.cluster()) as receiver:
        catch_up(receiver)
        make_base(folder, stage.cluster(), shared_allowed=False)
        for number in range(1, 5):
            await tell(stage, number, switch=True)
        catch_up(receiver)
    place, made = folder.backups()[0]
    data = place.place_of(made) / "data"
    largest = max((path for path in data.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    segment = place.wal / place.segments()[-2]
    with stage.scratch() as scratch:
        for path in (data / "PG_VERSION", data / "global" / "pg_control", largest, segment):
            for position in (0, path.stat().st_size // 2, path.stat().st_size - 1):
                flip(path, position)
                with pytest.raises((BackupDamaged, BackupFailed)):
                    restore(plan_restore(folder, None), scratch, None, print)
                assert not PostgresServer(scratch).data.exists(), "damaged data were left to be used"
                assert verify_backup(place, made), path
                flip(path, position)
        held = max(path.name for path in (data / "pg_wal").iterdir() if path.is_file())
        first = place.wal / next(name for name in place.segments() if name > held)
        for path in (first, segment, data / "PG_VERSION", place.place_of(made) / "SHA256SUMS"):
            path.rename(folder.folder / "gone")
            with pytest.raises(BackupDamaged):
                restore(plan_restore(folder, None), scratch, None, print)
            assert verify_backup(place, made), path
            (folder.folder / "gone").rename(path)
        (data / "planted").write_text("planted")
        with pytest.raises(BackupDamaged, match="does not belong there"):
            restore(plan_restore(folder, None), scratch, None, print)
        (data / "planted").unlink()
    assert await stage.rows_at(folder) == ([1, 2, 3, 4], 0)


async def test_a_damaged_end_of_the_log_is_no_silent_loss(stage: Stage, folder: BackupFolder) -> None:
    with receiving(folder, stage.cluster()) as receiver:
        catch_up(receiver)
        make_base(folder, stage.cluster(), shared_allowed=False)
        await tell(stage, 1, switch=True)
        catch_up(receiver)
        await tell(stage, *range(2, 40))
        catch_up(receiver)
    place, _ = folder.backups()[0]
    partial = place.wal / f"{place.partial()}.partial"
    told = partial.read_bytes().rstrip(b"\0")
    flip(partial, len(told) // 2)
    rows, missing = await stage.rows_at(folder)
    assert rows[:1] == [1]
    assert len(rows) < 39
    assert missing > 0
    partial.unlink()
    rows, missing = await stage.rows_at(folder)
    assert rows == [1]
    assert missing > 0


def test_an_interrupted_backup_is_none(stage: Stage, folder: BackupFolder) -> None:
    script = (
        "import sys; from pathlib import Path; from pitboss.platform.backup import *;"
        "make_base(BackupFolder(Path(sys.argv[1]), Owner('eu-1', 'eu')), Cluster(sys.argv[2], 's1'), shared_allowed=False)"
    )
    url = f"postgresql://pitboss_backup_test:backup-password@127.0.0.1:{stage.server.port}/x"
    child = subprocess.Popen([sys.executable, "-c", script, str(folder.folder), url])
    assert wait_until(lambda: bool(list(folder.folder.glob("*/base/*.new/data/global"))), 20)
    with pytest.raises(FolderLocked):  # two at once: the second says so and leaves the first alone
        make_base(folder, stage.cluster("s2"), shared_allowed=False)
    child.kill()
    child.wait()
    left = list(folder.folder.glob("*/base/*.new"))
    assert left, "it was not interrupted"
    assert folder.backups() == []
    with pytest.raises(BackupMissing, match="there is no whole one"):
        plan_restore(folder, None)
    assert wait_until(lambda: not _locked(folder), 20)
    made = make_base(folder, stage.cluster("s1"), shared_allowed=False)
    assert not any(path.exists() for path in left)
    assert [each.backup_id for _, each in folder.backups()] == [made.backup_id]
    place, _ = folder.backups()[0]
    place.place_of(made).rename(place.base / f"{made.backup_id}.new")  # interrupted just before its last step
    assert folder.backups() == []


def _locked(folder: BackupFolder) -> bool:
    return folder.lock.is_held()


def test_a_full_disk_is_said_and_leaves_nothing(stage: Stage, root: Path) -> None:
    """A file system of 12 MiB where a mount may be made, else a quota of 4 MiB a file: real errors of the kernel."""
    place = root / "full"
    place.mkdir()
    script = (
        "import sys; from pathlib import Path; from pitboss.platform.backup import *;"
        "from pitboss_sdk.errors import PitbossError\n"
        "try: make_base(BackupFolder(Path(sys.argv[1]), Owner('eu-1', 'eu')), Cluster(sys.argv[2], 's3'),"
        " shared_allowed=False)\n"
        "except PitbossError as e: print(e.code, e.detail)\n"
        "print(sorted(str(p.name) for p in Path(sys.argv[1]).glob('*/base/*')))"
    )
    url = f"postgresql://pitboss_backup_test:backup-password@127.0.0.1:{stage.server.port}/x"
    python = [sys.executable, "-c", script, str(place / "backups"), url]
    mounted = ["unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size=12m tmpfs {place} && exec "$@"', "sh"]
    may_mount = (
        shutil.which("unshare") and not subprocess.run([*mounted, "true"], check=False, capture_output=True).returncode
    )
    prefix = mounted if may_mount else ["prlimit", "--fsize=4194304", "--"]
    ended = subprocess.run([*prefix, *python], check=True, capture_output=True, text=True, env=dict(os.environ))
    said, left = ended.stdout.strip().splitlines()
    assert said.startswith("platform.backup_failed the disk at ")
    assert "is full or its quota is used up" in said
    assert left == "[]"


async def test_backups_stay_with_their_cell(stage: Stage, folder: BackupFolder, tmp_path: Path) -> None:
    make_base(folder, stage.cluster(), shared_allowed=False)
    for other in (Owner("br-1", "br"), Owner("eu-1", "br"), Owner("eu-2", "eu")):
        foreign = BackupFolder(folder.folder, other)
        with pytest.raises(BackupRefused, match="never leave their cell"):
            make_base(foreign, stage.cluster(), shared_allowed=False)
        with pytest.raises(BackupRefused, match="never leave their cell"):
            Receiver(foreign, stage.cluster()).open()
        with pytest.raises(BackupRefused, match="never leave their cell"):
            plan_restore(foreign, None)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "something").write_text("else")
    with pytest.raises(BackupRefused, match="holds other things"):
        make_base(BackupFolder(tmp_path / "used", OWNER), stage.cluster(), shared_allowed=False)


async def test_a_shared_cluster_is_refused_where_it_must_be(stage: Stage, folder: BackupFolder) -> None:
    await stage.run("create database one_cell", "select 1")
    await stage.run("create database another_cell", "select 1")
    try:
        with pytest.raises(BackupRefused, match="2 databases"):
            make_base(folder, stage.cluster(), shared_allowed=False)
        assert list(folder.folder.glob("*/base/*")) == []
        assert make_base(folder, stage.cluster(), shared_allowed=True).databases == 2
    finally:
        await stage.run("drop database one_cell", "select 1")
        await stage.run("drop database another_cell", "select 1")


async def test_pruning_leaves_what_the_rest_needs(stage: Stage, folder: BackupFolder) -> None:
    with receiving(folder, stage.cluster()) as receiver:
        catch_up(receiver)
        for number in range(1, 4):
            make_base(folder, stage.cluster(), shared_allowed=False)
            await tell(stage, number, switch=True)
        catch_up(receiver)
    before = folder.backups()
    ids, segments = folder.prune(1)
    assert ids == [each.backup_id for _, each in before[:2]]
    assert segments > 0
    assert verify_backup(*folder.backups()[0]) == []
    assert await stage.rows_at(folder) == ([1, 2, 3], 0)
