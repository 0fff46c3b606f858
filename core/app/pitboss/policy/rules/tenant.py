"""What a tenant's `policy.toml` says, and where it would loosen what applies without it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from difflib import get_close_matches
from typing import Any, Final, cast

import msgspec

from pitboss.plughost.rules import describe_fault
from pitboss.policy.contracts import ResolvedFigure, Retention, TenantFigures, TenantPolicy
from pitboss.policy.rules.merge import get_kind, resolve_figures
from pitboss.tenancy.contracts import Problem
from pitboss_sdk.jurisdiction import CountsFrom, Pack
from pitboss_sdk.money import CURRENCIES

_NAMES: Final = TenantFigures.__struct_fields__


def decode_policy(
    file: str, table: Mapping[str, Any], licences: Collection[str]
) -> tuple[TenantPolicy | None, list[Problem]]:
    """Return a `policy.toml` as far as it can be understood, and what is wrong with its shape."""
    misfits = [Problem(file, key, reason) for key, reason in _find_misfits(table, ())]
    if misfits:
        return None, misfits
    policy = msgspec.convert(table, TenantPolicy)
    problems = [
        Problem(file, f"licences.{licence}", "tenant.toml does not list this pack, or it is not here")
        for licence in policy.licences
        if licence not in licences
    ]
    for below, figures in (("", policy), *((f"licences.{one}.", each) for one, each in policy.licences.items())):
        for name in flatten_figures(figures):
            currency = name.rpartition(".")[2]
            if name.partition(".")[0].endswith("_minor") and currency not in CURRENCIES:
                problems.append(Problem(file, f"{below}{name}", f"unknown currency {currency}"))
    return policy, problems


def _find_misfits(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield key and reason of each leaf that does not fit, found by converting it alone below its path."""
    for key, value in table.items():
        here = (*path, key)
        wrapped: Any = value
        for part in reversed(here):
            wrapped = {part: wrapped}
        try:
            msgspec.convert(wrapped, TenantPolicy)
        except msgspec.ValidationError as error:
            below = list(_find_misfits(cast("dict[str, Any]", value), here)) if isinstance(value, dict) else []
            yield from below or [(".".join(here), _tell_more(key, describe_fault(error)[1]))]


def _tell_more(key: str, reason: str) -> str:
    """Return the reason with the name that was probably meant."""
    near = get_close_matches(key, _NAMES, n=1) if reason == "is not a key here" else []
    return f"{reason}; is {near[0]} meant?" if near and near[0] != key else reason


def flatten_figures(figures: TenantFigures) -> dict[str, Any]:
    """Return what a tenant says by the names of figures, keys after dots."""
    found: dict[str, Any] = {}
    for name in _NAMES:
        value: Any = getattr(figures, name)
        if name == "limit_ceilings_minor":
            for kind, periods in figures.limit_ceilings_minor.items():
                for period, amounts in periods.items():
                    found |= {f"{name}.{kind}.{period}.{currency}": amount for currency, amount in amounts.items()}
        elif name == "due_diligence_thresholds_minor":
            found |= {f"{name}.{currency}": amount for currency, amount in value.items()}
        elif name == "retention_years":
            for record, years in figures.retention_years.items():
                found[f"{name}.{record}"] = Retention(years if years != "forever" else None, CountsFrom.CREATION)
        elif value is not None:
            found[name] = value
    return found


def find_looser_figures(
    file: str, policy: TenantPolicy, packs: Mapping[str, Pack], on: Mapping[str, date]
) -> Iterator[Problem]:
    """Yield each figure by which the tenant would loosen what applies to one of its licences on a day.

    `on` has a day for each pack, and one under the empty name for a tenant without packs. A table of one licence is
    also held against the tenant's figures for all.
    """
    general = flatten_figures(policy)
    seen: set[str] = set()
    licences: dict[str, Pack | None] = {**packs} if packs else {"": None}
    for licence, pack in licences.items():
        own = flatten_figures(policy.licences[licence]) if licence in policy.licences else {}
        tables = ((general, "", ()), (own, f"licences.{licence}.", ((file, general),)))
        for figures, below, before in tables:
            baseline = resolve_figures(pack, before, on[licence], also=figures)
            for name, value in figures.items():
                key = f"{below}{name}"
                reason = _judge(value, baseline[name])
                if reason and key not in seen:
                    seen.add(key)
                    yield Problem(file, key, reason)


def _judge(value: Any, known: ResolvedFigure) -> str:
    kind = get_kind(known.name)
    if not kind.is_looser(value, known.value):
        return ""
    claim = known.deciding[0]
    return (
        f"{describe_value(value)} is looser than {describe_value(known.value)} of {claim.who} "
        f"({claim.mark}; {claim.source}); stricter is {kind.stricter}"
    )


def describe_value(value: Any) -> str:
    """Return a figure's value as people read it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, frozenset):
        return ", ".join(sorted(cast("frozenset[str]", value))) or "none"
    if isinstance(value, Retention):
        years = "for ever" if value.years is None else f"{value.years} years from {value.counts_from}"
        return years.replace("_", " ")
    return str(value)
