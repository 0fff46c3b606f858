"""What an entry must be: canonical JSON of schema 1, at its place, in its log, at a time that follows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

SCHEMA = "pitboss-audit-event/1"
TOLERANCE_SECONDS = 5
"""An event may seem to happen so much later than it was recorded: clocks of servers are set, forward and back."""

_MOMENT = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d\.\d{6}Z")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FIELDS = frozenset(
    "schema id tenant cell log_seq occurred_at recorded_at category type outcome reason actor origin target change".split()
)
_TEXTS = ("category", "type", "reason")
_OUTCOMES = frozenset(("success", "denied", "error"))
_INNER = {
    "actor": frozenset(("type", "principal")),
    "origin": frozenset(("request_id", "causation_id", "client_digest")),
    "target": frozenset(("type", "id")),
}
_CHANGE = frozenset(("path", "before", "after"))
_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True, check_circular=False
).encode


class EventCheck:
    """Reads entries one after the other and tells what is wrong with each."""

    def __init__(self, origin: str, find: Callable[[str, str], None]) -> None:
        _, _, self._place = origin.partition("/")
        self._find = find
        self._last = ""

    def read(self, body: bytes, log_seq: int) -> dict[str, Any] | None:
        """Return the event of an entry, None where it cannot be read at all."""
        try:
            return self._read(body, log_seq)
        except (ValueError, TypeError, RecursionError) as error:
            # What no writer of ours makes: not JSON, no number, a date that no calendar has, nested without end.
            self._find("schema", f"entry {log_seq} cannot be read ({type(error).__name__})")
            return None

    def _read(self, body: bytes, log_seq: int) -> dict[str, Any] | None:
        text = body.decode()
        event = cast("dict[str, Any]", json.loads(text))
        if type(event) is not dict or event.keys() != _FIELDS or event["schema"] != SCHEMA:
            self._find("schema", f"entry {log_seq} is not of schema {SCHEMA}")
            return None
        if _encode(event) != text:
            self._find("schema", f"entry {log_seq} is not in canonical form")
        if event["log_seq"] != log_seq or event["log_seq"] is True:
            self._find("sequence", f"entry {log_seq} says that it is entry {event['log_seq']}")
        if f"{event['cell']}/{event['tenant']}" != self._place:
            self._find("tenant", f"entry {log_seq} is of {event['cell']}/{event['tenant']}")
        problem = self._find_problem(event)
        if problem:
            self._find("schema", f"entry {log_seq}: {problem}")
        else:
            self._check_times(event, log_seq)
        return event

    def _find_problem(self, event: dict[str, Any]) -> str:
        for name in ("occurred_at", "recorded_at"):
            if not isinstance(event[name], str) or not _MOMENT.fullmatch(event[name]):
                return f"{name} is no time"
        if not isinstance(event["id"], str) or not _UUID.fullmatch(event["id"]):
            return "id is no UUID"
        if not all(isinstance(event[name], str) for name in _TEXTS) or event["outcome"] not in _OUTCOMES:
            return "a text is none"
        for name, fields in _INNER.items():
            inner = cast("dict[str, Any]", event[name])
            if type(inner) is not dict or inner.keys() != fields:
                return f"{name} has other fields than it must"
            if not all(isinstance(value, str) for value in inner.values()):
                return f"{name} has a field that is no text"
        changes = cast("list[dict[str, Any]]", event["change"])
        if type(changes) is not list:
            return "change is no list"
        for change in changes:
            if type(change) is not dict or change.keys() != _CHANGE or not isinstance(change["path"], str):
                return "a change has other fields than it must"
        return ""

    def _check_times(self, event: dict[str, Any], log_seq: int) -> None:
        """Times are texts of one length, so they compare as they stand; only what is out of order is looked at."""
        recorded, occurred = event["recorded_at"], event["occurred_at"]
        if recorded < self._last:
            self._find("time", f"entry {log_seq} was recorded before the one above it")
        else:
            self._last = recorded
        if occurred > recorded and _seconds(occurred) - _seconds(recorded) > TOLERANCE_SECONDS:
            self._find("time", f"entry {log_seq} was recorded before it happened")


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
