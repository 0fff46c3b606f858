"""Segments that somebody changed, in every way that we know: each is found, and what nobody touched is sound."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.factories.audit_logs import public_of
from tests.factories.databases import DatabaseServer, PlaneDatabase
from tests.factories.sealed import SealedHouse

from pitboss.audit.rules.canonical import canonical
from pitboss.audit.rules.merkle import TreeEdge, hash_leaf
from pitboss.audit.rules.note import Checkpoint, NoteKey, compose_note, split_note, write_signature
from pitboss.evidence.runtime import check_segments, export_segments
from pitboss_verify.command import verify
from pitboss_verify.note import parse_checkpoint, parse_key

SEEDS = int(os.environ.pop("PITBOSS_TEST_SEGMENT_TAMPER", "2"))
"""How many times each way is tried; a long run takes 50."""


class Sealed:
    """An export, the log that it is of, and how it is written anew by who holds its key."""

    def __init__(self, books: SealedHouse, folder: Path) -> None:
        self.books = books
        self.folder = folder
        self.count = len(list(folder.glob("*.manifest")))

    def check(self, folder: Path, *, kept: str = "") -> set[str]:
        since = parse_checkpoint(kept) if kept else None
        report = verify(folder, [parse_key(line) for line in self.books.keys], since)
        return {each["check"] for each in report.findings}

    @property
    def last_checkpoint(self) -> str:
        return read(self.folder, self.count - 1)["checkpoint"]

    def rewrite(self, folder: Path, first: int, last: int, seed: bytes) -> None:
        """Make manifests `first` to `last` fit their lines again, signed with `seed`."""
        key, signing = NoteKey(self.books.origin, public_of(seed)), Ed25519PrivateKey.from_private_bytes(seed)
        edge = TreeEdge()
        for number in range(last + 1):
            bodies = lines_of(folder, number)
            manifest = read(folder, number)
            before, left = edge.size, [each.hex() for each in edge.peaks()]
            edge.extend([hash_leaf(body) for body in bodies])
            if number < first:
                continue
            text = Checkpoint(self.books.origin, edge.size, edge.root()).text
            lines = (folder / f"{number:010}.jsonl.gz").read_bytes()
            manifest |= {
                "first": before,
                "end": edge.size,
                "left": left,
                "lines": {"bytes": len(lines), "sha256": sha256(lines).hexdigest()},
                "checkpoint": compose_note(text, [write_signature(key, signing.sign(text.encode()))]),
                "sums": {"EUR": sum_up(bodies)},
            }
            if number:
                earlier = split_note((folder / f"{number - 1:010}.manifest").read_text())[0]
                manifest["previous"] = sha256(earlier.encode()).hexdigest()
            body = canonical(manifest).decode() + "\n"
            note = compose_note(body, [write_signature(key, signing.sign(body.encode()))])
            (folder / f"{number:010}.manifest").write_text(note)


def read(folder: Path, number: int) -> dict[str, Any]:
    return json.loads(split_note((folder / f"{number:010}.manifest").read_text())[0])


def lines_of(folder: Path, number: int) -> list[bytes]:
    return gzip.decompress((folder / f"{number:010}.jsonl.gz").read_bytes()).splitlines()


def write_lines(folder: Path, number: int, bodies: list[bytes]) -> None:
    (folder / f"{number:010}.jsonl.gz").write_bytes(gzip.compress(b"".join(each + b"\n" for each in bodies), mtime=0))


def sum_up(bodies: list[bytes]) -> dict[str, int]:
    deltas = [json.loads(body)["delta"] for body in bodies]
    names = ("real", "bonus", "held", "debt", "counter")
    return {"entries": len(bodies), **{name: sum(delta[name] for delta in deltas) for name in names}}


def change_amount(folder: Path, number: int, chance: Random) -> None:
    bodies = lines_of(folder, number)
    at = chance.randrange(len(bodies))
    entry = json.loads(bodies[at])
    entry["delta"]["real"] += 1
    entry["delta"]["counter"] -= 1
    entry["after"]["real"] += 1
    bodies[at] = canonical(entry)
    write_lines(folder, number, bodies)


def change_reference(folder: Path, number: int, chance: Random) -> None:
    """Nothing but its bytes tells of it: sums and balances stay as they are."""
    bodies = lines_of(folder, number)
    at = chance.randrange(len(bodies))
    bodies[at] = canonical(json.loads(bodies[at]) | {"reference": "another"})
    write_lines(folder, number, bodies)


def flip(kind: str) -> Callable[[Sealed, Path, int, Random], None]:
    def tamper(_sealed: Sealed, folder: Path, number: int, chance: Random) -> None:
        file = folder / f"{number:010}.{kind}"
        data = bytearray(file.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(data)

    return tamper


def drop(kind: str) -> Callable[[Sealed, Path, int, Random], None]:
    def tamper(_sealed: Sealed, folder: Path, number: int, _chance: Random) -> None:
        (folder / f"{number:010}.{kind}").unlink()

    return tamper


def remove(folder: Path, number: int) -> None:
    for file in folder.glob(f"{number:010}.*"):
        file.unlink()


def drop_segment(sealed: Sealed, folder: Path, number: int, _chance: Random) -> None:
    """Not the last one: that is to cut off the tail."""
    remove(folder, min(number, sealed.count - 2))


def cut_tail(sealed: Sealed, folder: Path, number: int, _chance: Random) -> None:
    for cut in range(max(number, 1), sealed.count):
        remove(folder, cut)


def swap(sealed: Sealed, folder: Path, number: int, _chance: Random) -> None:
    other = (number + 1) % sealed.count
    for kind in ("manifest", "jsonl.gz", "parquet"):
        one, two = folder / f"{number:010}.{kind}", folder / f"{other:010}.{kind}"
        first = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(first)


def double(sealed: Sealed, folder: Path, number: int, _chance: Random) -> None:
    for kind in ("manifest", "jsonl.gz", "parquet"):
        shutil.copy(folder / f"{number:010}.{kind}", folder / f"{sealed.count:010}.{kind}")


def truncate(_sealed: Sealed, folder: Path, number: int, chance: Random) -> None:
    file = folder / f"{number:010}.jsonl.gz"
    file.write_bytes(file.read_bytes()[: chance.randrange(1, file.stat().st_size)])


def omit_entry(sealed: Sealed, folder: Path, number: int, chance: Random) -> None:
    bodies = lines_of(folder, number)
    del bodies[chance.randrange(len(bodies))]
    write_lines(folder, number, bodies)


def rewrite_unsigned(_sealed: Sealed, folder: Path, number: int, chance: Random) -> None:
    """The lines and their digest in the manifest, whose signatures stay."""
    change_reference(folder, number, chance)
    lines = (folder / f"{number:010}.jsonl.gz").read_bytes()
    text, signatures = split_note((folder / f"{number:010}.manifest").read_text())
    manifest = json.loads(text) | {"lines": {"bytes": len(lines), "sha256": sha256(lines).hexdigest()}}
    (folder / f"{number:010}.manifest").write_text(compose_note(canonical(manifest).decode() + "\n", signatures))


def sign_with_another_key(sealed: Sealed, folder: Path, number: int, chance: Random) -> None:
    change_reference(folder, number, chance)
    sealed.rewrite(folder, number, sealed.count - 1, chance.randbytes(32))


def sign_one_with_stolen_key(sealed: Sealed, folder: Path, number: int, chance: Random) -> None:
    """Whoever has the key but not the segments after it, which name the manifest before them."""
    number = min(number, sealed.count - 2)
    change_reference(folder, number, chance)
    sealed.rewrite(folder, number, number, sealed.books.seeds[0])


def sign_all_with_stolen_key(sealed: Sealed, folder: Path, number: int, chance: Random) -> None:
    change_reference(folder, number, chance)
    sealed.rewrite(folder, number, sealed.count - 1, sealed.books.seeds[0])


def pay_more_with_stolen_key(sealed: Sealed, folder: Path, number: int, chance: Random) -> None:
    """A wallet's next booking tells what was there before it; the last one of a wallet only the checkpoint."""
    change_amount(folder, number, chance)
    sealed.rewrite(folder, number, sealed.count - 1, sealed.books.seeds[0])


