"""Jobs of the ledger on a real database: holds that run out, and a proof that finds what is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, JADE, make_origin, make_registration, open_cell, register

from pitboss.accounts.contracts import Player
from pitboss.accounts.runtime import Passwords
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, ActorKind
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Balance, Op, ProofOutcome, Wallet
from pitboss.limits.rules import compute_first_needed
from pitboss.platform.db import ContextSigner, Database, LaneConnections
from pitboss.platform.telemetry import Metrics
from pitboss.wallet import service as wallets
from pitboss.wallet.errors import MovementRefused
from pitboss.wallet.runtime import DatabasePoster, Lane, Lanes
from pitboss.worker.jobs import Job
from pitboss.worker.ledger_jobs import ledger_jobs


@asynccontextmanager
async def open_lanes(database: PlaneDatabase, url: str) -> AsyncIterator[Lanes]:
    connection = LaneConnections(url, "test lane", ContextSigner(database.context_keys))
    lanes = Lanes([Lane(DatabasePoster(1000, connection))])
    lanes.start()
    try:
        yield lanes
    finally:
        await lanes.close()


async def enter(cell: Database, lanes: Lanes, deposit_minor: int) -> tuple[Player, Wallet]:
    player = await register(cell, Passwords(), make_registration())
    async with cell.transaction(AURORA) as session:
        await ledger.open_house_accounts(session, AURORA, ("EUR",), ())
        await ledger.open_wallet(session, AURORA, player.player_id, "EUR", player.licence)
        order = await wallets.order_credit(
            session,
            AURORA,
            player_id=player.public_id,
            currency="EUR",
            amount_minor=deposit_minor,
            reference="d-1",
            reason="goodwill",
            actor=Actor(ActorKind.DEPLOYMENT, "tester"),
            origin=make_origin(),
        )
    await wallets.post_credit(lanes, AURORA, order)
    async with cell.transaction(AURORA) as session:
        return player, await ledger.get_wallet(session, AURORA, player.player_id, "EUR")


async def place_hold(cell: Database, lanes: Lanes, wallet: Wallet, reference: str, expires_in: timedelta) -> int:
    async with cell.transaction(AURORA) as session:
        source_id = await ledger.ensure_source(session, AURORA, "tests")
    leg = wallets.make_leg(Op.HOLD, wallet.wallet_id, reference, 40, 0, expires_at=utc_now() + expires_in)
    await wallets.post_movement(lanes, AURORA, source_id=source_id, leg=leg, wallet_id=wallet.wallet_id)
    return source_id


async def balance_of(cell: Database, player: Player) -> Balance:
    async with cell.transaction(AURORA) as session:
        return (await ledger.get_wallet(session, AURORA, player.player_id, "EUR")).balance


def find(jobs: tuple[Job, ...], name: str) -> Job:
    return next(job for job in jobs if job.name == name)


async def test_a_hold_whose_time_is_over_comes_back_once(cell_database: PlaneDatabase) -> None:
    worker_url = cell_database.worker_url
    async with (
        open_cell(cell_database) as cell,
        open_cell(cell_database, worker_url) as worker,
        open_lanes(cell_database, cell_database.app_url) as web_lanes,
        open_lanes(cell_database, worker_url) as lanes,
    ):
        player, wallet = await enter(cell, web_lanes, 200)
        ago, later = timedelta(seconds=-1), timedelta(hours=1)
        source_id = await place_hold(cell, web_lanes, wallet, "over", ago)
        await place_hold(cell, web_lanes, wallet, "still-open", later)
        await place_hold(cell, web_lanes, wallet, "captured", ago)
        capture = wallets.make_leg(Op.CAPTURE, wallet.wallet_id, "c-1", 40, 1, reverses="captured")
        await wallets.post_movement(web_lanes, AURORA, source_id=source_id, leg=capture, wallet_id=wallet.wallet_id)
        assert await balance_of(cell, player) == Balance(80, 0, 80, 0)
        expire = find(ledger_jobs(worker, lanes, Metrics(), lambda: [AURORA]), "ledger.expire_holds")
        for _ in range(2):
            async with worker.transaction(AURORA) as session:
                await expire.handler(session, AURORA, {})
            assert await balance_of(cell, player) == Balance(120, 0, 40, 0)
        # One that cannot be voided keeps no other aside, and is told at the end.
        second = await place_hold(cell, web_lanes, wallet, "over-too", ago)
        async with cell.transaction(AURORA) as session:
            ((_, version, _, reference),) = await ledger.list_expired_holds(session, AURORA)
        assert reference == "over-too"
        holds = [(wallet.wallet_id, 999, source_id, "never-placed"), (wallet.wallet_id, version, second, reference)]
        with pytest.raises(MovementRefused):
            await wallets.expire_holds(lanes, AURORA, holds)
        assert await balance_of(cell, player) == Balance(120, 0, 40, 0)
        # Found open, captured before its turn: the void is refused, and that is no failure.
        stale = [(wallet.wallet_id, 4, source_id, "captured")]
        assert await wallets.expire_holds(lanes, AURORA, stale) == 0
        async with cell.snapshot(AURORA) as session:
            assert (await ledger.verify_tenant(session, AURORA)).findings == ()


async def test_the_proof_counts_what_it_finds(cell_database: PlaneDatabase) -> None:
    metrics = Metrics()

    def findings() -> float | None:
        return metrics.registry.get_sample_value("pitboss_ledger_findings", {"tenant": "aurora"})

    async with (
        open_cell(cell_database) as cell,
        open_cell(cell_database, cell_database.worker_url) as worker,
        open_lanes(cell_database, cell_database.app_url) as lanes,
    ):
        await enter(cell, lanes, 200)
        served = [AURORA]
        verify = find(ledger_jobs(worker, lanes, metrics, lambda: served), "ledger.verify")
        async with worker.transaction(AURORA) as session:
            await verify.handler(session, AURORA, {})
        assert findings() == 0
        connection = await asyncpg.connect(cell_database.admin_url)
        try:
            await connection.execute("set session_replication_role = replica")  # past the guards
            await connection.execute("update wallet set real_minor = real_minor + 1")
            async with worker.transaction(AURORA) as session:
                await verify.handler(session, AURORA, {})
            of_money = findings() or 0
            assert of_money >= 2
            await connection.execute("update wallet set status = 2")
            await connection.execute("update wallet set licence = 'softer'")
        finally:
            await connection.close()
        async with worker.transaction(AURORA) as session:
            await verify.handler(session, AURORA, {})
        assert findings() == of_money + 2
        # A worker that was started since tells what the other has found, until the next proof.
        restarted = Metrics()
        tell = find(ledger_jobs(worker, lanes, restarted, lambda: [AURORA]), "ledger.tell_proof")
        async with worker.transaction(AURORA) as session:
            await tell.handler(session, AURORA, {})
        told = restarted.registry.get_sample_value("pitboss_ledger_findings", {"tenant": "aurora"})
        assert told == of_money + 2
        when = restarted.registry.get_sample_value("pitboss_ledger_verified_at_seconds", {"tenant": "aurora"})
        assert when == metrics.registry.get_sample_value("pitboss_ledger_verified_at_seconds", {"tenant": "aurora"})
        async with worker.transaction(AURORA) as session:
            await ledger.keep_proof(session, AURORA, ProofOutcome(utc_now() - timedelta(hours=1), 0))
            await tell.handler(session, AURORA, {})
        assert restarted.registry.get_sample_value("pitboss_ledger_findings", {"tenant": "aurora"}) == of_money + 2, (
            "an older proof that came to its end later says nothing"
        )
        assert b'pitboss_ledger_findings{tenant="aurora"}' in metrics.render()
        served.clear()
        told = metrics.render()
        assert b"pitboss_ledger_findings{" not in told, "a closed tenant is alerted of for ever"
        assert b"pitboss_ledger_verified_at_seconds{" not in told


async def test_old_windows_of_limits_are_forgotten_and_no_other(cell_database: PlaneDatabase) -> None:
    async with (
        open_cell(cell_database) as cell,
        open_cell(cell_database, cell_database.worker_url) as worker,
        open_lanes(cell_database, cell_database.app_url) as lanes,
    ):
        for scope in (AURORA, JADE):
            player = await register(cell, Passwords(), make_registration(), scope)
            async with cell.transaction(scope) as session:
                await ledger.open_wallet(session, scope, player.player_id, "EUR", player.licence)
        first = compute_first_needed(utc_now().date())
        connection = await asyncpg.connect(cell_database.admin_url)
        try:
            await connection.execute(
                "insert into usage (tenant_id, wallet_id, kind, period, window_start, used_minor)"
                " select tenant_id, wallet_id, kind, 1, $1::date + day, 5"
                " from wallet, generate_series(1, 3) kind, generate_series(-800, 1) day",
                first,
            )
            prune = find(ledger_jobs(worker, lanes, Metrics(), lambda: [AURORA]), "ledger.prune_usage")
            async with worker.transaction(AURORA) as session:
                await prune.handler(session, AURORA, {})
            rows = await connection.fetch(
                "select tenant_id, min(window_start), count(*) from usage group by tenant_id order by tenant_id"
            )
        finally:
            await connection.close()
    assert [tuple(row) for row in rows] == [
        (AURORA.tenant_id, first, 3 * 2),
        (JADE.tenant_id, first - timedelta(days=800), 3 * 802),
    ]
