"""Values of the wallet that cross the room's border: requests, answers, and what a room above adds to a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from pitboss.kernel.statements import ReadPart, WritePart
from pitboss.ledger.contracts import Op, WalletState
from pitboss_sdk.games import Refusal


class LegRequest(msgspec.Struct, gc=False):
    """One movement asked for. `reverses` is the key of the booking that a rollback, capture or void refers to.

    `key` is 16 bytes of SHA-256 over `reference`; `content_hash` tells *the same again* from *something else*.
    """

    op: Op
    reference: str
    key: bytes
    content_hash: int
    amount_minor: int
    account_id: int
    reverses: bytes | None = None
    expires_at: datetime | None = None


class WalletRequest(msgspec.Struct):
    """1..n legs on one wallet, all or nothing, in order; without legs it only asks for the balance.

    `round_id` is a UUID as text, empty where the movement belongs to no round.
    `companion` is the room above that has a say and rows of its own in the same transaction, and `subject`
    what it needs for that. Unless it `takes_bets`, those in it are refused for now, and repeats are told as ever.
    """

    tenant_id: int
    wallet_id: int
    source_id: int
    legs: Sequence[LegRequest]
    round_id: str = ""
    companion: Companion | None = None
    subject: Any = None
    takes_bets: bool = True


class MovementOrder(msgspec.Struct, frozen=True):
    """A movement by hand that is written down and not yet posted."""

    source_id: int
    wallet_id: int
    currency: str
    leg: LegRequest


class LegResult(msgspec.Struct, gc=False):
    """What became of a leg. `version` 0 means that there was nothing to do.

    `moved_minor` is what the player's claim changed by: real and bonus, held, and debt repaid or made.
    """

    reference: str
    wallet_id: int
    version: int
    op: int
    d_real: int
    d_bonus: int
    moved_minor: int
    replayed: bool

    @property
    def transaction(self) -> str:
        """Our id of the booking: wallet and version, which name one journal row for ever; empty if there is none."""
        return f"{self.wallet_id}-{self.version}" if self.version else ""


class WalletResult(msgspec.Struct):
    """The decision. `balance_minor` is what can be played with, as told the first time where it is a replay."""

    refusal: Refusal | None
    balance_minor: int | None
    legs: Sequence[LegResult] = ()
    detail: str = ""


class BatchBook(Protocol):
    """A room's part in one batch; nothing here does I/O or reads a clock."""

    def admit(self, request: WalletRequest) -> Refusal | None:
        """Return why new legs of `request` may not be booked, or None."""
        ...

    def basis(self, request: WalletRequest) -> tuple[int, int] | Refusal:
        """Return the (real, bonus) stakes that a win of `request` returns to, or why it cannot be booked."""
        ...

    def applied(self, request: WalletRequest, results: Sequence[LegResult], before: int, wallet: WalletState) -> None:
        """Take note of an accepted request; `before` is the playable balance before it."""
        ...

    def plan(self) -> list[WritePart]:
        """Return the parts that write the room's rows of the batch; they fail when a row is not as it was read."""
        ...

    def settle(self, *, stands: bool) -> None:
        """Remember the rows as the batch leaves them, once it is planned; forget them where it failed."""
        ...


class RoomMemory(Protocol):
    """What a room remembers of its own for one lane.

    Everything in it is either unchanging, or checked when it is written, or younger than a second; what changes only
    with a version of its wallet stands in the wallet's notes.
    """

    def ask(
        self, requests: Sequence[WalletRequest], wallets: Mapping[tuple[int, int], WalletState], *, trusting: bool
    ) -> list[ReadPart]:
        """Return the parts that read what the requests need and is not remembered.

        `wallets` are those that the lane remembers; the others are read anew. A lane that is not `trusting` reads
        everything that may have changed.
        """
        ...

    def open(
        self, requests: Sequence[WalletRequest], wallets: Mapping[tuple[int, int], WalletState], texts: Sequence[str]
    ) -> BatchBook:
        """Return the room's book of the batch from the memory and what was read, in the order asked."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...


class Companion(Protocol):
    """A room above that has a say, and rows of its own, in wallet batches."""

    def make_memory(self) -> RoomMemory:
        """Return an empty memory for one lane."""
        ...
