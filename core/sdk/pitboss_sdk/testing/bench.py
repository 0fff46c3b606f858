"""The bench that a plugin is examined on: it builds the plugin, makes calls in the vendor's name, and judges the answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from zlib import crc32

import msgspec

from pitboss_sdk.games import (
    MAX_LEGS,
    MAX_REFERENCE_LENGTH,
    CallKind,
    DialectRefusal,
    DialectResponse,
    GamesPlugin,
    LegAnswer,
    LegKind,
    RawCall,
    Refusal,
    WalletAnswer,
    WalletCall,
)
from pitboss_sdk.money import CURRENCIES, InvalidAmount, minor_from_decimal
from pitboss_sdk.testing.double import SIGNED_AT_US, Intent, Movement, Reading, Subject, Written

SAMPLED: Final = {0: "JPY", 2: "EUR", 3: "KWD", 8: "BTC"}
"""One currency for each number of decimals that amounts are tried in."""

MAX_WAYS: Final = 8
"""Most operations of one meaning that a double is asked for."""

BET: Final = Movement(LegKind.BET, "bet-1", "1")
WIN: Final = Movement(LegKind.WIN, "win-1", "3")
BACK: Final = Movement(LegKind.ROLLBACK, "back-1", reverses="bet-1")

PLAIN: Final[Mapping[str, Intent]] = {
    "balance": Intent(CallKind.BALANCE),
    "bet": Intent(CallKind.PLAY, movements=(BET,)),
    "win": Intent(CallKind.PLAY, movements=(WIN,)),
    "rollback": Intent(CallKind.ROLLBACK, movements=(BACK,)),
}
"""What every vendor can say."""

SPECIAL: Final[Mapping[str, Intent]] = {
    "bet and win": Intent(CallKind.PLAY, movements=(BET, WIN)),
    "last win": Intent(CallKind.PLAY, movements=(WIN,), finished=True),
    "last bet and win": Intent(CallKind.PLAY, movements=(BET, WIN), finished=True),
    "finish": Intent(CallKind.FINISH, finished=True),
    "free spin": Intent(CallKind.PLAY, movements=(WIN,), free_spin=True),
    "jackpot": Intent(
        CallKind.PLAY, movements=(Movement(LegKind.WIN, "win-1", "3", jackpot="2"),), jackpot_pool="pool-1"
    ),
}
"""What some vendors can say; the manifest says which."""


class Bench:
    """One subject, built, with what the rules ask of it."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.plugin: GamesPlugin = self.build()

    def build(self, secrets: Mapping[str, str] | None = None) -> GamesPlugin:
        """Return a new instance, configured as the subject says."""
        config = msgspec.convert(self.subject.config, self.subject.plugin.Config)
        return self.subject.plugin(config, self.subject.secrets if secrets is None else secrets)

    def write(self, intent: Intent) -> tuple[Written, RawCall] | None:
        """Return the vendor's call for an intent, well signed; None where the vendor has none."""
        written = self.subject.double.write(intent)
        return None if written is None else (written, self.call(written.operation, written.body))

    def call(self, operation: str, body: bytes, *, stranger: bool = False) -> RawCall:
        """Return a signed call."""
        headers = dict(self.subject.double.sign(operation, body, stranger=stranger))
        return RawCall(operation, headers, body, SIGNED_AT_US)

    def list_ways(self, intent: Intent) -> Iterator[tuple[Intent, Written, RawCall]]:
        """Yield the vendor's calls that say an intent: one for each operation that means it."""
        spoken = set[str]()
        for way in range(MAX_WAYS):
            asked = msgspec.structs.replace(intent, way=way)
            made = self.write(asked)
            if made is None or made[0].operation in spoken:
                return
            spoken.add(made[0].operation)
            yield asked, *made

    def list_calls(self, intents: Mapping[str, Intent] | None = None) -> Iterator[tuple[str, Intent, Written, RawCall]]:
        """Yield every call of the vendor that says one of the intents (by default, any), with that intent."""
        for name, intent in ({**PLAIN, **SPECIAL} if intents is None else intents).items():
            for asked, written, call in self.list_ways(intent):
                yield (name if not asked.way else f"{name} as {written.operation!r}"), asked, written, call

    def read(self, call: RawCall) -> WalletCall | Refusal:
        """Verify and parse a call; return the refusal where there is one. Anything else that is raised leaves."""
        try:
            self.plugin.verify(call)
            return self.plugin.parse(call)
        except DialectRefusal as refused:
            return refused.refusal

    def answer(
        self, written: Written | None, response: DialectResponse, faults: list[str], said: str
    ) -> Reading | None:
        """Return how the vendor understands an answer; None, and a fault, where no vendor could."""
        try:
            return self.subject.double.read(written, response)
        except (ValueError, KeyError, LookupError, msgspec.MsgspecError) as error:
            faults.append(f"{said}: the vendor cannot read HTTP {response.status} {response.body[:120]!r}: {error}")
            return None


