"""Kind `games`: the wallet dialect of an aggregator, and the calls that we make to it.

A dialect is pure and synchronous (no I/O, no clock): `verify` the raw call, `parse` it into a `WalletCall`,
`render` the answer. The host decides and posts between the last two; the guide "Write a plugin" walks
through it. The values are not tracked by the garbage collector (`gc=False`): a wallet makes thousands a second,
and none of them can be part of a cycle.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Any, ClassVar, Protocol

import msgspec

from pitboss_sdk.errors import ErrorKind, PitbossError
from pitboss_sdk.outcome import Outcome
from pitboss_sdk.plugin import HttpClient

MAX_REFERENCE_LENGTH = 128
"""Longest provider reference (transaction, round, session, account, game) that the host stores, in characters.

A dialect refuses longer ones, and those that `str.isprintable` denies, as malformed."""
MAX_LEGS = 32
"""Most legs that one wallet call may carry."""


class CallKind(IntEnum):
    """What the aggregator asks for."""

    BALANCE = 0
    PLAY = 1
    ROLLBACK = 2
    FINISH = 3


class LegKind(IntEnum):
    """One movement inside a call, seen from the player."""

    BET = 1
    WIN = 2
    ROLLBACK = 3


class Refusal(StrEnum):
    """Why a call was not carried out; the dialect maps each to its own code.

    The host stores those of `STICKY` with the reference, so that a retry gets the same answer; after any
    other the same call may succeed later.
    """

    INSUFFICIENT_FUNDS = "insufficient_funds"
    LIMIT_REACHED = "limit_reached"
    PLAYER_BLOCKED = "player_blocked"
    GAME_FORBIDDEN = "game_forbidden"
    ROLLED_BACK = "rolled_back"
    ALREADY_REVERSED = "already_reversed"
    ROUND_CLOSED = "round_closed"
    REFERENCE_MISUSED = "reference_misused"
    PLAYER_UNKNOWN = "player_unknown"
    SESSION_INVALID = "session_invalid"
    CURRENCY_MISMATCH = "currency_mismatch"
    UNKNOWN_REFERENCE = "unknown_reference"
    SIGNATURE_INVALID = "signature_invalid"
    MALFORMED = "malformed"
    OPERATION_UNKNOWN = "operation_unknown"
    TENANT_UNKNOWN = "tenant_unknown"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


STICKY = frozenset(
    {
        Refusal.INSUFFICIENT_FUNDS,
        Refusal.LIMIT_REACHED,
        Refusal.PLAYER_BLOCKED,
        Refusal.GAME_FORBIDDEN,
        Refusal.ROLLED_BACK,
        Refusal.ALREADY_REVERSED,
        Refusal.ROUND_CLOSED,
    }
)


class RawCall(msgspec.Struct, frozen=True, gc=False):
    """A call as it came: the last path segment, header names in lower case, the exact bytes of the body.

    `received_at_us` is the host's clock in microseconds since 1970, UTC: the only time that a dialect knows, for vendors
    that sign one.
    """

    operation: str
    headers: Mapping[str, str]
    body: bytes
    received_at_us: int = 0


class Leg(msgspec.Struct, frozen=True, gc=False):
    """One movement. `amount_minor` is positive for bets and wins and 0 for rollbacks.

    `reference` is the provider's id of this movement; `reverses` that of the movement a rollback undoes.
    `jackpot_minor` is the part of a win that a jackpot pays.
    """

    kind: LegKind
    reference: str
    amount_minor: int = 0
    reverses: str = ""
    jackpot_minor: int = 0


class WalletCall(msgspec.Struct, frozen=True, gc=False):
    """A parsed call. `account` is the id that we gave at launch: with `currency` it says which wallet is meant.

    Other strings may be empty, which means *not given*; but a movement needs its round, and a bet its game. Without a
    session none is asked for.

    A bet may name another game than its session was opened for: from the lobby of a live casino a player changes the
    table within one session, and no vendor says beforehand which session is a lobby's. The session says whose bet it
    is and until when it is taken; the game that the bet names must be one that the tenant offers, and its round is
    told under that game.
    """

    kind: CallKind
    account: str
    currency: str
    game: str = ""
    session: str = ""
    round: str = ""
    round_finished: bool = False
    legs: tuple[Leg, ...] = ()
    free_spin: bool = False
    jackpot_pool: str = ""


class LegAnswer(msgspec.Struct, frozen=True, gc=False):
    """What became of a leg. `transaction` is our id; empty when a rollback had nothing to do.

    That is so when the original was never booked (a tombstone now stands for it), or was reversed before.
    `bonus_minor` is the absolute part of the movement that bonus money took.
    """

    reference: str
    transaction: str
    bonus_minor: int = 0


class WalletAnswer(msgspec.Struct, frozen=True, gc=False):
    """The host's decision. `balance_minor` is what the player can play with: real and bonus.

    With a refusal, `balance_minor` is the balance told when it was first refused, and None when the player
    was never looked up; it is always there with a yes. `round` is our id of the round where one is known, also with a refusal. `legs` has one
    answer for each leg of the call, in order, or is empty when no leg was carried out.
    """

    refusal: Refusal | None
    balance_minor: int | None
    round: str = ""
    legs: tuple[LegAnswer, ...] = ()
    detail: str = ""


class DialectResponse(msgspec.Struct, frozen=True, gc=False):
    """What goes back over HTTP."""

    status: int
    body: bytes
    content_type: str = "application/json"
    retry_after_seconds: int = 0
    """When the same call may come again, told as `Retry-After`; 0 leaves it to the caller."""


class DialectRefusal(PitbossError):
    """Raised by `verify` and `parse`: the call is refused before any work."""

    code = "games.dialect_refusal"
    kind = ErrorKind.INVALID

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(detail)
        self.refusal = refusal


class WalletDialect(Protocol):
    """The wallet protocol of one aggregator, configured for one tenant.

    Implementations are built once a tenant and kept: `__init__` takes the decoded configuration struct and
    the resolved secrets, a mapping from the names in its `SecretRef` fields to their values; it raises
    `pitboss_sdk.plugin.InvalidConfiguration`. They hold no state that a call changes.
    """

    operations: ClassVar[frozenset[str]]
    """Last path segments that the dialect answers, for example ``{"balance", "betwin"}``."""
    max_body_bytes: ClassVar[int]
    """Larger bodies are refused as malformed before they are read whole."""
    answer_within_ms: ClassVar[int]
    """The provider's time limit for one attempt; the host refuses at admission well before it."""

    def verify(self, call: RawCall) -> None:
        """Check the signature over the raw bytes; raise `DialectRefusal`."""
        ...

    def parse(self, call: RawCall) -> WalletCall:
        """Decode a verified call; raise `DialectRefusal` when malformed or the operation is unknown."""
        ...

    def render(self, call: WalletCall, answer: WalletAnswer) -> DialectResponse:
        """Put the decision, taken or refused, into the provider's shape."""
        ...

    @classmethod
    def render_refusal(cls, refusal: Refusal, detail: str = "") -> DialectResponse:
        """Put a refusal that came before a call was parsed, or a tenant known, into the provider's shape."""
        ...


