"""Which rows and events match each other, for every way in which an event tells of rows."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from uuid import UUID

import pytest

from pitboss.audit.contracts import EVENT_TYPES, WRITES, Rows, ToldEvent, Written
from pitboss.captures.contracts import Capture, Transaction
from pitboss.captures.rules import compare

NOW = datetime(2026, 11, 21, tzinfo=UTC)
TYPES = {
    "named": (Written("t"),),
    "shared": (Written("t", Rows.SHARED),),
    "one": (Written("t u", Rows.ONE),),
    "some": (Written("t", Rows.SOME),),
    "any": (Written("t", Rows.ANY),),
    "maybe": (Written("t", Rows.MAYBE),),
    "kin": (Written("t", Rows.KIN),),
    "two": (Written("t"), Written("u", Rows.ONE)),
}


def judge(rows: str, events: str) -> list[str]:
    """Return the findings of a transaction: rows as `t:1`, events as `named:1`."""
    captures: list[Capture] = []
    told: list[ToldEvent] = []
    for row in rows.split():
        table, _, key = row.partition(":")
        captures.append(Capture(7, NOW, table, key, "update", "login"))
    for event in events.split():
        event_type, target = event.split(":")
        told.append(ToldEvent(7, NOW, UUID(int=len(told)), event_type, target))
    return sorted(f"{found.kind} {found.subject}" for found in compare(Transaction(7, NOW, captures, told), TYPES))


@pytest.mark.parametrize(
    ("rows", "events", "findings"),
    [
        ("t:1", "named:1", []),
        ("t:1 t:1", "named:1", []),
        ("t:1", "", ["unexplained t 1"]),
        ("", "named:1", ["unfounded named 1"]),
        ("t:1", "named:2", ["unexplained t 1", "unfounded named 2"]),
        ("t:1", "named:1 named:1", ["unfounded named 1"]),
        ("t:1", "named:1 shared:1", []),
        ("t:1", "shared:1 shared:1", []),
        ("t:1", "shared:2", ["unexplained t 1", "unfounded shared 2"]),
        ("t:1 u:5", "two:1", []),
        ("t:1", "two:1", ["unfounded two 1"]),
        ("u:5", "one:x", []),
        ("u:5 t:6", "one:x one:y", []),
        ("u:5", "one:x one:y", ["unfounded one y"]),
        ("u:5 t:6", "one:x", ["unexplained u 5"]),
        ("t:1 t:2 t:3", "some:x", []),
        ("", "some:x", ["unfounded some x"]),
        ("", "any:x", []),
        ("t:1 t:2", "any:x named:1", []),
        ("t:1", "one:x named:1", ["unfounded one x"]),
        ("t:1 t:2", "one:x named:2", []),
        ("t:1", "unknown:1", ["unexplained t 1"]),
        ("v:1", "any:x", ["unexplained v 1"]),
        ("", "maybe:x", []),
        ("t:5", "maybe:x", []),
        ("t:5 t:5", "maybe:x", []),
        ("t:5 t:6", "maybe:x maybe:y", []),
        ("", "kin:x", []),
        ("t:a:1 t:a:2", "kin:x", []),
        ("t:a:1 t:b:1 t:a:2", "kin:b", ["unexplained t a:1", "unexplained t a:2"]),
        ("t:a:1 t:b:1", "kin:x kin:y", []),
    ],
)
def test_rows_and_events_match(rows: str, events: str, findings: list[str]) -> None:
    # Of two rows that fit one claim, which is left over is of no importance.
    found = judge(rows, events)
    assert [each.split()[0] for each in found] == [each.split()[0] for each in findings]
    if rows != "u:5 t:6" and events != "one:x one:y":
        assert found == sorted(findings)


def test_a_lost_or_added_half_is_always_found_and_order_makes_no_difference() -> None:
    random = Random(20261121)
    for _ in range(3_000):
        keys = [f"{number}" for number in range(random.randint(1, 6))]
        rows = [f"t:{key}" for key in keys]
        events = [f"named:{key}" for key in keys]
        random.shuffle(rows)
        random.shuffle(events)
        assert judge(" ".join(rows), " ".join(events)) == []
        victim = random.choice(keys)
        assert judge(" ".join(rows), " ".join(each for each in events if each != f"named:{victim}")) == [
            f"unexplained t {victim}"
        ]
        assert judge(" ".join(each for each in rows if each != f"t:{victim}"), " ".join(events)) == [
            f"unfounded named {victim}"
        ]


def test_an_event_about_one_row_or_one_subject_covers_no_second() -> None:
    assert len(judge("t:5 t:6", "maybe:x")) == 1
    assert judge("t:a:1 t:b:1", "kin:a") == ["unexplained t b:1"]
    assert len(judge("t:a:1 t:b:1 t:c:1", "kin:x kin:y")) == 1


def test_every_type_that_writes_is_registered() -> None:
    assert set(WRITES) <= set(EVENT_TYPES)
    assert WRITES["player.closed"] == (Written("player"),)