def hand_over_to_oneself(sealed: Sealed, folder: Path, number: int, chance: Random) -> None:
    """A statement that another key takes over, which the key before it never signed."""
    number = max(number, 1)
    seed = chance.randbytes(32)
    key = NoteKey(sealed.books.origin, public_of(seed)).text
    text, signatures = split_note((folder / f"{number:010}.manifest").read_text())
    manifest = json.loads(text) | {"handover": {"key": key, "statement": chance.randbytes(64).hex()}}
    (folder / f"{number:010}.manifest").write_text(compose_note(canonical(manifest).decode() + "\n", signatures))
    sealed.rewrite(folder, number, sealed.count - 1, seed)


def strange_file(_sealed: Sealed, folder: Path, number: int, _chance: Random) -> None:
    (folder / f"{number:010}.jsonl").write_bytes(b"{}")


WAYS: dict[str, Callable[[Sealed, Path, int, Random], None]] = {
    "flip a bit of the lines": flip("jsonl.gz"),
    "flip a bit of the columns": flip("parquet"),
    "flip a bit of the manifest": flip("manifest"),
    "drop the lines": drop("jsonl.gz"),
    "drop the columns": drop("parquet"),
    "drop the manifest": drop("manifest"),
    "drop a segment": drop_segment,
    "cut off the tail": cut_tail,
    "swap segments": swap,
    "double a segment": double,
    "truncate the lines": truncate,
    "omit an entry": omit_entry,
    "change lines and digest": rewrite_unsigned,
    "sign with another key": sign_with_another_key,
    "sign one with the stolen key": sign_one_with_stolen_key,
    "sign all with the stolen key": sign_all_with_stolen_key,
    "pay more with the stolen key": pay_more_with_stolen_key,
    "hand over to oneself": hand_over_to_oneself,
    "lay a file beside": strange_file,
}
ONLY_BY_WHAT_WAS_KEPT = {"cut off the tail", "sign all with the stolen key", "pay more with the stolen key"}
"""The folder alone may not tell of these: it takes a checkpoint that somebody else kept."""


