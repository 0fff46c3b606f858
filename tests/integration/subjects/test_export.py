"""An export holds everything of its subject and nothing of anybody else, and nobody else's hands open it."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from tests.factories.players import AURORA, JADE
from tests.integration.subjects.conftest import BY, METADATA, RING, WORKER, Desk

from pitboss.accounts.contracts import Player
from pitboss.kernel.clock import utc_now
from pitboss.keys import service as keys
from pitboss.keys.contracts import ErasureOrder
from pitboss.subjects import service as subjects
from pitboss.subjects.contracts import ROOM, CaseKind, CaseState, TableShape
from pitboss.subjects.errors import ExportNotFound, StepRefused, TableNotBound
from pitboss.subjects.rules import WITHHELD, list_bound, list_sealed, portable_schema
from pitboss.subjects.rules.binding import DIGESTS
from pitboss.subjects.store import list_shapes

SEEN, OTHER = 5, 6
IDENTITY = {
    "email": f"canary{SEEN}xmail@example.com",
    "first_name": f"canary{SEEN}xfirst",
    "last_name": f"canary{SEEN}xlast",
    "birth_date": f"{1950 + SEEN}-03-04",
    "country": "MT",
    "phone": f"+3491{SEEN}0000{SEEN}",
}


def unpack(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def withheld(table: TableShape, name: str) -> bool:
    sort = next(column.sort for column in table.columns if column.name == name)
    return sort in WITHHELD or sort == "tenant" or (table.name, name) in DIGESTS


async def read_all(desk: Desk, table: str, column: str, values: list[Any]) -> list[dict[str, Any]]:
    """Return rows as an administrator sees them, past every rule of ours."""
    rows = await desk.admin.fetch(f"select * from {table} where {column} = any($1)", values)
    return [dict(row) for row in rows]


async def read_subject(desk: Desk, player: Player) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a player in every table, as an administrator sees them."""
    wallets = [row["wallet_id"] for row in await read_all(desk, "wallet", "player_id", [player.player_id])]
    cases = [row["case_id"] for row in await read_all(desk, "subject_case", "player_id", [player.player_id])]
    by: dict[str, tuple[str, list[Any]]] = {
        "player_id": ("player_id", [player.player_id]),
        "wallet_id": ("wallet_id", wallets),
        "subject_id": ("subject_id", [player.public_id]),
        "case_id": ("case_id", cases),
        "event": ("target_id", [str(player.public_id), *map(str, cases)]),
    }
    return {
        table.name: await read_all(desk, table.name, *by[binding.value])
        for table, binding in list_bound(list_shapes(METADATA))
    }


def test_every_table_says_whose_its_rows_are_or_why_they_are_nobodys() -> None:
    assert subjects.list_unbound(METADATA) == []


def test_the_worker_may_read_what_it_has_to_tell() -> None:
    for table, _ in list_bound(list_shapes(METADATA)):
        granted = METADATA.tables[table.name].info["grants"].get("worker", "")
        told = [column.name for column in table.columns if column.sort != "credential"]
        whole = granted.startswith("select") and not granted.startswith("select (")
        assert whole or all(name in granted for name in told), table.name


async def test_every_column_of_a_subject_is_found_and_none_of_another(desk: Desk) -> None:
    seen, other = await desk.add_player(SEEN), await desk.add_player(OTHER)
    case = await desk.open(seen, CaseKind.ACCESS)
    async with desk.app.transaction(AURORA) as session:
        export = await subjects.ask_export(session, AURORA, case.case_id, **BY)
    stored = await read_subject(desk, seen)
    assert await desk.make(export.export_id)
    files = unpack(await desk.fetch(export.export_id))
    tables = {each["name"]: each for each in json.loads(files["data.json"])["tables"]}
    found = missing = 0
    for table, _ in list_bound(list_shapes(METADATA)):
        told = tables[table.name]
        assert {each["name"] for each in told["columns"]} == {
            column.name for column in table.columns if column.sort != "tenant"
        }
        rows = stored[table.name]
        assert rows, f"{table.name} has no row of the subject: the test proves nothing about it"
        for row in rows:
            for column in table.columns:
                if withheld(table, column.name):
                    continue
                value = IDENTITY[column.name] if column.name in list_sealed(table) else row[column.name]
                expected = json.loads(value) if table.name == "audit_event" and column.name == "origin" else value
                told_values = [each[column.name] for each in told["rows"]]
                if any(same(told_value, expected) for told_value in told_values):
                    found += 1
                else:
                    missing += 1
                    print("missing", table.name, column.name, expected, told_values)
    assert (missing, found > 150) == (0, True), (missing, found)
    everything = b"".join(files.values())
    assert f"canary{OTHER}x".encode() not in everything
    assert str(other.public_id).encode() not in everything
    secret = await desk.admin.fetchval(
        "select password_hash from player_credential where player_id = $1", seen.player_id
    )
    assert secret.encode() not in everything


def same(told: Any, value: Any) -> bool:
    plain = json.loads(value) if isinstance(value, str) and value[:1] in {"{", "["} else value
    return told == json.loads(msgspec.json.encode(plain))


