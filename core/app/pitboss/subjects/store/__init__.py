"""Every SQL statement of data subjects' requests."""

from __future__ import annotations

from pitboss.subjects.store.cases import (
    count_open,
    fetch_case,
    fetch_cases,
    fetch_restriction,
    fetch_restrictions,
    insert_case,
    insert_restriction,
    lift_restriction,
    update_case,
)
from pitboss.subjects.store.exports import (
    fetch_export,
    fetch_exports,
    fetch_over,
    insert_export,
    update_made,
    update_removed,
)
from pitboss.subjects.store.held import fetch_event_rows, fetch_rows, fetch_wallet_ids, list_shapes

__all__ = [
    "count_open",
    "fetch_case",
    "fetch_cases",
    "fetch_event_rows",
    "fetch_export",
    "fetch_exports",
    "fetch_over",
    "fetch_restriction",
    "fetch_restrictions",
    "fetch_rows",
    "fetch_wallet_ids",
    "insert_case",
    "insert_export",
    "insert_restriction",
    "lift_restriction",
    "list_shapes",
    "update_case",
    "update_made",
    "update_removed",
]
