"""What the decisions of a batch depend on, and what one request would write."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

import msgspec

from pitboss.bonus.contracts import Terms
from pitboss.ledger.contracts import KnownKey, OpenAward, OpenHold, WalletState
from pitboss.limits.contracts import Limit, LimitKind
from pitboss.policy.contracts import LicenceKey, PlayLaw
from pitboss.wallet.contracts import BatchBook, Companion, LegResult

Pair = tuple[int, int]
Triple = tuple[int, int, int]
FullKey = tuple[int, int, bytes]


class BatchFacts(msgspec.Struct):
    """Everything that the decisions of a batch depend on."""

    wallets: dict[Pair, WalletState]
    known: dict[FullKey, KnownKey]
    now_us: int
    """Microseconds since 1970."""
    books: dict[Companion, BatchBook]
    days: Mapping[LicenceKey, date] = {}
    """Today in the time zone of each licence, where a limit is looked at."""
    day_ends_us: Mapping[LicenceKey, int] = {}
    """When that day ends, in microseconds since 1970."""
    limits: Mapping[Pair, list[Limit]] = {}
    usage: dict[tuple[int, int, int, int, date], int] = {}
    awards: dict[Triple, OpenAward] = {}
    terms: Mapping[tuple[int, int, str], Terms] = {}
    """Terms of awards by tenant, wallet and the reference of the booking that granted it."""
    award_entries: dict[Triple, list[tuple[int, int]]] = {}
    counted_on: Mapping[Triple, date] = {}
    """Day on which a booking that may be undone was counted, for wallets with limits; else it was today."""
    holds: dict[Triple, OpenHold] = {}
    laws: Mapping[LicenceKey, PlayLaw] | None = None
    """What applies to players of each licence that is known here; None where nobody gave any to hold wallets to."""


class Draft:
    """What one request would write; dropped whole when a leg is refused."""

    __slots__ = (
        "awards",
        "entries",
        "holds",
        "known",
        "movement",
        "new_awards",
        "new_holds",
        "results",
        "staked",
        "undone",
    )

    def __init__(self) -> None:
        self.staked: tuple[int, int] = (0, 0)
        self.known: dict[FullKey, KnownKey] = {}
        self.results: list[LegResult] = []
        self.movement: dict[LimitKind, int] = {}
        self.undone: list[tuple[date, dict[LimitKind, int]]] = []
        self.awards: dict[Triple, OpenAward] = {}
        self.entries: list[tuple[int, int, int, int, int]] = []
        self.holds: dict[Triple, OpenHold] = {}
        self.new_awards: list[tuple[int, int, int, int]] = []
        self.new_holds: list[tuple[int, int, int, int, datetime]] = []
