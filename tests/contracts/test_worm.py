"""Every store of write-once storage is held against the contract; stores that lie are found out and named."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from tests.contracts.worm import run_contract
from tests.contracts.worm_bench import CHECKS, Bench
from tests.factories.cloud import REGION
from tests.factories.figures import write_figures
from tests.factories.ports import free_port

from pitboss.kernel.clock import utc_now
from pitboss.platform.processes import wait_until
from pitboss.platform.worm.local import LocalWormStore
from pitboss.platform.worm.port import (
    Mode,
    ObjectDamaged,
    ObjectMissing,
    Retention,
    StoredVersion,
    WormRefused,
    WormUnavailable,
)
from pitboss.platform.worm.s3 import PART_BYTES, S3WormStore

MINIO = shutil.which("minio")


@dataclass
class Clocks:
    """The two clocks of a machine; only the wall clock can be set."""

    wall: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)
    monotonic: float = 5000.0

    def sleep(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.monotonic += seconds


class Folders:
    """Makes stores in folders of their own, of a class that may lie."""

    def __init__(self, folder: Path, kind: type[LocalWormStore] = LocalWormStore) -> None:
        self.folder = folder
        self.kind = kind

    async def bench(self) -> Bench:
        clocks = Clocks()
        store = self.kind(
            self.folder / secrets.token_hex(6), wall=lambda: clocks.wall, monotonic=lambda: clocks.monotonic
        )

        async def let_pass(moment: datetime) -> None:
            clocks.sleep((moment - store.now()).total_seconds() + 1)

        async def set_forward() -> None:
            clocks.wall += timedelta(days=36_500)

        return Bench(store, let_pass, set_forward, store.now)


class Buckets:
    """Makes buckets with Object Lock at an address, all through one client: making one takes longer than a check."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client: Any = boto3.client("s3", region_name=REGION, endpoint_url=address)

    async def bench(self) -> Bench:
        bucket = f"worm-{secrets.token_hex(8)}"
        where = {"LocationConstraint": REGION}
        self.client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True, CreateBucketConfiguration=where)
        store = S3WormStore(bucket, REGION, client=self.client)
        await store.check()

        async def let_pass(moment: datetime) -> None:
            await asyncio.sleep(max(0.0, (moment - utc_now()).total_seconds()) + 0.2)

        async def set_forward() -> None:
            # All that a caller can set is its own clock, which it writes into each request.
            events: Any = self.client.meta.events
            self.client = boto3.client("s3", region_name=REGION, endpoint_url=self.address)  # for those who come next
            events.register("before-send.s3", lambda request, **_: request.headers.update(FAR_FUTURE))

        return Bench(store, let_pass, set_forward, utc_now)


FAR_FUTURE = {"Date": "Sat, 01 Jan 2126 00:00:00 GMT", "X-Amz-Date": "21260101T000000Z"}


def test_the_contract_has_enough_checks() -> None:
    assert len(CHECKS) >= 40


@pytest.mark.parametrize("name", CHECKS)
async def test_the_folder_keeps_the_contract(name: str, tmp_path: Path) -> None:
    await CHECKS[name](await Folders(tmp_path).bench())


MOTO_LIES = {
    "shorten_compliance_by_a_day",
    "shorten_compliance_with_bypass",
    "shorten_compliance_into_the_past",
    "shorten_governance_without_bypass",
    "take_retention_away_under_compliance",
    "take_retention_away_under_compliance_with_bypass",
    "take_retention_away_under_governance",
    "weaken_compliance_to_governance",
    "weaken_compliance_to_a_longer_governance",
    "weaken_compliance_with_bypass",
    "extends_and_holds_to_it",
    "multipart_is_kept_as_whole",
    "multipart_is_under_retention",
    "multipart_overwrites_nothing",
    "versions_cannot_be_switched_off",
    "clock_set_forward_shortens_nothing",
    "every_attack_at_once",
}
"""What moto lets be done to a bucket with Object Lock; the store of AWS itself refuses all of it."""


async def test_moto_is_found_to_be_dishonest_and_named_for_what_it_does(cloud: str) -> None:
    failed = await run_contract(Buckets(cloud).bench)
    assert "shorten_compliance_by_a_day" in failed, "compliance retention can be shortened, and nobody saw it"
    assert set(failed) == MOTO_LIES
    figures = {"checks": len(CHECKS), "folder_failed": 0, "moto_failed": len(failed)}
    write_figures("worm", figures)


