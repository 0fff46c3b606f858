"""From an event to what an auditor holds: packages, proofs, the witness, and what the log finds in itself."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.factories.audit_logs import Log, public_of, write_keys
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, JADE, open_cell

from pitboss.audit.errors import ProofUnavailable
from pitboss.audit.rules.merkle import TreeEdge, hash_leaf
from pitboss.audit.rules.note import Checkpoint, NoteKey, compose_note, read_checkpoint, split_note, write_signature
from pitboss.audit.runtime import (
    FileSigner,
    PackageOrder,
    Packed,
    Witness,
    WitnessClient,
    WitnessPolicy,
    list_faults,
    prove_event,
    read_last_note,
    serve_witness,
    write_package,
)
from pitboss.audit.runtime.sequencer import compose_request
from pitboss.platform.db import Database
from pitboss_verify.command import verify
from pitboss_verify.note import Key, parse_checkpoint, parse_key
from pitboss_verify.package import Report

ORIGIN = "pitboss.audit/eu-1/aurora"


@pytest.fixture
def log(cell_database: PlaneDatabase, tmp_path: Path) -> Log:
    return Log(cell_database, tmp_path)


@pytest.fixture
async def cell(cell_database: PlaneDatabase) -> AsyncIterator[Database]:
    async with open_cell(cell_database) as database:
        yield database


def make_witness(folder: Path, log: Log) -> Witness:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    return Witness(folder, "pitboss.witness/test", key, [WitnessPolicy("pitboss.audit/eu-1/", (public_of(log.seed),))])


@pytest.fixture
def witness(log: Log, tmp_path: Path) -> Iterator[WitnessClient]:
    one = make_witness(tmp_path / "witness", log)
    server = serve_witness(one, "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield WitnessClient(f"http://127.0.0.1:{server.server_address[1]}", one.key)
    server.shutdown()
    server.server_close()


def keys_of(log: Log, witness: WitnessClient | None = None) -> list[Key]:
    lines = [NoteKey(ORIGIN, public_of(log.seed)).text, *([witness.key.text] if witness else [])]
    return [parse_key(line) for line in lines]


async def pack(cell: Database, log: Log, folder: Path, order: PackageOrder | None = None) -> Packed:
    async with cell.snapshot(AURORA) as session:
        return await write_package(session, AURORA, FileSigner(log.keys), folder, order or PackageOrder())


def judge(folder: Path, keys: list[Key], since: str = "") -> Report:
    return verify(folder, keys, parse_checkpoint(since) if since else None)


async def test_a_witnessed_log_is_packed_and_found_sound(
    log: Log, cell: Database, witness: WitnessClient, tmp_path: Path
) -> None:
    await log.write(40)
    await log.sequence(witness=witness)
    async with cell.snapshot(AURORA) as session:
        first_visit = await read_last_note(session, AURORA)
    await log.write(700)
    await log.sequence(witness=witness)
    packed = await pack(cell, log, tmp_path / "package")
    report = judge(tmp_path / "package", keys_of(log, witness), first_visit)
    assert (report.findings, report.entries, report.cosignatures) == ([], 740, 1)
    assert report.manifest == packed.manifest


async def test_a_span_of_the_log_is_sound_by_itself_and_grew_out_of_the_last_visit(
    log: Log, cell: Database, tmp_path: Path
) -> None:
    await log.write(300)
    await log.sequence()
    async with cell.snapshot(AURORA) as session:
        first_visit = await read_last_note(session, AURORA)
    await log.write(301)
    await log.sequence()
    entries = await log.entries()
    moment = json.loads(entries[-1][1])["recorded_at"]
    await log.write(290)
    await log.sequence()
    begin = datetime.fromisoformat(moment)
    await pack(cell, log, tmp_path / "span", PackageOrder(since=300, begin=begin + timedelta(microseconds=1)))
    report = judge(tmp_path / "span", keys_of(log), first_visit)
    assert (report.findings, report.first, report.end) == ([], 601, 891)
    forged = first_visit.replace(split_note(first_visit)[0].split("\n")[2], "A" * 43 + "=")
    assert {each["check"] for each in judge(tmp_path / "span", keys_of(log), forged).findings} >= {"consistency"}
    with pytest.raises(ProofUnavailable, match="nothing was recorded"):
        await pack(cell, log, tmp_path / "before", PackageOrder(end=begin - timedelta(days=1)))
    assert not (tmp_path / "before").exists()
    await pack(cell, log, tmp_path / "early", PackageOrder(end=begin))
    early = judge(tmp_path / "early", keys_of(log), first_visit)
    assert (early.findings, early.first, early.end) == ([], 0, 300)


async def test_one_event_is_proved_without_the_others(log: Log, cell: Database, tmp_path: Path) -> None:
    await log.write(530)
    await log.sequence()
    for log_seq, body in [(await log.entries())[at] for at in (0, 255, 256, 511, 529)]:
        async with cell.snapshot(AURORA) as session:
            proof = await prove_event(session, AURORA, UUID(json.loads(body)["id"]))
        file = tmp_path / f"{log_seq}.json"
        file.write_bytes(proof)
        assert judge(file, keys_of(log)).findings == []
        file.write_bytes(proof.replace(b"suspended", b"suspicious", 1))
        assert [each["check"] for each in judge(file, keys_of(log)).findings] == ["inclusion"]
    async with cell.snapshot(AURORA) as session:
        with pytest.raises(ProofUnavailable):
            await prove_event(session, AURORA, UUID(int=7))
    async with cell.snapshot(JADE) as session:
        with pytest.raises(ProofUnavailable):
            await prove_event(session, JADE, UUID(json.loads((await log.entries())[0][1])["id"]))


async def test_a_log_whose_key_was_replaced_is_sound_with_the_first_key_alone(
    log: Log, cell: Database, tmp_path: Path
) -> None:
    await log.write(5)
    await log.sequence()
    keys, fresh = keys_of(log), bytes(range(32))
    write_keys(log.keys, fresh, log.seed)
    await log.write(5)
    await log.sequence()
    await pack(cell, log, tmp_path / "package")
    assert judge(tmp_path / "package", keys).findings == []
    other = [parse_key(NoteKey(ORIGIN, public_of(bytes(32))).text)]
    assert {each["check"] for each in judge(tmp_path / "package", other).findings} == {"signature", "key"}


INSIDE = {
    "an event changed": "update audit_event set actor_name = 'mallory' where event_id = $1",
    "an event taken away": "delete from audit_event where event_id = $1",
    "an address changed": 'update audit_event set origin = origin || \'{"ip": "198.51.100.1"}\' where event_id = $1',
    "an entry changed": "update audit_entry set body = set_byte(body, 40, 120) where event_id = $1",
    "an entry taken away": "delete from audit_entry where event_id = $1",
    "a tile changed": "update audit_tile set hashes = set_byte(hashes, 9, 1 - get_byte(hashes, 9) % 2)"
    " where $1::uuid is not null",
    "a checkpoint changed": "update audit_checkpoint set note = replace(note, E'\\n300\\n', E'\\n299\\n')"
    " where $1::uuid is not null",
    "the edge changed": "update audit_log set edge = ''::bytea where $1::uuid is not null",
    "an event slipped in": "insert into audit_event ({names}) select {picked} from audit_event where event_id = $1",
}


@pytest.mark.parametrize("way", INSIDE)
async def test_a_superuser_behind_the_logs_back_is_found(log: Log, cell: Database, way: str) -> None:
    await log.write(300)
    await log.sequence()
    async with cell.snapshot(AURORA) as session:
        assert await list_faults(session, AURORA) == []
    event_id = UUID(json.loads((await log.entries())[77][1])["id"])
    admin = await asyncpg.connect(log.database.admin_url)
    try:
        await admin.execute("set session_replication_role = replica")  # triggers are off
        columns = await admin.fetch(
            "select column_name from information_schema.columns where table_name = 'audit_event' order by 1"
        )
        names = ", ".join(row["column_name"] for row in columns)
        picked = names.replace("event_id", "gen_random_uuid()", 1)
        statement = INSIDE[way]
        if way == "an event slipped in":
            statement = f"insert into audit_event ({names}) select {picked} from audit_event where event_id = $1"
        assert (await admin.execute(statement, event_id)).split()[-1] != "0"
    finally:
        await admin.close()
    async with cell.snapshot(AURORA) as session:
        assert await list_faults(session, AURORA) != []


async def test_an_event_edited_before_it_is_logged_is_not_found(log: Log, cell: Database) -> None:
    """The honest limit: until the sequencer has taken it, a superuser can change what happened."""
    await log.write(3)
    admin = await asyncpg.connect(log.database.admin_url)
    try:
        await admin.execute("set session_replication_role = replica")
        await admin.execute("update audit_event set actor_name = 'mallory'")
    finally:
        await admin.close()
    await log.sequence()
    async with cell.snapshot(AURORA) as session:
        assert await list_faults(session, AURORA) == []


class TestWitness:
    """What it signs and what it refuses, by the rules of C2SP tlog-witness."""

    def note(self, log: Log, bodies: list[bytes], *, origin: str = ORIGIN, seed: bytes = b"") -> str:
        edge = TreeEdge()
        edge.extend([hash_leaf(body) for body in bodies])
        key = Ed25519PrivateKey.from_private_bytes(seed or log.seed)
        text = Checkpoint(origin, len(bodies), edge.root()).text
        public = NoteKey(origin, key.public_key().public_bytes_raw())
        return compose_note(text, [write_signature(public, key.sign(text.encode()))])

    def test_it_signs_growth_and_refuses_everything_else(self, log: Log, tmp_path: Path) -> None:
        one = make_witness(tmp_path / "witness", log)
        first, second = [b"a"], [b"a", b"b"]
        assert one.add_checkpoint(compose_request(0, [], self.note(log, first))).status == 200
        proof = [hash_leaf(b"b")]
        fork = self.note(log, [b"a", b"x"])
        cases = {
            "a fork": (compose_request(1, proof, fork), 422),
            "no proof": (compose_request(1, [], self.note(log, second)), 422),
            "a stranger's key": (compose_request(1, proof, self.note(log, second, seed=bytes(32))), 403),
            "another log": (compose_request(0, [], self.note(log, first, origin="elsewhere/eu-1/aurora")), 404),
            "an old size": (compose_request(0, [], self.note(log, second)), 409),
            "a fork of one size": (compose_request(1, [], self.note(log, [b"x"])), 409),
            "a log that shrinks": (compose_request(2, [], self.note(log, first)), 400),
            "nonsense": (b"hello", 400),
        }
        for name, (body, status) in cases.items():
            assert one.add_checkpoint(body).status == status, name
        last = one.last(ORIGIN)
        assert last is not None
        assert last.size == 1
        again = make_witness(tmp_path / "witness", log)  # it remembers
        answer = again.add_checkpoint(compose_request(1, proof, self.note(log, second)))
        assert answer.status == 200
        note = self.note(log, second) + answer.body
        assert parse_checkpoint(note).signatures[1].name == "pitboss.witness/test"
        rolled_back = again.add_checkpoint(compose_request(1, [], self.note(log, first)))
        assert (rolled_back.status, rolled_back.body) == (409, "2\n")

    async def test_a_log_that_was_rolled_back_gets_no_cosignature(self, log: Log, witness: WitnessClient) -> None:
        await log.write(3)
        await log.sequence(witness=witness)
        admin = await asyncpg.connect(log.database.admin_url)
        try:  # the day's backup is played back, and the log goes on from there
            await admin.execute("set session_replication_role = replica")
            for table in ("audit_log", "audit_entry", "audit_tile", "audit_checkpoint", "audit_cosignature"):
                await admin.execute(f"truncate {table}")
            await admin.execute("delete from audit_event where event_id = (select event_id from audit_event limit 1)")
        finally:
            await admin.close()
        await log.sequence(witness=witness)
        async with log.connect() as connection:
            assert await connection.fetchval("select count(*) from audit_checkpoint") == 1
            assert await connection.fetchval("select count(*) from audit_cosignature") == 0


async def test_an_event_is_under_a_witnessed_checkpoint_soon(log: Log, witness: WitnessClient) -> None:
    """Event to checkpoint, with the interval of a deployment scaled from 60 s to 1 s; both add what the loop adds."""
    stopping, interval = asyncio.Event(), 1.0
    sequencer = log.sequencer(witness=witness, checkpoint_seconds=interval)
    running = asyncio.create_task(sequencer.run(stopping))
    waits: list[float] = []
    try:
        for _ in range(4):
            began = time.monotonic()
            await log.write(1)
            wanted = len(waits) + 1
            async with asyncio.timeout(60):
                while not any(  # noqa: ASYNC110 - another session's commit can only be asked for
                    read_checkpoint(split_note(note)[0]).size >= wanted for note in await log.notes()
                ):
                    await asyncio.sleep(0.05)
            waits.append(time.monotonic() - began)
    finally:
        stopping.set()
        await running
    print(f"event to checkpoint: at most {max(waits):.2f} s with an interval of {interval} s")
    assert max(waits) < interval + 30
