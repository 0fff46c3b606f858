"""A tenant moves between two cells of one locality while its players play: nothing is lost, doubled or left behind."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.crash.judge import compare
from tests.factories.tenants import ROOT
from tests.residency.move_world import NEIGHBOUR, SOURCE, TARGET, TENANT, Following, MoveWorld

from pitboss.audit.runtime import FileSigner, origin_of, sign_note
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import is_unavailable
from pitboss.platform.embedded import PostgresServer, RedisServer
from pitboss.platform.objects import ObjectFolder, TenantFolder
from pitboss.platform.processes import wait_until
from pitboss.platform.settings import require
from pitboss.relocation.contracts import KIT_FORMAT
from pitboss_verify.kit import KitCheck
from pitboss_verify.note import parse_key

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]
PLAYERS = 6
_ALL_LINES = (
    "→ frozen,packed game,→ exported,unpacked wallet,all rows are committed,→ imported,→ compared,→ switched,Redis"
)
KILLED_AFTER = (
    _ALL_LINES if os.environ.get("PITBOSS_TEST_MOVE_KILLS") == "all" else "all rows are committed,→ switched"
).split(",")
"""What a move has said when it is killed with SIGKILL; the next one goes on. The long form kills after every step."""


@pytest.fixture
def move_world(postgres_server: PostgresServer, redis_server: RedisServer) -> Iterator[MoveWorld]:
    with tempfile.TemporaryDirectory(prefix="pitboss-move-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield MoveWorld(folder, postgres_server, redis_server)


@pytest.fixture(scope="module")
def still_world(postgres_server: PostgresServer, redis_server: RedisServer) -> Iterator[MoveWorld]:
    """Two cells of which no process runs; each test leaves the tenant where it was."""
    with tempfile.TemporaryDirectory(prefix="pitboss-move-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        world = MoveWorld(folder, postgres_server, redis_server)
        with world.open(1) as (seat,):
            world.credit(seat, "25.00")
            yield world


def test_a_tenant_moves_under_traffic(move_world: MoveWorld) -> None:
    world = move_world
    with world.open(PLAYERS) as seats:
        for name in (SOURCE, TARGET):
            world.launch_cell(name)
        world.wait_for_cell(SOURCE)
        traffic = Following(world, seats, 7)
        traffic.start()
        try:
            assert wait_until(lambda: traffic.count > 60, 30)
            began = time.monotonic()
            _files(world, SOURCE).put("canary", b"sealed")
            for line in KILLED_AFTER:
                assert world.kill_after(world.move(), line), line
                if line == KILLED_AFTER[0]:
                    moving = world.get(SOURCE, "/api/v1/games")
                    assert (moving.status_code, moving.json()["code"]) == (503, "directory.tenant_moving")
                    assert world.get(SOURCE, "/api/v1/games", NEIGHBOUR).status_code == 200
            said = world.finish(world.move())
            took = time.monotonic() - began
            assert "→ shredded" in said
            assert traffic.arrived.wait(30), traffic.wrong
            before = traffic.count
            assert wait_until(lambda: traffic.count > before + 60, 30)
        finally:
            traffic.stop()
        figures = asyncio.run(_judge(world, traffic))
        print({**figures, "calls": traffic.count, "retries": traffic.retries, "move_seconds": round(took, 1)})
        assert traffic.wrong == []
        assert set(figures.values()) == {0}, figures
        assert asyncio.run(traffic.replay_all(8)) == [], "an old key is answered in the new cell as it was in the old"
        _look_at_what_is_left(world)
        believed = [parse_key(line) for line in world.write_public_keys().read_text().splitlines()]
        assert KitCheck(world.kit, believed).run().findings == []


async def _judge(world: MoveWorld, traffic: Following) -> dict[str, int]:
    admin = await asyncpg.connect(world.databases[TARGET].admin_url)
    world.scope = TenantScope(1, TENANT, TARGET)
    try:
        with world.opened(TARGET) as database:
            figures = await compare(admin, database, world, traffic)
            await database.engine.dispose()
    finally:
        await admin.close()
    return figures


def _files(world: MoveWorld, name: str) -> TenantFolder:
    return ObjectFolder(world.cells[name].objects_dir, name).of(TenantScope(1, TENANT, name), "test")


def _look_at_what_is_left(world: MoveWorld) -> None:
    assert (_files(world, SOURCE).get("canary"), _files(world, TARGET).get("canary")) == (None, b"sealed")
    assert asyncio.run(world.count_rows(SOURCE)) == {}
    assert asyncio.run(world.count_rows(SOURCE, 2)), "the neighbour stays"
    away = world.get(SOURCE, "/api/v1/games")
    assert (away.status_code, away.json()["code"]) == (421, "web.misdirected")
    assert str(world.places[TARGET][0]) in away.json()["detail"]
    assert world.get(TARGET, "/api/v1/games").status_code == 200
    assert world.get(SOURCE, "/api/v1/games", NEIGHBOUR).status_code == 200
    certificate = json.loads((world.kit / "certificate.json").read_text())
    assert certificate["rows"]["journal"] > 60


def test_a_move_may_be_given_up_and_a_frozen_tenant_is_reached_by_nobody(still_world: MoveWorld) -> None:
    world = still_world
    before = asyncio.run(world.count_rows(SOURCE))
    world.finish(world.move("--until", "imported"))
    asyncio.run(_with_triggers_aside(world, "update house_account set provider = 'nobody' where provider = 'hub88'"))
    printed, said = world.move("--until", "compared").communicate(timeout=60)
    assert "table house_account" in printed + said, "what arrived otherwise stops the move"
    with pytest.raises(DBAPIError, match="not served here") as refused:
        asyncio.run(_count_sources(world, TenantScope(1, TENANT, SOURCE)))
    assert is_unavailable(refused.value), "it is answered with: try again"
    assert asyncio.run(_count_sources(world, TenantScope(2, NEIGHBOUR, SOURCE))) > 0
    assert asyncio.run(world.count_rows(TARGET))
    assert "rolled_back" in world.finish(world.move("--roll-back"))
    assert asyncio.run(world.count_rows(TARGET)) == {}
    after = asyncio.run(world.count_rows(SOURCE))
    log = {"audit_event", "audit_entry", "audit_checkpoint", "audit_log", "audit_tile"}
    assert {k: v for k, v in after.items() if k not in log} == {k: v for k, v in before.items() if k not in log}
    assert asyncio.run(_count_sources(world, TenantScope(1, TENANT, SOURCE))) > 0


async def _count_sources(world: MoveWorld, scope: TenantScope) -> int:
    with world.opened(scope.cell) as database:
        try:
            async with database.transaction(scope) as session:
                return int(await session.scalar(text("select count(*) from source")) or 0)
        finally:
            await database.engine.dispose()


def test_what_may_not_move_does_not(still_world: MoveWorld) -> None:
    before = asyncio.run(still_world.count_rows(SOURCE))
    _refuse_another_locality(still_world)
    _refuse_rows_in_the_target(still_world)
    printed, said = still_world.move(to=SOURCE).communicate(timeout=60)
    assert f"lives in {SOURCE}: it moves from there to another cell" in printed + said
    assert asyncio.run(still_world.count_rows(SOURCE)) == before, "a refusal changes nothing"


def test_a_kit_proves_itself_to_a_stranger(still_world: MoveWorld) -> None:
    kit, keys = still_world.folder / "exit", still_world.folder / "opened.json"
    packed = still_world.pack(kit, keys)
    assert packed.returncode == 0, packed.stderr
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    (told,) = asyncio.run(_list_exports(still_world))
    assert {"access.mode": "reveal", "access.sensitivity": "secret"}.items() <= told.items()
    _open_keys(kit, keys)
    _check_kit(still_world, kit)


def _refuse_another_locality(world: MoveWorld) -> None:
    place = world.folder / "cells" / f"{TARGET}.toml"
    file, content = world.settings_file(TARGET), place.read_text()
    settings = file.read_text()
    place.write_text(content.replace('locality = "eu"', 'locality = "br"'))
    file.write_text(settings.replace("PITBOSS_LOCALITY=eu", "PITBOSS_LOCALITY=br"))
    printed, said = world.move().communicate(timeout=60)
    assert "data does not leave its zone" in printed + said
    place.write_text(content)
    file.write_text(settings)


def _refuse_rows_in_the_target(world: MoveWorld) -> None:
    asyncio.run(_with_triggers_aside(world, "insert into keyring (tenant_id, epoch) values (1, 1)"))
    printed, said = world.move().communicate(timeout=60)
    assert f"{TARGET} holds rows of {TENANT}: keyring" in printed + said
    asyncio.run(_with_triggers_aside(world, "delete from keyring"))


async def _with_triggers_aside(world: MoveWorld, statement: str) -> None:
    connection = await asyncpg.connect(world.databases[TARGET].admin_url)
    try:
        await connection.execute(f"set session_replication_role = replica; {statement}")
    finally:
        await connection.close()


async def _list_exports(world: MoveWorld) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(world.databases[SOURCE].admin_url)
    try:
        rows = await connection.fetch("select changes from audit_event where type = 'tenant.exported'")
    finally:
        await connection.close()
    return [{each["path"]: each["after"] for each in json.loads(row["changes"])} for row in rows]


def _open_keys(kit: Path, keys: Path) -> None:
    """Whoever has the file of keys opens every subject's, and nobody else: they fit, or unwrapping raises."""
    epochs = {int(epoch): bytes.fromhex(key) for epoch, key in json.loads(keys.read_text())["epochs"].items()}
    subjects = {
        row["subject_id"]: aes_key_unwrap(epochs[row["epoch"]], bytes.fromhex(row["wrapped_key"][2:]))
        for row in _rows(kit, "subject_key")
    }
    assert subjects


