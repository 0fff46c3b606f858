"""What holding events against captured changes works with, and what it finds."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from pitboss.audit.contracts import ToldEvent


class Capture(msgspec.Struct, frozen=True):
    """A captured change of a row, as events call it."""

    written_in: int
    captured_at: datetime
    table: str
    key: str
    operation: str
    login: str


class Transaction(msgspec.Struct):
    """What one transaction wrote and what it told."""

    number: int
    at: datetime
    captures: list[Capture]
    events: list[ToldEvent]


class Finding(msgspec.Struct, frozen=True):
    """A change that no event tells of, or an event whose change nobody made."""

    kind: Literal["unexplained", "unfounded"]
    transaction: int
    at: datetime
    subject: str
    detail: str


class Reconciliation(msgspec.Struct, frozen=True):
    """How far a tenant is reconciled, and how many findings nobody has looked into."""

    before: int
    at: datetime
    findings: int


class Outcome(msgspec.Struct):
    """What was looked at up to now, and found."""

    transactions: int = 0
    captures: int = 0
    events: int = 0
    before: int = 0
    findings: list[Finding] = msgspec.field(default_factory=list[Finding])
