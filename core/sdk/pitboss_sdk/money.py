"""Currencies and exact conversion between decimal strings and integer minor units; no floats."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from pitboss_sdk.errors import ErrorKind, PitbossError

MAX_MINOR: Final = 2**63 - 1
"""Amounts are stored as 64-bit signed integers."""

_DECIMAL: Final = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,18}))?", re.ASCII)


class UnknownCurrency(PitbossError):
    code = "money.unknown_currency"
    kind = ErrorKind.INVALID


class InvalidAmount(PitbossError):
    code = "money.invalid_amount"
    kind = ErrorKind.INVALID


class Currency(msgspec.Struct, frozen=True):
    """A currency and the number of decimals of its minor unit (ISO 4217, or the chain's for crypto)."""

    code: str
    decimals: int


CURRENCIES: Final[dict[str, Currency]] = {
    code: Currency(code, decimals)
    for decimals, codes in {
        0: "CLP ISK JPY KRW PYG UGX VND XAF XOF",
        2: (
            "AED ARS AUD BGN BRL CAD CHF CNY COP CZK DKK EGP EUR GBP GEL HKD HUF IDR ILS INR KES KZT MXN MYR "
            "NGN NOK NZD PEN PHP PLN RON RSD SEK SGD THB TRY TWD UAH USD UYU ZAR"
        ),
        3: "BHD JOD KWD OMR TND",
        6: "USDC USDT",
        8: "BTC LTC",
    }.items()
    for code in codes.split()
}


def get_currency(code: str) -> Currency:
    """Return the currency of `code`; raise `UnknownCurrency`."""
    try:
        return CURRENCIES[code]
    except KeyError:
        raise UnknownCurrency(f"currency {code[:16]!r} is not known") from None


def minor_from_decimal(text: str, decimals: int) -> int:
    """Return the minor units of a plain decimal string such as ``12.34``, exactly.

    Raises `InvalidAmount` for signs, exponents, more decimals than the currency holds (unless they are
    zeros) and values beyond 64 bits: nothing is ever rounded.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise InvalidAmount("not a plain decimal amount")
    whole, fraction = match.group(1), match.group(2) or ""
    if len(fraction) > decimals:
        if fraction[decimals:].strip("0"):
            raise InvalidAmount(f"more than {decimals} decimals")
        fraction = fraction[:decimals]
    amount_minor = int(whole + fraction.ljust(decimals, "0"))
    if amount_minor > MAX_MINOR:
        raise InvalidAmount("amount too large")
    return amount_minor


def decimal_from_minor(amount_minor: int, decimals: int) -> str:
    """Return minor units as a plain decimal string with exactly `decimals` decimals."""
    if decimals == 0:
        return str(amount_minor)
    sign = "-" if amount_minor < 0 else ""
    digits = str(abs(amount_minor)).rjust(decimals + 1, "0")
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"