async def test_what_is_to_be_taken_elsewhere_fits_its_schema(desk: Desk) -> None:
    from jsonschema import Draft202012Validator

    player = await desk.add_player(7)
    _, _, archive = await desk.export(player, CaseKind.PORTABILITY)
    files = unpack(archive)
    assert list(files) == ["portable.json"]
    document = json.loads(files["portable.json"])
    validator = Draft202012Validator(portable_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert [error.message for error in validator.iter_errors(document)] == []
    assert document["player_identity"][0]["email"] == "canary7xmail@example.com"
    assert len(document["round"]) == 1
    assert "d_real" not in files["portable.json"].decode()


async def test_a_page_to_read_and_a_file_for_each_table_tell_the_same(desk: Desk) -> None:
    player = await desk.add_player(8)
    _, _, archive = await desk.export(player, CaseKind.ACCESS)
    files = unpack(archive)
    page = files["index.html"].decode()
    assert "canary8xfirst" in page
    rows = list(csv.DictReader(io.StringIO(files["csv/player_identity.csv"].decode())))
    assert rows[0]["last_name"] == "canary8xlast"
    assert rows[0]["phone"].startswith("'+")  # no spreadsheet takes it for a formula


async def test_an_export_lies_sealed_and_opens_for_its_tenant_alone(desk: Desk) -> None:
    player = await desk.add_player(9)
    case, export_id, _ = await desk.export(player, CaseKind.ACCESS)
    (file,) = list(desk.objects.of(AURORA, ROOM)._folder.iterdir())
    assert b"canary9x" not in file.read_bytes()
    assert not file.read_bytes().startswith(b"PK")
    assert file.stat().st_mode & 0o077 == 0
    assert str(case.case_id) not in file.name
    for scope, name in ((JADE, export_id), (AURORA, uuid4())):
        with pytest.raises(ExportNotFound):
            await desk.fetch(name, scope)
    assert (await desk.list_events(export_id)) == [
        "subject_export.asked",
        "subject_export.made",
        "subject_export.fetched",
    ]


async def test_a_file_that_was_put_in_place_of_another_opens_nothing(desk: Desk) -> None:
    player = await desk.add_player()
    _, first, _ = await desk.export(player, CaseKind.ACCESS)
    _, second, _ = await desk.export(player, CaseKind.PORTABILITY)
    folder = desk.objects.of(AURORA, ROOM)
    files = {name: folder._folder / f"{name.hex}.sealed" for name in (first, second)}
    files[first].write_bytes(files[second].read_bytes())
    with pytest.raises(ExportNotFound):
        await desk.fetch(first)
    await desk.fetch(second)


async def test_an_export_that_is_over_is_gone(desk: Desk) -> None:
    player = await desk.add_player()
    _, export_id, _ = await desk.export(player, CaseKind.ACCESS)
    folder = desk.objects.of(AURORA, ROOM)
    await desk.admin.execute("alter table subject_export disable trigger all")
    await desk.admin.execute(
        "update subject_export set expires_at = now() - interval '1 s' where export_id = $1", export_id
    )
    with pytest.raises(ExportNotFound):
        await desk.fetch(export_id)
    async with desk.worker.transaction(AURORA) as session:
        assert await subjects.sweep_exports(session, AURORA, folder, utc_now(), **WORKER) >= 1
    assert not list(folder._folder.iterdir())
    assert "subject_export.removed" in await desk.list_events(export_id)
    async with desk.worker.transaction(AURORA) as session:
        assert await subjects.sweep_exports(session, AURORA, folder, utc_now() - timedelta(days=9), **WORKER) == 0


async def test_asking_or_making_again_makes_nothing_new(desk: Desk) -> None:
    player = await desk.add_player()
    case, export_id, first = await desk.export(player, CaseKind.ACCESS)
    async with desk.app.transaction(AURORA) as session:
        again = await subjects.ask_export(session, AURORA, case.case_id, **BY)
    assert again.export_id == export_id
    assert not await desk.make(export_id)
    assert await desk.fetch(export_id) == first


async def test_an_erasure_reaches_exports_that_lie_about(desk: Desk) -> None:
    player = await desk.add_player()
    _, export_id, _ = await desk.export(player, CaseKind.ACCESS)
    async with desk.app.transaction(AURORA) as session:
        outcome = await keys.erase_subject(session, AURORA, RING, ErasureOrder(player.public_id, "1"), [], nothing)
    assert outcome.certificate is not None
    with pytest.raises(ExportNotFound):
        await desk.fetch(export_id)


async def nothing() -> dict[str, int]:
    return {}


async def test_nothing_is_collected_before_it_is_known_who_asks(desk: Desk) -> None:
    player = await desk.add_player()
    case = await desk.open(player, CaseKind.ACCESS, CaseState.RECEIVED)
    with pytest.raises(StepRefused):
        async with desk.app.transaction(AURORA) as session:
            await subjects.ask_export(session, AURORA, case.case_id, **BY)


async def test_a_sealed_field_that_nobody_opens_stops_an_export() -> None:
    from pitboss.subjects.rules import tell_rows

    (table,) = [shape for shape in list_shapes(METADATA) if shape.name == "player_identity"]
    row = {column.name: b"x" for column in table.columns}
    with pytest.raises(TableNotBound):
        tell_rows(table, [row], {"email": "x"})
