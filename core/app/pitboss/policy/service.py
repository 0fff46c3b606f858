"""Use cases of the policy: check and apply what a tenant tightens, and tell what applies to a player."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_event
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.plughost.contracts import LoadedPack
from pitboss.policy import rules, store
from pitboss.policy.contracts import AppliedPolicy, EffectivePolicy, TenantPolicy
from pitboss.policy.errors import LicenceUnknown, PackNotLoaded, PolicyMissing
from pitboss.policy.rules import (
    add_months,
    compute_day_start,
    compute_exclusion_end,
    compute_kept_until,
    compute_local_day,
    compute_window,
    describe_value,
)
from pitboss.tenancy.contracts import Problem
from pitboss_sdk.jurisdiction import Pack

__all__ = [
    "add_months",
    "apply_policy",
    "check_policy",
    "choose_licence",
    "compute_day_start",
    "compute_exclusion_end",
    "compute_kept_until",
    "compute_local_day",
    "compute_policy",
    "compute_window",
    "describe_applied",
    "describe_value",
    "find_applied",
    "get_applied",
    "get_policy",
    "list_defaults",
    "plan_policy",
    "resolve_policy",
]

Packs = Mapping[str, LoadedPack]


def check_policy(
    table: Mapping[str, Any], packs: Packs, *, moment: datetime, file: str
) -> tuple[TenantPolicy | None, list[Problem]]:
    """Return a tenant's `policy.toml`, unless it cannot be understood, and everything that is wrong with it.

    `packs` are the tenant's. What would loosen a figure on the day of `moment` is named with both values and the source.
    """
    laws = {slug: loaded.pack for slug, loaded in packs.items()}
    policy, problems = rules.decode_policy(file, table, laws)
    if policy is None or problems:
        return None, problems
    on = {slug: compute_local_day(moment, law.manifest.time_zone) for slug, law in laws.items()}
    on[""] = compute_local_day(moment, "UTC")
    return policy, list(rules.find_looser_figures(file, policy, laws, on))


def resolve_policy(policy: TenantPolicy, pack: Pack | None, on: date, *, file: str = "policy.toml") -> EffectivePolicy:
    """Return what applies on a day to players of a licence, or of a tenant without packs."""
    claims = [(file, rules.flatten_figures(policy))]
    if pack is not None and pack.manifest.slug in policy.licences:
        licence = pack.manifest.slug
        claims.append((f"{file}, licences.{licence}", rules.flatten_figures(policy.licences[licence])))
    return rules.compose_policy(pack, rules.resolve_figures(pack, claims, on), on)


def choose_licence(packs: Mapping[str, object], licence: str | None) -> str:
    """Return the licence that is meant among a tenant's packs; empty is that of a tenant without any.

    Raises `LicenceUnknown` for one that the tenant does not have, and where none is named among several.
    """
    if licence is None and len(packs) <= 1:
        return next(iter(packs), "")
    if licence == "" and not packs:
        return ""
    if licence is None or licence not in packs:
        raise LicenceUnknown(f"name one of the tenant's licences: {', '.join(sorted(packs)) or 'there is none'}")
    return licence


async def get_policy(
    session: AsyncSession, scope: TenantScope, packs: Packs, moment: datetime, *, licence: str
) -> EffectivePolicy:
    """Return what applies to a tenant's players of a licence on the licence's day of `moment`.

    `packs` are those of the process; `licence` is empty for players of a tenant without packs. Raises `PolicyMissing`,
    `LicenceUnknown` and `PackNotLoaded`; nothing is guessed where the law is not known.
    """
    return compute_policy(await get_applied(session, scope), packs, moment, licence=licence)


async def get_applied(session: AsyncSession, scope: TenantScope) -> AppliedPolicy:
    """Return what was applied for a tenant; raise `PolicyMissing`."""
    applied = await store.find_applied(session, scope.tenant_id)
    if applied is None:
        raise PolicyMissing(f"no policy was applied for {scope.slug}")
    return applied


def compute_policy(applied: AppliedPolicy, packs: Packs, moment: datetime, *, licence: str) -> EffectivePolicy:
    """Return what `get_policy` does, out of what was applied; raise `LicenceUnknown` and `PackNotLoaded`."""
    chosen = choose_licence(applied.packs, licence)
    if not chosen:
        return resolve_policy(applied.policy, None, compute_local_day(moment, "UTC"))
    loaded = packs.get(chosen)
    if loaded is None:
        raise PackNotLoaded(f"pack {chosen} is not loaded in this process")
    return resolve_policy(applied.policy, loaded.pack, compute_local_day(moment, loaded.pack.manifest.time_zone))


async def find_applied(session: AsyncSession, scope: TenantScope) -> AppliedPolicy | None:
    """Return what was applied for a tenant."""
    return await store.find_applied(session, scope.tenant_id)


def describe_applied(applied: AppliedPolicy | None) -> dict[str, Any]:
    """Return the `policy.toml` that says what was applied."""
    if applied is None:
        return {}
    table: dict[str, Any] = msgspec.to_builtins(applied.policy, order="deterministic")
    return table


async def plan_policy(
    session: AsyncSession, scope: TenantScope, policy: TenantPolicy, packs: Packs
) -> tuple[Change, ...]:
    """Return what `apply_policy` would change; nothing when the cell holds it already."""
    return _changes(await store.find_applied(session, scope.tenant_id), _applied(policy, packs))


async def apply_policy(
    session: AsyncSession, scope: TenantScope, policy: TenantPolicy, packs: Packs, *, actor: Actor, origin: Origin
) -> bool:
    """Make the cell hold a tenant's policy and the versions of its packs; False when it did already.

    The policy must have passed `check_policy`.
    """
    wanted = _applied(policy, packs)
    before = None
    # The insert waits for another first one, so that the difference is told from what that one left.
    if not await store.insert_applied(session, scope.tenant_id, wanted):
        before = await store.find_applied(session, scope.tenant_id, for_update=True)
    changes = _changes(before, wanted)
    if not changes:
        return False
    if before is not None:
        await store.update_applied(session, scope.tenant_id, wanted)
    await record_event(session, scope, AuditEvent("policy.applied", actor, origin, "policy", scope.slug, changes))
    return True


def list_defaults() -> list[tuple[str, str, str]]:
    """Return every figure that is merged: name, which value is stricter, and the platform's default."""
    return [(name, kind.stricter, describe_value(kind.default)) for name, kind in rules.KINDS.items()]


def _applied(policy: TenantPolicy, packs: Packs) -> AppliedPolicy:
    return AppliedPolicy(policy, {slug: packs[slug].version for slug in sorted(packs)})


def _changes(before: AppliedPolicy | None, wanted: AppliedPolicy) -> tuple[Change, ...]:
    old = {} if before is None else _facts(before)
    new = _facts(wanted)
    paths = [path for path in sorted({*old, *new}) if old.get(path) != new.get(path)]
    return tuple(Change(path, old.get(path), new.get(path)) for path in paths)


def _facts(applied: AppliedPolicy) -> dict[str, Any]:
    facts: dict[str, Any] = {"applied": True}
    facts |= {f"packs.{slug}": version for slug, version in applied.packs.items()}
    tables = {"": applied.policy, **{f"licences.{slug}.": one for slug, one in applied.policy.licences.items()}}
    for below, figures in tables.items():
        for name, value in rules.flatten_figures(figures).items():
            plain = describe_value(value) if not isinstance(value, (bool, int, str)) else value
            facts[f"figures.{below}{name}"] = plain
    return facts
