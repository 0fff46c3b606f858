"""The stricter of several claims about a figure: one rule for each kind of figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import reduce
from typing import Any, Final

import msgspec

from pitboss.policy.contracts import MINIMUM_AGE_YEARS, Claim, EffectivePolicy, ResolvedFigure, Retention, Speaker
from pitboss_sdk.jurisdiction import (
    CountsFrom,
    Evidence,
    ExclusionTerm,
    IdentityMoment,
    LimitKind,
    LimitPeriod,
    Mark,
    Pack,
    RecordClass,
    RetentionFigure,
    find_in_force,
)

PLATFORM_MARK: Final = "platform default"
_MOMENTS: Final = tuple(IdentityMoment)
_STARTS: Final = tuple(CountsFrom)


class Kind(msgspec.Struct, frozen=True):
    """How claims about a figure are joined, when one is looser than another, and what applies if nobody verified it.

    `stricter` names the rule for people. A default of None says that there is no bound.
    """

    stricter: str
    default: Any
    join: Callable[[Any, Any], Any]
    is_looser: Callable[[Any, Any], bool]


def _highest(default: int) -> Kind:
    return Kind("the higher", default, max, lambda one, other: one < other)


def _lowest(default: int | None) -> Kind:
    return Kind("the lower", default, _join_lowest, lambda one, other: _join_lowest(one, other) != one)


def _join_lowest(one: int | None, other: int | None) -> int | None:
    bounds = [bound for bound in (one, other) if bound is not None]
    return min(bounds, default=None)


def _all_of(*default: str) -> Kind:
    return Kind("all of both", frozenset(default), lambda one, other: one | other, lambda _one, _other: False)


def _allowed_by_all(*, default: bool) -> Kind:
    return Kind("no before yes", default, lambda one, other: one and other, lambda one, other: one and not other)


def _earliest(default: IdentityMoment) -> Kind:
    return Kind(
        "the earlier",
        default,
        lambda one, other: min(one, other, key=_MOMENTS.index),
        lambda one, other: _MOMENTS.index(one) > _MOMENTS.index(other),
    )


def _join_retention(one: Retention, other: Retention) -> Retention:
    years = None if one.years is None or other.years is None else max(one.years, other.years)
    return Retention(years, max(one.counts_from, other.counts_from, key=_STARTS.index))


def _is_shorter(one: Retention, other: Retention) -> bool:
    return one.years is not None and (other.years is None or one.years < other.years)


FOR_EVER: Final = Retention(None, CountsFrom.ACCOUNT_CLOSED)

KINDS: Final[Mapping[str, Kind]] = {
    "minimum_age_years": _highest(MINIMUM_AGE_YEARS),
    "limit_increase_wait_hours": _highest(24),
    "mandatory_limits": _all_of(),
    "limit_ceilings_minor": _lowest(None),
    "reality_check_minutes": _lowest(60),
    "exclusion_terms": _all_of(ExclusionTerm.DEFINITE, ExclusionTerm.INDEFINITE),
    "exclusion_minimum_months": _highest(6),
    "exclusion_early_end_allowed": _allowed_by_all(default=False),
    "exclusion_lift_wait_hours": _highest(168),
    "bonus_allowed": _allowed_by_all(default=True),
    "bonus_wagering_maximum_times": _lowest(None),
    "real_money_spent_first": _allowed_by_all(default=True),
    "identity_before": _earliest(IdentityMoment.FIRST_DEPOSIT),
    "due_diligence_thresholds_minor": _lowest(0),
    "due_diligence_days": _lowest(0),
    "register_checks": _all_of(),
    "register_recheck_days": _lowest(None),
    "register_block_hours": _lowest(0),
    "subject_answer_days": _lowest(30),
    "retention_years": Kind("the longer, and the later start", FOR_EVER, _join_retention, _is_shorter),
}
"""Every figure that is merged, with the platform's own default."""

KEYED: Final = frozenset({"limit_ceilings_minor", "due_diligence_thresholds_minor", "retention_years"})
"""Figures with a key after a dot."""

TenantClaims = Iterable[tuple[str, Mapping[str, Any]]]
"""Where a tenant says something, and what: figures by name."""


