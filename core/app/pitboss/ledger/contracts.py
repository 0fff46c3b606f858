"""Values of the ledger that cross its border."""

from __future__ import annotations

from datetime import date, datetime
from enum import IntEnum
from typing import Any
from uuid import UUID

import msgspec


class Op(IntEnum):
    """What a journal row did; stored as a number, so numbers are never reused."""

    BET = 1
    WIN = 2
    BET_ROLLBACK = 3
    WIN_ROLLBACK = 4
    DEPOSIT = 5
    ADJUSTMENT = 6
    HOLD = 7
    CAPTURE = 8
    VOID = 9
    AWARD = 10
    AWARD_FORFEIT = 11
    TERMS = 12
    """Moves nothing: what a decision on the wallet depends on changed (its status, a limit, a session)."""
    AWARD_CONVERT = 13
    """What is left of an award whose requirement was met becomes real money; the house has no part in it."""


class Outcome(IntEnum):
    """What became of a key. NOTHING_TO_DO is a rollback that found no booking."""

    ACCEPTED = 1
    REFUSED = 2
    TOMBSTONE = 3
    NOTHING_TO_DO = 4


class AccountKind(IntEnum):
    """House-side ledger accounts, one per tenant, currency and provider."""

    GAME_REVENUE = 1
    BONUS_COST = 2
    CLEARING = 3
    ADJUSTMENTS = 4


class WalletStatus(IntEnum):
    """Whether new stakes, deposits and holds are taken; what is owed to the player always is."""

    OPEN = 1
    BLOCKED = 2


class Balance(msgspec.Struct, frozen=True):
    """The four buckets of a wallet in minor units; the player's claim is real + bonus + held − debt."""

    real_minor: int
    bonus_minor: int
    held_minor: int
    debt_minor: int

    @property
    def playable_minor(self) -> int:
        """What can be staked now."""
        return self.real_minor + self.bonus_minor


class Wallet(msgspec.Struct, frozen=True):
    """A player's money in one currency."""

    wallet_id: int
    player_id: int
    currency: str
    balance: Balance
    version: int


class WalletState(msgspec.Struct, gc=False):
    """A wallet while a batch is decided; the lane changes it leg by leg.

    `notes` is what rooms learnt that changes only with a version of this wallet: it is remembered and forgotten
    together with it.
    """

    tenant_id: int
    wallet_id: int
    player_id: int
    version: int
    real: int
    bonus: int
    held: int
    debt: int
    has_awards: bool
    is_open: bool = True
    has_limits: bool = False
    closed_until_us: int = 0
    """Microseconds since 1970 until which no stake and no deposit is taken."""
    licence: str = ""
    """The player's, empty for a tenant without packs; it never changes."""
    notes: dict[str, Any] = {}

    @property
    def playable(self) -> int:
        """What can be staked now."""
        return self.real + self.bonus


class KnownKey(msgspec.Struct, frozen=True, gc=False):
    """What the ledger already holds for a key, with the booking it led to, if any (`version` > 0)."""

    wallet_id: int
    content_hash: int
    outcome: int
    refusal: int
    version: int
    answered_minor: int
    op: int = 0
    account_id: int = 0
    d_real: int = 0
    d_bonus: int = 0
    d_held: int = 0
    d_debt: int = 0
    round_id: str = ""
    reversed_by: int = 0


class Booking(msgspec.Struct, frozen=True):
    """One journal row as readers see it: deltas and the buckets after it, in minor units."""

    wallet_id: int
    version: int
    op: Op
    account_id: int
    source: str
    reference: str
    round_id: UUID | None
    d_real: int
    d_bonus: int
    d_held: int
    d_debt: int
    after: Balance
    reverses_version: int | None
    batch_id: int
    created_at: datetime


class JournalSpan(msgspec.Struct, frozen=True, gc=False):
    """Versions of a wallet after `above`, up to and with `upto`."""

    wallet_id: int
    above: int
    upto: int
    currency: str


class JournalSum(msgspec.Struct, frozen=True):
    """How many journal rows, and what their deltas come to in minor units."""

    entries: int = 0
    real: int = 0
    bonus: int = 0
    held: int = 0
    debt: int = 0
    counter: int = 0