@pytest.fixture
def minio(tmp_path: Path) -> Any:
    if MINIO is None:
        pytest.skip("no minio on PATH: the contract was not run against a real Object Lock service")
    address = f"127.0.0.1:{free_port()}"
    secret = {"MINIO_ROOT_USER": "testtest", "MINIO_ROOT_PASSWORD": "testtesttest"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testtest")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testtesttest")
        with subprocess.Popen(
            [MINIO, "server", "--address", address, str(tmp_path)],
            env={**os.environ, **secret},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:

                def answers() -> bool:
                    try:
                        return httpx.get(f"http://{address}/minio/health/live", trust_env=False).is_success
                    except httpx.HTTPError:
                        return False

                assert wait_until(answers, 30)
                yield f"http://{address}"
            finally:
                process.terminate()


async def test_minio_keeps_the_contract(minio: str) -> None:
    assert await run_contract(Buckets(minio).bench) == {}


class DeletesForWhoMayBypass(LocalWormStore):
    """Takes compliance for governance: with the right to bypass everything can be deleted."""

    def _is_kept(self, found: StoredVersion, *, bypass: bool) -> bool:
        return not bypass and super()._is_kept(found, bypass=False)


class BelievesTheWallClock(LocalWormStore):
    """Judges retention by a clock that its administrator sets."""

    def __init__(self, folder: Path, *, wall: Any, monotonic: Any) -> None:
        self.wall = wall
        super().__init__(folder, wall=wall, monotonic=monotonic)

    def now(self) -> datetime:
        return self.wall()


class ForgetsHolds(LocalWormStore):
    """Tells of holds and does not hold to them."""

    async def delete_version(self, key: str, version: str, *, bypass: bool = False) -> None:
        found = await self.head(key, version)
        with self._journal():
            if self._is_kept(found, bypass=bypass):
                raise WormRefused("kept")
            self._append("destroyed", key, version)


class OverwritesInPlace(LocalWormStore):
    """Writes what is put again over the newest version."""

    async def put(self, key: str, content: bytes, retention: Retention, *, hold: bool = False) -> StoredVersion:
        old = [each for each in await self.list_versions(key) if each.key == key]
        if not old:
            return await super().put(key, content, retention, hold=hold)
        path = self._path(key, old[-1].version)
        path.chmod(0o600)
        path.write_bytes(content)
        return old[-1]


class BatchesWithoutLooking(LocalWormStore):
    """Guards single deletes, and forgets to in the batch."""

    async def delete_versions(self, versions: Sequence[tuple[str, str]], *, bypass: bool = False) -> None:
        for key, version in dict.fromkeys(versions):
            with self._journal():
                self._append("destroyed", key, version)


@pytest.mark.parametrize(
    ("kind", "found_by"),
    [
        (DeletesForWhoMayBypass, {"delete_under_compliance_with_bypass", "shorten_compliance_with_bypass"}),
        (BelievesTheWallClock, {"clock_set_forward_deletes_nothing", "clock_set_forward_shortens_nothing"}),
        (ForgetsHolds, {"hold_stops_deleting_under_governance", "hold_outlasts_retention"}),
        (OverwritesInPlace, {"overwrite_leaves_the_old_version", "overwrite_many_times_keeps_all"}),
        (BatchesWithoutLooking, {"batch_delete_under_compliance", "hold_stops_a_batch"}),
    ],
)
async def test_a_planted_liar_is_found_out(kind: type[LocalWormStore], found_by: set[str], tmp_path: Path) -> None:
    failed = await run_contract(Folders(tmp_path, kind).bench)
    assert found_by <= set(failed), f"{kind.__name__}: only {sorted(failed)}"
    assert len(failed) < len(CHECKS) / 2, "a check that finds everything finds nothing"


async def test_large_objects_go_in_parts_and_a_dropped_lock_is_seen(cloud: str) -> None:
    bench = await Buckets(cloud).bench()
    content = secrets.token_bytes(PART_BYTES + 12345)

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 3_000_000):
            yield content[start : start + 3_000_000]

    key = bench.key()
    # moto takes the lock of an upload in parts and drops it, which is seen before anyone relies on it.
    with pytest.raises(WormRefused, match="did not take the retention"):
        await bench.store.put_parts(key, parts(), Retention(Mode.COMPLIANCE, bench.until()))
    assert await bench.store.get(key) == content


