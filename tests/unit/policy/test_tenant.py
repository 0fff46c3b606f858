"""What a tenant may write into `policy.toml`: only what is stricter, and each refusal says why."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from tests.factories.packs import load, state, with_statements

from pitboss.plughost.contracts import LoadedPack
from pitboss.policy.errors import LicenceUnknown
from pitboss.policy.service import check_policy, choose_licence, resolve_policy
from pitboss_sdk.jurisdiction import Ceiling, CountsFrom, Figure, LimitKind, LimitPeriod, RecordClass, RetentionFigure

MOMENT = datetime(2026, 11, 21, 12, tzinfo=UTC)
FILE = "aurora/policy.toml"
PACKS = {"mt_mga": load("mt_mga"), "br_spa": load("br_spa")}


def check(text: str, packs: dict[str, LoadedPack] | None = None) -> list[str]:
    """Return what is said against a `policy.toml`."""
    chosen = PACKS if packs is None else packs
    return [str(problem) for problem in check_policy(tomllib.loads(text), chosen, moment=MOMENT, file=FILE)[1]]


def strict_pack(**statements: Any) -> dict[str, LoadedPack]:
    """Return the Maltese pack with verified limits that it does not have."""
    pack = with_statements(PACKS["mt_mga"].pack, "limits", **statements)
    return {"mt_mga": msgspec.structs.replace(PACKS["mt_mga"], pack=pack)}


def test_nothing_and_everything_stricter_pass() -> None:
    assert check("") == []
    text = """
    minimum_age_years = 21
    limit_increase_wait_hours = 72
    mandatory_limits = ["deposit"]
    limit_ceilings_minor.deposit.day.EUR = 100_000
    reality_check_minutes = 30
    exclusion_terms = ["definite"]
    exclusion_minimum_months = 12
    exclusion_early_end_allowed = false
    exclusion_lift_wait_hours = 200
    bonus_allowed = false
    bonus_wagering_maximum_times = 10
    real_money_spent_first = false
    identity_before = "registration"
    due_diligence_thresholds_minor.EUR = 0
    due_diligence_days = 0
    register_checks = ["login"]
    register_recheck_days = 1
    register_block_hours = 0
    subject_answer_days = 10
    retention_years.game_records = "forever"
    [licences.br_spa]
    minimum_age_years = 25
    retention_years.aml_records = 10
    """
    assert check(text) == []
    # The same as what applies anyway is not looser.
    assert check("minimum_age_years = 18\nlimit_increase_wait_hours = 24") == []


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (
            "minimum_age_years = 17",
            "minimum_age_years: 17 is looser than 18 of platform (platform default; the platform's own default); "
            "stricter is the higher",
        ),
        ("limit_increase_wait_hours = 23", "limit_increase_wait_hours: 23 is looser than 24 of platform"),
        ("reality_check_minutes = 61", "reality_check_minutes: 61 is looser than 60 of platform"),
        ("exclusion_minimum_months = 5", "exclusion_minimum_months: 5 is looser than 6 of platform"),
        ("exclusion_early_end_allowed = true", "exclusion_early_end_allowed: yes is looser than no of platform"),
        ("exclusion_lift_wait_hours = 1", "exclusion_lift_wait_hours: 1 is looser than 168 of platform"),
        (
            "bonus_allowed = true",
            "bonus_allowed: yes is looser than no of br_spa (verified; Law 14.790/2023, art. 29, item I [BR1]); "
            "stricter is no before yes",
        ),
        ('identity_before = "first_wager"', "identity_before: first_wager is looser than first_deposit of platform"),
        (
            "due_diligence_thresholds_minor.BRL = 1",
            "due_diligence_thresholds_minor.BRL: 1 is looser than 0 of platform",
        ),
        ("due_diligence_days = 30", "due_diligence_days: 30 is looser than 0 of platform"),
        ("register_recheck_days = 16", "register_recheck_days: 16 is looser than 15 of br_spa (verified;"),
        ("register_block_hours = 72", "register_block_hours: 72 is looser than 0 of platform"),
        (
            "retention_years.game_records = 100",
            "retention_years.game_records: 100 years from creation is looser than for ever of platform",
        ),
        (
            "licences.br_spa.retention_years.aml_records = 4",
            "licences.br_spa.retention_years.aml_records: 4 years from creation is looser than "
            "5 years from account closed of br_spa (verified;",
        ),
        (
            "minimum_age_years = 21\nlicences.br_spa.minimum_age_years = 19",
            "licences.br_spa.minimum_age_years: 19 is looser than 21 of aurora/policy.toml (tenant;",
        ),
    ],
)
def test_what_is_looser_is_refused_with_both_values_and_the_source(text: str, refusal: str) -> None:
    (told,) = check(text)
    assert told.startswith(f"{FILE}: {refusal}")


def test_what_one_licence_allows_is_written_for_that_licence() -> None:
    assert len(check("bonus_allowed = true")) == 1
    assert check("licences.mt_mga.bonus_allowed = true") == []
    assert check("bonus_allowed = true", {"mt_mga": PACKS["mt_mga"]}) == []


def test_a_ceiling_and_a_wagering_maximum_of_the_law_hold() -> None:
    ceiling = state(Ceiling, kind=LimitKind.DEPOSIT, period=LimitPeriod.DAY, currency="EUR", value=60_000)
    packs = strict_pack(limit_ceilings_minor=[ceiling], bonus_wagering_maximum_times=[state(Figure, value=10)])
    assert check("limit_ceilings_minor.deposit.day.EUR = 60_000\nbonus_wagering_maximum_times = 10", packs) == []
    told = check("limit_ceilings_minor.deposit.day.EUR = 60_001\nbonus_wagering_maximum_times = 11", packs)
    assert [line.partition(" of ")[0] for line in told] == [
        f"{FILE}: limit_ceilings_minor.deposit.day.EUR: 60001 is looser than 60000",
        f"{FILE}: bonus_wagering_maximum_times: 11 is looser than 10",
    ]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    assert len(check("minimum_age = 17\nreality_check_minutes = 0\nlicences.br_spa.x = 1")) == 3
    assert len(check("minimum_age_years = 17\nreality_check_minutes = 61\nbonus_allowed = true")) == 3


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("minimum_age = 18", "minimum_age: is not a key here; is minimum_age_years meant?"),
        ("minimum_age_years = '18'", "minimum_age_years: Expected `int | null`, got `str`"),
        ("minimum_age_years = 18.0", "minimum_age_years: Expected `int | null`, got `float`"),
        ("minimum_age_years = -1", "minimum_age_years: Expected `int` >= 0"),
        ("mandatory_limits = ['deposits']", "mandatory_limits: Invalid enum value 'deposits'"),
        (
            "limit_ceilings_minor.deposit.year.EUR = 1",
            "limit_ceilings_minor.deposit.year.EUR: Invalid enum value 'year'",
        ),
        (
            "limit_ceilings_minor.deposit.day.EUR = 1.5",
            "limit_ceilings_minor.deposit.day.EUR: Expected `int`, got `float`",
        ),
        ("limit_ceilings_minor.deposit.day = 1", "limit_ceilings_minor.deposit.day: Expected `object`, got `int`"),
        ("limit_ceilings_minor.deposit.day.EURO = 1", "limit_ceilings_minor.deposit.day.EURO: unknown currency EURO"),
        (
            "licences.br_spa.due_diligence_thresholds_minor.X = 0",
            "licences.br_spa.due_diligence_thresholds_minor.X: unk",
        ),
        ("licences.se_sga.minimum_age_years = 20", "licences.se_sga: tenant.toml does not list this pack"),
        ("licences.br_spa.minimum_age = 20", "licences.br_spa.minimum_age: is not a key here"),
        (
            "licences.br_spa.licences.mt_mga.minimum_age_years = 20",
            "licences.br_spa.licences.mt_mga.minimum_age_years: is",
        ),
        ("retention_years.game_records = 'ever'", "retention_years.game_records: Invalid enum value 'ever'"),
        ("reality_check_minutes = 0", "reality_check_minutes: Expected `int` >= 1"),
    ],
)
def test_what_is_not_the_schema_is_refused_with_its_key(text: str, fault: str) -> None:
    (told,) = check(text)
    assert told.startswith(f"{FILE}: {fault}"), told


def test_the_day_is_the_licences_own() -> None:
    # On this day Brazil's law was read; at 01:30 UTC it is the day before there, and the default still stands.
    at_night = datetime(2026, 11, 20, 1, 30, tzinfo=UTC)
    brazil = {"br_spa": PACKS["br_spa"]}
    allowed = tomllib.loads("bonus_allowed = true")
    assert check_policy(allowed, brazil, moment=at_night, file=FILE)[1] == []
    assert len(check_policy(allowed, brazil, moment=at_night.replace(hour=3), file=FILE)[1]) == 1


def test_a_licences_table_applies_to_its_players_alone() -> None:
    policy, problems = check_policy(
        tomllib.loads("minimum_age_years = 19\nlicences.br_spa.minimum_age_years = 21"),
        PACKS,
        moment=MOMENT,
        file=FILE,
    )
    assert policy is not None
    assert not problems
    ages = {slug: resolve_policy(policy, PACKS[slug].pack, MOMENT.date()).minimum_age_years for slug in PACKS}
    assert ages == {"mt_mga": 19, "br_spa": 21}


def test_a_tenants_longer_retention_keeps_the_laws_start() -> None:
    law = state(RetentionFigure, record=RecordClass.AML_RECORDS, value=5, counts_from=CountsFrom.ACCOUNT_CLOSED)
    pack = with_statements(PACKS["mt_mga"].pack, "retention", retention_years=[law])
    packs = {"mt_mga": msgspec.structs.replace(PACKS["mt_mga"], pack=pack)}
    policy, _ = check_policy({"retention_years": {"aml_records": 10}}, packs, moment=MOMENT, file=FILE)
    assert policy is not None
    kept = resolve_policy(policy, pack, MOMENT.date()).retention[RecordClass.AML_RECORDS]
    assert (kept.years, kept.counts_from) == (10, CountsFrom.ACCOUNT_CLOSED)


def test_the_licence_is_never_guessed() -> None:
    assert choose_licence({}, None) == ""
    assert choose_licence({"mt_mga": 1}, None) == "mt_mga"
    assert choose_licence({"mt_mga": 1, "br_spa": 1}, "br_spa") == "br_spa"
    for packs, licence in (({"mt_mga": 1, "br_spa": 1}, None), ({"mt_mga": 1}, "br_spa"), ({}, "mt_mga")):
        with pytest.raises(LicenceUnknown):
            choose_licence(packs, licence)
