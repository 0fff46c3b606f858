"""The aggregators' field names, statuses and amounts, and nothing else.

Source: the documents named in `manifest.toml` under `vendor_api`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pitboss_sdk.games import (
    MAX_REFERENCE_LENGTH,
    LegKind,
    ListedState,
    ListedTransaction,
    Refusal,
    TransactionsRequest,
)
from pitboss_sdk.money import CURRENCIES

MAX_BODY_BYTES: Final = 64 * 1024
ANSWER_WITHIN_MS: Final = 5_000

MAX_WIRE: Final = 2**63 - 1
"""Amounts are 64-bit integers on the wire too."""
WIRE_DECIMALS: Final = 5
"""An amount on the wire is the real one times 100000."""

TOKEN_LENGTHS: Final = range(10, 256)

_Id = Annotated[str, Meta(min_length=1, max_length=MAX_REFERENCE_LENGTH)]
_OptionalId = Annotated[str, Meta(max_length=MAX_REFERENCE_LENGTH)] | None
_Token = Annotated[str, Meta(max_length=TOKEN_LENGTHS[-1])] | None
_Amount = Annotated[int, Meta(ge=0, le=MAX_WIRE)]


class Words(msgspec.Struct, frozen=True):
    """What differs between the two aggregators."""

    signature_header: str
    games_path: str
    launch_path: str
    transactions_path: str
    """Where the aggregator's own books are asked for; empty where its documents name no such place."""
    limit_status: str
    tells_platform: bool
    """Whether a launch says platform and IP address."""


WORDS: Final = {
    "hub88": Words(
        signature_header="x-hub88-signature",
        games_path="/operator/generic/v2/game/list",
        launch_path="/operator/generic/v2/game/url",
        transactions_path="/operator/generic/v2/transactions/list",
        limit_status="RS_ERROR_LIMIT_REACHED",
        tells_platform=True,
    ),
    "caleta": Words(
        signature_header="x-auth-signature",
        games_path="/api/game/list",
        launch_path="/api/game/url",
        transactions_path="",
        limit_status="RS_ERROR_BET_LIMIT_EXCEEDED",
        tells_platform=False,
    ),
}


class InfoBody(msgspec.Struct, frozen=True, gc=False):
    """`POST /user/info`."""

    user: _Id
    request_uuid: _Id


class BalanceBody(msgspec.Struct, frozen=True, gc=False):
    """`POST …/balance`."""

    request_uuid: _Id
    token: _Token = None
    user: _OptionalId = None
    game_code: _OptionalId = None


class BetBody(msgspec.Struct, frozen=True, gc=False):
    """`POST …/bet`."""

    request_uuid: _Id
    transaction_uuid: _Id
    round: _Id
    game_code: _Id
    currency: str
    amount: _Amount
    token: _Token = None
    user: _OptionalId = None
    round_closed: bool | None = None
    is_free: bool | None = None


class WinBody(msgspec.Struct, frozen=True, gc=False):
    """`POST …/win`; `jackpot_win` is the part of `amount` that a jackpot paid."""

    request_uuid: _Id
    transaction_uuid: _Id
    reference_transaction_uuid: _Id
    round: _Id
    game_code: _Id
    currency: str
    amount: _Amount
    token: _Token = None
    user: _OptionalId = None
    round_closed: bool | None = None
    is_free: bool | None = None
    jackpot_win: _Amount | None = None


class RollbackBody(msgspec.Struct, frozen=True, gc=False):
    """`POST …/rollback`; the contract demands `game_code`, giving money back does not."""

    request_uuid: _Id
    transaction_uuid: _Id
    reference_transaction_uuid: _Id
    round: _Id
    token: _Token = None
    user: _OptionalId = None
    game_code: _OptionalId = None
    round_closed: bool | None = None


class AnyBody(msgspec.Struct, frozen=True, gc=False):
    """What can still be read of a body that is wrong otherwise: the id that its answer repeats."""

    request_uuid: _Id = ""


