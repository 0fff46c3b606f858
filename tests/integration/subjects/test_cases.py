"""Requests from the letter to the answer: idempotent, in order, audited one to one, for their own tenant alone."""

from __future__ import annotations

from datetime import date, timedelta
from uuid import UUID

import msgspec
import pytest
from tests.factories.players import AURORA, JADE
from tests.integration.retention.conftest import make_packs
from tests.integration.subjects.conftest import ADA, BY, ORIGIN, RING, Desk

from pitboss.accounts import service as accounts
from pitboss.accounts.contracts import Player, StatusReason
from pitboss.accounts.errors import PlayerErased, PlayerNotFound
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import Actor, ActorKind
from pitboss.keys import service as keys
from pitboss.keys.contracts import SubjectState
from pitboss.keys.errors import SubjectRestricted
from pitboss.platform.telemetry import Metrics
from pitboss.plughost.contracts import LoadedPack
from pitboss.policy.contracts import TenantPolicy
from pitboss.policy.service import apply_policy
from pitboss.retention import service as retention
from pitboss.subjects import service as subjects
from pitboss.subjects.contracts import CaseFilter, CaseKind, CaseOrder, CaseReason, CaseState, Correction
from pitboss.subjects.errors import CaseNotFound, ProcessingRestricted, ReferenceTaken, StepRefused
from pitboss.worker.subject_jobs import subject_jobs


async def close(desk: Desk, player: Player) -> None:
    async with desk.app.transaction(AURORA) as session:
        await accounts.close(
            session, AURORA, player.public_id, holds_money=False, reason=StatusReason.PLAYER_REQUEST, **BY
        )


async def apply(desk: Desk) -> None:
    async with desk.app.transaction(AURORA) as session:
        await apply_policy(session, AURORA, TenantPolicy(), {}, actor=ADA, origin=ORIGIN)


async def test_the_same_letter_opens_one_request(desk: Desk) -> None:
    player, other = await desk.add_player(), await desk.add_player()
    order = CaseOrder(player.public_id, CaseKind.ACCESS, "letter-7", utc_now(), 15)
    async with desk.app.transaction(AURORA) as session:
        first = await subjects.open_case(session, AURORA, order, **BY)
        again = await subjects.open_case(session, AURORA, order, **BY)
        assert again == first
        assert first.due_at == first.received_at + timedelta(days=15)
    for changed in ({"player": other.public_id}, {"kind": CaseKind.ERASURE}):
        with pytest.raises(ReferenceTaken):
            async with desk.app.transaction(AURORA) as session:
                await subjects.open_case(session, AURORA, msgspec.structs.replace(order, **changed), **BY)
    assert await desk.list_events(first.case_id) == ["subject_case.received"]


async def test_steps_are_taken_once_and_told_once(desk: Desk) -> None:
    case = await desk.open(await desk.add_player(), CaseKind.ACCESS)
    for _ in range(2):
        async with desk.app.transaction(AURORA) as session:
            case = await subjects.move(session, AURORA, case.case_id, CaseState.REFUSED, [CaseReason.UNFOUNDED], **BY)
    assert case.state is CaseState.REFUSED
    assert case.ended_at is not None
    with pytest.raises(StepRefused):
        async with desk.app.transaction(AURORA) as session:
            await subjects.move(session, AURORA, case.case_id, CaseState.IN_PROGRESS, **BY)
    events = await desk.list_events(case.case_id)
    assert events == ["subject_case.received", *["subject_case.moved"] * 2, "subject_case.ended"]


async def test_another_tenant_sees_and_moves_nothing(desk: Desk) -> None:
    player = await desk.add_player()
    case = await desk.open(player, CaseKind.RESTRICTION)
    async with desk.app.transaction(JADE) as session:
        for work in (
            lambda: subjects.get_case(session, JADE, case.case_id),
            lambda: subjects.move(session, JADE, case.case_id, CaseState.REFUSED, [CaseReason.WITHDRAWN], **BY),
            lambda: subjects.restrict(session, JADE, case.case_id, **BY),
            lambda: subjects.lift(session, JADE, case.case_id, **BY),
        ):
            with pytest.raises(CaseNotFound):
                await work()
        with pytest.raises(PlayerNotFound):
            await subjects.find_restrictions(session, JADE, player.public_id)
        assert (await subjects.list_cases(session, JADE)).items == []


