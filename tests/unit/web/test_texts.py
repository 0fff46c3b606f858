"""Three languages, every text in each, and numbers that are exact."""

from __future__ import annotations

import pytest

from pitboss.web.texts import _ALL, LANGUAGES, choose_language, format_duration, format_money, texts_of


def test_every_text_is_there_in_every_language() -> None:
    assert all(len(words) == len(LANGUAGES) and all(words) for words in _ALL.values())
    assert {len(texts_of(language)) for language in LANGUAGES} == {len(_ALL)}


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "pt-BR,pt;q=0.9,en;q=0.8", "pt-BR"),
        (None, "pt-PT", "pt-BR"),
        (None, "de, es;q=0.3, en;q=0.2", "es"),
        (None, "de;q=1, fr", "en"),
        (None, "es;q=0, en;q=0.1", "en"),
        (None, "es;q=nonsense,,;;,", "en"),
        ("es", "pt-BR", "es"),
        ("pt", "", "pt-BR"),
        ("xx", "es", "es"),
    ],
)
def test_a_language_is_chosen(asked: str | None, accepted: str, language: str) -> None:
    assert choose_language(asked, accepted) == language


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        (None, "pt-BR,es;q=0.9", "es"),
        ("pt-BR", "es", "es"),
        ("es", "en", "es"),
        (None, "pt-BR, fr", "en"),
    ],
)
def test_a_language_is_one_that_the_page_has(asked: str | None, accepted: str, language: str) -> None:
    assert choose_language(asked, accepted, "en", ("en", "es")) == language


@pytest.mark.parametrize(
    ("amount_minor", "currency", "language", "text"),
    [
        (123456789, "EUR", "en", "1,234,567.89 EUR"),
        (123456789, "EUR", "es", "1.234.567,89 EUR"),
        (-5, "EUR", "pt-BR", "−0,05 EUR"),
        (1500, "JPY", "en", "1,500 JPY"),
        (1, "BTC", "en", "0.00000001 BTC"),
        (2**62, "KWD", "en", "4,611,686,018,427,387.904 KWD"),
    ],
)
def test_money_is_written_exactly(amount_minor: int, currency: str, language: str, text: str) -> None:
    assert format_money(amount_minor, currency, language) == text


def test_spans_have_two_units() -> None:
    assert [format_duration(seconds) for seconds in (None, 0, 59, 61, 7260, 90_000)] == [
        "–", "0 s", "59 s", "1 min 1 s", "2 h 1 min", "1 d 1 h",
    ]  # fmt: skip
