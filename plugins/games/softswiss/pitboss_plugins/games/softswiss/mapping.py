"""The aggregator's field names, codes and error envelope, and nothing else.

Source: the OpenAPI documents named in `manifest.toml` under `vendor_api`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from pitboss_sdk.games import MAX_LEGS, MAX_REFERENCE_LENGTH, Refusal

SIGNATURE_HEADER: Final = "x-request-sign"
MAX_BODY_BYTES: Final = 64 * 1024
ANSWER_WITHIN_MS: Final = 15_000

LAUNCH_PATH: Final = "/api/v1/softswiss/launcher/real"
GAMES_PATH: Final = "/api/v1/operator/games"

_Id = Annotated[str, Meta(min_length=1, max_length=MAX_REFERENCE_LENGTH)]
_OptionalId = Annotated[str, Meta(max_length=MAX_REFERENCE_LENGTH)] | None
_CurrencyCode = Annotated[str, Meta(min_length=3, max_length=32)]
_DecimalText = Annotated[str, Meta(min_length=1, max_length=40)]

CURRENCY_PATTERN: Final = r"[A-Z][A-Z0-9_]{2,31}"


class BalanceBody(msgspec.Struct, frozen=True, gc=False):
    """`POST /balance`."""

    account_id: _Id
    currency: _CurrencyCode
    game_id: _Id
    session_id: _OptionalId = None


class Movement(msgspec.Struct, frozen=True, gc=False):
    """One transaction of `POST /betwin`."""

    id_provider: _Id
    type: Literal["bet", "win"]
    amount: _DecimalText


class BetWinBody(msgspec.Struct, frozen=True, gc=False):
    """`POST /betwin`."""

    account_id: _Id
    currency: _CurrencyCode
    game_id: _Id
    round_id: _Id
    transactions: Annotated[list[Movement], Meta(min_length=1, max_length=MAX_LEGS)]
    finished: bool | None = None
    session_id: _OptionalId = None


class Reversal(msgspec.Struct, frozen=True, gc=False):
    """One transaction of `POST /rollback`."""

    id_provider: _Id
    type: Literal["rollback"]
    original_id_provider: _Id


class RollbackBody(msgspec.Struct, frozen=True, gc=False):
    """`POST /rollback`; `game_id` and `finished` are demanded by the contract but not needed to give money back."""

    account_id: _Id
    currency: _CurrencyCode
    round_id_provider: _Id
    transactions: Annotated[list[Reversal], Meta(min_length=1, max_length=MAX_LEGS)]
    game_id: _OptionalId = None
    finished: bool | None = None
    session_id: _OptionalId = None


class FinishBody(msgspec.Struct, frozen=True, gc=False):
    """`POST /finish`."""

    account_id: _Id
    currency: _CurrencyCode
    round_id: _Id
    session_id: _OptionalId = None


class BalanceAnswer(msgspec.Struct, frozen=True, gc=False):
    """The answer to `/balance` and `/finish`."""

    balance: str


class MovementAnswer(msgspec.Struct, frozen=True, gc=False):
    """One transaction of the answer to `/betwin`."""

    id_provider: str
    id: str
    bonus_amount: str


class BetWinAnswer(msgspec.Struct, frozen=True, gc=False):
    """The answer to `/betwin`."""

    round_id: str
    transactions: list[MovementAnswer]
    balance: str


class ReversalAnswer(msgspec.Struct, frozen=True, gc=False):
    """One transaction of the answer to `/rollback`; an empty id says that there was nothing to reverse."""

    id_provider: str
    id: str


class RollbackAnswer(msgspec.Struct, frozen=True, gc=False):
    """The answer to `/rollback`."""

    balance: str
    round_id: str
    transactions: list[ReversalAnswer]


class ErrorMeta(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What carries the meaning of an error."""

    api_code: str
    api_message: str = ""
    balance: str | None = None


class ErrorAnswer(msgspec.Struct, frozen=True, gc=False):
    """The error envelope, the same in both directions."""

    code: str
    meta: ErrorMeta
    msg: str = ""


ERRORS: Final[dict[Refusal, tuple[int, str, str]]] = {
    Refusal.INSUFFICIENT_FUNDS: (400, "100", "not enough funds"),
    Refusal.PLAYER_UNKNOWN: (400, "101", "player is not known"),
    Refusal.SESSION_INVALID: (400, "101", "session is not valid"),
    Refusal.LIMIT_REACHED: (400, "105", "limit reached"),
    Refusal.GAME_FORBIDDEN: (400, "107", "game is not available to the player"),
    Refusal.PLAYER_BLOCKED: (400, "110", "player is disabled"),
    Refusal.CURRENCY_MISMATCH: (400, "154", "currency is not allowed for the player"),
    Refusal.MALFORMED: (400, "400", "bad request"),
    Refusal.REFERENCE_MISUSED: (400, "400", "transaction id was used with other content"),
    Refusal.ROUND_CLOSED: (400, "400", "round is closed"),
    Refusal.SIGNATURE_INVALID: (400, "403", "signature is not valid"),
    Refusal.OPERATION_UNKNOWN: (400, "404", "operation is not known"),
    Refusal.TENANT_UNKNOWN: (400, "404", "casino is not known"),
    Refusal.ROLLED_BACK: (400, "409", "action was rolled back"),
    Refusal.ALREADY_REVERSED: (400, "409", "action cannot be rolled back"),
    Refusal.UNKNOWN_REFERENCE: (500, "500", "bet is not known yet"),
    Refusal.INTERNAL: (500, "500", "internal error"),
    Refusal.UNAVAILABLE: (500, "503", "temporarily unavailable"),
}
"""HTTP status, `meta.api_code` and default text of each refusal; the aggregator sends again on 500 alone."""

CARRY_BALANCE: Final = frozenset({"100", "105", "106"})
"""Codes whose envelope must tell the balance."""

LAUNCH_REFUSALS: Final = frozenset({"101", "107", "110", "153", "154", "400", "403", "404", "405", "410", "420"})
"""Codes of the launcher that say no; any other code is not understood, and so neither a yes nor a no."""


class LaunchAccount(msgspec.Struct, frozen=True, omit_defaults=True):
    """The player in a launch."""

    id: str
    currency: str
    country: str = ""


class LaunchUrls(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the game sends the player."""

    return_url: str = ""
    deposit_url: str = ""


class LaunchBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`POST /api/v1/softswiss/launcher/real`."""

    casino_id: str
    game: str
    account: LaunchAccount
    session_id: str
    client_type: str
    locale: str = ""
    ip: str = ""
    urls: LaunchUrls | None = None
    jurisdiction: str = ""


class LaunchAnswer(msgspec.Struct, frozen=True):
    """The launcher's answer."""

    launch_url: str


class ListedGame(msgspec.Struct, frozen=True):
    """One game of the catalogue; `payout` is the return to player in percent."""

    identifier: _Id
    title: str
    category: str = ""
    feature_group: str = ""
    payout: Decimal | None = None


class ListedGames(msgspec.Struct, frozen=True):
    """`GET /api/v1/operator/games`."""

    games: list[ListedGame]
