"""What the traffic source needs of each dialect, and which dialects it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from pitboss.cli.simulate.calls import Answer, Call, Holder


class Game(msgspec.Struct, frozen=True):
    """A game of the demo; `payout` is the return to player in percent."""

    title: str
    category: str
    payout: float


class Served(msgspec.Struct, frozen=True):
    """A call of the platform. `base` is the aggregator's own address, header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    base: str


class Launch(msgspec.Struct, frozen=True):
    """What a launch told, the only place from which the aggregator knows an account, and what it is answered.

    `session` is what comes back in wallet calls, `ticket` the last part of the address that the player is sent to.
    """

    account: str
    currency: str
    game: str
    session: str
    ticket: str
    answer: dict[str, str]


class Vendor(Protocol):
    """One aggregator of one tenant: its words, its key, its games."""

    @property
    def plugin(self) -> str:
        """The slug of the plugin that speaks with it."""
        ...

    @property
    def signature_header(self) -> str:
        """Name of the header that carries the signature of a wallet call."""
        ...

    @property
    def many_in_one(self) -> bool:
        """Whether one call can carry several movements."""
        ...

    @property
    def games(self) -> dict[str, Game]:
        """Games by their code; no two aggregators of the demo have one in common."""
        ...

    def sign(self, body: bytes) -> str:
        """Return the signature of a wallet call."""
        ...

    def write(self, call: Call, holder: Holder) -> tuple[str, bytes]:
        """Return operation and body of a call; the same call again has the same bytes."""
        ...

    def keep_books(self, call: Call, holder: Holder, *, accepted: bool) -> None:
        """Write what a call was answered for good into the aggregator's own books, where it has some to ask for."""
        ...

    def plant(self, fault: str) -> None:
        """Let those books have a fault: `lose` or `double`."""
        ...

    def negate(self, body: bytes) -> bytes:
        """Return a bet's body with its amount below zero."""
        ...

    def read(self, status: int, body: bytes, decimals: int) -> Answer | None:
        """Understand an answer; None where it has not the shape of one."""
        ...

    def serve(self, asked: Served) -> tuple[int, Any] | Launch | None:
        """Answer a call of the platform; None for an address that is another's."""
        ...


def make_vendor(plugin: str, config: Mapping[str, Any], secrets: Mapping[str, str]) -> Vendor | None:
    """Return the aggregator behind a plugin, or None for one that is not spoken here; raise `KeyError`."""
    from pitboss.cli.simulate import hub88, softswiss

    makers = {"softswiss": softswiss.make, "hub88": hub88.make}
    return makers[plugin](config, secrets) if plugin in makers else None