def get_kind(name: str) -> Kind:
    """Return the rule for a figure, whatever key its name carries."""
    return KINDS[name.partition(".")[0]]


def resolve_figures(
    pack: Pack | None, tenant: TenantClaims, on: date, also: Iterable[str] = ()
) -> dict[str, ResolvedFigure]:
    """Return every figure as it applies on a day, with who said what; those named in `also` even if nobody says any.

    A verified figure of the pack stands in place of the platform's default. An unverified one does not: it is joined
    with the default, so that it may tighten and never loosen.
    """
    stated = {} if pack is None else _list_in_force(pack, on)
    tenants = list(tenant)
    names = {name for name in KINDS if name not in KEYED} | {*stated, *also}
    names |= {f"retention_years.{record}" for record in RecordClass}
    names |= {name for _, figures in tenants for name in figures}
    resolved: dict[str, ResolvedFigure] = {}
    for name in sorted(names):
        kind = get_kind(name)
        default = Claim(
            speaker=Speaker.PLATFORM,
            who="platform",
            value=kind.default,
            source="the platform's own default",
            mark=PLATFORM_MARK,
        )
        claims, replaced = [default], ()
        if name in stated:
            claim, verified = stated[name]
            claims, replaced = ([claim], (default,)) if verified else ([default, claim], ())
        claims += [_tenant_claim(where, figures[name]) for where, figures in tenants if name in figures]
        value = reduce(kind.join, (claim.value for claim in claims))
        resolved[name] = ResolvedFigure(name, value, tuple(claims), replaced)
    return resolved


def _tenant_claim(where: str, value: Any) -> Claim:
    return Claim(speaker=Speaker.TENANT, who=where, value=value, source="the tenant's choice", mark="tenant")


def _list_in_force(pack: Pack, on: date) -> dict[str, tuple[Claim, bool]]:
    """Return what the pack states on a day, by name, and whether it is verified."""
    found: dict[str, tuple[Claim, bool]] = {}
    for file in (pack.limits, pack.checks, pack.retention):
        for name in file.__struct_fields__:
            for key, entry in find_in_force(getattr(file, name), on).items():
                claim = _pack_claim(pack.manifest.slug, entry)
                found[f"{name}.{key}" if key else name] = (claim, entry.mark is Mark.VERIFIED)
    return found


def _pack_claim(slug: str, entry: Any) -> Claim:
    evidence: Evidence = entry
    value = Retention(entry.value, entry.counts_from) if isinstance(entry, RetentionFigure) else entry.value
    return Claim(
        speaker=Speaker.PACK,
        who=slug,
        value=value,
        source=f"{evidence.source} [{', '.join(evidence.see)}]",
        mark=evidence.mark.value,
        since=evidence.since,
        until=evidence.until,
        checked_on=evidence.checked_on,
        note=evidence.note,
    )


def compose_policy(pack: Pack | None, figures: Mapping[str, ResolvedFigure], on: date) -> EffectivePolicy:
    """Return resolved figures under their types; the time zone is the licence's, UTC without one."""
    keyed: dict[str, dict[str, Any]] = {name: {} for name in KEYED}
    values: dict[str, Any] = {}
    for name, figure in figures.items():
        head, _, key = name.partition(".")
        if head in KEYED:
            keyed[head][key] = figure.value
        else:
            values[head] = figure.value
    ceilings: dict[tuple[LimitKind, LimitPeriod, str], int] = {}
    for key, value in keyed["limit_ceilings_minor"].items():
        kind, period, currency = key.split(".")
        if value is not None:
            ceilings[LimitKind(kind), LimitPeriod(period), currency] = value
    return EffectivePolicy(
        licence="" if pack is None else pack.manifest.slug,
        on=on,
        time_zone="UTC" if pack is None else pack.manifest.time_zone,
        limit_ceilings_minor=ceilings,
        due_diligence_thresholds_minor=keyed["due_diligence_thresholds_minor"],
        retention={RecordClass(record): value for record, value in keyed["retention_years"].items()},
        figures=figures,
        **values,
    )