class Answer(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The answer to everything, with HTTP 200."""

    status: str
    user: str = ""
    request_uuid: str = ""
    currency: str = ""
    balance: int | None = None
    sub_partner_id: str = ""


OK: Final = "RS_OK"
UNKNOWN: Final = "RS_ERROR_UNKNOWN"
NOT_ENOUGH_MONEY: Final = "RS_ERROR_NOT_ENOUGH_MONEY"
INVALID_TOKEN: Final = "RS_ERROR_INVALID_TOKEN"  # noqa: S105 a status
WRONG_SYNTAX: Final = "RS_ERROR_WRONG_SYNTAX"
WRONG_TYPES: Final = "RS_ERROR_WRONG_TYPES"

STATUSES: Final[dict[Refusal, str]] = {
    Refusal.INSUFFICIENT_FUNDS: NOT_ENOUGH_MONEY,
    Refusal.LIMIT_REACHED: WORDS["hub88"].limit_status,
    Refusal.PLAYER_BLOCKED: "RS_ERROR_USER_DISABLED",
    Refusal.GAME_FORBIDDEN: "RS_ERROR_INVALID_GAME",
    Refusal.ROLLED_BACK: "RS_ERROR_TRANSACTION_ROLLED_BACK",
    Refusal.ALREADY_REVERSED: "RS_ERROR_TRANSACTION_ROLLED_BACK",
    Refusal.ROUND_CLOSED: WRONG_SYNTAX,
    Refusal.REFERENCE_MISUSED: "RS_ERROR_DUPLICATE_TRANSACTION",
    Refusal.PLAYER_UNKNOWN: INVALID_TOKEN,
    Refusal.SESSION_INVALID: "RS_ERROR_TOKEN_EXPIRED",
    Refusal.CURRENCY_MISMATCH: "RS_ERROR_WRONG_CURRENCY",
    Refusal.UNKNOWN_REFERENCE: "RS_ERROR_TRANSACTION_DOES_NOT_EXIST",
    Refusal.SIGNATURE_INVALID: "RS_ERROR_INVALID_SIGNATURE",
    Refusal.MALFORMED: WRONG_SYNTAX,
    Refusal.OPERATION_UNKNOWN: WRONG_SYNTAX,
    Refusal.TENANT_UNKNOWN: "RS_ERROR_INVALID_PARTNER",
    Refusal.UNAVAILABLE: UNKNOWN,
    Refusal.INTERNAL: UNKNOWN,
}
"""The status of each refusal; the limit's is the flavour's own where the flavour is known."""

_SCALES: Final = {
    code: (10 ** max(0, WIRE_DECIMALS - currency.decimals), 10 ** max(0, currency.decimals - WIRE_DECIMALS))
    for code, currency in CURRENCIES.items()
}
"""By currency: wire units in a minor unit, and minor units in a wire unit; one of the two is 1."""


def find_minor(wire: int, currency: str) -> int | None:
    """Return an amount of the wire in minor units, or None where the currency cannot hold it exactly."""
    finer, coarser = _SCALES[currency]
    amount_minor, rest = divmod(wire, finer)
    amount_minor *= coarser
    return None if rest or amount_minor > MAX_WIRE else amount_minor


def compute_wire(balance_minor: int, currency: str) -> int:
    """Return a balance as it is told on the wire: never more than there is."""
    finer, coarser = _SCALES[currency]
    return balance_minor // coarser * finer


class GamesBody(msgspec.Struct, frozen=True):
    """`POST …/game/list`."""

    operator_id: int | str


class LaunchBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`POST …/game/url`."""

    user: str
    token: str
    operator_id: int | str
    game_code: str
    currency: str
    country: str
    lang: str
    lobby_url: str
    sub_partner_id: str = ""
    deposit_url: str = ""
    platform: str = ""
    ip: str = ""


class LaunchAnswer(msgspec.Struct, frozen=True):
    """The address of the game."""

    url: str


class ListedGame(msgspec.Struct, frozen=True):
    """One game of the list. `rtp` is the return to player in percent, as it is told: a text, a number or nothing."""

    game_code: _Id
    name: str
    product: str = ""
    category: str = ""
    enabled: bool = True
    rtp: msgspec.Raw = msgspec.Raw()


class TransactionsBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`POST …/transactions/list`: of a span, or of one round. Times are UTC without a zone, to the second."""

    operator_id: int | str
    sub_partner_id: str = ""
    start_time: str = ""
    end_time: str = ""
    round: str = ""


class BookedTransaction(msgspec.Struct, frozen=True, gc=False):
    """One transaction of the aggregator's books.

    The document calls the field of the status `status` in one place and `transaction_status` in another: either is read.
    """

    transaction_uuid: _Id
    kind: str
    amount: _Amount
    currency: str
    round: _Id
    inserted_at: str
    status: str = ""
    transaction_status: str = ""


LISTED_KINDS: Final = {
    "TK_BET": LegKind.BET,
    "TK_WIN": LegKind.WIN,
    "TK_FREE_WIN": LegKind.WIN,
    "TK_BONUS_WIN": LegKind.WIN,
    "TK_JP_WIN": LegKind.WIN,
    "TK_ROLLBACK": LegKind.ROLLBACK,
}
"""What each kind of transaction is here. Of one that is not listed nothing follows."""
FREE_BET: Final = "TK_FREE_BET"
"""The aggregator's campaign pays for it: nothing moves here."""
LISTED_STATES: Final = {
    "TS_SUCCESS": ListedState.BOOKED,
    "TS_DECLINED": ListedState.UNDONE,
    "TS_ROLLEDBACK": ListedState.UNDONE,
}
"""What each status says of us. After `TS_RETRY_ATTEMPTS_LIMIT_EXCEEDED` the aggregator does not know; nor do we of others."""


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def write_request(operator_id: int | str, sub_partner_id: str, request: TransactionsRequest) -> TransactionsBody:
    """Return the request for a span, widened to whole seconds, or for a round."""
    if request.round:
        return TransactionsBody(operator_id, sub_partner_id, round=request.round)
    first, end = request.since_us // 1_000_000, -(-request.until_us // 1_000_000)
    return TransactionsBody(operator_id, sub_partner_id, _format_time(first), _format_time(end))


def read_books(
    books: Iterable[BookedTransaction], request: TransactionsRequest
) -> tuple[ListedTransaction, ...] | None:
    """Return what of the books was asked for and moves money here; None where one of them cannot be read."""
    told: list[ListedTransaction] = []
    for one in books:
        if one.kind == FREE_BET:
            continue
        try:
            moment = datetime.fromisoformat(one.inserted_at)
        except ValueError:
            return None
        if not (one.transaction_uuid + one.round + one.currency).isprintable():
            return None
        found = _read_one(one, (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment) - _EPOCH)
        # Nothing moves here by a win of nothing. Whether the end of a span belongs to it is nowhere said.
        moves = found.amount_minor > 0 or found.kind is LegKind.ROLLBACK
        if moves and (request.round or request.since_us <= found.happened_at_us < request.until_us):
            told.append(found)
    return tuple(told)


def _read_one(one: BookedTransaction, since_epoch: timedelta) -> ListedTransaction:
    kind = LISTED_KINDS.get(one.kind)
    state = LISTED_STATES.get(one.status or one.transaction_status, ListedState.OPEN)
    return ListedTransaction(
        reference=one.transaction_uuid,
        kind=LegKind.BET if kind is None else kind,
        state=ListedState.OPEN if kind is None else state,
        amount_minor=0 if kind is LegKind.ROLLBACK else _cut_minor(one.amount, one.currency),
        currency=one.currency,
        round=one.round,
        happened_at_us=since_epoch // timedelta(microseconds=1),
    )


def _cut_minor(wire: int, currency: str) -> int:
    # Cut, not refused: it is compared, and nothing moves by it. What a currency cannot hold was refused when it came,
    # so no booking is its equal.
    finer, coarser = _SCALES.get(currency, (1, 1))
    return min(wire // finer * coarser, MAX_WIRE)


def _format_time(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")


class ErrorAnswer(msgspec.Struct, frozen=True):
    """A refusal of the aggregator, with the HTTP status that carries its meaning."""

    error: str


REFUSING: Final = frozenset({400, 401, 403, 404})
"""HTTP statuses with which the aggregator says no; any other is neither a yes nor a no."""
