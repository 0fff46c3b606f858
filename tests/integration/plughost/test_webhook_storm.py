"""Thousands of webhooks over real HTTP, to a web, a relay and a worker of their own: repeated, replayed, shuffled, forged, huge.

The end must be that of the same events taken once and in order. `PITBOSS_WEBHOOKS` says how many are sent.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from tests.crash.cell import TENANT, Cell
from tests.factories.figures import write_figures

from pitboss.games import service as games
from pitboss.kernel.clock import epoch_seconds
from pitboss.kernel.scope import Actor, ActorKind, Origin
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.plughost.contracts import WebhookState
from pitboss_sdk.games import GameInfo
from pitboss_sdk.testing import Notice, NoticeSender

pytestmark = [
    pytest.mark.timeout(1500),
    pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends children with their parent there"),
]
DELIVERIES = int(os.environ.pop("PITBOSS_WEBHOOKS", "2000"))
SECRET_NAME = "demo-softswiss-notice-secret"
AT_A_TIME = 16
DRAIN_SECONDS = 600


class Delivery(msgspec.Struct, frozen=True):
    """One sending, and the answers that it may get."""

    notice: Notice
    answers: tuple[int, ...]
    forged: bool = False
    is_huge: bool = False


@pytest.fixture
def cell() -> Iterator[Cell]:
    with tempfile.TemporaryDirectory(prefix="pitboss-webhooks-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield Cell(folder)


def plan(rng: random.Random, count: int) -> tuple[list[Delivery], dict[str, Notice]]:
    """Return shuffled deliveries and, by game, the event that must be the last word."""
    now_us = epoch_seconds() * 1_000_000
    last: dict[str, int] = {}
    newest: dict[str, Notice] = {}
    genuine: list[Notice] = []
    share = {"repeated": 0.20, "replayed": 0.10, "forged": 0.05, "huge": 0.01}
    for number in range(int(count * (1 - sum(share.values())))):
        if rng.random() < 0.05:
            genuine.append(Notice("games.catalogue_changed", f"event-{number}", now_us))
            continue
        game = f"storm-{rng.randrange(max(10, count // 40))}"
        last[game] = last.get(game, 0) + rng.randint(1, 3)
        event = rng.choice(("games.game_suspended", "games.game_resumed"))
        newest[game] = Notice(event, f"event-{number}", now_us, game, last[game])
        genuine.append(newest[game])
    replace = msgspec.structs.replace
    deliveries = [Delivery(notice, (202,)) for notice in genuine]
    for _ in range(int(count * share["repeated"])):
        # Signed anew, as a sender does that got no answer.
        again = replace(rng.choice(genuine), sent_at_us=now_us - rng.randint(0, 60) * 1_000_000)
        deliveries.append(Delivery(again, (202,)))
    for _ in range(int(count * share["replayed"])):
        old = replace(rng.choice(genuine), sent_at_us=now_us - rng.randint(400, 10**6) * 1_000_000)
        deliveries.append(Delivery(old, (422,)))
    for number in range(int(count * share["forged"])):
        # Were it believed, it would be the last word on its game.
        forged = replace(rng.choice(genuine), event_id=f"forged-{number}", sequence=10**6, event="games.game_suspended")
        deliveries.append(Delivery(forged, (403,), forged=True))
    for number in range(int(count * share["huge"])):
        huge = replace(rng.choice(genuine), event_id=f"huge-{number}", sequence=10**6, event="games.game_suspended")
        deliveries.append(Delivery(huge, (413,), is_huge=True))
    rng.shuffle(deliveries)
    return deliveries, newest


async def send(client: httpx.AsyncClient, sender: NoticeSender, delivery: Delivery) -> int:
    body = sender.write(delivery.notice) or b""
    if delivery.is_huge:
        body = body.ljust(300_000)
    headers = dict(sender.sign(delivery.notice, body, stranger=delivery.forged))
    for _ in range(5):
        try:
            answer = await client.post(f"/webhooks/{TENANT}/softswiss", content=body, headers=headers)
        except httpx.TransportError:
            # A server that will not read a body to its end may hang up, also on who comes next by that connection.
            if delivery.is_huge:
                return 413
            continue
        return answer.status_code
    return 0


async def furnish(cell: Cell, codes: set[str]) -> None:
    database = Database(create_engine(cell.database.app_url), "eu-1", ContextSigner(cell.database.context_keys))
    listed = tuple(GameInfo(code, code) for code in sorted(codes))
    async with database.transaction(cell.scope) as session:
        actor, origin = Actor(ActorKind.DEPLOYMENT, "test"), Origin(request_id="test")
        await games.sync_catalogue(session, cell.scope, "softswiss", listed, actor, origin)
    await database.engine.dispose()


async def fetch(cell: Cell, query: str) -> list[Any]:
    admin = await asyncpg.connect(cell.postgres.admin_url(cell.database.name))
    try:
        return await admin.fetch(query)
    finally:
        await admin.close()


async def await_quiet(cell: Cell) -> float:
    """Wait until every stored webhook is settled and return how long that took."""
    began = time.monotonic()
    for _ in range(DRAIN_SECONDS * 4):
        if not await fetch(cell, "select 1 from webhook where state = 1 limit 1"):
            break
        await asyncio.sleep(0.25)
    return time.monotonic() - began


def secret_of(cell: Cell) -> str:
    import tomllib

    assert cell.settings.secrets_file is not None
    return str(tomllib.loads(cell.settings.secrets_file.read_text())[SECRET_NAME])


async def count_differences(cell: Cell, newest: dict[str, Notice], genuine: set[str]) -> dict[str, int]:
    """Return what differs from the same events taken once and in order."""
    found = {
        row["code"]: row["suspended"]
        for row in await fetch(cell, "select code, suspended from game where code like 'storm-%'")
    }
    wanted = {game: notice.event == "games.game_suspended" for game, notice in newest.items()}
    numbers = {
        row["object_id"]: row["sequence"] for row in await fetch(cell, "select object_id, sequence from webhook_object")
    }
    rows = await fetch(cell, "select event_id, state, attempts from webhook")
    settled = {WebhookState.DONE, WebhookState.SUPERSEDED}
    return {
        "states": sum(found.get(game) is not is_suspended for game, is_suspended in wanted.items()),
        "sequences": sum(numbers.get(f"game:{game}") != notice.sequence for game, notice in newest.items()),
        "lost": len(genuine - {row["event_id"] for row in rows}),
        "invented": len({row["event_id"] for row in rows} - genuine),
        "unsettled": sum(WebhookState(row["state"]) not in settled for row in rows),
    }


def test_the_end_is_that_of_the_same_events_once_and_in_order(cell: Cell) -> None:
    seed = int(os.environ.get("PITBOSS_TEST_SEED", "0")) or random.SystemRandom().randrange(10**6)
    print(f"seed {seed}, {DELIVERIES} deliveries")
    with cell.run(0):
        figures = asyncio.run(_storm(cell, random.Random(seed)))
    write_figures("webhooks", {**figures, "seed": seed})
    assert figures["wrong_answers"] == figures["differences"] == 0, f"seed {seed}: {figures}"
    assert figures["deliveries"] >= DELIVERIES * 0.99


async def _storm(cell: Cell, rng: random.Random) -> dict[str, float]:
    deliveries, newest = plan(rng, DELIVERIES)
    await furnish(cell, set(newest))
    sender = NoticeSender(TENANT, secret_of(cell))
    waiting = iter(deliveries)
    wrong: Counter[str] = Counter()
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{cell.ports['web']}", timeout=60) as client:

        async def work() -> None:
            for delivery in waiting:
                status = await send(client, sender, delivery)
                if status not in delivery.answers:
                    wrong[f"{status} for {delivery.answers}, forged {delivery.forged}, huge {delivery.is_huge}"] += 1

        await asyncio.gather(*(work() for _ in range(AT_A_TIME)))
    taken_seconds = time.monotonic() - began
    drained_seconds = await await_quiet(cell)
    genuine = {each.notice.event_id for each in deliveries if each.answers == (202,)}
    differences = await count_differences(cell, newest, genuine)
    print(f"{dict(wrong)} {differences}")
    (syncs,) = await fetch(
        cell,
        "select count(*) from outbox_job where job = 'games.sync_catalogue' and payload ->> 'plugin' = 'softswiss'",
    )
    return {
        "deliveries": len(deliveries),
        "events": len(genuine),
        "deliveries_per_second": round(len(deliveries) / taken_seconds, 1),
        "drained_seconds": round(drained_seconds, 1),
        "wrong_answers": wrong.total(),
        "differences": sum(differences.values()),
        "catalogue_syncs": syncs["count"],
    }


def test_a_kill_between_storing_and_carrying_out_loses_nothing(cell: Cell) -> None:
    with cell.run(0):
        asyncio.run(_kill(cell))


async def _kill(cell: Cell) -> None:
    now_us = epoch_seconds() * 1_000_000
    codes = [f"storm-{number}" for number in range(60)]
    await furnish(cell, set(codes))
    sender = NoticeSender(TENANT, secret_of(cell))
    # Without a worker nothing is carried out: whatever is acknowledged now lies between the two.
    cell.children["worker"].kill()
    cell.children["worker"].wait()
    acknowledged: list[str] = []

    async def post(number: int) -> None:
        notice = Notice("games.game_suspended", f"event-{number}", now_us, codes[number])
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{cell.ports['web']}", timeout=60) as client:
            # What is on its way when the web is killed is answered by nobody.
            if await send(client, sender, Delivery(notice, (202,))) == 202:
                acknowledged.append(codes[number])

    await asyncio.gather(*(post(number) for number in range(30)))
    assert len(acknowledged) == 30
    assert len(await fetch(cell, "select 1 from webhook where state = 1")) == 30
    racing = asyncio.gather(*(post(number) for number in range(30, 60)))
    await asyncio.sleep(0.03)
    cell.children["web"].kill()
    await racing
    cell.children["web"].wait()
    for name in ("web", "worker"):
        cell.launch(name)
        await asyncio.to_thread(cell.wait_ready, name)
    # What was told to nobody is sent again, and what was told too.
    told = set(acknowledged)
    await asyncio.gather(*(post(number) for number in range(60)))
    # In the middle of carrying out.
    cell.kill("worker")
    await asyncio.to_thread(cell.wait_ready, "worker")
    await await_quiet(cell)
    assert told <= {row["code"] for row in await fetch(cell, "select code from game where suspended")}
    assert [
        row["count"] for row in await fetch(cell, "select count(*) from game where suspended and code like 'storm-%'")
    ] == [60]
    (audited,) = await fetch(cell, "select count(*) from audit_event where type = 'game.suspended'")
    assert audited["count"] == 60
