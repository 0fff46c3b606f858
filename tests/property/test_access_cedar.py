"""Cedar decides beside us: the same roles written as its policies, the same requests, no difference."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address
from typing import Any
from zoneinfo import ZoneInfo

import cedarpy
import msgspec
from tests.factories.figures import merge_figures
from tests.factories.grants import KEYS, ZONES, Dice

from pitboss.permissions.contracts import (
    Assignment,
    Context,
    Effect,
    Grant,
    Outcome,
    Resource,
    Role,
    Scope,
    Strength,
)
from pitboss.permissions.rules import compile_grants, decide

DECISIONS = int(os.environ.pop("PITBOSS_TEST_CEDAR", "1000"))
A_WORLD = 20 if DECISIONS <= 100_000 else 100
ZERO = datetime(1970, 1, 1, tzinfo=UTC)
SETS = {
    "localities": "locality",
    "brands": "brand",
    "jurisdictions": "jurisdiction",
    "segments": "segment",
    "markets": "market",
}


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def listed(values: frozenset[str]) -> str:
    return f"[{', '.join(quoted(each) for each in sorted(values))}]"


def terms_of(scope: Scope) -> list[tuple[str, str]]:
    """Return what a scope says as pairs: what must be known, and what must hold."""
    said: list[tuple[str, str]] = []
    for name, attribute in SETS.items():
        values = getattr(scope, name)
        if values is not None:
            said.append((f"context has {attribute}", f"{listed(values)}.contains(context.{attribute})"))
    if scope.own_only:
        said.append(("context has owner && context has me", "context.owner == context.me"))
    if scope.max_amount_minor is not None:
        bound = f"0 <= context.amount && context.amount <= {scope.max_amount_minor}"
        said.append(("context has amount && context has currency", f"context.currency == {quoted(scope.currency)} && {bound}"))  # fmt: skip
    if scope.window is not None:
        days, zone = sorted(scope.window.weekdays), scope.window.zone.replace("/", "_")
        minute = f"context.minute_{zone}"
        within = f"{scope.window.from_minute} <= {minute} && {minute} < {scope.window.to_minute}"
        said.append(("context has now", f"{days}.contains(context.day_{zone}) && {within}"))
    if scope.networks is not None:
        among = " || ".join(f"context.ip.isInRange(ip({quoted(each)}))" for each in sorted(scope.networks)) or "false"
        said.append(("context has ip", f"({among})"))
    if scope.min_acr:
        said.append(("context has acr", f"context.acr >= {int(scope.min_acr)}"))
    if scope.max_auth_age_seconds is not None:
        age = "context.now - context.signed_in"
        most = scope.max_auth_age_seconds * 1_000_000
        said.append(("context has now && context has signed_in", f"0 <= {age} && {age} <= {most}"))
    return said


def validity_of(assignment: Assignment) -> list[tuple[str, str]]:
    said: list[tuple[str, str]] = []
    if assignment.valid_from is not None:
        said.append(("context has now", f"context.now >= {micros(assignment.valid_from)}"))
    if assignment.valid_to is not None:
        said.append(("context has now", f"context.now < {micros(assignment.valid_to)}"))
    return said


def micros(moment: datetime) -> int:
    return (moment - ZERO) // timedelta(microseconds=1)


def policy_of(grant: Grant, assignment: Assignment, session: Scope) -> str:
    """Return a grant as a policy: what is unknown keeps a permit from holding, and a forbid from not holding."""
    if grant.effect is Effect.ALLOW:
        said = [*terms_of(grant.scope), *terms_of(assignment.scope), *terms_of(session), *validity_of(assignment)]
        body = " && ".join(f"({known}) && ({holds})" for known, holds in said)
    else:
        said = [*terms_of(grant.scope), *validity_of(assignment)]
        body = " && ".join(f"(!({known}) || ({holds}))" for known, holds in said)
    effect = "permit" if grant.effect is Effect.ALLOW else "forbid"
    return f'{effect}(principal, action == Action::"{grant.permission}", resource) when {{ {body or "true"} }};'


def request_of(key: str, resource: Resource, context: Context) -> dict[str, Any]:
    said: dict[str, Any] = {
        "locality": resource.locality,
        "brand": resource.brand,
        "jurisdiction": resource.jurisdiction,
        "segment": resource.segment,
        "market": resource.market,
        "owner": resource.owner,
        "me": context.principal,
        "amount": resource.amount_minor,
        "currency": resource.currency,
        "acr": None if context.acr is None else int(context.acr),
        "signed_in": None if context.auth_time is None else micros(context.auth_time),
    }
    if context.db_now is not None:
        said["now"] = micros(context.db_now)
        for zone in ZONES:
            local = context.db_now.astimezone(ZoneInfo(zone))
            said[f"day_{zone.replace('/', '_')}"] = local.weekday() + 1
            said[f"minute_{zone.replace('/', '_')}"] = local.hour * 60 + local.minute
    if context.network is not None:
        inner = context.network.ipv4_mapped if isinstance(context.network, IPv6Address) else None
        said["ip"] = {"__extn": {"fn": "ip", "arg": str(inner or context.network)}}
    return {
        "principal": {"type": "Staff", "id": "x"},
        "action": {"type": "Action", "id": key},
        "resource": {"type": "Thing", "id": "x"},
        "context": {name: value for name, value in said.items() if value is not None},
    }


def sign_in_again(context: Context) -> Context:
    return msgspec.structs.replace(context, acr=Strength.PHISHING_RESISTANT, auth_time=context.db_now)


def ask_cedar(policies: str, requests: list[dict[str, Any]]) -> list[bool]:
    answers = cedarpy.is_authorized_batch(
        requests, cedarpy.PolicySet.from_str(policies), cedarpy.Entities.from_json_str("[]")
    )
    for answer in answers:
        assert not answer.diagnostics.errors, answer.diagnostics.errors
    return [answer.allowed for answer in answers]


def compare_world(
    roles: dict[str, Role], assignments: list[Assignment], session: Scope, asked: list[tuple[str, Resource, Context]]
) -> tuple[list[str], list[Outcome]]:
    """Return where we and Cedar differ, and what we said."""
    table = compile_grants(KEYS, roles, assignments, session)
    ours = [decide(table, *each).outcome for each in asked]
    policies = "\n".join(
        policy_of(grant, assignment, session)
        for assignment in assignments
        if assignment.role in roles
        for grant in roles[assignment.role].grants
    )
    theirs = ask_cedar(policies, [request_of(*each) for each in asked])
    refused = [index for index, allowed in enumerate(theirs) if not allowed]
    again = [(asked[index][0], asked[index][1], sign_in_again(asked[index][2])) for index in refused]
    raised = dict(
        zip(refused, ask_cedar(policies, [request_of(*each) for each in again]) if again else (), strict=True)
    )
    differences: list[str] = []
    for index, (outcome, allowed) in enumerate(zip(ours, theirs, strict=True)):
        expected = Outcome.ALLOW if allowed else Outcome.NEEDS_STEP_UP if raised[index] else Outcome.DENY
        if outcome is not expected:
            differences.append(f"{expected} by Cedar, {outcome} by us: {asked[index]}")
    return differences, ours


def test_cedar_decides_the_same() -> None:
    differences: list[str] = []
    told: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
    for seed in range(DECISIONS // A_WORLD):
        dice = Dice(seed)
        roles, assignments, session = dice.world()
        asked = [
            (dice.random.choice((*KEYS, "cards.card.delete")), dice.resource(), dice.context()) for _ in range(A_WORLD)
        ]
        found, ours = compare_world(roles, assignments, session, asked)
        differences += [f"seed {seed}: {each}" for each in found]
        for outcome in ours:
            told[outcome] += 1
    merge_figures("access", {"cedar_decisions": sum(told.values()), "cedar_mismatches": len(differences)})
    assert sum(told.values()) >= min(DECISIONS, 1000)
    assert not differences, differences[:5]
    assert min(told.values()) > 0, told
