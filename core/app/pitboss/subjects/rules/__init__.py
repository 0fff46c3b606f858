"""Decisions of data subjects' requests: which step may follow, whose a row is, how what is held is told."""

from __future__ import annotations

from pitboss.subjects.rules.binding import (
    NOT_BOUND,
    WITHHELD,
    Binding,
    bind_table,
    event_names,
    find_unbound,
    list_bound,
    list_sealed,
    tell_events,
    tell_rows,
)
from pitboss.subjects.rules.cases import (
    check_order,
    check_step,
    clock_of,
    compute_due,
    list_next,
    merge_reasons,
    reasons_of,
)
from pitboss.subjects.rules.documents import PORTABLE, compose_access, compose_portable, portable_schema

__all__ = [
    "NOT_BOUND",
    "PORTABLE",
    "WITHHELD",
    "Binding",
    "bind_table",
    "check_order",
    "check_step",
    "clock_of",
    "compose_access",
    "compose_portable",
    "compute_due",
    "event_names",
    "find_unbound",
    "list_bound",
    "list_next",
    "list_sealed",
    "merge_reasons",
    "portable_schema",
    "reasons_of",
    "tell_events",
    "tell_rows",
]
