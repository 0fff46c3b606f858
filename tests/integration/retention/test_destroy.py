"""What the law lets go is destroyed by an approved plan, row for row, and nothing else by anybody."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.factories.players import AURORA, JADE
from tests.integration.retention.conftest import ADA, BO, ORIGIN, PACKS, TABLES, WORKER, House, make_packs

from pitboss.audit.contracts import EventFilter
from pitboss.audit.service import list_events
from pitboss.captures.service import reconcile
from pitboss.kernel.clock import utc_now
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor
from pitboss.keys.contracts import Obstacle
from pitboss.retention import rules
from pitboss.retention import service as retention
from pitboss.retention.contracts import PLAN_LIFETIME, Hold, Run
from pitboss.retention.errors import (
    HoldInvalid,
    HoldLifted,
    NothingDue,
    PlanDiffers,
    PlanStale,
    ReasonInvalid,
    RunUnknown,
    SamePerson,
)

DESTROY = text("select retention_destroy(:tenant_id, :run_id, 1, 1000)")
STEP = (
    "insert into retention_step (tenant_id, run_id, step, table_name, licence, counts_from, cutoff_at, rows_due, rows_held)"
    " values (1, :run_id, 2, 'exclusion', 'mt_mga', 'creation', now(), 1000, 0)"
)


async def fill(house: House) -> dict[str, Any]:
    """Put rows of both sides of every border; return who has them."""
    old, open_still = await house.add_player(closed_years=6), await house.add_player()
    silent, stranger = await house.add_player(licence="br_spa", closed_years=20), await house.add_player(scope=JADE)
    for who in (old, open_still, silent):
        await house.add_rounds(who, 2)
        await house.add("round", who, 4.9, 2)
        await house.add("round", who, 6, 1)  # not over
        await house.add("game_session", who, 6)
        await house.add("game_session", who, 1)
        await house.add("exclusion", who, 7, True)
        await house.add("exclusion", who, 7, False)  # without an end
        await house.add("play_time_limit", who, 9)
    await house.add("round", stranger, 9, 2, scope=JADE)
    return {"old": old, "open": open_still, "silent": silent, "stranger": stranger}


async def count_all(house: House, people: dict[str, Any]) -> dict[str, list[int]]:
    return {name: [await house.count(table, who) for table in TABLES] for name, who in people.items()}


async def refuse(house: House, run: Run, why: str) -> None:
    """Demand that the database refuses to destroy rows of a plan for the worker, and that all are there still."""
    before = await house.count("round")
    with pytest.raises(DBAPIError, match=why):
        async with house.worker.transaction(AURORA) as session:
            await session.execute(DESTROY, {"tenant_id": 1, "run_id": run.run_id})
    assert await house.count("round") == before


async def test_what_is_due_goes_and_nothing_else(house: House) -> None:
    people = await fill(house)
    before = await count_all(house, people)
    assert before["old"] == before["open"] == before["silent"] == [4, 2, 2, 1]
    draft = await house.draw()
    assert {step.table: (step.rows_due, step.rows_held) for step in draft.steps} == {
        "round": (4, 0),
        "game_session": (2, 0),
        "exclusion": (1, 0),
        "play_time_limit": (1, 0),
    }
    assert {step.licence for step in draft.steps} == {"mt_mga"}
    assert await count_all(house, people) == before
    run = await house.approve(await house.propose())
    await house.destroy(run)
    assert await count_all(house, people) == {
        "old": [2, 1, 1, 0],
        "open": [2, 1, 2, 1],
        "silent": [4, 2, 2, 1],
        "stranger": [1, 0, 0, 0],
    }
    done = await house.get(run)
    assert (done.rows_due, done.rows_destroyed) == (8, 8)
    assert done.finished_at is not None
    with pytest.raises(NothingDue):
        await house.propose()


async def test_what_was_destroyed_is_told_and_no_capture_is_unexplained(house: House) -> None:
    await fill(house)
    first = await house.admin.fetchval("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    run = await house.approve(await house.propose())
    await house.destroy(run, most=3)
    async with house.app.transaction(AURORA) as session:
        wanted = EventFilter(target=f"retention_run:{run.run_id}")
        events = (await list_events(session, AURORA, wanted)).items
        outcome = await reconcile(session, AURORA, first)
    assert outcome.findings == []
    assert outcome.captures >= 4  # the plan, its approval, its end and what is audited of what went
    told = [change for event in events if event.type == "retention.rows_destroyed" for change in event.changes]
    assert sum(int(str(change.after)) for change in told) == run.rows_due
    certificate = {change.path: change.after for change in events[0].changes}
    assert events[0].type == "retention.carried_out"
    assert certificate["destroyed.round.mt_mga"] == 4
    assert (certificate["proposed_by"], certificate["approved_by"]) == ("deployment:ada", "deployment:bo")
    assert certificate["digest"] == run.digest


async def test_two_people_are_needed(house: House) -> None:
    await house.add_rounds(await house.add_player(), 3)
    run = await house.propose()
    await refuse(house, run, "not approved")
    with pytest.raises(SamePerson):
        await house.approve(run, actor=WORKER.__class__(BO.kind, "ada"))
    with pytest.raises(DBAPIError, match="four_eyes"):
        async with house.app.transaction(AURORA) as session:
            await session.execute(
                text("update retention_run set approved_by = proposed_by, approved_at = now() where run_id = :run_id"),
                {"run_id": run.run_id},
            )
    await house.approve(run)
    with pytest.raises(DBAPIError, match="settled"):
        async with house.app.transaction(AURORA) as session:
            await session.execute(
                text("update retention_run set approved_by = 'deployment:cy' where run_id = :run_id"),
                {"run_id": run.run_id},
            )


async def test_a_plan_that_is_over_destroys_no_more(house: House) -> None:
    await house.add_rounds(await house.add_player(), 2)
    run = await house.approve(await house.propose())
    await house.destroy(run)
    async with house.worker.transaction(AURORA) as session:
        await retention.certify_run(session, AURORA, run.run_id, actor=WORKER, origin=ORIGIN)
    with pytest.raises(DBAPIError, match="not approved, or over"):
        async with house.worker.transaction(AURORA) as session:
            await session.execute(DESTROY, {"tenant_id": 1, "run_id": run.run_id})


async def test_what_is_carried_out_is_what_was_approved(house: House) -> None:
    who = await house.add_player()
    await house.add_rounds(who, 3)
    run = await house.propose()
    with pytest.raises(PlanDiffers):
        async with house.app.transaction(AURORA) as session:
            await retention.approve_plan(
                session, AURORA, run.run_id, "0" * 64, PACKS, utc_now(), actor=BO, origin=ORIGIN
            )
    await house.approve(run)
    async with house.app.transaction(AURORA) as session:
        await session.execute(text(STEP), {"run_id": run.run_id})
    await refuse(house, run, "not what was approved")


async def test_more_than_was_counted_does_not_go(house: House) -> None:
    who = await house.add_player()
    await house.add_rounds(who, 3)
    run = await house.approve(await house.propose())
    await house.add_rounds(who, 1)
    await refuse(house, run, "destroyed")


async def test_a_stale_plan_is_refused_everywhere(house: House) -> None:
    await house.add_rounds(await house.add_player(), 1)
    run = await house.propose()
    other = make_packs()
    with pytest.raises(PlanStale, match="schedule has changed"):
        await house.approve(run, packs={**other, "mt_mga": other["br_spa"]})
    await house.approve(run)
    moved = utc_now() - PLAN_LIFETIME - timedelta(minutes=1)
    digest = rules.compute_digest(run.run_id, run.schedule_version, run.proposed_by, moved, run.steps)
    await house.admin.execute("alter table retention_run disable trigger all")
    await house.admin.execute(
        "update retention_run set proposed_at = $2, digest = $3 where run_id = $1", run.run_id, moved, digest
    )
    await house.admin.execute("alter table retention_run enable trigger all")
    await refuse(house, run, "stale")
    async with house.app.transaction(AURORA) as session:
        with pytest.raises(PlanStale):
            await retention.order_carry_out(session, AURORA, run.run_id, PACKS, utc_now())
    with pytest.raises(PlanStale):
        await house.destroy(run)


async def test_no_plan_reaches_a_table_that_is_kept(house: House) -> None:
    for table in rules.KEPT:
        with pytest.raises(DBAPIError, match=f"no schedule destroys rows of {table}"):
            async with house.worker.transaction(AURORA) as session:
                await session.execute(
                    text("select count(*) from retention_find(1, :name, 'mt_mga', 'creation', now())"), {"name": table}
                )


async def test_limits_of_an_open_account_are_not_even_found(house: House) -> None:
    """Whatever time counts from: they are in force."""
    who, closed = await house.add_player(), await house.add_player(closed_years=1)
    for each in (who, closed):
        await house.add("play_time_limit", each, 9)
    query = text("select count(*) from retention_find(1, 'play_time_limit', 'mt_mga', 'creation', now())")
    async with house.app.transaction(AURORA) as session:
        assert await session.scalar(query) == 1


async def test_no_login_destroys_without_the_function(house: House) -> None:
    await house.add_rounds(await house.add_player(), 1)
    run = await house.propose()
    await house.approve(run)
    for database in (house.app, house.worker):
        for table in ("round", "exclusion", "game_session", "retention_run", "retention_step", "legal_hold"):
            with pytest.raises(DBAPIError, match="permission denied"):
                async with database.transaction(AURORA) as session:
                    await session.execute(text(f"delete from {table}"))
    with pytest.raises(DBAPIError, match="permission denied"):
        async with house.app.transaction(AURORA) as session:
            await session.execute(DESTROY, {"tenant_id": 1, "run_id": run.run_id})
    with pytest.raises(DBAPIError, match="no such plan"):  # under another tenant's context
        async with house.worker.transaction(JADE) as session:
            await session.execute(DESTROY, {"tenant_id": 1, "run_id": run.run_id})


async def test_holds_keep_a_player_a_table_or_everything(house: House) -> None:
    held, free = await house.add_player(), await house.add_player()
    for who in (held, free):
        await house.add_rounds(who, 2)
        await house.add("game_session", who, 6)
    due = {"round": (4, 0), "game_session": (2, 0)}
    for what, expected in (
        ({}, {"round": (0, 4), "game_session": (0, 2)}),
        ({"table": "round"}, {"round": (0, 4), "game_session": (2, 0)}),
        ({"subject_id": held.public_id}, {"round": (2, 2), "game_session": (1, 1)}),
    ):
        hold = await house.hold(**what)
        draft = await house.draw()
        found = {step.table: (step.rows_due, step.rows_held) for step in draft.steps if step.rows_due or step.rows_held}
        assert found == expected
        await house.lift(hold)
        with pytest.raises(HoldLifted):
            await house.lift(hold)
    draft = await house.draw()
    assert {step.table: (step.rows_due, step.rows_held) for step in draft.steps if step.rows_due} == due


async def test_a_hold_that_comes_after_the_approval_keeps_and_one_that_goes_lets_no_more_go(house: House) -> None:
    late, early = await house.add_player(), await house.add_player()
    for who in (late, early):
        await house.add_rounds(who, 2)
    first = await house.hold(subject_id=early.public_id)
    run = await house.approve(await house.propose())
    assert (run.steps[0].rows_due, run.steps[0].rows_held) == (2, 2)
    await house.lift(first)
    await house.hold(subject_id=late.public_id)
    await house.destroy(run)
    assert [await house.count("round", who) for who in (late, early)] == [2, 2]
    assert (await house.get(run)).rows_destroyed == 0


async def test_a_hold_says_what_it_holds(house: House) -> None:
    with pytest.raises(HoldInvalid, match="name the case"):
        await house.hold(case_reference="")
    with pytest.raises(HoldInvalid):
        await house.hold(subject_id=new_uuid())
    with pytest.raises(HoldInvalid):
        await house.hold(table="journal")
    who = await house.add_player()
    with pytest.raises(HoldInvalid):
        await house.hold(subject_id=who.public_id, table="round")
    hold = await house.hold()
    with pytest.raises(DBAPIError, match="permission denied"):
        async with house.app.transaction(AURORA) as session:
            await session.execute(text("update legal_hold set reason = 'none'"))
    await house.lift(hold)
    with pytest.raises(DBAPIError, match="settled"):
        async with house.app.transaction(AURORA) as session:
            await session.execute(text("update legal_hold set lifted_at = now() + interval '1 day'"))


async def test_a_hold_is_lifted_by_two_people_and_words_about_a_person_are_not_kept(house: House) -> None:
    hold = await house.hold()

    async def lift(actor: Actor, reason: str = "over") -> Hold:
        async with house.app.transaction(AURORA) as session:
            return await retention.lift_hold(session, AURORA, hold.hold_id, reason=reason, actor=actor, origin=ORIGIN)

    assert (await lift(ADA)).lifted_at is None
    with pytest.raises(SamePerson):
        await lift(ADA)
    for by in ("lift_asked_by", "null"):  # nor behind the use case: the table refuses one person, and nobody who asked
        with pytest.raises(DBAPIError, match=r"ck_legal_hold_(four_eyes|asked)"):
            async with house.app.transaction(AURORA) as session:
                await session.execute(
                    text(
                        "update legal_hold set lifted_at = now(), lifted_by = coalesce(lift_asked_by, 'x'),"
                        f" lift_asked_by = {by}"
                    )
                )
    assert await house.admin.fetchval("select count(*) from legal_hold where lifted_at is null") == 1
    for words in ("Because Ana Pérez asked", "", "x" * 41):
        with pytest.raises(ReasonInvalid):
            await lift(BO, words)
    for case in ("Ana Pérez", "x" * 101):
        with pytest.raises(ReasonInvalid):
            async with house.app.transaction(AURORA) as session:
                await retention.place_hold(
                    session, AURORA, case_reference=case, reason="claim", actor=ADA, origin=ORIGIN
                )
    assert (await lift(BO)).lifted_by == "deployment:bo"


async def test_two_workers_at_once_destroy_each_row_once(house: House) -> None:
    await house.add_rounds(await house.add_player(), 40)
    run = await house.approve(await house.propose())
    await asyncio.gather(*(house.destroy(run, most=3) for _ in range(3)))
    done = await house.get(run)
    assert (done.rows_destroyed, await house.count("round")) == (40, 0)


async def test_an_erasure_is_told_what_keeps_a_subject(house: House) -> None:
    gone, recent = await house.add_player(closed_years=6), await house.add_player(closed_years=1)
    silent = await house.add_player(licence="br_spa", closed_years=50)
    check = retention.make_erasure_check(PACKS, utc_now())

    async def ask(subject: Any) -> list[Obstacle]:
        async with house.worker.transaction(AURORA) as session:
            found = list(await check(session, AURORA, subject.public_id))
            assert await retention.is_kept(session, AURORA, subject.public_id, PACKS, utc_now()) is bool(found)
            return found

    assert await ask(gone) == []
    assert {(each.code, each.until is not None) for each in await ask(recent)} == {("retention", True)}
    assert {each.code for each in await ask(silent)} == {"retention_unknown"}
    await house.hold(subject_id=gone.public_id)
    assert [each.code for each in await ask(gone)] == ["legal_hold"]


async def test_a_plan_of_another_tenant_is_not_there(house: House) -> None:
    await house.add_rounds(await house.add_player(), 1)
    run = await house.propose()
    async with house.app.transaction(JADE) as session:
        with pytest.raises(RunUnknown):
            await retention.get_run(session, JADE, run.run_id)
        assert await retention.list_runs(session, JADE) == []
