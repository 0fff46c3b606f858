"""How grants are compiled, how a request is decided, and what a scope may say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from pitboss.permissions.contracts import (
    EVERYWHERE,
    NOTHING_KNOWN,
    Assignment,
    Context,
    Decision,
    Effect,
    Family,
    Grant,
    Outcome,
    Reason,
    Resource,
    Role,
    Scope,
    Source,
    Strength,
    Window,
)
from pitboss.permissions.errors import InvalidAssignment, InvalidRole, UnknownPermission
from pitboss.permissions.rules import check_assignment, check_role, compile_grants, covers, decide

KEY = "payments.withdrawal.approve"
KNOWN = frozenset({KEY, "payments.withdrawal.view"})
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)  # a Friday
ALL_KNOWN = Resource(
    locality="eu", brand="aurora", jurisdiction="mt", segment="vip", market="fi", owner="ann", amount_minor=500,
    currency="EUR",
)  # fmt: skip
SURE = Context("ann", NOON, Strength.PHISHING_RESISTANT, NOON, ip_address("10.1.2.3"))
EVERY_DIMENSION: dict[str, Scope] = {
    "localities": Scope(localities=frozenset({"eu"})),
    "brands": Scope(brands=frozenset({"aurora"})),
    "jurisdictions": Scope(jurisdictions=frozenset({"mt"})),
    "segments": Scope(segments=frozenset({"vip"})),
    "markets": Scope(markets=frozenset({"fi"})),
    "own_only": Scope(own_only=True),
    "amount": Scope(max_amount_minor=500, currency="EUR"),
    "window": Scope(window=Window("UTC", frozenset({5}), 720, 721)),
    "networks": Scope(networks=frozenset({"10.0.0.0/8"})),
    "min_acr": Scope(min_acr=Strength.SECOND_FACTOR),
    "max_auth_age": Scope(max_auth_age_seconds=300),
}
OF_A_DENY = [name for name in EVERY_DIMENSION if name not in {"amount", "min_acr", "max_auth_age"}]
UNKNOWN: dict[str, tuple[Resource, Context]] = {
    "localities": (msgspec.structs.replace(ALL_KNOWN, locality=None), SURE),
    "brands": (msgspec.structs.replace(ALL_KNOWN, brand=None), SURE),
    "jurisdictions": (msgspec.structs.replace(ALL_KNOWN, jurisdiction=None), SURE),
    "segments": (msgspec.structs.replace(ALL_KNOWN, segment=None), SURE),
    "markets": (msgspec.structs.replace(ALL_KNOWN, market=None), SURE),
    "own_only": (msgspec.structs.replace(ALL_KNOWN, owner=None), SURE),
    "amount": (msgspec.structs.replace(ALL_KNOWN, amount_minor=None), SURE),
    "window": (ALL_KNOWN, msgspec.structs.replace(SURE, db_now=None)),
    "networks": (ALL_KNOWN, msgspec.structs.replace(SURE, network=None)),
    "min_acr": (ALL_KNOWN, msgspec.structs.replace(SURE, acr=None)),
    "max_auth_age": (ALL_KNOWN, msgspec.structs.replace(SURE, auth_time=None)),
}
OUTSIDE: dict[str, tuple[Resource, Context]] = {
    "localities": (msgspec.structs.replace(ALL_KNOWN, locality="br"), SURE),
    "brands": (msgspec.structs.replace(ALL_KNOWN, brand="Aurora"), SURE),
    "jurisdictions": (msgspec.structs.replace(ALL_KNOWN, jurisdiction=""), SURE),
    "segments": (msgspec.structs.replace(ALL_KNOWN, segment="vip%"), SURE),
    "markets": (msgspec.structs.replace(ALL_KNOWN, market="f_"), SURE),
    "own_only": (msgspec.structs.replace(ALL_KNOWN, owner="bob"), SURE),
    "amount": (msgspec.structs.replace(ALL_KNOWN, amount_minor=501), SURE),
    "window": (ALL_KNOWN, msgspec.structs.replace(SURE, db_now=NOON + timedelta(minutes=1))),
    "networks": (ALL_KNOWN, msgspec.structs.replace(SURE, network=ip_address("192.168.0.1"))),
    "min_acr": (ALL_KNOWN, msgspec.structs.replace(SURE, acr=Strength.PASSWORD)),
    "max_auth_age": (ALL_KNOWN, msgspec.structs.replace(SURE, auth_time=NOON - timedelta(seconds=301))),
}


def allow(scope: Scope = EVERYWHERE) -> Grant:
    return Grant(KEY, scope=scope)


def deny(scope: Scope = EVERYWHERE) -> Grant:
    return Grant(KEY, Effect.DENY, scope)


def ask(
    *grants: Grant,
    resource: Resource = ALL_KNOWN,
    context: Context = SURE,
    assignment: Assignment | None = None,
    session: Scope = EVERYWHERE,
) -> Decision:
    roles = {"agent": Role("agent", Family.PAYMENTS, grants)}
    return decide(compile_grants(KNOWN, roles, [assignment or Assignment("agent")], session), KEY, resource, context)


@pytest.mark.parametrize("name", EVERY_DIMENSION)
def test_an_allow_reaches_what_is_within_and_nothing_that_is_outside_or_unknown(name: str) -> None:
    scope = EVERY_DIMENSION[name]
    assert ask(allow(scope)).outcome is Outcome.ALLOW
    for resource, context in (OUTSIDE[name], UNKNOWN[name]):
        assert ask(allow(scope), resource=resource, context=context).outcome is not Outcome.ALLOW


@pytest.mark.parametrize("name", OF_A_DENY)
def test_a_deny_wins_within_and_where_it_is_unknown(name: str) -> None:
    grants = (allow(), deny(EVERY_DIMENSION[name]))
    resource, context = OUTSIDE[name]
    assert ask(*grants, resource=resource, context=context).outcome is Outcome.ALLOW
    for resource, context in ((ALL_KNOWN, SURE), UNKNOWN[name]):
        decision = ask(*grants, resource=resource, context=context)
        assert decision == Decision(Outcome.DENY, Reason.DENIED, ("agent.v1#1",), frozenset())


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_deny_wins_in_whatever_order_grants_stand(order: tuple[int, int]) -> None:
    grants = (allow(), deny(Scope(brands=frozenset({"aurora"}))))
    assert ask(*(grants[index] for index in order)).reason is Reason.DENIED


@pytest.mark.parametrize("name", EVERY_DIMENSION)
def test_assignments_and_sessions_narrow_what_a_role_allows(name: str) -> None:
    scope = EVERY_DIMENSION[name]
    resource, context = OUTSIDE[name]
    asked: dict[str, Any] = {"resource": resource, "context": context}
    assert ask(allow(), **asked).outcome is Outcome.ALLOW
    assert ask(allow(), assignment=Assignment("agent", scope), **asked).outcome is not Outcome.ALLOW
    assert ask(allow(), session=scope, **asked).outcome is not Outcome.ALLOW


def test_what_narrows_an_assignment_leaves_what_is_denied() -> None:
    elsewhere = Scope(brands=frozenset({"borealis"}))
    assert ask(deny(), assignment=Assignment("agent", elsewhere), session=elsewhere).reason is Reason.DENIED


def test_sets_that_narrow_one_another_leave_what_both_name() -> None:
    both = Scope(brands=frozenset({"aurora", "borealis"}))
    one, other = Scope(brands=frozenset({"aurora"})), Scope(brands=frozenset({"borealis"}))
    assert ask(allow(both), session=one).outcome is Outcome.ALLOW
    assert ask(allow(one), session=other).outcome is Outcome.DENY


def test_caps_in_two_currencies_leave_nothing() -> None:
    euro, real = (Scope(max_amount_minor=1000, currency=currency) for currency in ("EUR", "BRL"))
    assert ask(allow(euro), session=real).outcome is Outcome.DENY


def test_an_amount_below_zero_is_within_no_cap() -> None:
    resource = msgspec.structs.replace(ALL_KNOWN, amount_minor=-1)
    assert ask(allow(EVERY_DIMENSION["amount"]), resource=resource).outcome is Outcome.DENY


def test_default_is_deny_and_what_nobody_registered_is_denied() -> None:
    assert ask().reason is Reason.NO_GRANT
    table = compile_grants(KNOWN, {"agent": Role("agent", Family.PAYMENTS, (allow(),))}, [Assignment("agent")])
    assert decide(table, "payments.withdrawal.view", ALL_KNOWN, SURE).reason is Reason.NO_GRANT
    gone = compile_grants({"payments.withdrawal.view"}, {"agent": Role("agent", Family.PAYMENTS, (allow(),))},
                          [Assignment("agent")])  # fmt: skip
    assert decide(gone, KEY, ALL_KNOWN, SURE) == Decision(Outcome.DENY, Reason.UNKNOWN_PERMISSION)
    assert ask(allow(), assignment=Assignment("a_role_that_is_gone")).reason is Reason.NO_GRANT


def test_an_assignment_begins_and_ends_by_the_clock_that_is_given() -> None:
    assignment = Assignment("agent", valid_from=NOON, valid_to=NOON + timedelta(hours=1), source=Source.JIT)

    def at(moment: datetime | None) -> Outcome:
        return ask(allow(), assignment=assignment, context=msgspec.structs.replace(SURE, db_now=moment)).outcome

    assert at(NOON) is at(NOON + timedelta(hours=1, microseconds=-1)) is Outcome.ALLOW
    for moment in (NOON - timedelta(microseconds=1), NOON + timedelta(hours=1), None):
        assert at(moment) is Outcome.DENY


def test_a_deny_ends_with_its_assignment_and_an_unknown_time_keeps_it() -> None:
    roles = {"agent": Role("agent", Family.PAYMENTS, (allow(),)), "barred": Role("barred", Family.PAYMENTS, (deny(),))}
    table = compile_grants(KNOWN, roles, [Assignment("agent"), Assignment("barred", valid_to=NOON)])

    def at(moment: datetime | None) -> Outcome:
        return decide(table, KEY, ALL_KNOWN, msgspec.structs.replace(SURE, db_now=moment)).outcome

    assert at(NOON) is Outcome.ALLOW
    assert at(NOON - timedelta(microseconds=1)) is at(None) is Outcome.DENY


@pytest.mark.parametrize("name", ["min_acr", "max_auth_age"])
def test_who_is_not_known_surely_enough_is_asked_to_sign_in_again(name: str) -> None:
    resource, context = OUTSIDE[name]
    decision = ask(allow(EVERY_DIMENSION[name]), resource=resource, context=context)
    assert decision == Decision(Outcome.NEEDS_STEP_UP, Reason.SIGN_IN_AGAIN, ("agent.v1#0",), frozenset())
    barred = ask(allow(EVERY_DIMENSION[name]), deny(), resource=resource, context=context)
    assert barred.outcome is Outcome.DENY
    elsewhere = msgspec.structs.replace(resource, brand="borealis")
    narrowed = ask(allow(EVERY_DIMENSION[name]), session=EVERY_DIMENSION["brands"], resource=elsewhere, context=context)
    assert narrowed.outcome is Outcome.DENY


def test_at_an_unknown_time_signing_in_again_does_not_help() -> None:
    context = msgspec.structs.replace(SURE, db_now=None)
    assert ask(allow(EVERY_DIMENSION["max_auth_age"]), context=context).outcome is Outcome.DENY


def test_a_sign_in_of_the_future_is_none() -> None:
    context = msgspec.structs.replace(SURE, auth_time=NOON + timedelta(seconds=1))
    assert ask(allow(EVERY_DIMENSION["max_auth_age"]), context=context).outcome is Outcome.NEEDS_STEP_UP


def test_fields_are_those_of_all_grants_that_reach_and_masks_narrow() -> None:
    one, two = (Scope(fields=frozenset(names)) for names in (("email", "name"), ("name", "phone")))
    assert ask(allow()).fields is None
    assert ask(allow(one), allow(two)).fields == {"email", "name", "phone"}
    assert ask(allow(one), session=two).fields == {"name"}
    assert ask(allow(one), allow()).fields is None
    assert ask(deny()).fields == frozenset()


def test_a_window_goes_by_the_wall_clock_of_its_zone() -> None:
    # 2026-03-29: clocks in Malta go from 02:00 to 03:00, at 01:00 UTC.
    scope = Scope(window=Window("Europe/Malta", frozenset({7}), 3 * 60, 4 * 60))

    def at(moment: datetime) -> Outcome:
        return ask(allow(scope), context=msgspec.structs.replace(SURE, db_now=moment)).outcome

    night = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert at(night - timedelta(microseconds=1)) is Outcome.DENY
    assert at(night) is Outcome.ALLOW
    assert at(night + timedelta(hours=1)) is Outcome.DENY
    assert at(night + timedelta(days=1)) is Outcome.DENY


def test_an_ipv4_address_inside_ipv6_is_the_ipv4_address() -> None:
    context = msgspec.structs.replace(SURE, network=ip_address("::ffff:10.1.2.3"))
    assert ask(allow(EVERY_DIMENSION["networks"]), context=context).outcome is Outcome.ALLOW
    assert ask(allow(), deny(EVERY_DIMENSION["networks"]), context=context).outcome is Outcome.DENY


@pytest.mark.parametrize(
    "grant",
    [
        deny(EVERY_DIMENSION["amount"]),
        deny(EVERY_DIMENSION["min_acr"]),
        deny(EVERY_DIMENSION["max_auth_age"]),
        deny(Scope(fields=frozenset({"email"}))),
        allow(Scope(max_amount_minor=5)),
        allow(Scope(currency="EUR")),
        allow(Scope(max_amount_minor=-1, currency="EUR")),
        allow(Scope(max_amount_minor=2**63, currency="EUR")),
        allow(Scope(brands=frozenset({""}))),
        allow(Scope(brands=frozenset({"a\0"}))),
        allow(Scope(brands=frozenset({"\ud800"}))),
        allow(Scope(networks=frozenset({"10.0.0.1/8"}))),
        allow(Scope(networks=frozenset({"everywhere"}))),
        allow(Scope(window=Window("Europe/Nowhere"))),
        allow(Scope(window=Window("../UTC"))),
        allow(Scope(window=Window("UTC", frozenset()))),
        allow(Scope(window=Window("UTC", frozenset({0})))),
        allow(Scope(window=Window("UTC", from_minute=600, to_minute=600))),
        allow(Scope(window=Window("UTC", from_minute=600, to_minute=1441))),
        allow(Scope(min_acr=4)),
        allow(Scope(max_auth_age_seconds=0)),
    ],
)
def test_a_role_that_says_nothing_clear_is_refused_and_decides_nothing(grant: Grant) -> None:
    with pytest.raises(InvalidRole):
        check_role(Role("agent", Family.PAYMENTS, (grant,)), KNOWN)
    with pytest.raises(InvalidRole):
        ask(grant)


@pytest.mark.parametrize("key", ["payments.withdrawal.delete", "*", "payments.*", ""])
def test_a_permission_that_nobody_registered_cannot_be_granted(key: str) -> None:
    with pytest.raises(UnknownPermission):
        check_role(Role("agent", Family.PAYMENTS, (Grant(key),)), KNOWN)


@pytest.mark.parametrize(
    ("source", "lasts"),
    [
        (Source.JIT, timedelta(hours=12, microseconds=1)),
        (Source.BREAK_GLASS, timedelta(hours=1, microseconds=1)),
        (Source.JIT, None),
        (Source.BREAK_GLASS, None),
        (Source.STANDING, timedelta(0)),
        (Source.SCIM, timedelta(seconds=-1)),
    ],
)
def test_a_role_for_too_long_or_no_time_is_refused(source: Source, lasts: timedelta | None) -> None:
    assignment = Assignment(
        "agent", valid_from=NOON, valid_to=NOON + lasts if lasts is not None else None, source=source
    )
    with pytest.raises(InvalidAssignment):
        check_assignment(assignment)
    with pytest.raises(InvalidAssignment):
        ask(allow(), assignment=assignment)
    with pytest.raises(InvalidAssignment):
        check_assignment(Assignment("agent", valid_from=NOON.replace(tzinfo=None)))


@pytest.mark.parametrize("name", EVERY_DIMENSION)
def test_everything_covers_a_scope_and_a_scope_does_not_cover_everything(name: str) -> None:
    scope = EVERY_DIMENSION[name]
    assert covers(EVERYWHERE, scope)
    assert covers(scope, scope)
    assert not covers(scope, EVERYWHERE)


def test_nothing_known_reaches_only_what_is_granted_everywhere() -> None:
    assert ask(allow(), resource=NOTHING_KNOWN, context=Context()).outcome is Outcome.ALLOW
    for scope in EVERY_DIMENSION.values():
        assert ask(allow(scope), resource=NOTHING_KNOWN, context=Context()).outcome is not Outcome.ALLOW
