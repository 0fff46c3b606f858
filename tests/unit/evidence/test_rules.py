"""Entries and pieces of segments: canonical bytes, large amounts, and spans that are split without loss."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

import pytest

from pitboss.evidence.rules import compose_entries, split_spans
from pitboss.evidence.runtime.checking import flatten
from pitboss.evidence.runtime.objects import pack_columns, pack_lines, unpack_columns, unpack_lines
from pitboss.games.contracts import SealedRound
from pitboss.ledger.contracts import AccountKind, HouseName, JournalSpan, Op
from pitboss_verify.booking import BookingCheck

ROUND = "0b5d1c9e-0000-7000-8000-000000000001"
HOUSES = {5: HouseName(AccountKind.GAME_REVENUE, "EUR", "softswiss")}
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def row(wallet: int, version: int, moved: int, after: int, **changes: Any) -> list[Any]:
    at, named = changes.get("at", NOON), changes.get("round", ROUND)
    reference = changes.get("reference", f"bet-{wallet}-{version}")
    return [wallet, version, 7, int(Op.BET), 5, 6, moved, 0, 0, 0, -moved, after, 0, 0, 0, None, at, named, reference]


def compose(rows: list[list[Any]], first: int = 0) -> tuple[list[bytes], Any, Any]:
    return compose_entries(
        rows,
        first=first,
        tenant="aurora",
        cell="eu-1",
        currencies={each[0]: "EUR" for each in rows},
        houses=HOUSES,
        sources={6: "games.softswiss"},
        rounds={(ROUND, 1): SealedRound(ROUND, 'r é "1"', "softswiss", "dice", "v1")},
    )


def read(entries: list[bytes], first: int = 0) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    check = BookingCheck(
        "pitboss.rounds/eu-1/aurora", lambda kind, detail: found.append({"check": kind, "detail": detail}), whole=True
    )
    for place, body in enumerate(entries, first):
        check.read(body, place)
    return found


def test_entries_are_canonical_and_follow_each_other() -> None:
    rows = [row(1, 1, 100, 100), row(1, 2, -30, 70), row(2, 1, 5, 5, round=None, reference='é \u2028 \\ "')]
    entries, _, sums = compose(rows, first=40)
    assert read(entries, 40) == []
    for body in entries:
        assert body.decode() == json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert json.loads(entries[1])["at"] == "2026-11-21T12:00:00.000000Z"
    assert json.loads(entries[0])["round"]["reference"] == 'r é "1"'
    assert json.loads(entries[2])["round"] is None
    assert (sums["EUR"].entries, sums["EUR"].real, sums["EUR"].counter) == (3, 75, -75)


def test_rows_of_wallets_are_brought_together_and_times_into_utc() -> None:
    other = NOON.astimezone(timezone(timedelta(hours=-3))) + timedelta(microseconds=1)
    entries, _, _ = compose([row(2, 1, 5, 5), row(1, 1, 5, 5, at=other)])
    assert [json.loads(body)["wallet"] for body in entries] == [1, 2]
    assert json.loads(entries[0])["at"] == "2026-11-21T12:00:00.000001Z"


@pytest.mark.parametrize("amount", [2**53 - 1, 2**53, 2**63 - 1])
def test_amounts_that_readers_of_json_cannot_hold_are_text(amount: int) -> None:
    entries, columns, sums = compose([row(1, 1, amount, amount)])
    told = json.loads(entries[0])["delta"]["real"]
    assert told == (amount if amount < 2**53 else str(amount))
    assert read(entries) == []
    assert sums["EUR"].real == amount
    assert unpack_columns(pack_columns(columns))[0]["delta_real"] == amount


def test_columns_say_what_the_lines_say() -> None:
    rows = [row(1, 1, 2**60, 2**60), row(1, 2, -30, 2**60 - 30, at=NOON + timedelta(microseconds=7)), row(2, 1, 5, 5)]
    rows[2][17] = None
    entries, columns, _ = compose(rows, first=3)
    lines = unpack_lines(pack_lines(entries))
    assert lines == entries
    assert unpack_columns(pack_columns(columns)) == [flatten(json.loads(body)) for body in lines]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"delta": {"bonus": 0, "counter": 0, "debt": 0, "held": 0, "real": 100}}, "balance"),
        ({"after": {"bonus": 0, "debt": 0, "held": 0, "real": 99}}, "balance"),
        ({"after": {"bonus": -1, "debt": 0, "held": 0, "real": 100}}, "schema"),
        ({"version": 2}, "sequence"),
        ({"log_seq": 1}, "sequence"),
        ({"tenant": "jade"}, "tenant"),
        ({"at": "yesterday"}, "schema"),
        ({"wallet": True}, "schema"),
        ({"wallet": 1.0}, "schema"),
        ({"round": {"id": "1"}}, "schema"),
        ({"schema": "pitboss-round-entry/2"}, "schema"),
        ({"more": 1}, "schema"),
    ],
)
def test_the_verifier_tells_of_an_entry_that_no_writer_makes(change: dict[str, Any], kind: str) -> None:
    entries, _, _ = compose([row(1, 1, 100, 100)])
    changed = json.loads(entries[0]) | change
    body = json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert kind in {each["check"] for each in read([body])}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"1" * 5000, b"[" * 100_000])
def test_the_verifier_does_not_fall_over_what_is_no_entry(body: bytes) -> None:
    assert {each["check"] for each in read([body])} == {"schema"}


@pytest.mark.parametrize("seed", range(20))
def test_spans_are_split_without_loss_and_no_piece_is_too_large(seed: int) -> None:
    chance = Random(seed)
    most = chance.randint(1, 12)
    spans: list[JournalSpan] = []
    for wallet in range(chance.randint(0, 30)):
        above = chance.randint(0, 9)
        spans.append(JournalSpan(wallet, above, above + chance.randint(1, 40), "EUR"))
    pieces = [list(piece) for piece in split_spans(spans, most)]
    covered = [
        (each.wallet_id, version) for piece in pieces for each in piece for version in range(each.above, each.upto)
    ]
    assert covered == [(each.wallet_id, version) for each in spans for version in range(each.above, each.upto)]
    assert all(sum(each.upto - each.above for each in piece) == most for piece in pieces[:-1])
    assert all(len({each.wallet_id for each in piece}) == len(piece) for piece in pieces)
