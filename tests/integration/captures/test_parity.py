"""The life of a tenant and of its players: every write of the application is told of by exactly one event."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories.captures import list_faults, reconcile_cell, reconcile_control
from tests.factories.databases import PlaneDatabase
from tests.factories.keys import make_ring
from tests.factories.players import make_origin, make_policy, make_registration, open_cell, register
from tests.factories.tenants import BY, copy_tenants, edit, open_deployment, run_apply, tenant_settings

from pitboss.accounts import service as accounts
from pitboss.accounts.contracts import Player, PlayerStatus, StatusReason
from pitboss.accounts.runtime import Passwords
from pitboss.audit.contracts import WRITES
from pitboss.bonus import service as bonus
from pitboss.bonus.contracts import AwardOrder
from pitboss.cli.tenant_apply import Deployment
from pitboss.cli.tenant_state import change_state
from pitboss.directory.contracts import TenantState
from pitboss.games import service as games
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, ActorKind, TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Wallet
from pitboss.limits import service as limits
from pitboss.limits.contracts import Limit, LimitKind, Period
from pitboss.platform.db import Database
from pitboss.retention import service as retention
from pitboss.tenancy import service as tenancy
from pitboss.tenancy.contracts import CellPlace
from pitboss_sdk.events import GameResumed, GameSuspended
from pitboss_sdk.games import GameInfo

OPERATOR = Actor(ActorKind.OPERATOR, "ada")
SCOPE = TenantScope(1, "aurora", "eu-1")
ELSEWHERE = (
    frozenset(
        key
        for key in WRITES
        if key.partition(".")[0] in {"subject_case", "subject_export", "move", "destination", "keys", "quality"}
    )
    | {"tenant.frozen", "tenant.thawed", "tenant.moved", "player.corrected", "player.erased", "player.erasure_refused"}
    | {
        "retention.plan_proposed",
        "retention.plan_approved",
        "retention.rows_destroyed",
        "retention.carried_out",
    }
)
"""Types that this walk does not reach: they need a second cell, a store or rows of many years."""


@pytest.fixture
async def deployment(
    control_database: PlaneDatabase, cell_database: PlaneDatabase, tmp_path: Path
) -> AsyncIterator[Deployment]:
    opened = open_deployment(tenant_settings(control_database, cell_database, copy_tenants(tmp_path)))
    yield opened
    await opened.close()


def by() -> dict[str, Any]:
    return {"actor": OPERATOR, "origin": make_origin()}


async def live_as_tenant(deployment: Deployment, folder: Path) -> None:
    await run_apply(deployment)
    edit(folder, "aurora", 'currencies = ["EUR"]', 'currencies = ["EUR", "BRL"]')
    edit(folder, "aurora", '["aurora.localhost"]', '["aurora.example"]')
    file = folder / "aurora/tenant.toml"
    one_brand = file.read_text().replace('domains = ["aurora', 'domains = ["borealis.localhost", "aurora')
    second = '\n[[brands]]\nslug = "borealis"\nname = "Borealis"\ndomains = ["borealis.localhost"]\n'
    file.write_text(
        file.read_text().replace(
            'slug = "aurora"\nname = "Aurora Play"\ndomains', 'slug = "aurora"\nname = "Aurora"\ndomains'
        )
        + second
        + 'languages = ["en"]\ndefault_language = "en"\n'
    )
    await run_apply(deployment)
    file.write_text(one_brand)
    config = folder / "aurora/plugins/softswiss.toml"
    config.write_text(config.read_text().replace('"aurora"', '"aurora-2"'))
    await run_apply(deployment)
    edit(folder, "aurora", 'plugins = ["softswiss", "hub88"]', 'plugins = ["hub88"]')
    config.unlink()
    shutil.rmtree(folder / "aurora/theme")
    await run_apply(deployment)
    for state in (TenantState.SUSPENDED, TenantState.ACTIVE, TenantState.SUSPENDED, TenantState.CLOSED):
        await change_state(deployment, "aurora", state, "review")
    async with deployment.control.transaction() as session:
        await tenancy.ensure_cell(session, CellPlace("eu-1", "eu", "https://elsewhere.example"), BY)


async def play_with_games(session: AsyncSession) -> None:
    told = GameInfo(code="book", title="Book", provider="pragma", category="slots", version_hash="1" * 64)
    await games.sync_catalogue(session, SCOPE, "softswiss", (told,), **by())


async def switch_games(session: AsyncSession, step: int) -> None:
    if step < 2:
        await games.set_game_enabled(session, SCOPE, "book", enabled=bool(step), **by())
    else:
        event = (GameSuspended if step == 2 else GameResumed)("book")
        await games.carry_out_event(session, SCOPE, "softswiss", event, **by())


async def limit(session: AsyncSession, player: Player, wallet: Wallet, step: int) -> None:
    change: dict[str, Any] = {"policy": make_policy(limit_increase_wait_hours=24), **by()}
    which = (LimitKind.DEPOSIT, Period.DAY)
    if step == 0:
        # Two limits of a player in one transaction: two rows, two events.
        await limits.set_limit(session, SCOPE, wallet, Limit(*which, 100), **by())
        await limits.set_limit(session, SCOPE, wallet, Limit(LimitKind.LOSS, Period.WEEK, 100), **by())
    elif step == 1:
        await limits.change_limit(session, SCOPE, wallet, *which, 200, **change)
    elif step == 2:
        await limits.remove_limit(session, SCOPE, wallet, *which, **by())
    else:
        minutes = {3: 60, 4: 30, 5: 90, 6: None}[step]
        await limits.change_play_time(session, SCOPE, player.player_id, Period.DAY, minutes, **change)


async def exclude(session: AsyncSession, player: Player, step: int) -> None:
    policy = make_policy(exclusion_early_end_allowed=True)
    if step == 0:
        await limits.exclude(session, SCOPE, player.player_id, days=2, policy=policy, **by())
    elif step == 1:
        await limits.exclude(session, SCOPE, player.player_id, policy=policy, **by())
    else:
        endless = next(
            each for each in await limits.list_exclusions(session, SCOPE, player.player_id) if not each.ends_at
        )
        await limits.lift_exclusion(session, SCOPE, player.player_id, endless.exclusion_id, policy=policy, **by())


async def award(session: AsyncSession, wallet: Wallet, step: int) -> None:
    policy = make_policy()
    if step == 0:
        order = AwardOrder("a-1", 100, 300, utc_now() + timedelta(days=1), "goodwill")
        for _ in range(2):  # the same order again writes nothing
            await bonus.award(session, SCOPE, wallet, order, policy=policy, **by())
    else:
        await bonus.end_all(session, SCOPE, [wallet.wallet_id], reason="review", **by())


async def hold(session: AsyncSession, player: Player, step: int) -> None:
    if step == 0:
        await retention.place_hold(
            session, SCOPE, case_reference="c-1", reason="court", subject_id=player.public_id, **by()
        )
    else:
        (found,) = await retention.list_holds(session, SCOPE)
        another = {**by(), "actor": Actor(ActorKind.OPERATOR, "bo")} if step == 2 else by()
        await retention.lift_hold(session, SCOPE, found.hold_id, reason="over", **another)


async def reset(cell: Database, worker: Database, player: Player) -> None:
    async with worker.transaction(SCOPE) as session:
        letter = await accounts.make_password_reset(
            session, SCOPE, make_ring("eu-1"), player_id=player.player_id, domain="aurora.localhost", causation_id=""
        )
    assert letter is not None
    token = letter.body.partition("#token=")[2].split()[0]
    password_hash = await Passwords().hash("another horse battery")
    async with cell.transaction(SCOPE) as session:
        await accounts.reset_password(session, SCOPE, token=token, password_hash=password_hash, origin=make_origin())


async def live_as_player(cell: Database, worker: Database) -> None:
    player = await register(cell, Passwords(), make_registration(), SCOPE)
    async with cell.transaction(SCOPE) as session:
        await ledger.open_house_accounts(session, SCOPE, ("EUR",), ())
        await ledger.open_wallet(session, SCOPE, player.player_id, "EUR", player.licence)
        wallet = await ledger.get_wallet(session, SCOPE, player.player_id, "EUR")
        await play_with_games(session)
    for step in range(4):
        async with cell.transaction(SCOPE) as session:
            await switch_games(session, step)
    for step in range(7):
        async with cell.transaction(SCOPE) as session:
            await limit(session, player, wallet, step)
    for step in range(3):
        async with cell.transaction(SCOPE) as session:
            await exclude(session, player, step)
    for step in range(2):
        async with cell.transaction(SCOPE) as session:
            await award(session, wallet, step)
    for step in range(3):
        async with cell.transaction(SCOPE) as session:
            await hold(session, player, step)
    await reset(cell, worker, player)
    await leave(cell, player)


async def leave(cell: Database, player: Player) -> None:
    for status in (PlayerStatus.SUSPENDED, PlayerStatus.ACTIVE):
        async with cell.transaction(SCOPE) as session:
            await accounts.change_status(
                session, SCOPE, player.public_id, status=status, reason=StatusReason.OPERATOR_REVIEW, **by()
            )
    async with cell.transaction(SCOPE) as session:
        await accounts.close(
            session, SCOPE, player.public_id, holds_money=False, reason=StatusReason.OPERATOR_REVIEW, **by()
        )


async def list_types(*databases: PlaneDatabase) -> set[str]:
    found: set[str] = set()
    for database in databases:
        admin = await asyncpg.connect(database.admin_url)
        found |= {row["type"] for row in await admin.fetch("select distinct type from audit_event")}
        await admin.close()
    return found


async def test_every_write_of_two_lives_has_exactly_one_event(
    deployment: Deployment, control_database: PlaneDatabase, cell_database: PlaneDatabase, tmp_path: Path
) -> None:
    await live_as_tenant(deployment, tmp_path / "tenants")
    async with open_cell(cell_database) as cell, open_cell(cell_database, cell_database.worker_url) as worker:
        await live_as_player(cell, worker)
    assert await list_faults(cell_database) == []
    assert await list_faults(control_database) == []
    seen = await list_types(control_database, cell_database)
    assert set(WRITES) - seen - ELSEWHERE == set(), "a type of event that writes and that nobody walked through"
    assert (await reconcile_cell(cell_database, SCOPE)).captures >= 30
    assert (await reconcile_control(control_database)).captures >= 8