class GameInfo(msgspec.Struct, frozen=True):
    """One game of the aggregator's list. `version_hash` names the certified build where the provider gives it."""

    code: str
    title: str
    provider: str = ""
    category: str = ""
    version_hash: str = ""
    rtp_basis_points: int | None = None


class LaunchRequest(msgspec.Struct, frozen=True):
    """A real-money launch. `account` and `session` are the ids that come back in wallet calls."""

    account: str
    session: str
    game: str
    currency: str
    language: str
    country: str = ""
    ip: str = ""
    mobile: bool = False
    return_url: str = ""
    deadline_ms: int = 10_000


class Launched(msgspec.Struct, frozen=True):
    """Where the player's browser goes."""

    url: str


class GamesDriver(Protocol):
    """The calls that we make to the aggregator; asynchronous, through the injected client only."""

    async def list_games(self, http: HttpClient) -> Outcome[tuple[GameInfo, ...]]:
        """Return the whole catalogue that the aggregator offers this tenant."""
        ...

    async def launch(self, http: HttpClient, request: LaunchRequest) -> Outcome[Launched]:
        """Open a game session at the aggregator."""
        ...


class ListedState(IntEnum):
    """What the aggregator says became of a transaction.

    Of what is OPEN nothing follows: it is undecided there, or told in a word that no document lists.
    """

    BOOKED = 1
    UNDONE = 2
    OPEN = 3


class TransactionsRequest(msgspec.Struct, frozen=True):
    """Which transactions are asked for: those of a span, its end not among them, or those of one round.

    Times are microseconds since 1970, UTC; they are 0 where `round` is given.
    """

    since_us: int = 0
    until_us: int = 0
    round: str = ""
    deadline_ms: int = 30_000


class ListedTransaction(msgspec.Struct, frozen=True, gc=False):
    """One movement as the aggregator's own books have it; `happened_at_us` is by its clock.

    Only what the host was to book is listed: what moves nothing here (a free bet, a win of nothing) is left out.
    `amount_minor` is 0 for a rollback, whose amount is that of what it takes back.
    """

    reference: str
    kind: LegKind
    state: ListedState
    amount_minor: int
    currency: str
    round: str
    happened_at_us: int


class TransactionLister(Protocol):
    """What a plugin has besides, exactly when its manifest declares `transaction_list`."""

    async def list_transactions(
        self, http: HttpClient, request: TransactionsRequest
    ) -> Outcome[tuple[ListedTransaction, ...]]:
        """Return every transaction that the aggregator's books hold for this tenant, whole or not at all.

        A configuration whose aggregator offers no such list ends as `Refused`, and asks nobody.
        """
        ...


class GamesPlugin(WalletDialect, GamesDriver, Protocol):
    """What the entry point of group ``pitboss.games`` names: one class that is dialect and driver."""

    Config: ClassVar[type[msgspec.Struct]]
    """The tenant's configuration, refusing unknown fields; those of type `SecretRef` are references."""

    def __init__(self, config: Any, secrets: Mapping[str, str]) -> None: ...
