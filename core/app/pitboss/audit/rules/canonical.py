"""The bytes of an entry: schema v1 of an event in the canonical JSON of RFC 8785, and the checks on what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

SCHEMA: Final = "pitboss-audit-event/1"
MAX_NUMBER: Final = 2**53 - 1
"""Whole numbers beyond it are written as text: a reader of JSON may hold numbers as floats."""

canonical: Final = msgspec.json.Encoder(order="sorted").encode
"""Gives JSON of text, whole numbers, booleans, null, lists and objects with ASCII names as RFC 8785 has it.

The library escapes exactly what the standard does, and sorts ASCII as it does; floats do not exist in an event.
"""


def write_moment(moment: datetime) -> str:
    """Return a time in UTC with microseconds, always of one length."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def digest_client(origin: Mapping[str, str]) -> str:
    """Return what stands in the log for address and browser: a digest under the row's own salt, empty for none.

    Who holds the row can prove the address; when the row's origin is gone, nobody can guess it.
    """
    found = {name: origin.get(name, "") for name in ("ip", "salt", "user_agent_hash")}
    if not found["ip"] and not found["user_agent_hash"]:
        return ""
    return sha256(canonical(found)).hexdigest()


def plain_value(value: Any) -> Any:
    """Return a value of a change as it may stand in canonical JSON."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_NUMBER:
        return str(value)
    return str(value) if isinstance(value, float) else value


def compose_event(row: Mapping[str, Any], *, tenant: str, cell: str) -> dict[str, Any]:
    """Return the event of a row without its place in the log; `row` has the columns of `audit_event`."""
    origin: Mapping[str, str] = row["origin"]
    changes: Sequence[Mapping[str, Any]] = row["changes"]
    return {
        "schema": SCHEMA,
        "id": str(row["event_id"]),
        "tenant": tenant,
        "cell": cell,
        "occurred_at": write_moment(row["occurred_at"]),
        "category": row["category"],
        "type": row["type"],
        "outcome": row["outcome"],
        "reason": row["reason"],
        "actor": {"type": row["actor_kind"], "principal": row["actor_name"]},
        "origin": {
            "request_id": origin.get("request_id", ""),
            "causation_id": origin.get("causation_id", ""),
            "client_digest": digest_client(origin),
        },
        "target": {"type": row["target_type"], "id": row["target_id"]},
        "change": [
            {"path": each["path"], "before": plain_value(each["before"]), "after": plain_value(each["after"])}
            for each in changes
        ],
    }


def place_event(event: dict[str, Any], log_seq: int, recorded_at: str) -> bytes:
    """Return the bytes of an entry: an event at its place in the log."""
    event["log_seq"] = log_seq
    event["recorded_at"] = recorded_at
    return canonical(event)


def compose_handover(origin: str, log_seq: int, new_key: str) -> bytes:
    """Return the statement by which a key hands a log over to another, which signs from entry `log_seq` on."""
    return f"pitboss-audit-key/1\n{origin}\n{log_seq}\n{new_key}\n".encode()
