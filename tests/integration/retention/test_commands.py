"""`pitboss retention` as an engineer runs it: sources are named, holds come and go, one person alone destroys nothing."""

from __future__ import annotations

import asyncio
import json
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from tests.factories.players import AURORA
from tests.factories.tenants import environment_of
from tests.factories.web import cell_settings, store_directory
from tests.integration.retention.conftest import ADA, ORIGIN, House, make_packs

from pitboss.cli.retention import retention as group
from pitboss.kernel.clock import utc_now
from pitboss.permissions.service import deployment_actor
from pitboss.platform.settings import Settings
from pitboss.policy.contracts import TenantPolicy
from pitboss.policy.service import apply_policy
from pitboss.retention import service as retentions
from pitboss.retention.errors import SamePerson


@pytest.fixture
async def settings(house: House) -> Settings:
    """Return the settings of the cell; its tenant has the packs as they are shipped, of which none ends anything."""
    found = cell_settings(house.plane, "redis://127.0.0.1:1")
    await house.admin.execute("alter table directory_snapshot disable trigger all; delete from directory_snapshot")
    await store_directory(found)
    async with house.app.transaction(AURORA) as session:
        packs = {"mt_mga": make_packs()["mt_mga"]}
        await apply_policy(session, AURORA, TenantPolicy(), packs, actor=ADA, origin=ORIGIN)
    return found


async def say(settings: Settings, *words: str) -> Result:
    environment = environment_of(settings)
    return await asyncio.to_thread(CliRunner(env=environment).invoke, group, list(words))


async def test_nothing_is_purged_where_nobody_verified_a_period(house: House, settings: Settings) -> None:
    await house.add_rounds(await house.add_player(), 2, years=60)
    shown = await say(settings, "show", "aurora")
    assert "aurora: nothing is purged" in shown.output, shown.output
    assert "round, licence mt_mga: kept for ever" in shown.output
    assert "retention_years.game_records = for ever, from platform [platform default]" in shown.output
    assert "journal: balances are the sums of the journal" in shown.output
    planned = await say(settings, "plan", "aurora")
    assert "aurora: 0 rows would be destroyed, 0 are held back" in planned.output
    refused = await say(settings, "plan", "aurora", "--propose", "--reason", "the_law")
    assert getattr(refused.exception, "code", "") == "retention.nothing_due"
    assert await house.count("round") == 2


async def test_holds_are_placed_listed_and_lifted(house: House, settings: Settings) -> None:
    who = await house.add_player()
    placed = await say(
        settings, "hold", "aurora", "--case", "7/26", "--reason", "claim", "--player", str(who.public_id)
    )
    assert placed.exit_code == 0, placed.output
    hold_id = placed.output.split()[0]
    assert f"player {who.public_id}: case 7/26" in (await say(settings, "holds", "aurora")).output
    asked = await say(settings, "lift", "aurora", hold_id, "--reason", "over")
    assert "is held until somebody else than deployment:" in asked.output, asked.output
    alone = await say(settings, "lift", "aurora", hold_id, "--reason", "over")
    assert isinstance(alone.exception, SamePerson)
    assert "asked for its end" in (await say(settings, "holds", "aurora")).output
    async with house.app.transaction(AURORA) as session:
        await retentions.lift_hold(session, AURORA, UUID(hold_id), reason="over", actor=ADA, origin=ORIGIN)
    assert "nothing is held" in (await say(settings, "holds", "aurora")).output
    assert "lifted on" in (await say(settings, "holds", "aurora", "--all")).output


async def test_the_person_who_proposed_is_refused(house: House, settings: Settings) -> None:
    await house.add_rounds(await house.add_player(), 2)
    draft = await house.draw()
    async with house.app.transaction(AURORA) as session:
        run = await retentions.propose_plan(
            session, AURORA, draft, reason="the_law", actor=deployment_actor(), origin=ORIGIN
        )
    refused = await say(settings, "approve", "aurora", str(run.run_id), "--digest", run.digest)
    assert isinstance(refused.exception, SamePerson)
    listed = await say(settings, "runs", "aurora")
    assert "not approved: 0 of 2 rows destroyed" in listed.output
    unproved = json.loads((await say(settings, "certificate", "aurora", str(run.run_id))).output)
    assert (unproved["event"], unproved["proof"], unproved["run"]["digest"]) == (None, None, run.digest)
    assert unproved["run"]["proposed_at"][:4] == str(utc_now().year)
