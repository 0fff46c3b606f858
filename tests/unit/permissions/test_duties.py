"""The roles of a release, what a set of roles may get wrong, and what a change gives or takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pitboss.cli.permission import permission as group
from pitboss.permissions.contracts import (
    EVERYWHERE,
    PERMISSIONS,
    Action,
    ActorRole,
    DutyRule,
    Effect,
    Family,
    Grant,
    Risk,
    Role,
    Scope,
    Strength,
)
from pitboss.permissions.errors import InvalidRole, UnknownPermission
from pitboss.permissions.rules import BUILT_IN, DUTY_RULES, TEMPLATES, compare_roles, find_faults, held_permissions
from pitboss.permissions.service import list_holders, list_roles, read_roles

APPROVER = """
[[role]]
key = "desk"
family = "aml_compliance"
template = "aml_compliance.records_approver"
[[role.grant]]
permissions = ["retention.plan.view", "retention.plan.approve"]
scope = { brands = ["aurora"], min_acr = 2 }
"""


def make(*grants: Grant, family: Family = Family.PAYMENTS) -> dict[str, Role]:
    return {"desk": Role("desk", family, grants)}


def test_templates_of_staff_have_no_fault() -> None:
    assert find_faults(TEMPLATES, PERMISSIONS, DUTY_RULES) == [], "a new permission of people belongs into a template"


def test_templates_are_sealed_roles_of_their_families() -> None:
    assert len(TEMPLATES) >= 45
    assert {role.family for role in TEMPLATES.values()} == set(Family) - {Family.BUILT_IN, Family.AFFILIATES}
    for key, role in TEMPLATES.items():
        assert role.sealed
        assert key.startswith(f"{role.family.value}.")
        assert held_permissions(role)


def test_staff_sign_in_as_surely_as_a_misuse_would_harm() -> None:
    for role in TEMPLATES.values():
        for grant in role.grants:
            risk = PERMISSIONS[grant.permission].risk
            wanted = {Risk.HIGH: Strength.SECOND_FACTOR, Risk.CRITICAL: Strength.PHISHING_RESISTANT}.get(risk, 0)
            assert grant.scope.min_acr >= wanted, f"{role.key}: {grant.permission}"
            assert risk is not Risk.CRITICAL or grant.scope.max_auth_age_seconds is not None


def test_only_people_hold_templates() -> None:
    technical = {ActorRole.VISITOR, ActorRole.PLAYER, ActorRole.PROVIDER, ActorRole.SERVICE}
    for role in TEMPLATES.values():
        for key in held_permissions(role):
            assert PERMISSIONS[key].roles - technical, f"{role.key}: {key} is no work of people"


def test_built_in_roles_hold_what_the_registry_says_and_nothing_else() -> None:
    for actor in ActorRole:
        role = BUILT_IN[actor.value]
        assert role.sealed
        assert held_permissions(role) == {key for key, each in PERMISSIONS.items() if actor in each.roles}
        assert {grant.scope for grant in role.grants} <= {EVERYWHERE}


def test_rules_of_duty_name_permissions_that_are_there() -> None:
    for rule in DUTY_RULES:
        assert rule.first
        assert rule.second
        assert rule.first | rule.second <= set(PERMISSIONS)
        assert not rule.first & rule.second


@pytest.mark.parametrize("rule", DUTY_RULES, ids=lambda rule: rule.key)
def test_a_role_with_both_duties_is_found(rule: DutyRule) -> None:
    both = make(Grant(min(rule.first)), Grant(min(rule.second)))
    assert [each.kind for each in find_faults(both, {}, DUTY_RULES)][:1] == ["duties"]
    assert find_faults(make(Grant(min(rule.first))), {}, DUTY_RULES) == []
    barred = make(Grant(min(rule.first)), Grant(min(rule.second)), Grant(min(rule.second), Effect.DENY))
    assert find_faults(barred, {}, DUTY_RULES) == []
    narrowly = Grant(min(rule.second), Effect.DENY, Scope(brands=frozenset({"aurora"})))
    assert find_faults(make(*both["desk"].grants, narrowly), {}, DUTY_RULES) != []


def test_a_role_that_approves_what_it_makes_is_found() -> None:
    both = make(Grant("captures.finding.edit"), Grant("captures.finding.approve"))
    assert [(each.kind, each.detail) for each in find_faults(both, {}, ())] == [("approves_own", "captures.finding")]


def test_a_regulator_who_writes_is_found() -> None:
    roles = make(Grant("games.game.edit"), Grant("audit.event.view"), family=Family.REGULATOR)
    assert [(each.kind, each.detail) for each in find_faults(roles, {}, ())] == [
        ("regulator_writes", "games.game.edit")
    ]


def test_a_permission_that_nobody_holds_is_found() -> None:
    key = "retention.plan.approve"
    without = {
        name: Role(name, role.family, tuple(grant for grant in role.grants if grant.permission != key))
        for name, role in TEMPLATES.items()
    }
    assert [(each.kind, each.detail) for each in find_faults(without, PERMISSIONS, DUTY_RULES)] == [
        ("nobody_holds", key)
    ]


def test_who_reaches_a_permission() -> None:
    holders = {role.key for role, _ in list_holders(list_roles(), "retention.plan.approve")}
    assert holders == {"deployment", "aml_compliance.records_approver"}
    with pytest.raises(UnknownPermission):
        list_holders(list_roles(), "retention.plan.destroy")


NARROW = Scope(brands=frozenset({"aurora"}))
VIEW = "retention.plan.view"


@pytest.mark.parametrize(
    ("before", "after", "gives", "takes"),
    [
        ((), (Grant(VIEW),), True, False),
        ((Grant(VIEW),), (), False, True),
        ((Grant(VIEW, scope=NARROW),), (Grant(VIEW),), True, False),
        ((Grant(VIEW),), (Grant(VIEW, scope=NARROW),), False, True),
        ((Grant(VIEW, scope=NARROW),), (Grant(VIEW, scope=Scope(markets=frozenset({"fi"}))),), True, True),
        ((Grant(VIEW), Grant(VIEW, Effect.DENY)), (Grant(VIEW),), True, False),
        ((Grant(VIEW),), (Grant(VIEW), Grant(VIEW, Effect.DENY)), False, True),
        ((Grant(VIEW, Effect.DENY),), (Grant(VIEW, Effect.DENY, NARROW),), True, False),
    ],
)
def test_a_change_gives_or_takes(before: tuple[Grant, ...], after: tuple[Grant, ...], gives: bool, takes: bool) -> None:
    (difference,) = compare_roles(make(*before), make(*after))
    assert (difference.gives, difference.takes) == (gives, takes)
    assert compare_roles(make(*before), make(*before)) == []


def test_role_files_are_read_strictly() -> None:
    (role,) = read_roles(APPROVER).values()
    assert role.grants[0] == Grant("retention.plan.approve", scope=Scope(brands=frozenset({"aurora"}), min_acr=2))
    assert not role.sealed
    for wrong, right in (
        ("brands", "brand"),
        ('"aml_compliance"\n', '"built_in"\n'),
        ('"desk"', '"operator"'),
        ('"desk"', '"kyc.lead"'),
        ("records_approver", "nobody"),
        ("min_acr = 2", "min_acr = 9"),
        ("[[role]]", "[role"),
    ):
        with pytest.raises(InvalidRole):
            read_roles(APPROVER.replace(wrong, right))
    with pytest.raises(InvalidRole):
        read_roles(APPROVER * 2)
    with pytest.raises(UnknownPermission):
        read_roles(APPROVER.replace("plan.view", "plan.*"))


def test_the_commands_tell_who_what_and_what_changes(tmp_path: Path) -> None:
    before, after = tmp_path / "before.toml", tmp_path / "after.toml"
    before.write_text(APPROVER)
    after.write_text(
        APPROVER.replace('view"', f'view", "retention.plan.{Action.EDIT}"').replace('"aurora"', '"b", "aurora"')
    )
    run = CliRunner().invoke

    same = run(group, ["diff", str(before), str(before)])
    assert (same.exit_code, same.output) == (0, "nothing is given or taken\n")

    changed = run(group, ["diff", str(before), str(after)])
    assert changed.exit_code == 1
    assert "+ desk: retention.plan.edit (high)" in changed.output
    assert "    was retention.plan.approve (brands aurora; second-factor)" in changed.output
    assert "    now retention.plan.approve (brands aurora, b; second-factor)" in changed.output
    assert "! desk: duties: destruction" in changed.output
    assert "! desk: approves own: retention.plan" in changed.output
    assert "nobody holds" not in changed.output

    back = run(group, ["diff", str(after), str(before)])
    assert back.exit_code == 0
    assert "- desk: retention.plan.edit (high)" in back.output

    who = run(group, ["who", "retention.plan.approve", "--file", str(before)])
    assert who.exit_code == 0
    assert who.output.splitlines()[0::2] == ["deployment v1", "aml_compliance.records_approver v1", "desk v1"]

    matrix = run(group, ["matrix", "--family", "regulator"])
    assert matrix.exit_code == 0
    assert "regulator.inspector v1\n  audit.event.view\n" in matrix.output
    assert "operator" not in matrix.output