def accept(call: WalletCall, balance_minor: int = 1_000) -> WalletAnswer:
    """Return the host's yes to a call, with a transaction of its own for each leg of each player and round."""
    whose = f"{call.account} {call.round}"
    legs = tuple(
        LegAnswer(leg.reference, f"0193d3a0-0000-7000-8000-{crc32(f'{whose} {leg.reference}'.encode()):012}")
        for leg in call.legs
    )
    return WalletAnswer(None, balance_minor, "0193d3a0-0000-7000-9000-000000000001", legs)


def compute_legs(intent: Intent) -> list[tuple[Any, ...]]:
    """Return what the legs of a call must hold that says `intent`, as tuples."""
    decimals = CURRENCIES[intent.currency].decimals
    return [
        (
            each.kind,
            each.reference,
            0 if each.kind is LegKind.ROLLBACK else minor_from_decimal(each.amount, decimals),
            each.reverses,
            minor_from_decimal(each.jackpot, decimals),
        )
        for each in intent.movements
    ]


def find_differences(intent: Intent, call: WalletCall) -> Iterator[str]:
    """Yield where a parsed call says something else than the vendor meant; what it leaves out is not told."""
    if call.kind is not intent.kind:
        yield f"kind is {call.kind.name}, meant was {intent.kind.name}"
    legs = [(leg.kind, leg.reference, leg.amount_minor, leg.reverses, leg.jackpot_minor) for leg in call.legs]
    if legs != compute_legs(intent):
        yield f"legs are {legs}, meant were {compute_legs(intent)}"
    for field in ("account", "currency"):
        if not getattr(call, field):
            yield f"{field} is left out: the host finds the wallet by account and currency"
    for field in ("account", "currency", "game", "session", "round", "jackpot_pool"):
        found, meant = getattr(call, field), getattr(intent, field)
        if found not in {meant, ""}:
            yield f"{field} is {found!r}, meant was {meant!r}"
    if any(leg.kind is LegKind.BET for leg in call.legs) and not call.game:
        yield "game is left out of a bet: the host refuses bets on games that it does not know"
    if call.legs and not call.round and call.kind is CallKind.PLAY:
        yield "round is left out of a call that moves money"
    if call.round_finished is not intent.finished:
        yield f"round_finished is {call.round_finished}, meant was {intent.finished}"
    if call.free_spin is not intent.free_spin:
        yield f"free_spin is {call.free_spin}, meant was {intent.free_spin}"


def find_excesses(call: WalletCall) -> Iterator[str]:
    """Yield where a parsed call is more than the host can store or the contract allows."""
    texts = [call.account, call.game, call.session, call.round, call.jackpot_pool]
    texts += [text for leg in call.legs for text in (leg.reference, leg.reverses)]
    for text in texts:
        if len(text) > MAX_REFERENCE_LENGTH or not text.isprintable():
            yield f"the reference {text[:20]!r}… of {len(text)} characters cannot be stored"
    if call.currency and call.currency not in CURRENCIES:
        yield f"currency {call.currency!r} is not one of the host"
    if len(call.legs) > MAX_LEGS:
        yield f"{len(call.legs)} legs are more than {MAX_LEGS}"
    if len({leg.reference for leg in call.legs}) < len(call.legs):
        yield "two legs have one reference"
    for leg in call.legs:
        if not leg.reference:
            yield "a leg has no reference"
        if leg.kind is LegKind.ROLLBACK and (leg.amount_minor or not leg.reverses or leg.reverses == leg.reference):
            yield f"rollback {leg.reference!r} has an amount, or reverses nothing or itself"
        if leg.kind is not LegKind.ROLLBACK and not 0 < leg.amount_minor < 2**63:
            yield f"amount {leg.amount_minor} of {leg.reference!r} is not positive or beyond 64 bits"
        if not 0 <= leg.jackpot_minor <= leg.amount_minor:
            yield f"jackpot {leg.jackpot_minor} is no part of {leg.amount_minor}"


def is_exact(amount: str, decimals: int) -> bool:
    """Say whether a currency of so many decimals holds the amount."""
    try:
        minor_from_decimal(amount, decimals)
    except InvalidAmount:
        return False
    return True