def _rows(kit: Path, table: str) -> list[dict[str, Any]]:
    with gzip.open(kit / "tables" / f"{table}.jsonl.gz") as lines:
        return [json.loads(line) for line in lines]


def _check_kit(world: MoveWorld, kit: Path) -> None:
    keys = world.write_public_keys()
    program = [sys.executable, "-I", "-c", _STRANGER, str(ROOT / "core/verify"), str(kit), "--keys", str(keys)]
    sound = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (sound.returncode, "sound" in sound.stdout) == (0, True), sound.stdout + sound.stderr
    believed = [parse_key(line) for line in keys.read_text().splitlines()]
    signer = FileSigner(require(world.cells[SOURCE], "audit_keys_file"))
    for name, (check, tamper) in (TAMPERINGS | SIGNED_TAMPERINGS).items():
        broken = kit.with_name("broken")
        shutil.copytree(kit, broken)
        tamper(broken)
        if name in SIGNED_TAMPERINGS:
            origin = origin_of(SOURCE, TENANT)
            digest = sha256((broken / "manifest.json").read_bytes()).hexdigest()
            note = asyncio.run(sign_note(signer, origin, f"{KIT_FORMAT}\n{origin}\n{digest}\n"))
            (broken / "manifest.note").write_text(note)
        found = {finding["check"] for finding in KitCheck(broken, believed).run().findings}
        assert check in found, (name, found)
        assert name not in SIGNED_TAMPERINGS or found == {check}, (name, found)
        shutil.rmtree(broken)


