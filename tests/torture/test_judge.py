"""What the server's log says of deadlocks: those with a statement of a fault in their circle are the fault's own."""

from __future__ import annotations

import pytest
from tests.torture.faults import INJECTED
from tests.torture.judge import count_own_deadlocks

LINE = "2026-11-21 18:54:01.000 UTC [42] pitboss_app@pitboss_cell"
CIRCLE = "Process 42 waits for ShareLock on transaction 7; blocked by process 43.\n\tProcess 42: update wallet\n\t  set version = 2"


def log(other: str) -> str:
    return "\n".join(
        (
            f"{LINE} ERROR:  deadlock detected",
            f"{LINE} DETAIL:  {CIRCLE}\n\tProcess 43: {other}",
            f"{LINE} HINT:  See server log for query details.",
            f"{LINE} LOG:  {INJECTED} of another line",
            "",
        )
    )


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        (log(f"{INJECTED} lock table webhook in exclusive mode"), 0),
        (log("select 1 from wallet for update"), 1),
        (log("update wallet") + log(f"{INJECTED} select 1") + log("update game"), 2),
        (f"{LINE} ERROR:  deadlock detected\n{LINE} HINT:  {INJECTED}\n", 1),
    ],
)
def test_a_deadlock_without_a_fault_in_its_circle_is_our_own(text: str, count: int) -> None:
    assert count_own_deadlocks(text) == count
