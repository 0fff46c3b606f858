"""What may move, in which order, and what counts as the same."""

from __future__ import annotations

import itertools
import json
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from pitboss.directory.contracts import TenantState
from pitboss.relocation.contracts import (
    KIT_FORMAT,
    AccountSum,
    CellReport,
    LogFacts,
    Manifest,
    MoveState,
    PackedFile,
    PlayerSums,
    Shape,
    Sums,
    TableFacts,
)
from pitboss.relocation.errors import KitInvalid
from pitboss.relocation.rules import (
    compared,
    digest_schema,
    find_differences,
    find_refusals,
    may_follow,
    next_state,
    travelling,
)
from pitboss.relocation.runtime import BATCH_BLOCK, read_manifest
from pitboss.wallet.runtime.poster import BLOCK

SAME = (("eu-1", "eu-2"), ("eu", "eu"))


def test_a_tenant_that_serves_may_move_within_its_locality() -> None:
    for state in (TenantState.ACTIVE, TenantState.SUSPENDED):
        assert find_refusals(state, *SAME, ()) == []


@pytest.mark.parametrize(
    ("state", "places", "zones", "left", "reason"),
    [
        (TenantState.CLOSED, *SAME, (), "only an active or a suspended one"),
        (TenantState.PENDING, *SAME, (), "only an active or a suspended one"),
        (TenantState.MOVING, *SAME, (), "only an active or a suspended one"),
        (TenantState.ACTIVE, ("eu-1", "br-1"), ("eu", "br"), (), "does not leave its zone"),
        (TenantState.ACTIVE, ("eu-1", "eu-2"), ("eu", ""), (), "does not leave its zone"),
        (TenantState.ACTIVE, ("eu-1", "eu-1"), ("eu", "eu"), (), "lives in eu-1 already"),
        (TenantState.ACTIVE, *SAME, ("eu-2",), "its audit log there has ended"),
    ],
)
def test_another_zone_state_or_an_old_home_is_refused(
    state: TenantState, places: tuple[str, str], zones: tuple[str, str], left: tuple[str, ...], reason: str
) -> None:
    (refusal,) = find_refusals(state, places, zones, left)
    assert reason in refusal


def test_steps_come_one_after_the_other_and_nothing_goes_back_once_players_were_sent_away() -> None:
    order = [MoveState.PLANNED]
    while (after := next_state(order[-1])) is not None:
        order.append(after)
    assert order[-2:] == [MoveState.SWITCHED, MoveState.SHREDDED]
    allowed = {(a, b) for a in MoveState for b in MoveState if may_follow(a, b)}
    back = {(each, MoveState.ROLLED_BACK) for each in order[:-2]}
    assert allowed == set(itertools.pairwise(order)) | back


def test_what_is_only_true_on_one_server_does_not_travel_or_is_not_compared() -> None:
    events = Shape(
        "audit_event", {"tenant_id": "bigint", "event_id": "uuid", "written_in": "bigint"}, ("event_id",), ()
    )
    assert travelling(events) == ["event_id", "tenant_id"]
    epochs = Shape("key_epoch", {"tenant_id": "bigint", "wrapped_key": "bytea", "key_version": "integer"}, (), ())
    assert travelling(epochs) == ["key_version", "tenant_id", "wrapped_key"]
    assert compared(epochs) == ["tenant_id"]


def test_another_column_or_type_is_another_schema() -> None:
    shape = Shape("wallet", {"tenant_id": "bigint", "real_minor": "bigint"}, ("tenant_id",), ())
    wider = msgspec.structs.replace(shape, columns={**shape.columns, "more": "text"})
    retyped = msgspec.structs.replace(shape, columns={**shape.columns, "real_minor": "numeric"})
    assert len({digest_schema([each]) for each in (shape, wider, retyped)}) == 3


REPORT = CellReport(
    {"wallet": TableFacts(2, "aa"), "journal": TableFacts(9, "bb")},
    Sums({"EUR": PlayerSums(2, 100, 0, 0, 0)}, (AccountSum(1, 1, "EUR", "", -100),)),
)


def test_every_difference_is_found() -> None:
    assert list(find_differences(REPORT, REPORT)) == []
    replace = msgspec.structs.replace
    others = [
        replace(REPORT, tables={**REPORT.tables, "wallet": TableFacts(2, "ab")}),
        replace(REPORT, tables={**REPORT.tables, "wallet": TableFacts(1, "aa")}),
        replace(REPORT, tables={"wallet": REPORT.tables["wallet"]}),
        replace(REPORT, tables={**REPORT.tables, "more": TableFacts(1, "cc")}),
        replace(REPORT, sums=Sums({"EUR": PlayerSums(2, 99, 0, 0, 0)}, REPORT.sums.house)),
        replace(REPORT, sums=Sums({}, REPORT.sums.house)),
        replace(REPORT, sums=Sums(REPORT.sums.players, (AccountSum(1, 1, "EUR", "", -99),))),
    ]
    for other in others:
        assert len(list(find_differences(REPORT, other))) == 1, other


def test_lanes_take_as_many_numbers_at_once_as_a_move_leaves_free() -> None:
    assert BATCH_BLOCK == BLOCK


def test_a_kit_that_is_not_the_one_that_control_knows_of_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/a").write_bytes(b"rows")
    packed = PackedFile(sha256(b"rows").hexdigest(), 4)
    log = LogFacts("pitboss.audit/eu-1/aurora", 1, "00")
    manifest = Manifest(KIT_FORMAT, "", "eu-1", "eu", "aurora", 1, "", {}, Sums({}, ()), log, {"tables/a": packed})
    data = msgspec.json.encode(manifest)
    (tmp_path / "manifest.json").write_bytes(data)
    digest = sha256(data).hexdigest()
    assert read_manifest(tmp_path, digest) == manifest
    with pytest.raises(KitInvalid, match="not the kit that control knows of"):
        read_manifest(tmp_path, sha256(b"").hexdigest())
    (tmp_path / "tables/a").write_bytes(b"rowz")
    with pytest.raises(KitInvalid, match="tables/a is not what was packed"):
        read_manifest(tmp_path, digest)
    (tmp_path / "tables/a").write_bytes(b"rows")
    (tmp_path / "tables/b").write_bytes(b"")
    with pytest.raises(KitInvalid, match="tables/b"):
        read_manifest(tmp_path, digest)
    (tmp_path / "manifest.json").write_text(json.dumps({}))
    with pytest.raises(KitInvalid, match="holds no kit"):
        read_manifest(tmp_path, digest)
