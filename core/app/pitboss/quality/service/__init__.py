"""Use cases of data quality: read an hour, keep what was read, hold hours against aggregators' books, and tell of it."""

from pitboss.quality.rules import list_hours
from pitboss.quality.service.books import (
    AskedHour,
    AskedSlice,
    ask_hour,
    ask_round,
    close_mended,
    keep_asked_hour,
    keep_asked_round,
    list_due_findings,
    list_due_hours,
)
from pitboss.quality.service.measures import (
    find_totals,
    forget_old,
    keep_hour,
    list_findings,
    list_hour,
    list_measures,
)
from pitboss.quality.service.reading import read_hour

__all__ = [
    "AskedHour",
    "AskedSlice",
    "ask_hour",
    "ask_round",
    "close_mended",
    "find_totals",
    "forget_old",
    "keep_asked_hour",
    "keep_asked_round",
    "keep_hour",
    "list_due_findings",
    "list_due_hours",
    "list_findings",
    "list_hour",
    "list_hours",
    "list_measures",
    "read_hour",
]
