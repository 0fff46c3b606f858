"""Each figure is merged to what both sides permit, held against an oracle that knows nothing of the merge."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories.packs import FIRST_DAY, load, state, with_statements

from pitboss.policy.contracts import Retention, Speaker
from pitboss.policy.rules import KINDS, compose_policy, resolve_figures
from pitboss.policy.rules.merge import FOR_EVER, KEYED
from pitboss_sdk.jurisdiction import (
    Ceiling,
    CountsFrom,
    ExclusionTerm,
    Figure,
    IdentityMoment,
    LimitKind,
    LimitPeriod,
    Mark,
    RecordClass,
    RegisterMoment,
    RetentionFigure,
    Threshold,
)

TODAY = date(2026, 11, 21)
MALTA, BRAZIL = load("mt_mga").pack, load("br_spa").pack
NUMBERS = range(8)
AT_LEAST = {
    "minimum_age_years",
    "limit_increase_wait_hours",
    "exclusion_minimum_months",
    "exclusion_lift_wait_hours",
}
SETS: dict[str, Any] = {
    "mandatory_limits": LimitKind,
    "exclusion_terms": ExclusionTerm,
    "register_checks": RegisterMoment,
}
SWITCHES = {"exclusion_early_end_allowed", "bonus_allowed", "real_money_spent_first"}
MOMENTS = list(IdentityMoment)
STARTS = list(CountsFrom)


def values_of(name: str) -> st.SearchStrategy[Any]:
    """Return values of a figure that are small enough to try every action against."""
    if name in SETS:
        return st.frozensets(st.sampled_from(list(SETS[name])))
    if name in SWITCHES:
        return st.booleans()
    if name == "identity_before":
        return st.sampled_from(MOMENTS)
    if name == "retention_years":
        return st.builds(Retention, st.one_of(st.none(), st.sampled_from(NUMBERS)), st.sampled_from(STARTS))
    numbers = st.sampled_from(NUMBERS)
    return numbers if name in AT_LEAST else st.one_of(st.none(), numbers)


def actions_of(name: str) -> list[Any]:
    """Return everything that a player or the platform may try under a figure."""
    if name in SETS:
        members = list(SETS[name])
        return [frozenset(m for i, m in enumerate(members) if bits >> i & 1) for bits in range(1 << len(members))]
    if name in SWITCHES:
        return [False, True]
    if name == "identity_before":
        return MOMENTS
    if name == "retention_years":
        return [(years, start) for years in (*NUMBERS, len(NUMBERS)) for start in STARTS]
    return [*NUMBERS, len(NUMBERS)]  # one that every bound excludes


def permits(name: str, value: Any, action: Any) -> bool:
    """Return whether a figure with this value lets the action happen."""
    if name in SETS:  # what is in place, of what must be
        return all(member in action for member in value)
    if name in SWITCHES:
        return bool(value) or not action
    if name == "identity_before":  # verified no later than this
        return MOMENTS.index(action) <= MOMENTS.index(value)
    if name == "retention_years":  # purged this many years after this start
        if value.years is None:
            return False
        return action[0] >= value.years and STARTS.index(action[1]) >= STARTS.index(value.counts_from)
    if name in AT_LEAST:
        return action >= value
    return value is None or action <= value


def permitted(name: str, value: Any) -> set[Any]:
    return {action for action in actions_of(name) if permits(name, value, action)}


@pytest.mark.parametrize("name", sorted(KINDS))
@given(data=st.data())
def test_a_join_permits_what_both_permit_and_nothing_else(name: str, data: st.DataObject) -> None:
    one, other = data.draw(values_of(name)), data.draw(values_of(name))
    joined = KINDS[name].join(one, other)
    assert permitted(name, joined) == permitted(name, one) & permitted(name, other)


@pytest.mark.parametrize("name", sorted(KINDS))
@given(data=st.data())
def test_a_join_knows_no_order_and_no_number_of_times(name: str, data: st.DataObject) -> None:
    join = KINDS[name].join
    a, b, c = (data.draw(values_of(name)) for _ in range(3))
    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c))
    assert join(a, a) == a
    assert join(join(a, b), b) == join(a, b)


@pytest.mark.parametrize("name", sorted(set(KINDS) - set(SETS) - {"retention_years"}))
@given(data=st.data())
def test_looser_is_what_permits_something_more(name: str, data: st.DataObject) -> None:
    one, other = data.draw(values_of(name)), data.draw(values_of(name))
    assert KINDS[name].is_looser(one, other) == bool(permitted(name, one) - permitted(name, other))


@pytest.mark.parametrize("name", sorted(SETS))
@given(data=st.data())
def test_a_set_is_added_to_and_so_never_looser(name: str, data: st.DataObject) -> None:
    one, other = data.draw(values_of(name)), data.draw(values_of(name))
    assert not KINDS[name].is_looser(one, other)
    assert KINDS[name].join(one, other) == one | other


@given(years=st.one_of(st.none(), st.sampled_from(NUMBERS)), other=values_of("retention_years"))
def test_a_tenants_retention_is_looser_when_it_names_fewer_years(years: int | None, other: Retention) -> None:
    # A tenant names years alone; from when they count it leaves to the law.
    same_start = Retention(years, other.counts_from)
    more = permitted("retention_years", same_start) - permitted("retention_years", other)
    shorter = years is not None and (other.years is None or years < other.years)
    assert KINDS["retention_years"].is_looser(Retention(years, CountsFrom.CREATION), other) == shorter
    assert bool(more) == shorter


def test_the_platforms_defaults_are_strict() -> None:
    figures = resolve_figures(None, [], TODAY)
    policy = compose_policy(None, figures, TODAY)
    assert policy.minimum_age_years == 18
    assert policy.limit_increase_wait == timedelta(hours=24)
    assert policy.time_zone == "UTC"
    assert policy.retention == dict.fromkeys(RecordClass, FOR_EVER)
    assert policy.exclusion_early_end_allowed is False
    assert policy.get_due_diligence_threshold_minor("EUR") == 0
    assert policy.find_limit_ceiling_minor(LimitKind.DEPOSIT, LimitPeriod.DAY, "EUR") is None
    assert {claim.mark for figure in figures.values() for claim in figure.claims} == {"platform default"}


def statement_of(name: str, value: Any, mark: Mark) -> tuple[str, str, Any]:
    """Return file, name with key and statement of a pack that says `value` of a figure."""
    file = (
        "retention"
        if name == "retention_years"
        else "checks"
        if name.startswith(("identity", "due", "register", "subject"))
        else "limits"
    )
    if name == "retention_years":
        figure = state(
            RetentionFigure,
            mark=mark,
            record=RecordClass.GAME_RECORDS,
            value=value.years,
            counts_from=value.counts_from,
        )
    elif name == "limit_ceilings_minor":
        figure = state(Ceiling, mark=mark, kind=LimitKind.LOSS, period=LimitPeriod.DAY, currency="EUR", value=value)
    elif name == "due_diligence_thresholds_minor":
        figure = state(Threshold, mark=mark, currency="EUR", value=value)
    else:
        figure = state(Figure, mark=mark, value=value)
    return file, f"{name}.{figure.key}" if figure.key else name, figure


def is_statable(value: Any) -> bool:
    """Return whether a pack can say it: no bound and for ever are said by saying nothing."""
    return value is not None and not (isinstance(value, Retention) and value.years is None)


@pytest.mark.parametrize("name", sorted(KINDS))
@given(data=st.data())
def test_what_applies_is_never_looser_than_pack_or_tenant(name: str, data: st.DataObject) -> None:
    value = data.draw(values_of(name).filter(is_statable))
    tenant = data.draw(values_of(name))
    file, full, figure = statement_of(name, value, Mark.VERIFIED)
    pack = with_statements(MALTA, file, **{name: [figure]})
    resolved = resolve_figures(pack, [("policy.toml", {full: tenant})], TODAY)[full]
    assert permitted(name, resolved.value) == permitted(name, value) & permitted(name, tenant)
    assert {claim.speaker for claim in resolved.claims} == {Speaker.PACK, Speaker.TENANT}
    assert [claim.speaker for claim in resolved.replaced] == [Speaker.PLATFORM]


@pytest.mark.parametrize("name", sorted(KINDS))
@given(data=st.data())
def test_an_unverified_figure_never_loosens_the_platforms_default(name: str, data: st.DataObject) -> None:
    value = data.draw(values_of(name).filter(is_statable))
    file, full, figure = statement_of(name, value, Mark.UNVERIFIED)
    pack = with_statements(MALTA, file, **{name: [figure]})
    resolved = resolve_figures(pack, [], TODAY)[full]
    default = KINDS[name].default
    assert permitted(name, resolved.value) == permitted(name, default) & permitted(name, value)
    assert not resolved.replaced
    # It is shown, whether it decides or not.
    assert "unverified" in {claim.mark for claim in (*resolved.deciding, *resolved.beaten)}


@pytest.mark.parametrize(
    ("name", "value", "applies"),
    [
        ("minimum_age_years", 16, 18),
        ("limit_increase_wait_hours", 1, 24),
        ("exclusion_early_end_allowed", True, False),
        ("retention_years", Retention(5, CountsFrom.CREATION), FOR_EVER),
    ],
)
def test_a_verified_figure_stands_in_place_of_the_default(name: str, value: Any, applies: Any) -> None:
    for mark, expected in ((Mark.VERIFIED, value), (Mark.UNVERIFIED, applies)):
        file, full, figure = statement_of(name, value, mark)
        pack = with_statements(MALTA, file, **{name: [figure]})
        assert resolve_figures(pack, [], TODAY)[full].value == expected


def test_a_figure_applies_from_its_first_to_its_last_day() -> None:
    old = state(Figure, value=19)
    pack = with_statements(
        MALTA,
        "limits",
        minimum_age_years=[
            type(old)(
                since=date(2024, 2, 29),
                until=date(2027, 2, 28),
                source=old.source,
                see=old.see,
                checked_on=FIRST_DAY,
                mark=Mark.VERIFIED,
                value=19,
            ),
            state(Figure, value=21, since=date(2028, 2, 29)),
        ],
    )
    ages = {
        day: resolve_figures(pack, [], day)["minimum_age_years"].value
        for day in (
            date(2024, 2, 28),
            date(2024, 2, 29),
            date(2024, 3, 1),
            date(2027, 2, 27),
            date(2027, 2, 28),
            date(2027, 3, 1),
            date(2028, 2, 28),
            date(2028, 2, 29),
            date(2028, 3, 1),
        )
    }
    assert list(ages.values()) == [18, 19, 19, 19, 19, 18, 18, 21, 21]


def test_keyed_figures_do_not_touch_one_another() -> None:
    statements = [
        state(Ceiling, kind=LimitKind.DEPOSIT, period=LimitPeriod.DAY, currency="EUR", value=60_000),
        state(Ceiling, kind=LimitKind.DEPOSIT, period=LimitPeriod.WEEK, currency="EUR", value=150_000),
    ]
    pack = with_statements(MALTA, "limits", limit_ceilings_minor=statements)
    tenant = {"limit_ceilings_minor.deposit.day.EUR": 50_000, "limit_ceilings_minor.deposit.day.SEK": 7}
    policy = compose_policy(pack, resolve_figures(pack, [("policy.toml", tenant)], TODAY), TODAY)
    assert policy.limit_ceilings_minor == {
        (LimitKind.DEPOSIT, LimitPeriod.DAY, "EUR"): 50_000,
        (LimitKind.DEPOSIT, LimitPeriod.WEEK, "EUR"): 150_000,
        (LimitKind.DEPOSIT, LimitPeriod.DAY, "SEK"): 7,
    }
    assert {name.partition(".")[0] for name in policy.figures if "." in name} <= KEYED


@pytest.mark.parametrize(
    ("day", "bonus", "limits"),
    [
        (date(2026, 11, 19), True, frozenset[LimitKind]()),
        (date(2026, 11, 20), False, frozenset({LimitKind.LOSS, LimitKind.SESSION_TIME})),
        (date(2026, 11, 21), False, frozenset({LimitKind.LOSS, LimitKind.SESSION_TIME})),
    ],
)
def test_brazil_around_the_day_on_which_its_law_was_read(day: date, bonus: bool, limits: frozenset[LimitKind]) -> None:
    policy = compose_policy(BRAZIL, resolve_figures(BRAZIL, [], day), day)
    assert (policy.bonus_allowed, policy.mandatory_limits) == (bonus, limits)
    assert policy.time_zone == "America/Sao_Paulo"


@pytest.mark.parametrize("day", [date(2026, 11, 19), date(2026, 11, 20), date(2026, 11, 21)])
def test_malta_is_told_second_hand_alone_so_the_defaults_apply(day: date) -> None:
    with_pack = {name: each.value for name, each in resolve_figures(MALTA, [], day).items()}
    without = {name: each.value for name, each in resolve_figures(None, [], day).items()}
    assert {name: value for name, value in with_pack.items() if name in without} == without
    assert set(with_pack) - set(without) <= {"due_diligence_thresholds_minor.EUR"}