async def test_open_requests_stand_in_the_order_of_their_days_and_turn_red(desk: Desk) -> None:
    player = await desk.add_player()
    for days in (3, 40, 10):
        order = CaseOrder(player.public_id, CaseKind.ACCESS, f"day-{days}", utc_now() - timedelta(days=days), 30)
        async with desk.app.transaction(AURORA) as session:
            await subjects.open_case(session, AURORA, order, **BY)
    wanted = CaseFilter(is_open=True, player=player.public_id)
    seen: list[str] = []
    cursor = None
    async with desk.app.transaction(AURORA) as session:
        while True:
            page = await subjects.list_cases(session, AURORA, wanted, cursor=cursor, page_size=1)
            seen += [case.reference for case in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert seen == ["day-40", "day-10", "day-3"]
    metrics = Metrics()
    watch = next(job for job in subject_jobs(RING, desk.objects, metrics, lambda: [AURORA]) if job.every_seconds)
    async with desk.worker.transaction(AURORA) as session:
        await watch.handler(session, AURORA, {})
    assert b'pitboss_subject_cases_overdue{tenant="aurora"} 1.0' in metrics.render()


async def test_restricted_data_open_for_the_player_and_the_law_alone(desk: Desk) -> None:
    player = await desk.add_player()
    first, second = [await desk.open(player, CaseKind.RESTRICTION) for _ in range(2)]
    async with desk.app.transaction(AURORA) as session:
        assert await subjects.restrict(session, AURORA, first.case_id, **BY)
        assert not await subjects.restrict(session, AURORA, first.case_id, **BY)
        assert await subjects.restrict(session, AURORA, second.case_id, **BY)
    async with desk.app.transaction(AURORA) as session:
        with pytest.raises(ProcessingRestricted):
            await subjects.demand_unrestricted(session, AURORA, player.public_id)
        with pytest.raises(SubjectRestricted):
            await accounts.get_identity(session, AURORA, RING, player)
        assert await accounts.get_identity(session, AURORA, RING, player, despite_restriction=True)
    _, _, archive = await desk.export(player, CaseKind.ACCESS)
    assert archive
    async with desk.app.transaction(AURORA) as session:
        assert await subjects.lift(session, AURORA, first.case_id, **BY)
        with pytest.raises(ProcessingRestricted):  # the other request stands
            await subjects.demand_unrestricted(session, AURORA, player.public_id)
        assert await keys.find_state(session, AURORA, player.public_id) is SubjectState.RESTRICTED
        assert await subjects.lift(session, AURORA, second.case_id, **BY)
        assert not await subjects.lift(session, AURORA, second.case_id, **BY)
        await subjects.demand_unrestricted(session, AURORA, player.public_id)
        assert await accounts.get_identity(session, AURORA, RING, player)
    assert (await desk.list_events(first.case_id))[-2:] == [
        "subject_case.restricted",
        "subject_case.restriction_lifted",
    ]


async def test_what_is_wrong_is_put_right_and_told_sealed(desk: Desk) -> None:
    player = await desk.add_player()
    case = await desk.open(player, CaseKind.RECTIFICATION)
    correction = Correction(first_name="Beatriz", birth_date=date(1988, 5, 6))
    for _ in range(2):
        async with desk.app.transaction(AURORA) as session:
            await subjects.correct(session, AURORA, RING, case.case_id, correction, **BY)
    async with desk.app.transaction(AURORA) as session:
        identity = await accounts.get_identity(session, AURORA, RING, player)
        assert (identity.first_name, identity.birth_date) == ("Beatriz", date(1988, 5, 6))
        case = await subjects.move(session, AURORA, case.case_id, CaseState.COMPLETED, **BY)
    assert (await desk.list_events(player.public_id)).count("player.corrected") == 1
    kept = await desk.admin.fetchval("select string_agg(changes::text, '') from audit_event")
    assert "Beatriz" not in kept
    assert "1988" not in kept


async def test_an_erasure_that_the_law_forbids_restricts_and_says_why(desk: Desk) -> None:
    await apply(desk)
    player = await desk.add_player()
    await close(desk, player)
    case = await desk.open(player, CaseKind.ERASURE)
    for _ in range(2):
        async with desk.app.transaction(AURORA) as session:
            case = await subjects.erase(session, AURORA, RING, case.case_id, {}, **BY)
    assert (case.state, case.reasons) == (CaseState.PARTIAL, (CaseReason.KEPT_BY_LAW,))
    async with desk.app.transaction(AURORA) as session:
        with pytest.raises(SubjectRestricted):
            await accounts.get_identity(session, AURORA, RING, player)
        with pytest.raises(StepRefused):  # what the law keeps is not used again by a step
            await subjects.lift(session, AURORA, case.case_id, **BY)
    assert (await desk.list_events(case.case_id))[-2:] == ["subject_case.restricted", "subject_case.ended"]


async def test_an_erasure_that_nothing_stands_against_completes(desk: Desk) -> None:
    packs = make_ending_packs()
    async with desk.app.transaction(AURORA) as session:
        await apply_policy(session, AURORA, TenantPolicy(), packs, actor=ADA, origin=ORIGIN)
    player = await desk.add_player()
    await desk.admin.execute("update player set licence = 'mt_mga' where public_id = $1", player.public_id)
    await close(desk, player)
    await desk.admin.execute(
        "update player set closed_at = now() - interval '9 y', registered_at = now() - interval '10 y'"
        " where public_id = $1",
        player.public_id,
    )
    case = await desk.open(player, CaseKind.ERASURE)
    hold = await place_hold(desk, player)
    held = await desk.open(player, CaseKind.ERASURE)
    async with desk.app.transaction(AURORA) as session:
        held = await subjects.erase(session, AURORA, RING, held.case_id, packs, **BY)
    assert (held.state, held.reasons) == (CaseState.PARTIAL, (CaseReason.LEGAL_HOLD,))
    async with desk.app.transaction(AURORA) as session:
        for who in ("ada", "bo"):
            by = {**BY, "actor": Actor(ActorKind.DEPLOYMENT, who)}
            await retention.lift_hold(session, AURORA, hold, reason="over", **by)
        case = await subjects.erase(session, AURORA, RING, case.case_id, packs, **BY)
        assert case.state is CaseState.COMPLETED
        with pytest.raises(PlayerErased):
            await accounts.get_identity(session, AURORA, RING, player, despite_restriction=True)


async def place_hold(desk: Desk, player: Player) -> UUID:
    async with desk.app.transaction(AURORA) as session:
        hold = await retention.place_hold(
            session, AURORA, case_reference="7/26", reason="claim", subject_id=player.public_id, **BY
        )
    return hold.hold_id


def make_ending_packs() -> dict[str, LoadedPack]:
    return {"mt_mga": make_packs()["mt_mga"]}
