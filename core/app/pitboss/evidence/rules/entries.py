"""The bytes of an entry: schema v1 of a booking in the canonical JSON of RFC 8785, and the same as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Final

import msgspec

from pitboss.games.contracts import SealedRound
from pitboss.ledger.contracts import HouseName, JournalSum, Op

SCHEMA: Final = "pitboss-round-entry/1"
MAX_NUMBER: Final = 2**53 - 1
"""Whole numbers beyond it are written as text: a reader of JSON may hold numbers as floats."""
_OPS: Final = {int(op): op.name.lower() for op in Op}
_NO_ROUND: Final = msgspec.Raw(b"null")
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_BY_WALLET = itemgetter(0)
_MOMENT_CHARACTERS: Final = 26

Booked = Sequence[Any]
"""A journal row as the ledger gives it to the sealed log: wallet, version, batch, op, account, source, five deltas, four
buckets after, what is reversed, time, round, reference."""
Amount = int | str


class _After(msgspec.Struct, gc=False):
    bonus: Amount
    debt: Amount
    held: Amount
    real: Amount


class _Delta(msgspec.Struct, gc=False):
    bonus: Amount
    counter: Amount
    debt: Amount
    held: Amount
    real: Amount


class _Entry(msgspec.Struct, gc=False):
    """Fields stand in the order of their names, so that they are written so: the canonical form needs no sorting."""

    account: msgspec.Raw
    after: _After
    at: str
    batch: str
    cell: str
    currency: str
    delta: _Delta
    log_seq: int
    op: str
    reference: str
    reverses: int | None
    round: msgspec.Raw
    schema: str
    source: str
    tenant: str
    version: int
    wallet: int


class Columns(msgspec.Struct):
    """The entries as columns, for readers of Parquet: names of fields with `_` between levels."""

    values: dict[str, list[Any]]


_NAMES: Final = (
    "wallet version batch op account source delta_real delta_bonus delta_held delta_debt delta_counter after_real"
    " after_bonus after_held after_debt reverses at round reference"
).split()


def compose_entries(
    rows: Sequence[Booked],
    *,
    first: int,
    tenant: str,
    cell: str,
    currencies: Mapping[int, str],
    houses: Mapping[int, HouseName],
    sources: Mapping[int, str],
    rounds: Mapping[tuple[str, int], SealedRound],
) -> tuple[list[bytes], Columns, dict[str, JournalSum]]:
    """Return the bytes of entries from place `first` on, their columns, and what they come to by currency.

    Rows are put in the order of wallets; those of a wallet come in the order of its versions.
    """
    ordered = sorted(rows, key=_BY_WALLET)
    accounts = {number: _account(houses.get(number)) for number in {row[4] for row in ordered}}
    named_rounds = {
        name: rounds.get(name) or _unknown(name[0]) for name in {(row[17], row[0]) for row in ordered if row[17]}
    }
    facts = {name: _round(found) for name, found in named_rounds.items()}
    entries: list[bytes] = []
    for place, row in enumerate(ordered, first):
        found = row if _is_plain(row) else _plain(row)
        named = (row[17], row[0]) if row[17] else None
        entry = _Entry(
            accounts[row[4]],
            _After(found[12], found[14], found[13], found[11]),
            write_moment(row[16]),
            str(row[2]),
            cell,
            currencies[row[0]],
            _Delta(found[7], found[10], found[9], found[8], found[6]),
            place,
            _OPS[row[3]],
            row[18],
            row[15],
            facts[named] if named else _NO_ROUND,
            SCHEMA,
            sources.get(row[5], ""),
            tenant,
            row[1],
            row[0],
        )
        entries.append(_encode(entry))
    return entries, _columns(ordered, first, currencies, houses, sources, named_rounds), _sum(ordered, currencies)


def write_moment(moment: datetime) -> str:
    """Return a time in UTC with microseconds, always of one length."""
    found = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return f"{found.isoformat(timespec='microseconds')[:_MOMENT_CHARACTERS]}Z"


def _account(house: HouseName | None) -> msgspec.Raw:
    if house is None:
        return msgspec.Raw(b"null")
    return msgspec.Raw(_encode_sorted({"kind": house.kind.name.lower(), "provider": house.provider}))


def _unknown(number: str) -> SealedRound:
    """Return what is said of a booking with the id of a round that the games room does not have."""
    return SealedRound(number, "", "", "", "")


def _round(found: SealedRound) -> msgspec.Raw:
    named = {
        "game": found.game,
        "id": found.round,
        "plugin": found.plugin,
        "reference": found.reference,
        "version": found.game_version_hash,
    }
    return msgspec.Raw(_encode_sorted(named))


def _is_plain(row: Booked) -> bool:
    amounts = row[6:15]
    return max(amounts) <= MAX_NUMBER and min(amounts) >= -MAX_NUMBER


def _plain(row: Booked) -> list[Any]:
    return [str(value) if 6 <= at < 15 and abs(value) > MAX_NUMBER else value for at, value in enumerate(row)]


def _columns(
    rows: Sequence[Booked],
    first: int,
    currencies: Mapping[int, str],
    houses: Mapping[int, HouseName],
    sources: Mapping[int, str],
    rounds: Mapping[tuple[str, int], SealedRound],
) -> Columns:
    found: dict[str, list[Any]] = dict(zip(_NAMES, map(list, zip(*rows, strict=True)), strict=True))
    names = [
        rounds.get((number, wallet)) if number else None
        for number, wallet in zip(found["round"], found["wallet"], strict=True)
    ]
    kinds = {number: house.kind.name.lower() for number, house in houses.items()}
    providers = {number: house.provider for number, house in houses.items()}
    accounts = found.pop("account")
    found |= {
        "log_seq": list(range(first, first + len(rows))),
        "op": [_OPS[op] for op in found["op"]],
        "source": [sources.get(number, "") for number in found["source"]],
        "currency": [currencies[wallet] for wallet in found["wallet"]],
        "account_kind": [kinds.get(number) for number in accounts],
        "account_provider": [providers.get(number) for number in accounts],
        "round_reference": [None if name is None else name.reference for name in names],
        "round_plugin": [None if name is None else name.plugin for name in names],
        "round_game": [None if name is None else name.game for name in names],
        "round_version": [None if name is None else name.game_version_hash for name in names],
    }
    return Columns(found)


def _sum(rows: Sequence[Booked], currencies: Mapping[int, str]) -> dict[str, JournalSum]:
    by_currency: dict[str, list[Booked]] = {}
    for row in rows:
        by_currency.setdefault(currencies[row[0]], []).append(row)
    return {
        currency: JournalSum(len(found), *(sum(map(itemgetter(at), found)) for at in range(6, 11)))
        for currency, found in sorted(by_currency.items())
    }
