"""What the author of a plugin gives to the kit: a configured plugin, and a vendor to speak for the other side."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import msgspec

from pitboss_sdk.games import CallKind, DialectResponse, LegKind
from pitboss_sdk.manifest import GamesCapability, Manifest
from pitboss_sdk.plugin import HttpResponse

ACCOUNT: Final = "0193d3a0-7d1c-7c11-8a5e-4f2b6a9c0001"
SIGNED_AT_US: Final = 1_790_000_000_000_000
"""When the calls of the kit are signed and received, in microseconds since 1970: a vendor that signs a time signs this."""
SESSION: Final = "0193d3a0-7d1c-7c11-8a5e-4f2b6a9c0002"
GAME: Final = "book-of-tests"


Wish = Literal["grant", "refuse", "invent"]


class Movement(msgspec.Struct, frozen=True):
    """One movement that the vendor wants. `amount` and `jackpot` are decimals in the main unit, `12.34`."""

    kind: LegKind
    reference: str
    amount: str = "0"
    reverses: str = ""
    jackpot: str = "0"


class Intent(msgspec.Struct, frozen=True):
    """What the vendor wants to say, in no dialect yet.

    `way` asks for another operation with the same meaning: 0 is the vendor's first, 1 the second. A double whose
    vendor has one operation for each meaning never looks at it.
    """

    kind: CallKind
    account: str = ACCOUNT
    currency: str = "EUR"
    game: str = GAME
    session: str = SESSION
    round: str = "round-1"
    finished: bool = False
    movements: tuple[Movement, ...] = ()
    free_spin: bool = False
    jackpot_pool: str = ""
    way: int = 0


class Written(msgspec.Struct, frozen=True):
    """An intent in the vendor's words: the last path segment and the body."""

    operation: str
    body: bytes


class Reading(msgspec.Struct, frozen=True):
    """How the vendor understands an answer.

    `code` is the vendor's own word, `retries` says whether the vendor sends the same call again by itself, and
    `lacks_money` whether the vendor tells the player now that there is not enough money.
    `balance` is a decimal in the main unit. `transactions` are our ids, in the order of the call's movements,
    an empty one where nothing was booked. What the vendor's answers have no place for is None.
    """

    accepted: bool
    code: str
    retries: bool = False
    lacks_money: bool = False
    balance: str | None = None
    round: str | None = None
    transactions: tuple[str, ...] | None = None


class VendorRequest(msgspec.Struct, frozen=True):
    """What the plugin sent out; header names in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout_ms: int


class Notice(msgspec.Struct, frozen=True):
    """What the vendor wants to tell by a webhook, in no dialect yet: an event of `pitboss_sdk.events`, about a game.

    `is_ours` is False for what is meant for another of the vendor's customers. A vendor without counts or games leaves
    `sequence` or `game` out.
    """

    event: str
    event_id: str = "event-1"
    sent_at_us: int = SIGNED_AT_US
    game: str = GAME
    sequence: int = 1
    is_ours: bool = True


class WebhookDouble(Protocol):
    """The vendor's side of its webhooks, as its documents describe them; `VendorDouble.webhooks` where there are any."""

    @property
    def signature_header(self) -> str:
        """Name, in lower case, of the header that carries the signature."""
        ...

    @property
    def signed_headers(self) -> frozenset[str]:
        """Names of the other headers that the signature covers."""
        ...

    @property
    def counts(self) -> bool:
        """Whether the vendor counts what happens to an object."""
        ...

    def write(self, notice: Notice) -> bytes | None:
        """Return the body that tells `notice`; None where the vendor has no words for it."""
        ...

    def sign(self, notice: Notice, body: bytes, *, stranger: bool = False) -> Mapping[str, str]:
        """Return every header of a webhook with that body, signed with the configured key or a stranger's."""
        ...


class VendorDouble(Protocol):
    """The vendor as its documents describe it. Write it from them, never by calling the plugin.

    One whose vendor can be asked for its own books has `transactions` besides: what those books hold, in the words of
    the contract (`pitboss_sdk.games.ListedTransaction`), and serves them in the vendor's.
    """

    @property
    def signature_header(self) -> str:
        """Name, in lower case, of the header that carries the signature of a wallet call."""
        ...

    @property
    def amount_decimals(self) -> int | None:
        """Most decimals that the vendor's form of an amount can carry; None for any number."""
        ...

    @property
    def refused_currencies(self) -> frozenset[str]:
        """Currencies of the host that the plugin refuses because the vendor's form cannot carry their amounts."""
        ...

    def write(self, intent: Intent) -> Written | None:
        """Return the call that says `intent`, a new one each time; None when the vendor has none for it.

        `Intent.free_spin`, `Intent.jackpot_pool`, `Movement.jackpot` and two movements in one call need
        words of the vendor too: without them, return None.
        """
        ...

    def sign(self, operation: str, body: bytes, *, stranger: bool = False) -> Mapping[str, str]:
        """Return every header of a call, signed with the configured key, or with one that nobody configured.

        Equal calls have equal headers: where the vendor signs a time, sign `SIGNED_AT_US`.
        """
        ...

    def read(self, written: Written | None, response: DialectResponse) -> Reading:
        """Understand an answer to `written` (None: to a call that was never read); raise `ValueError` if no vendor could."""
        ...

    def serve(self, request: VendorRequest, wish: Wish) -> HttpResponse:
        """Answer a call of the plugin as wished.

        `grant` gives what is asked for, `refuse` a refusal that the documents list, `invent` an answer in the
        vendor's own shape with a status that no document lists. Check what a vendor checks (address, signature, shape) and raise `ValueError` where it is wrong.
        """
        ...


class Subject(msgspec.Struct, frozen=True):
    """A plugin under examination."""

    plugin: type[Any]
    config: Mapping[str, Any]
    """A tenant's table for the plugin, as in TOML."""
    secrets: Mapping[str, str]
    """The value of every secret that `config` names."""
    double: VendorDouble
    manifest: Manifest
    sources: Mapping[str, str]
    """The text of each module of the plugin, by file name."""
    old_configs: Mapping[int, Mapping[str, Any]] = {}
    """A tenant's table of each older `config_version`."""

    @property
    def capability(self) -> GamesCapability:
        """What the manifest says the plugin can do."""
        return msgspec.convert(self.manifest.capability, GamesCapability)


def read_subject(
    plugin: type[Any],
    config: Mapping[str, Any],
    secrets: Mapping[str, str],
    double: VendorDouble,
    *,
    old_configs: Mapping[int, Mapping[str, Any]] | None = None,
) -> Subject:
    """Return a plugin ready for examination, with the manifest and the modules that lie beside it."""
    folder = plugin_folder(plugin)
    text = (folder / "manifest.toml").read_text(encoding="utf-8")
    manifest = msgspec.convert(tomllib.loads(text), Manifest)
    return Subject(plugin, config, secrets, double, manifest, read_sources(plugin), old_configs or {})


def plugin_folder(plugin: type[Any]) -> Path:
    """Return the folder that holds the module of the plugin's class."""
    return Path(str(sys.modules[plugin.__module__].__file__)).parent


def read_sources(plugin: type[Any]) -> dict[str, str]:
    """Return the text of each module of the plugin's package."""
    folder = plugin_folder(plugin)
    if "." not in plugin.__module__:
        return {f"{plugin.__module__}.py": (folder / f"{plugin.__module__}.py").read_text(encoding="utf-8")}
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))
    }
