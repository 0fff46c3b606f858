"""Real lanes on a real PostgreSQL: crowds, races, lost connections, a server that goes away, and batches that break."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest
import structlog
from tests.factories.databases import DatabaseServer
from tests.factories.money import House, Seat, running
from tests.factories.players import open_cell
from tests.factories.ports import free_port
from tests.integration.wallet.conftest import fund
from tests.property.asks import make_request, read_answer
from tests.property.model import Ask, Model, Purse, Step

from pitboss.kernel.clock import epoch_seconds
from pitboss.kernel.scope import TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import AccountKind, Op
from pitboss.platform.db import ContextSigner, LaneConnections
from pitboss.platform.embedded import PostgresServer
from pitboss.wallet.contracts import WalletRequest, WalletResult
from pitboss.wallet.errors import LanesBusy
from pitboss.wallet.runtime import MAX_QUEUE, DatabasePoster, Lane, Lanes
from pitboss.wallet.service import make_leg
from pitboss_sdk.games import Refusal

BALANCES = "select wallet_id, real_minor from wallet order by wallet_id"


def ask_request(house: House, seat: Seat, ask: Ask) -> WalletRequest:
    return make_request(
        ask,
        tenant_id=seat.tenant_id,
        account_id=house.revenue[seat.currency],
        wallet_id=seat.wallet_id,
        source_id=house.source_id,
        player_id=seat.player_id,
        session=seat.session,
    )


async def balances(house: House) -> dict[int, int]:
    return {row[0]: row[1] for row in await house.administer(BALANCES)}


async def test_a_crowd_on_few_wallets_gets_one_answer_a_key(house: House) -> None:
    seats = await house.add_players(50)
    await fund(house, seats, 2_000)
    rng = Random(3)
    lanes = [Lane(house.make_poster(number)) for number in range(6)]
    asked = [(rng.choice(seats), f"bet-{number}", rng.randrange(1, 300)) for number in range(3_000)]
    asked += rng.choices(asked, k=1_300)
    rng.shuffle(asked)
    told: dict[str, set[tuple[Refusal | None, int | None, int]]] = {}

    async def send(seat: Seat, reference: str, amount: int) -> None:
        result = await rng.choice(lanes).submit(house.request(seat, Op.BET, reference, amount))
        version = result.legs[0].version if result.legs else 0
        told.setdefault(reference, set()).add((result.refusal, result.balance_minor, version))

    async with running(*lanes):
        await asyncio.gather(*[send(*each) for each in asked])
    assert {reference: answers for reference, answers in told.items() if len(answers) != 1} == {}
    refusals = Counter(refusal for answers in told.values() for refusal, _, _ in answers)
    assert set(refusals) == {None, Refusal.INSUFFICIENT_FUNDS}
    amounts = {reference: (seat.wallet_id, amount) for seat, reference, amount in asked}
    left = {seat.wallet_id: 2_000 for seat in seats}
    for reference, answers in told.items():
        if next(iter(answers))[0] is None:
            wallet_id, amount = amounts[reference]
            left[wallet_id] -= amount
    assert await balances(house) == left
    assert min(left.values()) >= 0


async def test_one_key_on_two_wallets_is_booked_on_one(house: House) -> None:
    first, second = await house.add_players(2)
    await fund(house, [first, second])
    lanes = [Lane(house.make_poster(number)) for number in range(2)]
    async with running(*lanes):
        for number in range(60):
            results = await asyncio.gather(
                *[
                    lane.submit(house.request(seat, Op.BET, f"bet-{number}", 10))
                    for lane, seat in zip(lanes, (first, second), strict=True)
                ]
            )
            outcomes = [result.refusal for result in results]
            assert sorted(map(str, outcomes)) == sorted(map(str, (None, Refusal.REFERENCE_MISUSED)))
    assert sum((await balances(house)).values()) == 20_000 - 60 * 10


@pytest.mark.parametrize("order", list(permutations(("bet", "win", "back", "bet"))))
async def test_every_order_of_bet_win_and_rollback_ends_as_the_model_says(house: House, order: tuple[str, ...]) -> None:
    (seat,) = await house.add_players(1)
    await fund(house, [seat])
    steps = {"bet": Step("bet", "b", 100), "win": Step("win", "w", 250), "back": Step("rollback", "r", 0, "b")}
    model = Model()
    model.purses[seat.wallet_id] = Purse()
    model.ask(Ask(seat.wallet_id, 0, (Step("deposit", "fund", 10_000),)))
    lane = Lane(house.make_poster(1))
    async with running(lane):
        for name in (*order, *order):
            ask = Ask(seat.wallet_id, house.source_id, (steps[name],), round="r")
            answer, wanted = read_answer(await lane.submit(ask_request(house, seat, ask))), model.ask(ask)
            assert (answer.refusal, answer.balance) == (wanted.refusal, wanted.balance)
    assert await balances(house) == {seat.wallet_id: model.purses[seat.wallet_id].real}


async def test_connections_killed_in_the_middle_lose_and_double_nothing(house: House) -> None:
    seats = await house.add_players(10)
    await fund(house, seats)
    lanes = [Lane(house.make_poster(number, "victim")) for number in range(2)]
    stop = asyncio.Event()
    killed = 0

    async def kill() -> None:
        nonlocal killed
        admin = await asyncpg.connect(house.database.admin_url)
        try:
            while not stop.is_set():
                killed += len(await admin.fetch(_KILL))
                await asyncio.sleep(0.08)
        finally:
            await admin.close()

    async def bet(seat: Seat, number: int) -> None:
        request = house.request(seat, Op.BET, f"bet-{seat.wallet_id}-{number}", 3)
        async with asyncio.timeout(120):
            while True:
                try:
                    result: WalletResult = await lanes[number % 2].submit(request)
                except LanesBusy:
                    await asyncio.sleep(0.01)
                    continue
                assert result.refusal is None
                return

    with structlog.testing.capture_logs():
        async with running(*lanes):
            killer = asyncio.create_task(kill())
            number = 0
            while number < 40 or (killed <= 5 and number < 3_000):  # a fast machine plays on until enough were killed
                await asyncio.gather(*[bet(seat, number) for seat in seats])
                number += 1
            stop.set()
            await killer
    assert killed > 5
    assert await balances(house) == {seat.wallet_id: 10_000 - number * 3 for seat in seats}


_KILL = """
select pg_terminate_backend(pid) from pg_stat_activity
where application_name like 'victim%' and datname = current_database()
"""


def test_a_server_that_restarts_is_waited_for() -> None:
    with tempfile.TemporaryDirectory(prefix="pitboss-tests-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        server = PostgresServer(folder / "postgres", port=free_port(), options={"shared_buffers": "32MB"})
        server.start()
        try:
            with DatabaseServer(server).clone("cell") as cell:
                asyncio.run(restart_in_mid_batch(server, House(cell)))
        finally:
            server.remove()


async def restart_in_mid_batch(server: PostgresServer, house: House) -> None:
    await house.open()
    seats = await house.add_players(4)
    await fund(house, seats)
    lane = Lane(house.make_poster(1))
    with structlog.testing.capture_logs() as logs:
        async with running(lane):
            before = [lane.submit(house.request(seat, Op.BET, f"before-{seat.wallet_id}", 1)) for seat in seats]
            await asyncio.gather(*before)
            await asyncio.to_thread(server.stop)
            meanwhile = [lane.submit(house.request(seat, Op.BET, f"while-{seat.wallet_id}", 1)) for seat in seats]
            async with asyncio.timeout(60):
                while not any(entry["event"] == "wallet.connection_lost" for entry in logs):  # noqa: ASYNC110 - a list
                    await asyncio.sleep(0.02)
            server.start()  # on the main thread: the server ends with the thread that started it
            answers = await asyncio.gather(*meanwhile)
    assert [answer.refusal for answer in answers] == [None] * 4
    assert set((await balances(house)).values()) == {9_998}
    assert (await house.verify()).findings == ()


async def test_a_request_that_breaks_its_batch_breaks_alone(house: House) -> None:
    seats = await house.add_players(40)
    await fund(house, seats)
    requests = [house.request(seat, Op.BET, f"bet-{seat.wallet_id}", 5) for seat in seats]
    for request in (requests[7], requests[31]):
        request.legs[0].account_id = 10_000_000  # a house account that is not there: the server refuses the statement
    lane = Lane(house.make_poster(1))
    with structlog.testing.capture_logs():
        futures = [lane.submit(request) for request in requests]
        async with running(lane):
            results: list[Any] = await asyncio.gather(*futures, return_exceptions=True)
    broken = [number for number, result in enumerate(results) if isinstance(result, LanesBusy)]
    assert broken == [7, 31]
    assert all(result.refusal is None for number, result in enumerate(results) if number not in broken)
    left = await balances(house)
    assert [left[seat.wallet_id] for seat in seats] == [10_000 if n in broken else 9_995 for n in range(40)]


async def test_a_queue_that_does_not_move_takes_nothing_new(house: House) -> None:
    (seat,) = await house.add_players(1)
    await fund(house, [seat])
    lane = Lane(house.make_poster(1))
    lanes = Lanes([lane])
    stuck = [lanes.submit(house.request(seat, Op.BET, "first", 1), patience_ms=50)]
    await asyncio.sleep(0.1)
    with pytest.raises(LanesBusy):
        lanes.submit(house.request(seat, Op.BET, "second", 1), patience_ms=50)
    stuck += [lane.submit(house.request(seat, Op.BET, "first", 1)) for _ in range(MAX_QUEUE - 1)]
    with pytest.raises(LanesBusy):
        lanes.submit(house.request(seat, Op.BET, "third", 1), patience_ms=10**9)
    lanes.start()
    results = await asyncio.gather(*stuck)
    await lanes.close()
    assert {(result.refusal, result.balance_minor) for result in results} == {(None, 9_999)}
    with pytest.raises(LanesBusy):
        lanes.submit(house.request(seat, Op.BET, "late", 1), patience_ms=10**9)
    assert await balances(house) == {seat.wallet_id: 9_999}


async def test_more_tenants_than_a_context_carries_share_a_lane(house: House) -> None:
    scopes = [TenantScope(number, f"tenant{number}", "eu-1") for number in range(101, 171)]
    requests: list[WalletRequest] = []
    async with open_cell(house.database) as cell:
        for scope in scopes:
            async with cell.transaction(scope) as session:
                await ledger.open_house_accounts(session, scope, ["EUR"], [])
                source = await ledger.ensure_source(session, scope, "manual")
                account = await ledger.get_house_account(session, scope, AccountKind.CLEARING, "EUR", "manual")
                wallet = await ledger.open_wallet(session, scope, 1, "EUR", "")
            requests.append(
                WalletRequest(scope.tenant_id, wallet, source, (make_leg(Op.DEPOSIT, wallet, "d", 10, account),))
            )
    lane = Lane(house.make_poster(1))
    with structlog.testing.capture_logs():
        futures = [lane.submit(request) for request in requests]
        async with running(lane):
            results = await asyncio.gather(*futures)
    assert [(result.refusal, result.balance_minor) for result in results] == [(None, 10)] * 70


async def test_a_context_that_ran_out_while_the_machine_slept_is_renewed(house: House) -> None:
    (seat,) = await house.add_players(1)
    await fund(house, [seat])
    signer = ContextSigner(house.database.context_keys)
    connection = LaneConnections(house.database.app_url, "sleeper", signer)
    lane = Lane(DatabasePoster(1, connection))

    async def sleep(seconds: int) -> None:
        """Leave the connection as it is after that time."""
        for each in (connection._reader, connection._writer):
            raw = await each.ready(frozenset({seat.tenant_id}))
            token = signer.sign([seat.tenant_id], raw.get_server_pid(), lifetime_seconds=300 - seconds)
            await raw.execute("select set_config('pitboss.ctx', $1, false)", token)
            each._signed_at = epoch_seconds() - seconds

    with structlog.testing.capture_logs():
        async with running(lane):
            await sleep(3600)
            result = await lane.submit(house.request(seat, Op.BET, "after", 1))
            assert (result.refusal, result.balance_minor) == (None, 9_999)
            await sleep(3600)
            for each in (connection._reader, connection._writer):
                each._signed_at = epoch_seconds()  # and nobody noticed: not an answer, and above all no final one
            with pytest.raises(LanesBusy):
                await lane.submit(house.request(seat, Op.BET, "unseen", 1))
