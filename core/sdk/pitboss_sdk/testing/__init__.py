"""The conformance kit: rules that a plugin's behaviour and manifest must keep, in a vendor's company.

Use it from the plugin's own tests; it needs no test runner. The guide "Write a plugin" shows how.
"""

from pitboss_sdk.testing.double import (
    SIGNED_AT_US,
    Intent,
    Movement,
    Notice,
    Reading,
    Subject,
    VendorDouble,
    VendorRequest,
    WebhookDouble,
    Wish,
    Written,
    read_subject,
)
from pitboss_sdk.testing.games import RULES, Rule, find_static_faults
from pitboss_sdk.testing.mutants import Mutant, edit_source, list_mutants
from pitboss_sdk.testing.notices import NoticeSender

__all__ = [
    "RULES",
    "SIGNED_AT_US",
    "Intent",
    "Movement",
    "Mutant",
    "Notice",
    "NoticeSender",
    "Reading",
    "Rule",
    "Subject",
    "VendorDouble",
    "VendorRequest",
    "WebhookDouble",
    "Wish",
    "Written",
    "edit_source",
    "find_static_faults",
    "list_mutants",
    "read_subject",
]
