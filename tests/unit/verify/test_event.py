"""Entries that no writer makes: the verifier of a tampered package tells of each and goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pitboss_verify.event import SCHEMA, EventCheck

ORIGIN = "pitboss/eu-1/tenant"
SOUND: dict[str, Any] = {
    "schema": SCHEMA,
    "id": "01a1feaa-15ad-70c7-bf96-b8317c26347a",
    "tenant": "tenant",
    "cell": "eu-1",
    "log_seq": 3,
    "occurred_at": "2026-11-21T10:00:00.000000Z",
    "recorded_at": "2026-11-21T10:00:00.000000Z",
    "category": "user_action",
    "type": "audit.key_rotated",
    "outcome": "success",
    "reason": "",
    "actor": {"type": "operator", "principal": "ada"},
    "origin": {"request_id": "r", "causation_id": "", "client_digest": ""},
    "target": {"type": "player", "id": "1"},
    "change": [{"path": "status", "before": None, "after": "active"}],
}


def write(**changes: Any) -> bytes:
    return json.dumps({**SOUND, **changes}, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def read(body: bytes) -> list[str]:
    found: list[str] = []
    EventCheck(ORIGIN, lambda *finding: found.append(" ".join(finding))).read(body, 3)
    return found


def test_a_sound_entry_has_no_finding() -> None:
    assert read(write()) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"9" * 5_000,
        write(outcome=[]),
        write(occurred_at="2026-19-01T10:00:00.000000Z"),
        write(recorded_at="2026-02-30T10:00:00.000000Z", occurred_at="2026-02-31T10:00:00.000000Z"),
        write(change=[{"before": None, "after": None}]),
        write(change=["path"]),
        write(reason=float("nan")),
        write(actor=None),
        write(origin=[]),
    ],
)
def test_what_cannot_be_read_is_a_finding(body: bytes) -> None:
    assert read(body)