_STRANGER = (
    "import sys, runpy; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('pitboss_verify', run_name='__main__')"
)


def _rewrite(kit: Path, table: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the rows of a table, and put every digest right, as somebody without the key could."""
    file = kit / "tables" / f"{table}.jsonl.gz"
    lines = change(gzip.decompress(file.read_bytes()).splitlines(keepends=True))
    file.write_bytes(gzip.compress(b"".join(lines)))
    manifest = json.loads((kit / "manifest.json").read_text())
    manifest["tables"][table] |= {"rows": len(lines), "sha256": sha256(b"".join(lines)).hexdigest()}
    manifest["files"][f"tables/{table}.jsonl.gz"] = {
        "sha256": sha256(file.read_bytes()).hexdigest(),
        "bytes": file.stat().st_size,
    }
    (kit / "manifest.json").write_text(json.dumps(manifest))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _raise_wallet(lines: list[bytes]) -> list[bytes]:
    row = json.loads(lines[0])
    return [json.dumps({**row, "real_minor": row["real_minor"] + 1}).encode() + b"\n", *lines[1:]]


def _shorten_log(kit: Path) -> None:
    manifest = json.loads((kit / "manifest.json").read_text())
    manifest["log"]["size"] -= 1
    (kit / "manifest.json").write_text(json.dumps(manifest))


class Stranger:
    """Signs with a key of its own under whatever name."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    @property
    def current(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    async def sign(self, public_key: bytes, message: bytes) -> bytes:
        assert public_key == self.current
        return self._key.sign(message)


def _sign_as_stranger(kit: Path) -> None:
    text, _, _ = (kit / "manifest.note").read_text().partition("\n\n")
    (kit / "manifest.note").write_text(asyncio.run(sign_note(Stranger(), origin_of(SOURCE, TENANT), f"{text}\n")))


TAMPERINGS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a byte of a table": ("manifest", lambda kit: _flip(kit / "tables" / "player.jsonl.gz")),
    "a file taken away": ("manifest", lambda kit: (kit / "tables" / "player.jsonl.gz").unlink()),
    "a file put in": ("manifest", lambda kit: (kit / "tables" / "more.jsonl.gz").write_bytes(b"")),
    "a row taken away": ("signature", lambda kit: _rewrite(kit, "player", lambda lines: lines[1:])),
    "no signature": ("signature", lambda kit: (kit / "manifest.note").unlink()),
    "another signature": ("signature", lambda kit: shutil.copy(kit / "log/manifest.note", kit / "manifest.note")),
    "the signature of a stranger": ("signature", _sign_as_stranger),
    "a certificate of nobody": ("signature", lambda kit: (kit / "certificate.json").write_text("{}")),
    "an entry of the log": ("manifest", lambda kit: _flip(next((kit / "log" / "entries").iterdir()))),
}
"""What is done to a kit, and the check that has to find it."""
SIGNED_TAMPERINGS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a wallet raised": ("ledger", lambda kit: _rewrite(kit, "wallet", _raise_wallet)),
    "a booking taken away": ("ledger", lambda kit: _rewrite(kit, "journal", lambda lines: lines[:-1])),
    "a share of the house taken away": ("ledger", lambda kit: _rewrite(kit, "house_delta", lambda lines: lines[:-1])),
    "a log that ends elsewhere": ("log", _shorten_log),
}
"""The same by somebody who holds the key, and signs again: what is left are the books and the log."""
