"""Decisions of the policy: the stricter of pack and tenant, what a tenant may not loosen, windows of a time zone."""

from pitboss.policy.rules.merge import KINDS, Kind, compose_policy, get_kind, resolve_figures
from pitboss.policy.rules.tenant import decode_policy, describe_value, find_looser_figures, flatten_figures
from pitboss.policy.rules.windows import (
    add_months,
    compute_day_start,
    compute_exclusion_end,
    compute_first_day,
    compute_kept_until,
    compute_local_day,
    compute_window,
)

__all__ = [
    "KINDS",
    "Kind",
    "add_months",
    "compose_policy",
    "compute_day_start",
    "compute_exclusion_end",
    "compute_first_day",
    "compute_kept_until",
    "compute_local_day",
    "compute_window",
    "decode_policy",
    "describe_value",
    "find_looser_figures",
    "flatten_figures",
    "get_kind",
    "resolve_figures",
]
