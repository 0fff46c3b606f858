"""What an entry of a sealed log must be: canonical JSON of schema 1, at its place, balanced, after the one before it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, cast

SCHEMA = "pitboss-round-entry/1"
SUMS = ("real", "bonus", "held", "debt", "counter")

_MOMENT = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d\.\d{6}Z")
_AMOUNT = re.compile(r"-?[1-9]\d{0,18}")
_FIELDS = frozenset(
    "account after at batch cell currency delta log_seq op reference reverses round schema source tenant version wallet".split()
)
_TEXTS = ("batch", "cell", "currency", "op", "reference", "source", "tenant")
_ROUND = frozenset(("game", "id", "plugin", "reference", "version"))
_BUCKETS = frozenset(("bonus", "debt", "held", "real"))
_MAX_NUMBER = 2**53 - 1
_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True, check_circular=False
).encode


class BookingCheck:
    """Reads entries one after the other and tells what is wrong with each.

    `versions` holds the last version of each wallet and `sums` what was booked by currency. An entry of a wallet that
    was not seen before begins at version 1 where `whole` is set; the proof of one round begins anywhere.
    """

    def __init__(self, origin: str, find: Callable[[str, str], None], *, whole: bool) -> None:
        _, _, self._place = origin.partition("/")
        self._find = find
        self._whole = whole
        self.versions: dict[int, int] = {}
        self.after: dict[int, dict[str, int]] = {}
        self.sums: dict[str, dict[str, int]] = {}

    def read(self, body: bytes, log_seq: int) -> dict[str, Any] | None:
        """Return the booking of an entry, None where it cannot be read at all."""
        try:
            return self._read(body, log_seq)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            self._find("schema", f"entry {log_seq} cannot be read ({type(error).__name__})")
            return None

    def _read(self, body: bytes, log_seq: int) -> dict[str, Any] | None:
        text = body.decode()
        entry = cast("dict[str, Any]", json.loads(text))
        if type(entry) is not dict or entry.keys() != _FIELDS or entry["schema"] != SCHEMA:
            self._find("schema", f"entry {log_seq} is not of schema {SCHEMA}")
            return None
        if _encode(entry) != text:
            self._find("schema", f"entry {log_seq} is not in canonical form")
        if entry["log_seq"] != log_seq or entry["log_seq"] is True:
            self._find("sequence", f"entry {log_seq} says that it is entry {entry['log_seq']}")
        if f"{entry['cell']}/{entry['tenant']}" != self._place:
            self._find("tenant", f"entry {log_seq} is of {entry['cell']}/{entry['tenant']}")
        problem = _find_problem(entry)
        if problem:
            self._find("schema", f"entry {log_seq}: {problem}")
        else:
            self._weigh(entry, log_seq)
        return entry

    def _weigh(self, entry: dict[str, Any], log_seq: int) -> None:
        """A booking comes to nothing over both sides, follows the wallet's last, and leaves what it says it leaves."""
        delta = {name: _amount(entry["delta"][name]) for name in SUMS}
        if delta["counter"] != delta["debt"] - delta["real"] - delta["bonus"] - delta["held"]:
            self._find("balance", f"entry {log_seq} is not balanced")
        wallet, version = entry["wallet"], entry["version"]
        after = {name: _amount(entry["after"][name]) for name in _BUCKETS}
        last = self.versions.get(wallet, 0)
        if version != last + 1 and (last or self._whole):
            if self._whole or version <= last:
                self._find("sequence", f"entry {log_seq}: version {version} of wallet {wallet} follows version {last}")
        elif last or self._whole:
            before = self.after.get(wallet, {})
            if any(after[name] != before.get(name, 0) + delta[name] for name in _BUCKETS):
                self._find(
                    "balance", f"entry {log_seq}: what is left of wallet {wallet} is not what was there and moved"
                )
        self.versions[wallet], self.after[wallet] = version, after
        sums = self.sums.setdefault(entry["currency"], dict.fromkeys(("entries", *SUMS), 0))
        sums["entries"] += 1
        for name in SUMS:
            sums[name] += delta[name]


def _find_problem(entry: dict[str, Any]) -> str:
    if not isinstance(entry["at"], str) or not _MOMENT.fullmatch(entry["at"]):
        return "at is no time"
    if not all(isinstance(entry[name], str) for name in _TEXTS):
        return "a text is none"
    if entry["delta"].keys() != frozenset(SUMS) or entry["after"].keys() != _BUCKETS:
        return "its amounts are not those of a booking"
    for name in ("wallet", "version"):
        if type(entry[name]) is not int or entry[name] < 1:
            return f"{name} is no number"
    if any(_amount(value) < 0 for value in entry["after"].values()):
        return "a bucket is negative"
    named = entry["round"]
    if named is not None and (named.keys() != _ROUND or not all(isinstance(value, str) for value in named.values())):
        return "round is none"
    return ""


def _amount(value: object) -> int:
    """Return an amount: a number, or text where a number is too large for readers of JSON."""
    if type(value) is int and abs(value) <= _MAX_NUMBER:
        return value
    if isinstance(value, str) and _AMOUNT.fullmatch(value) and abs(int(value)) > _MAX_NUMBER:
        return int(value)
    raise ValueError("no amount")
