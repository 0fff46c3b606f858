"""Values of the games room that cross its border."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from typing import Final
from uuid import UUID

import msgspec

from pitboss.kernel.scope import TenantScope
from pitboss.ledger.contracts import Booking
from pitboss_sdk.games import WalletDialect

MAX_TITLE_LENGTH: Final = 200
"""A longer title of a game is cut: pages show it, and an index sorts by it."""


class RoundState(IntEnum):
    """Open until the provider says finished; voided when every bet was rolled back."""

    OPEN = 1
    FINISHED = 2
    VOIDED = 3


class RoundMode(IntEnum):
    """Which money a round is played with; MIXED took both real and bonus money."""

    CASH = 1
    BONUS = 2
    MIXED = 3
    FREE_SPIN = 4


class SessionState(IntEnum):
    """A session opens when the aggregator has answered its launch."""

    LAUNCHING = 1
    OPEN = 2
    FAILED = 3
    CLOSED = 4


class Game(msgspec.Struct, frozen=True):
    """A game as a tenant offers it."""

    game_id: int
    plugin: str
    code: str
    title: str
    provider: str
    category: str
    version_hash: str
    rtp_basis_points: int | None
    enabled: bool
    """Whether it is in play: switched on by the operator, and not suspended."""
    suspended: bool = False
    """Whether the provider has taken it out of play."""


class LaunchedGame(msgspec.Struct, frozen=True):
    """What a player's browser needs to begin."""

    session: UUID
    url: str


class SealedRound(msgspec.Struct, frozen=True, gc=False):
    """What the sealed log says of a round, an id as text, beside its bookings; `reference` is the provider's id."""

    round: str
    reference: str
    plugin: str
    game: str
    game_version_hash: str


class RoundSummary(msgspec.Struct, frozen=True):
    """A player's part in a round; amounts in minor units of `currency`, times in UTC."""

    round: UUID
    provider_round: str
    wallet_id: int
    player_id: int
    currency: str
    plugin: str
    game: str
    game_version_hash: str
    mode: RoundMode
    state: RoundState
    bet_minor: int
    win_minor: int
    jackpot_minor: int
    jackpot_pool: str
    balance_before_minor: int
    balance_after_minor: int
    started_at: datetime
    updated_at: datetime
    session: UUID | None


class Round(msgspec.Struct, frozen=True):
    """A round with everything that belongs to it."""

    summary: RoundSummary
    bookings: tuple[Booking, ...]


class CountedRound(msgspec.Struct, frozen=True, gc=False):
    """A player's part in a round as its row sums it up, for measures; amounts in minor units."""

    round_id: UUID
    wallet_id: int
    reference: str
    state: int
    started_at: datetime
    updated_at: datetime
    bet_real: int
    bet_bonus: int
    win_minor: int
    first_version: int
    last_version: int


class RoundSubject(msgspec.Struct, gc=False):
    """What the games room needs to know of a call inside a batch; the companion's `subject`."""

    player_id: int
    currency: str
    plugin: str
    game: str
    session: str
    session_malformed: bool
    round_reference: str
    finished: bool
    free_spin: bool
    jackpots: Mapping[str, int]
    """Jackpot part of each leg that has one, by its reference, in minor units."""
    jackpot_pool: str


class Holder(msgspec.Struct, frozen=True, gc=False):
    """A player's wallet as the account id of an aggregator's call names it."""

    player_id: int
    wallet_id: int
    licence: str = ""


class Endpoint(msgspec.Struct, frozen=True):
    """One tenant's callback address of one plugin: everything a call needs that does not change with it."""

    scope: TenantScope
    plugin: str
    dialect: WalletDialect
    source_id: int
    source_name: str
    revenue_accounts: Mapping[str, int]
    """Game revenue account by currency."""
    patience_ms: int
    sessionless: frozenset[str]
    """Licences whose players' bets may name no session; those of all others are refused without one."""


class SessionFacts(msgspec.Struct, frozen=True, gc=False):
    """A session that takes bets of one wallet: whose it is, and until when, in microseconds since 1970."""

    player_id: int
    ends_at_us: int


class GameFacts(msgspec.Struct, frozen=True, gc=False):
    """A game of the tenant's catalogue and the version of its present build."""

    enabled: bool
    version_id: int


class RoundFacts(msgspec.Struct, gc=False):
    """A round's row while a batch is decided; `seen_*` is what the row holds as far as this process knows."""

    first_version: int = 0
    last_version: int = 0
    bet_real: int = 0
    bet_bonus: int = 0
    win_minor: int = 0
    jackpot_minor: int = 0
    balance_before: int = 0
    balance_after: int = 0
    bets: int = 0
    mode: int = int(RoundMode.CASH)
    state: int = int(RoundState.OPEN)
    round_version_id: int = 0
    session: str | None = None
    exists: bool = False
    stored: bool = False
    dirty: bool = False
    jackpot_pool: str = ""
    seen_version: int = 0
    seen_state: int = 0
