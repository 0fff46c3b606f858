"""Who calls (Zipf over all wallets) and what is asked for (the mix), drawn before the clock runs."""

from __future__ import annotations

import random
from collections.abc import Mapping
from enum import IntEnum
from itertools import accumulate
from typing import Final

ZIPF_EXPONENT: Final = 1.0
DRAWN: Final = 1 << 17


class Ask(IntEnum):
    """What a call asks for."""

    BET = 0
    WIN = 1
    ROLLBACK = 2
    HOLD = 3
    RESOLVE = 4
    DUPLICATE = 5
    BALANCE = 6


LEDGER_MIX: Final[Mapping[Ask, float]] = {
    Ask.BET: 70,
    Ask.WIN: 20,
    Ask.ROLLBACK: 5,
    Ask.HOLD: 1.5,
    Ask.RESOLVE: 1.5,
    Ask.DUPLICATE: 2,
}
HTTP_MIX: Final[Mapping[Ask, float]] = {Ask.BET: 70, Ask.WIN: 20, Ask.ROLLBACK: 5, Ask.BALANCE: 3, Ask.DUPLICATE: 2}


def draw_asks(mix: Mapping[Ask, float], rng: random.Random, count: int = DRAWN) -> list[int]:
    """Return `count` draws of the mix as plain numbers."""
    return [int(ask) for ask in rng.choices(list(mix), list(mix.values()), k=count)]


def draw_ranks(wallets: int, rng: random.Random, count: int = DRAWN) -> list[int]:
    """Return `count` Zipf draws: rank 0 is the busiest wallet."""
    weights = list(accumulate(1 / (rank + 1) ** ZIPF_EXPONENT for rank in range(wallets)))
    return rng.choices(range(wallets), cum_weights=weights, k=count)
