"""Acme's field names and codes."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pitboss_sdk.games import MAX_REFERENCE_LENGTH, Refusal
from pitboss_sdk.money import MAX_MINOR

SIGNATURE_HEADER: Final = "x-acme-signature"

Id = Annotated[str, Meta(min_length=1, max_length=MAX_REFERENCE_LENGTH)]
Cents = Annotated[int, Meta(gt=0, le=MAX_MINOR)]


class Body(msgspec.Struct, frozen=True, gc=False):
    """Every call has this shape; which fields it needs depends on the operation."""

    player: Id
    currency: str
    session: str = ""
    game: str = ""
    round: str = ""
    id: str = ""
    cents: Cents | None = None
    original: str = ""
    last: bool = False


class Answer(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Every answer has this shape, with HTTP 200 unless Acme shall try again."""

    status: str
    balance: int | None = None
    transaction: str = ""


class Game(msgspec.Struct, frozen=True):
    """One game of the catalogue."""

    code: Id
    title: str


class Catalogue(msgspec.Struct, frozen=True):
    """The answer to `GET /games`."""

    games: list[Game]


STATUS: Final[dict[Refusal, tuple[int, str]]] = {
    Refusal.INSUFFICIENT_FUNDS: (200, "NO_FUNDS"),
    Refusal.LIMIT_REACHED: (200, "LIMIT"),
    Refusal.PLAYER_BLOCKED: (200, "BLOCKED"),
    Refusal.PLAYER_UNKNOWN: (200, "NO_PLAYER"),
    Refusal.SESSION_INVALID: (200, "NO_PLAYER"),
    Refusal.GAME_FORBIDDEN: (200, "NO_GAME"),
    Refusal.CURRENCY_MISMATCH: (200, "NO_CURRENCY"),
    Refusal.ROLLED_BACK: (200, "ROLLED_BACK"),
    Refusal.ALREADY_REVERSED: (200, "ROLLED_BACK"),
    Refusal.ROUND_CLOSED: (200, "INVALID"),
    Refusal.REFERENCE_MISUSED: (200, "INVALID"),
    Refusal.MALFORMED: (200, "INVALID"),
    Refusal.OPERATION_UNKNOWN: (200, "INVALID"),
    Refusal.TENANT_UNKNOWN: (200, "INVALID"),
    Refusal.SIGNATURE_INVALID: (200, "DENIED"),
    Refusal.UNKNOWN_REFERENCE: (503, "RETRY"),
    Refusal.UNAVAILABLE: (503, "RETRY"),
    Refusal.INTERNAL: (503, "RETRY"),
}
