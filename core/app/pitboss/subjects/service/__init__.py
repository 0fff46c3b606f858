"""Use cases of data subjects' requests: open and move cases, make exports, restrict, correct, erase."""

from __future__ import annotations

from pitboss.subjects.rules import clock_of, list_next, portable_schema
from pitboss.subjects.service.cases import (
    count_cases,
    demand_unrestricted,
    find_restrictions,
    get_case,
    lift,
    list_cases,
    move,
    open_case,
    restrict,
)
from pitboss.subjects.service.changes import correct, erase
from pitboss.subjects.service.exports import ask_export, fetch_file, list_exports, make_export, sweep_exports
from pitboss.subjects.service.held import collect_held, list_unbound

__all__ = [
    "ask_export",
    "clock_of",
    "collect_held",
    "correct",
    "count_cases",
    "demand_unrestricted",
    "erase",
    "fetch_file",
    "find_restrictions",
    "get_case",
    "lift",
    "list_cases",
    "list_exports",
    "list_next",
    "list_unbound",
    "make_export",
    "move",
    "open_case",
    "portable_schema",
    "restrict",
    "sweep_exports",
]
