"""Which tables have a schedule, when a period ends, what a plan's digest covers, and what keeps a subject."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from tests.factories.packs import load, state, with_statements

from pitboss.migrations.schema import load_metadata
from pitboss.policy.contracts import Retention, TenantPolicy
from pitboss.policy.service import resolve_policy
from pitboss.retention import rules
from pitboss.retention.contracts import Hold, HoldScope, Keeping, KeptBecause, Run, Step
from pitboss.retention.errors import PlanDiffers, PlanNotApproved, PlanSettled, PlanStale, SamePerson
from pitboss_sdk.jurisdiction import CountsFrom, Mark, RecordClass, RetentionFigure

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ANA, BO = UUID(int=1), UUID(int=2)
FIVE_YEARS = Retention(5, CountsFrom.ACCOUNT_CLOSED)


def test_every_table_of_a_laws_schedule_is_destroyed_or_says_why_not() -> None:
    tables = {
        table.name: table.info["retention"]
        for table in load_metadata("cell").tables.values()
        if table.info["retention"] in rules.RECORDS
    }
    assert not rules.DESTROYED.keys() & rules.KEPT.keys()
    assert not tables.keys() ^ {*rules.DESTROYED, *rules.KEPT}, "name it in DESTROYED, or in KEPT with a reason"
    assert {name: tables[name] for name in rules.DESTROYED} == {
        name: life.schedule for name, life in rules.DESTROYED.items()
    }


def test_a_table_has_all_the_classes_of_its_schedule_and_the_longest_applies() -> None:
    periods = [Retention(2, CountsFrom.ACCOUNT_CLOSED), Retention(7, CountsFrom.CREATION)]
    assert rules.join_periods(periods) == Retention(7, CountsFrom.ACCOUNT_CLOSED)
    assert rules.join_periods([*periods, Retention(None, CountsFrom.CREATION)]).years is None
    assert RecordClass.AML_RECORDS in rules.RECORDS["player_data"]


@pytest.mark.parametrize(
    ("years", "today", "last_gone"),
    [
        (5, date(2026, 11, 21), date(2021, 11, 20)),
        (1, date(2025, 3, 1), date(2024, 2, 28)),  # the 29th of February is kept through the first of March
        (1, date(2025, 3, 2), date(2024, 3, 1)),
        (4, date(2028, 2, 29), date(2024, 2, 28)),
        (0, date(2026, 1, 1), date(2025, 12, 31)),
    ],
)
def test_rows_go_on_the_day_after_the_last_of_their_period(years: int, today: date, last_gone: date) -> None:
    noon = datetime(today.year, today.month, today.day, 12, tzinfo=UTC)
    cutoff = rules.compute_cutoff(Retention(years, CountsFrom.CREATION), noon, "UTC")
    assert cutoff == datetime.combine(last_gone + timedelta(days=1), datetime.min.time(), UTC)


def test_days_are_those_of_the_licence() -> None:
    late = datetime(2026, 11, 21, 2, tzinfo=UTC)  # still the 20th in São Paulo
    assert rules.compute_cutoff(Retention(1, CountsFrom.CREATION), late, "America/Sao_Paulo") == datetime(
        2025, 11, 20, 3, tzinfo=UTC
    )
    assert rules.compute_cutoff(Retention(1, CountsFrom.CREATION), late, "UTC") == datetime(2025, 11, 21, tzinfo=UTC)


def test_nothing_ends_that_nobody_verified() -> None:
    pack = load("mt_mga").pack
    figures = {
        mark: with_statements(
            pack,
            "retention",
            retention_years=[
                state(
                    RetentionFigure,
                    mark=mark,
                    record=RecordClass.GAME_RECORDS,
                    value=5,
                    counts_from=CountsFrom.CREATION,
                )
            ],
        )
        for mark in Mark
    }
    ends = {
        mark: {
            line.table
            for line in rules.draw_lines(resolve_policy(TenantPolicy(), one, NOW.date()), NOW)
            if line.cutoff_at is not None
        }
        for mark, one in figures.items()
    }
    assert ends == {Mark.VERIFIED: {"round", "game_session"}, Mark.UNVERIFIED: set()}
    lines = rules.draw_lines(resolve_policy(TenantPolicy(), None, NOW.date()), NOW)
    assert {line.cutoff_at for line in lines} == {None}


def _run(**changes: Any) -> Run:
    steps = (Step(1, "round", "mt_mga", "creation", NOW - timedelta(days=2000), 10, 1, None),)
    run = Run(ANA, "", "v1", "the law", "deployment:ada", NOW, None, None, None, steps)
    digest = rules.compute_digest(run.run_id, run.schedule_version, run.proposed_by, run.proposed_at, run.steps)
    return msgspec.structs.replace(run, digest=digest, **changes)


def test_a_digest_covers_everything_that_is_approved() -> None:
    run = _run()
    step = run.steps[0]
    others = [
        msgspec.structs.replace(step, **change)
        for change in (
            {"step": 2},
            {"table": "exclusion"},
            {"licence": ""},
            {"counts_from": "account_closed"},
            {"cutoff_at": step.cutoff_at + timedelta(microseconds=1)},
            {"rows_due": 11},
        )
    ]
    drawn = [(run.run_id, "v1", run.proposed_by, NOW, steps) for steps in ([other] for other in others)]
    drawn += [
        (BO, "v1", run.proposed_by, NOW, run.steps),
        (run.run_id, "v2", run.proposed_by, NOW, run.steps),
        (run.run_id, "v1", "deployment:bo", NOW, run.steps),
        (run.run_id, "v1", run.proposed_by, NOW + timedelta(seconds=1), run.steps),
        (run.run_id, "v1", run.proposed_by, NOW, [step, *others[:1]]),
    ]
    digests = [rules.compute_digest(*each) for each in drawn]
    assert len({run.digest, *digests}) == len(digests) + 1


def test_who_proposed_does_not_approve() -> None:
    run = _run()
    rules.check_approval(run, run.digest, "deployment:bo", "v1", NOW)
    with pytest.raises(SamePerson):
        rules.check_approval(run, run.digest, "deployment:ada", "v1", NOW)
    with pytest.raises(PlanDiffers):
        rules.check_approval(run, "0" * 64, "deployment:bo", "v1", NOW)
    with pytest.raises(PlanSettled):
        rules.check_approval(_run(approved_by="deployment:cy"), run.digest, "deployment:bo", "v1", NOW)


@pytest.mark.parametrize(("version", "later"), [("v2", timedelta()), ("v1", timedelta(days=7, seconds=1))])
def test_a_stale_plan_is_neither_approved_nor_carried_out(version: str, later: timedelta) -> None:
    run = _run()
    with pytest.raises(PlanStale):
        rules.check_approval(run, run.digest, "deployment:bo", version, NOW + later)
    with pytest.raises(PlanStale):
        rules.check_carry_out(_run(approved_by="deployment:bo", approved_at=NOW), version, NOW + later)


def test_only_an_approved_plan_is_carried_out_and_only_once() -> None:
    rules.check_carry_out(_run(approved_by="deployment:bo", approved_at=NOW), "v1", NOW)
    with pytest.raises(PlanNotApproved):
        rules.check_carry_out(_run(), "v1", NOW)
    with pytest.raises(PlanSettled):
        rules.check_carry_out(_run(approved_by="deployment:bo", approved_at=NOW, finished_at=NOW), "v1", NOW)


def _hold(scope: HoldScope, subject: UUID | None = None, table: str = "", *, lifted: bool = False) -> Hold:
    return Hold(BO, "case 7", scope, subject, table, "a claim", "x", NOW, "", NOW if lifted else None, "")


def _keepings(*holds: Hold, closed_on: date | None = date(2020, 1, 31), **periods: Retention) -> list[Keeping]:
    retention = dict.fromkeys(RecordClass, FIVE_YEARS) | {RecordClass(name): each for name, each in periods.items()}
    return rules.decide_keepings(
        ANA, holds, retention, registered_on=date(2015, 1, 1), closed_on=closed_on, today=NOW.date()
    )


def test_a_subject_is_kept_by_holds() -> None:
    assert _keepings() == []
    for hold in (
        _hold(HoldScope.TENANT),
        _hold(HoldScope.PLAYER, ANA),
        _hold(HoldScope.TABLE, table="player_identity"),
    ):
        assert _keepings(hold) == [Keeping(KeptBecause.LEGAL_HOLD, "case 7")]
    for hold in (
        _hold(HoldScope.PLAYER, BO),
        _hold(HoldScope.TABLE, table="round"),
        _hold(HoldScope.TENANT, lifted=True),
    ):
        assert _keepings(hold) == []


def test_a_subject_is_kept_while_the_account_is_open_or_a_period_runs() -> None:
    assert _keepings(closed_on=None) == [Keeping(KeptBecause.ACCOUNT_OPEN, "player")]
    until = date(2026, 11, 21)
    assert _keepings(closed_on=date(2021, 11, 21))[0] == Keeping(KeptBecause.RETENTION, "player_data", until)
    assert _keepings(closed_on=date(2021, 11, 20)) == []
    assert _keepings(aml_records=Retention(10, CountsFrom.CREATION)) == [
        Keeping(KeptBecause.RETENTION, "aml_records", date(2030, 1, 31))
    ]
    assert _keepings(kyc_documents=Retention(None, CountsFrom.CREATION)) == [
        Keeping(KeptBecause.RETENTION_UNKNOWN, "kyc_documents")
    ]
    assert _keepings(game_records=Retention(None, CountsFrom.CREATION)) == []
