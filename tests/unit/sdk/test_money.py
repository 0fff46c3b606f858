"""Amounts: exact both ways, in currencies of 0, 2, 3, 6 and 8 decimals."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss_sdk.errors import ErrorKind
from pitboss_sdk.money import (
    CURRENCIES,
    MAX_MINOR,
    InvalidAmount,
    UnknownCurrency,
    decimal_from_minor,
    get_currency,
    minor_from_decimal,
)

decimals = st.sampled_from(sorted({currency.decimals for currency in CURRENCIES.values()}))


@given(amount_minor=st.integers(0, MAX_MINOR), places=decimals)
def test_minor_units_survive_the_round_trip(amount_minor: int, places: int) -> None:
    text = decimal_from_minor(amount_minor, places)
    assert minor_from_decimal(text, places) == amount_minor
    assert Decimal(text).scaleb(places) == amount_minor


@given(amount_minor=st.integers(-MAX_MINOR, -1), places=decimals)
def test_negative_amounts_are_told_but_never_taken(amount_minor: int, places: int) -> None:
    text = decimal_from_minor(amount_minor, places)
    assert Decimal(text).scaleb(places) == amount_minor
    with pytest.raises(InvalidAmount):
        minor_from_decimal(text, places)


@given(text=st.from_regex(r"[0-9]{1,19}(\.[0-9]{1,18})?", fullmatch=True), places=decimals)
def test_a_decimal_is_taken_exactly_or_refused(text: str, places: int) -> None:
    exact = Decimal(text).scaleb(places)
    if exact == exact.to_integral_value() and exact <= MAX_MINOR:
        assert minor_from_decimal(text, places) == exact
    else:
        with pytest.raises(InvalidAmount):
            minor_from_decimal(text, places)


@given(text=st.text(max_size=12), places=decimals)
def test_any_other_text_is_refused(text: str, places: int) -> None:
    try:
        amount_minor = minor_from_decimal(text, places)
    except InvalidAmount:
        return
    assert text.isascii()
    assert amount_minor == Decimal(text).scaleb(places)


def test_a_currency_is_known_or_refused() -> None:
    assert {get_currency(code).decimals for code in ("JPY", "EUR", "KWD", "BTC")} == {0, 2, 3, 8}
    with pytest.raises(UnknownCurrency) as caught:
        get_currency("X" * 1000)
    assert caught.value.kind is ErrorKind.INVALID
    assert len(caught.value.detail) < 100
