"""Random roles, assignments, resources and requests, with the values that decisions and SQL have gone wrong on."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from pitboss.permissions.contracts import (
    Assignment,
    Context,
    Effect,
    Family,
    Grant,
    Resource,
    Role,
    Scope,
    Strength,
    Window,
)

KEYS = ("cards.card.view", "cards.card.edit", "cards.card.approve")
WORDS = (
    "eu",
    "EU",
    "e%",
    "_u",
    "%",
    "' OR true --",
    "é",
    "e\u0301",
    "ß",
    "ｅｕ",
    "日本",
    "e",
    "eu ",
    "{eu}",
    "NULL",
    "\\",
)
"""Two spellings of one letter, case, padding, what LIKE and arrays and quotes mean something to."""
OWNERS = ("ann", "Ann", "bob", "a%")
CURRENCIES = ("EUR", "BRL", "eur")
AMOUNTS = (0, 1, 499, 500, 501, -1, 2**63 - 1, -(2**63))
ZONES = ("UTC", "America/Sao_Paulo", "Europe/Malta", "Australia/Lord_Howe", "Pacific/Apia")
NETWORKS = ("10.0.0.0/8", "10.1.0.0/16", "192.168.1.7/32", "2001:db8::/32", "0.0.0.0/0", "::/0")
ADDRESSES = ("10.1.2.3", "10.2.0.1", "192.168.1.7", "8.8.8.8", "2001:db8::1", "::1", "::ffff:10.1.2.3")
START = datetime(2026, 3, 28, tzinfo=UTC)
MOMENTS = tuple(START + timedelta(minutes=30 * step, microseconds=each) for step in range(96) for each in (-1, 0))


class Dice:
    """Makes worlds: all that it draws comes of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def words(self) -> frozenset[str] | None:
        """Return a set of words: mostly none at all, at times an empty one."""
        if self.chance(0.7):
            return None
        return frozenset(self.random.sample(WORDS, self.random.choice((0, 1, 2, 5, 12))))

    def window(self) -> Window:
        begin = self.random.randrange(0, 1440, 30)
        end = self.random.randrange(begin + 30, 1441, 30)
        days = frozenset(self.random.sample(range(1, 8), self.random.randint(1, 7)))
        return Window(self.random.choice(ZONES), days, begin, end)

    def scope(self, effect: Effect) -> Scope:
        allowed = effect is Effect.ALLOW
        capped = allowed and self.chance(0.2)
        return Scope(
            localities=self.words(),
            brands=self.words(),
            jurisdictions=self.words() if self.chance(0.3) else None,
            segments=self.words() if self.chance(0.3) else None,
            markets=self.words() if self.chance(0.3) else None,
            own_only=self.chance(0.15),
            max_amount_minor=self.random.choice((0, 500, 2**63 - 1)) if capped else None,
            currency=self.random.choice(CURRENCIES) if capped else "",
            fields=frozenset(self.random.sample(("email", "name", "phone"), 2))
            if allowed and self.chance(0.1)
            else None,
            window=self.window() if self.chance(0.1) else None,
            networks=frozenset(self.random.sample(NETWORKS, self.random.randint(0, 2))) if self.chance(0.1) else None,
            min_acr=self.random.choice(list(Strength)) if allowed and self.chance(0.15) else 0,
            max_auth_age_seconds=self.random.choice((1, 300, 86_400)) if allowed and self.chance(0.1) else None,
        )

    def moment(self) -> datetime:
        return self.random.choice(MOMENTS)

    def assignment(self, role: str) -> Assignment:
        begin = self.moment() if self.chance(0.15) else None
        end = self.moment() if self.chance(0.15) else None
        if begin is not None and end is not None and end <= begin:
            end = None
        return Assignment(role, self.scope(Effect.ALLOW) if self.chance(0.3) else Scope(), begin, end)

    def world(self) -> tuple[dict[str, Role], list[Assignment], Scope]:
        """Return roles, what one principal has of them, and what the session narrows it to."""
        roles: dict[str, Role] = {}
        for number in range(self.random.randint(0, 4)):
            grants: list[Grant] = []
            for _ in range(self.random.randint(0, 4)):
                effect = Effect.DENY if self.chance(0.3) else Effect.ALLOW
                scope = Scope() if self.chance(0.1) else self.scope(effect)
                grants.append(Grant(self.random.choice(KEYS), effect, scope))
            roles[f"role{number}"] = Role(f"role{number}", Family.PAYMENTS, tuple(grants))
        assignments = [self.assignment(self.random.choice([*roles, "gone"])) for _ in range(self.random.randint(0, 4))]
        return roles, assignments, self.scope(Effect.ALLOW) if self.chance(0.1) else Scope()

    def maybe(self, draw: Callable[[], str]) -> str | None:
        return None if self.chance(0.1) else draw()

    def word(self) -> str | None:
        return self.maybe(lambda: self.random.choice(WORDS))

    def resource(self) -> Resource:
        return Resource(
            self.word(),
            self.word(),
            self.word(),
            self.word(),
            self.word(),
            self.maybe(lambda: self.random.choice(OWNERS)),
            None if self.chance(0.1) else self.random.choice(AMOUNTS),
            self.maybe(lambda: self.random.choice(CURRENCIES)),
        )

    def context(self) -> Context:
        now = None if self.chance(0.05) else self.moment()
        signed_in = (now or START) - timedelta(seconds=self.random.choice((-1, 0, 1, 2, 300, 301, 90_000)))
        return Context(
            self.maybe(lambda: self.random.choice(OWNERS)),
            now,
            None if self.chance(0.05) else self.random.choice(list(Strength)),
            None if self.chance(0.05) else signed_in,
            None if self.chance(0.05) else ip_address(self.random.choice(ADDRESSES)),
        )