@pytest.fixture(scope="module")
def sealed(database_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    folder = tmp_path_factory.mktemp("sealed")
    with database_server.clone("cell") as database:
        books = SealedHouse(database, folder)

        async def fill() -> None:
            await books.open()
            await books.play_rounds(8)
            await books.seal(most=11)
            async with books.connect() as connection:
                await export_segments(connection, books.scope, books.worm, folder / "out")

        asyncio.run(fill())
        yield Sealed(books, folder / "out")


def test_what_nobody_touched_is_sound(sealed: Sealed) -> None:
    assert sealed.count >= 4
    assert sealed.check(sealed.folder, kept=sealed.last_checkpoint) == set()


@pytest.mark.parametrize("way", WAYS)
def test_every_tampering_is_found(sealed: Sealed, tmp_path: Path, way: str) -> None:
    for seed in range(SEEDS):
        chance = Random(f"{way}/{seed}")
        folder = tmp_path / str(seed)
        shutil.copytree(sealed.folder, folder)
        WAYS[way](sealed, folder, chance.randrange(sealed.count), chance)
        assert sealed.check(folder, kept=sealed.last_checkpoint), f"{way}, seed {seed}"
        if way not in ONLY_BY_WHAT_WAS_KEPT:
            assert sealed.check(folder), f"{way}, seed {seed}: not found by the folder alone"


STATEMENTS = {
    "a booking is gone": ("delete from journal where wallet_id = {wallet} and version = 3", "journal: EUR"),
    "a booking says more": (
        "update journal set d_real = d_real + 1, real_after = real_after + 1 where wallet_id = {wallet} and version = 3",
        "journal: EUR",
    ),
    "a mark goes too far": (
        "update journal_sealed set version = version - 1 where wallet_id = {wallet}",
        "journal: 1 wallets are marked",
    ),
    "a manifest is another": (
        "update round_segment set manifest = convert_to(replace(convert_from(manifest, 'UTF8'), '\"number\":1', '\"number\":7'), 'UTF8')"
        " where number = 1",
        "signature: the manifest of segment 1",
    ),
    "a segment is gone": ("delete from round_segment where number = 1", "segment 1 is not in the table"),
}


async def test_the_check_holds_store_and_journal_against_the_segments(
    cell_database: PlaneDatabase, tmp_path: Path
) -> None:
    books = SealedHouse(cell_database, tmp_path)
    await books.open()
    await books.play_rounds(5)
    await books.seal(most=11)
    assert (await books.check()).findings == ()
    for what, (statement, finding) in STATEMENTS.items():
        found = await check_after(books, statement.format(wallet=books.seats[0].wallet_id))
        assert any(each.startswith(finding) for each in found), (what, found)
    assert (await books.check()).findings == ()
    key = "rounds/eu-1/aurora/0000000001.jsonl.gz"
    first = (await books.worm.list_versions(key))[0]
    assert first.retention is not None
    path = next(books.folder.glob("*0000000001.jsonl.gz@*"))
    content = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(content[:-1])
    assert any("is not what was put" in each for each in (await books.check()).findings)
    path.write_bytes(content)
    await books.worm.put(key, content + b"x", first.retention)
    assert f"{key}: 2 versions, where one was sealed" in (await books.check()).findings


async def check_after(books: SealedHouse, statement: str) -> tuple[str, ...]:
    """Return what the check finds after a statement of the superuser, which is undone."""
    admin = await asyncpg.connect(books.database.admin_url)
    try:
        await admin.execute("set session_replication_role = replica")
        change = admin.transaction()
        await change.start()
        await admin.execute(statement)
        found = await check_segments(admin, books.scope, books.worm, books.keys, 0, lambda _: None)
        await change.rollback()
    finally:
        await admin.close()
    return found.findings