class FaultSample(msgspec.Struct, frozen=True):
    """How many rows have a fault, and the references of some of them."""

    count: int = 0
    references: tuple[str, ...] = ()


class BookingFaults(msgspec.Struct, frozen=True):
    """What is wrong with the bookings of a span: a second effect of one reference, no key, not the next of its wallet."""

    bookings: int = 0
    twice: FaultSample = FaultSample()
    unkeyed: FaultSample = FaultSample()
    unchained: FaultSample = FaultSample()


class RoundSpan(msgspec.Struct, frozen=True, gc=False):
    """A round of a wallet, and the versions between which its bookings are."""

    round_id: UUID
    wallet_id: int
    first: int
    last: int


class RoundSums(msgspec.Struct, frozen=True, gc=False):
    """What the bookings of a round come to in minor units: stakes of real and of bonus money, and what was won."""

    bet_real: int
    bet_bonus: int
    win_minor: int


class Effect(msgspec.Struct, frozen=True, gc=False):
    """What became of an external id. `op` is 0, and the rest empty, where nothing was booked under it."""

    reference: str
    outcome: Outcome
    op: int = 0
    moved_minor: int = 0
    currency: str = ""
    round_id: UUID | None = None
    booked_at: datetime | None = None
    is_reversed: bool = False


class HouseName(msgspec.Struct, frozen=True):
    """What a house account is."""

    kind: AccountKind
    currency: str
    provider: str


class HouseAccount(msgspec.Struct, frozen=True):
    """A house-side account and its exact balance: folded plus what waits to be folded."""

    account_id: int
    kind: AccountKind
    currency: str
    provider: str
    balance_minor: int


class Finding(msgspec.Struct, frozen=True):
    """Something that `verify` found wrong."""

    tenant_id: int
    check: str
    subject: str
    detail: str


class Verification(msgspec.Struct, frozen=True):
    """What `verify` looked at and what it found."""

    tenants: int
    wallets: int
    bookings: int
    findings: tuple[Finding, ...]


class ProofOutcome(msgspec.Struct, frozen=True):
    """When a tenant's books were last proven to their end, and how much was found wrong."""

    proven_at: datetime
    findings: int


class OpenAward(msgspec.Struct):
    """An award while a batch is decided; changed like `WalletState`.

    `reference`, source and house account are those of the booking that granted it.
    """

    granted_version: int
    remaining: int
    wagered: int
    source_id: int = 0
    account_id: int = 0
    reference: str = ""


class AwardMoney(msgspec.Struct, frozen=True):
    """What was granted with an award, what is left of it and what was staked of it, in minor units."""

    granted_minor: int
    remaining_minor: int
    wagered_minor: int


class AwardClaim(msgspec.Struct, frozen=True):
    """What the bonus room says of an award, for the proof: its terms under the reference of its booking.

    `ended_at` is when it was cancelled, or else when it expires.
    """

    reference: str
    wallet_id: int
    amount_minor: int
    required_minor: int
    expires_at: datetime
    ended_at: datetime


class OpenHold(msgspec.Struct):
    """A hold while a batch is decided; changed like `WalletState`."""

    opened_version: int
    amount_minor: int
    captured: int
    released: int
    expires_at: datetime


class PostingBatch:
    """Everything one batch writes, as columns, because they go to the server as arrays.

    `bookings` and `keys` are lists of tuples in the order of the columns that `ledger.store` names.
    """

    __slots__ = (
        "award_entries",
        "awards",
        "bookings",
        "holds",
        "house",
        "keys",
        "new_awards",
        "new_holds",
        "right_before_us",
        "usage",
    )

    def __init__(self) -> None:
        self.bookings: list[tuple[Any, ...]] = []
        self.keys: list[tuple[Any, ...]] = []
        self.house: dict[tuple[int, int], int] = {}
        self.new_holds: list[tuple[int, int, int, int, datetime]] = []
        self.holds: dict[tuple[int, int, int], OpenHold] = {}
        self.new_awards: list[tuple[int, int, int, int]] = []
        self.awards: dict[tuple[int, int, int], OpenAward] = {}
        self.award_entries: list[tuple[int, int, int, int, int]] = []
        self.usage: dict[tuple[int, int, int, int, date], int] = {}
        self.right_before_us: int | None = None
        """Until when what was decided is right, in microseconds since 1970: the end of the award that ends first."""
