"""The aggregator's words: wallet calls, their JSON, their signature, and amounts as decimal strings."""

from __future__ import annotations

import hmac
from typing import Any, Final

import msgspec

SIGNATURE_HEADER: Final = "x-request-sign"

INSUFFICIENT: Final = "100"
BAD_REQUEST: Final = "400"
SIGNATURE: Final = "403"
NOT_FOUND: Final = "404"
ROLLED_BACK: Final = "409"
INTERNAL: Final = "500"
UNAVAILABLE: Final = "503"


class Leg(msgspec.Struct, frozen=True):
    """One transaction of a call; a rollback names the one it takes back in `original`."""

    kind: str
    reference: str
    amount_minor: int = 0
    original: str = ""


class Call(msgspec.Struct, frozen=True):
    """One wallet call of one player; the same call again has the same bytes."""

    operation: str
    round: str = ""
    legs: tuple[Leg, ...] = ()
    finished: bool = False


class Holder(msgspec.Struct, frozen=True):
    """Whose calls these are, as the platform's launch told the aggregator."""

    account: str
    currency: str
    decimals: int
    game: str
    session: str


def sign(secret: bytes, body: bytes) -> str:
    """Return the signature of a body: HMAC-SHA256 in lower-case hex."""
    return hmac.digest(secret, body, "sha256").hex()


def encode(call: Call, holder: Holder) -> bytes:
    """Return the body of a call."""
    fields: dict[str, Any] = {
        "account_id": holder.account,
        "currency": holder.currency,
        "session_id": holder.session,
    }
    if call.operation != "finish":
        fields["game_id"] = holder.game
    if call.operation == "rollback":
        fields["round_id_provider"] = call.round
        fields["transactions"] = [
            {"id_provider": leg.reference, "type": "rollback", "original_id_provider": leg.original}
            for leg in call.legs
        ]
    elif call.operation != "balance":
        fields["round_id"] = call.round
    if call.operation == "betwin":
        fields["transactions"] = [
            {"id_provider": leg.reference, "type": leg.kind, "amount": to_decimal(leg.amount_minor, holder.decimals)}
            for leg in call.legs
        ]
    if call.operation in {"betwin", "rollback"}:
        fields["finished"] = call.finished
    return msgspec.json.encode(fields)


class Answer(msgspec.Struct, frozen=True):
    """What the platform said: HTTP status, the code of a refusal, the balance and our ids where they were told."""

    status: int
    api_code: str
    balance: str
    transactions: tuple[str, ...]
    body: bytes


class _Movement(msgspec.Struct):
    id: str
    id_provider: str


class _Meta(msgspec.Struct):
    api_code: str
    balance: str = ""


class _Body(msgspec.Struct):
    balance: str = ""
    transactions: list[_Movement] = []
    meta: _Meta | None = None


def decode(status: int, body: bytes) -> Answer | None:
    """Return an answer in the aggregator's shape, or None: a proxy or a stopping server speaks otherwise."""
    try:
        read = msgspec.json.decode(body, type=_Body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if (status == 200) is (read.meta is not None):
        return None
    if read.meta is not None:
        return Answer(status, read.meta.api_code, read.meta.balance, (), body)
    return Answer(status, "", read.balance, tuple(movement.id for movement in read.transactions), body)


def to_decimal(amount_minor: int, decimals: int) -> str:
    """Return minor units as a decimal string."""
    whole, fraction = divmod(amount_minor, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}" if decimals else str(whole)
