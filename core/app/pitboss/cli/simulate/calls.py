"""What an aggregator can say, in no dialect yet: calls, their legs, and what they are answered."""

from __future__ import annotations

from typing import Final

import msgspec

INSUFFICIENT: Final = "100"
BAD_REQUEST: Final = "400"
SIGNATURE: Final = "403"
NOT_FOUND: Final = "404"
ROLLED_BACK: Final = "409"
INTERNAL: Final = "500"
UNAVAILABLE: Final = "503"
"""Why a call was refused, in the codes of SOFTSWISS; other dialects put their own words into these."""


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


class Answer(msgspec.Struct, frozen=True):
    """What the platform said: the code of a refusal, the balance and our ids where they were told.

    `status` is 200, or 400 for good, or 500 to come again. `transactions` is None where a dialect tells none.
    `word` is what the dialect itself calls the outcome.
    """

    status: int
    api_code: str
    balance: str
    transactions: tuple[str, ...] | None
    body: bytes
    word: str = ""


def to_decimal(amount_minor: int, decimals: int) -> str:
    """Return minor units as a decimal string."""
    whole, fraction = divmod(amount_minor, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}" if decimals else str(whole)
