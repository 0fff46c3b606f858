"""The platform with one of its guards removed: `python -m tests.torture.sabotage <which> <command> ...`.

What holds the platform to its promises must notice each of them.
"""

# What is taken out are private parts: pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, cast

from pitboss.audit import service as audit
from pitboss.platform.outbox import complete, take
from pitboss.wallet.runtime import lanes
from pitboss.worker.runner import JobRunner


def answer_first() -> None:
    """Answer wallet calls before what was decided on them is committed."""

    async def serve(self: Any) -> None:
        batch, decision = await self._take_ahead() or await self._decide()
        if decision is None:
            await self._serve_alone(batch)
            return
        lanes._tell(batch, decision.results)
        try:
            await self._poster.write(decision)
        except Exception:  # noqa: BLE001 - nobody is told any more
            self._poster.drop()

    lanes.Lane._serve = serve


def done_first() -> None:
    """Mark a job done before its effects are there."""

    async def run(self: Any, scope: Any, job_id: int, taken: list[Any]) -> str:
        async with self._database.transaction(scope) as session:
            leased = await take(session, scope, job_id)
            if leased is None:
                return "skipped"
            await complete(session, scope, job_id)
        taken.append(leased)
        async with self._database.transaction(scope) as session:
            await self._jobs.get(leased.job).handler(session, scope, leased.payload)
        return "done"

    JobRunner._run_in_transaction = run


def done_apart() -> None:
    """Commit the effects of a job before the mark that it is done."""

    async def run(self: Any, scope: Any, job_id: int, taken: list[Any]) -> str:
        async with self._database.transaction(scope) as session:
            leased = await take(session, scope, job_id)
            if leased is None:
                return "skipped"
            taken.append(leased)
            await self._jobs.get(leased.job).handler(session, scope, leased.payload)
        async with self._database.transaction(scope) as session:
            await complete(session, scope, job_id)
        return "done"

    JobRunner._run_in_transaction = run


def audit_later() -> None:
    """Record audit events beside the transaction of what they tell of, a moment later, and give up when it fails."""
    from pitboss.accounts import service as accounts
    from pitboss.games import service as games
    from pitboss.platform.db import Database

    databases: list[Database] = []
    known = Database.__init__

    def remember(self: Any, *words: Any) -> None:
        known(self, *words)
        databases.append(self)

    async def later(scope: Any, event: Any) -> None:
        await asyncio.sleep(0.3)
        async with databases[0].transaction(scope) as session:
            await audit.record_event(session, scope, event)

    waiting: set[Any] = set()

    async def record(_session: Any, scope: Any, event: Any) -> None:
        task = asyncio.get_running_loop().create_task(later(scope, event))
        waiting.add(task)
        task.add_done_callback(waiting.discard)

    cast("Any", Database).__init__ = remember
    for room in (accounts, games):
        vars(room)["record_event"] = record


SABOTAGES: dict[str, Callable[[], None]] = {
    each.__name__: each for each in (answer_first, done_first, done_apart, audit_later)
}


if __name__ == "__main__":
    from pitboss.bootstrap import main

    SABOTAGES[sys.argv.pop(1)]()
    main()
