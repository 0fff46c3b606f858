"""The permission check."""

from __future__ import annotations

import os
import pwd
import re

import pytest

from pitboss.kernel.scope import Actor, ActorKind
from pitboss.permissions.contracts import PERMISSIONS, VISITOR, Action, ActorRole, find_role
from pitboss.permissions.errors import Forbidden, UnknownPermission
from pitboss.permissions.service import deployment_actor, deployment_command, find_permission, require

ACTORS = {
    ActorRole.VISITOR: VISITOR,
    ActorRole.PLAYER: Actor(ActorKind.PLAYER, "018f0000-0000-7000-8000-000000000001"),
    ActorRole.OPERATOR: Actor(ActorKind.OPERATOR, "token"),
    ActorRole.PROVIDER: Actor(ActorKind.PROVIDER, "softswiss"),
    ActorRole.SERVICE: Actor(ActorKind.SERVICE, "accounts.prune"),
    ActorRole.DEPLOYMENT: Actor(ActorKind.DEPLOYMENT, "deploy"),
}


@pytest.mark.parametrize("role", list(ActorRole))
@pytest.mark.parametrize("key", sorted(PERMISSIONS))
def test_exactly_the_roles_of_a_permission_pass(role: ActorRole, key: str) -> None:
    assert find_role(ACTORS[role]) is role
    if role in PERMISSIONS[key].roles:
        require(ACTORS[role], key)
    else:
        with pytest.raises(Forbidden):
            require(ACTORS[role], key)


def test_a_permission_that_nobody_registered_is_a_bug_and_not_a_pass() -> None:
    with pytest.raises(UnknownPermission):
        require(ACTORS[ActorRole.DEPLOYMENT], "accounts.player.destroy")
    with pytest.raises(UnknownPermission):
        deployment_command("accounts.player.destroy")


def test_keys_are_room_noun_action() -> None:
    for key, permission in PERMISSIONS.items():
        assert re.fullmatch(r"[a-z]+\.[a-z_]+\.[a-z]+", key), key
        assert permission.action in Action
        assert permission.roles, key


def test_money_by_hand_is_for_operators_and_the_machine_alone() -> None:
    assert PERMISSIONS["wallet.credit.edit"].roles == {ActorRole.OPERATOR, ActorRole.DEPLOYMENT}


def test_a_command_checks_on_each_run_and_can_be_asked_what_it_needs() -> None:
    @deployment_command("tenancy.tenant.configure")
    def allowed(number: int) -> int:
        return number + 1

    @deployment_command("accounts.own_account.delete")
    def not_for_machines() -> None:
        raise AssertionError("ran without permission")

    assert allowed(1) == 2
    assert find_permission(allowed) == "tenancy.tenant.configure"
    with pytest.raises(Forbidden):
        not_for_machines()
    assert find_permission(test_keys_are_room_noun_action) is None


def test_the_actor_of_a_command_is_the_user_of_the_process() -> None:
    assert deployment_actor() == Actor(ActorKind.DEPLOYMENT, pwd.getpwuid(os.getuid()).pw_name)