async def test_a_client_finds_its_service_and_says_when_it_is_away(cloud: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")
    away = S3WormStore("bucket", REGION)
    with pytest.raises(WormUnavailable):
        await away.check()
    await away.close()


async def test_a_bucket_without_lock_is_refused(cloud: str) -> None:
    client: Any = boto3.client("s3", region_name=REGION, endpoint_url=cloud)
    client.create_bucket(Bucket="plain-bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
    with pytest.raises(WormRefused):
        await S3WormStore("plain-bucket", REGION, client=client).check()


async def make_store(folder: Path, count: int = 3) -> tuple[LocalWormStore, list[StoredVersion]]:
    store = LocalWormStore(folder)
    until = utc_now() + timedelta(days=1)
    put = [await store.put(f"a/{n}", b"content %d" % n, Retention(Mode.COMPLIANCE, until)) for n in range(count)]
    assert store.find_damage() == []
    return store, put


async def test_what_reaches_past_the_folder_is_found(tmp_path: Path) -> None:
    store, put = await make_store(tmp_path / "worm")
    files = {each.key: tmp_path / "worm" / f"{each.key.replace('/', '%')}@{each.version}" for each in put}
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o400}
    files["a/0"].unlink()
    files["a/1"].chmod(0o600)
    files["a/1"].write_bytes(b"content X")
    (tmp_path / "worm" / "a%9@00000001").write_bytes(b"planted")
    assert store.find_damage() == [
        "a%9@00000001: nobody put this file",
        "a/0 00000001: its file is gone",
        "a/1 00000001: its file is not what was put",
    ]
    for key in ("a/0", "a/1"):
        with pytest.raises(ObjectDamaged):
            await store.get(key)
    with pytest.raises(ObjectMissing):
        await store.get("a/9")
    assert await store.get("a/2") == b"content 2"


@pytest.mark.parametrize("line", [0, 1, 2])
async def test_a_changed_or_missing_line_of_the_journal_is_seen(tmp_path: Path, line: int) -> None:
    store, _ = await make_store(tmp_path / "worm")
    digest = store.journal_digest()
    journal = tmp_path / "worm" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    changed = lines[line].replace(b'"COMPLIANCE"', b'"GOVERNANCE"')
    assert changed != lines[line]
    for written in ([*lines[:line], changed, *lines[line + 1 :]], [*lines[:line], *lines[line + 1 :]]):
        journal.write_bytes(b"".join(written))
        try:
            found = LocalWormStore(tmp_path / "worm").journal_digest()
        except ObjectDamaged:
            continue
        # The last line has none after it: only a digest that was kept elsewhere tells.
        assert line == 2
        assert found != digest


async def test_a_line_that_was_cut_off_was_never_acknowledged(tmp_path: Path) -> None:
    store, put = await make_store(tmp_path / "worm")
    journal = tmp_path / "worm" / "journal.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"before":"half a li')
    again = LocalWormStore(tmp_path / "worm")
    assert [each.version for each in await again.list_versions()] == ["00000001"] * 3
    until = utc_now() + timedelta(days=1)
    fourth = await again.put("a/0", b"more", Retention(Mode.GOVERNANCE, until))
    assert await store.head("a/0") == fourth
    assert await store.get(put[0].key, put[0].version) == b"content 0"


async def test_a_restart_never_takes_time_back(tmp_path: Path) -> None:
    clocks = Clocks()
    store = LocalWormStore(tmp_path / "worm", wall=lambda: clocks.wall, monotonic=lambda: clocks.monotonic)
    await store.put("a", b"x", Retention(Mode.COMPLIANCE, clocks.wall + timedelta(hours=1)))
    clocks.wall -= timedelta(days=365)
    later = LocalWormStore(tmp_path / "worm", wall=lambda: clocks.wall, monotonic=lambda: clocks.monotonic)
    assert later.now() >= datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a b", "a%b", "a@b", "a\n", "x" * 201])
async def test_a_key_that_not_every_store_takes_is_refused(key: str, tmp_path: Path) -> None:
    store = LocalWormStore(tmp_path)
    with pytest.raises(ValueError, match="no key"):
        await store.put(key, b"x", Retention(Mode.GOVERNANCE, utc_now() + timedelta(days=1)))
    assert await store.list_versions() == []


async def test_retention_is_rounded_up_to_the_second(tmp_path: Path) -> None:
    store = LocalWormStore(tmp_path)
    until = (utc_now() + timedelta(days=1)).replace(microsecond=1)
    stored = await store.put("a", b"x", Retention(Mode.GOVERNANCE, until))
    assert stored.retention == Retention(Mode.GOVERNANCE, until.replace(microsecond=0) + timedelta(seconds=1))
