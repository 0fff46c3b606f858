"""Webhooks of vendors: what a receiver is given, and what it may say of it.

A receiver is pure and synchronous, like a dialect: no I/O, no clock. It says whose a call is (`verify_webhook`) and what
it means (`translate_webhook`). The host keeps the rest: it holds the signed time against the clock, stores the raw
call, drops repetitions, and translates later, in another process and perhaps more than once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Protocol

import msgspec

from pitboss_sdk.errors import ErrorKind, PitbossError

MAX_EVENT_ID_LENGTH: Final = 200
"""Longest id of an event, and of the object that it is about, that the host stores, in characters."""
NEVER_STORED: Final = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})
"""Headers that no receiver may have stored: they let their reader act as somebody else."""


class RawWebhook(msgspec.Struct, frozen=True):
    """A call as it came.

    `path` is what follows the receiver's address, without a slash in front; header names are in lower case; `body` has
    the exact bytes. `received_at_us` is the host's clock in microseconds since 1970, UTC. When it is translated,
    `headers` has those of `webhook_headers` alone.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    received_at_us: int


class Accepted(msgspec.Struct, frozen=True):
    """The vendor sent this. `event_id` is the same in every repetition; an event is carried out once.

    `sent_at_us` is the signed time in microseconds since 1970; None where the vendor signs none. Where the vendor counts
    what happens to an object, `object_id` names it and `sequence` is that number: an event that is not above the last
    one of its object is dropped.
    """

    event_id: str
    sent_at_us: int | None = None
    object_id: str = ""
    sequence: int = 0


class NotForUs(msgspec.Struct, frozen=True):
    """The vendor sent this, but to somebody else: another merchant, another operator. `reason` is told to the vendor."""

    reason: str = ""


class Forged(msgspec.Struct, frozen=True):
    """This cannot be the vendor's: no signature, or a wrong one. `reason` is told to the sender, so tell no secret."""

    reason: str = ""


Verdict = Accepted | NotForUs | Forged


class Untranslatable(PitbossError):
    """Raised by `translate_webhook`: the event is the vendor's, but no document says what it means. It is set aside."""

    code = "plugin.untranslatable"
    kind = ErrorKind.INVALID


class WebhookReceiver(Protocol):
    """What the class of a plugin has besides, once its manifest says that webhooks are signed."""

    webhook_headers: ClassVar[frozenset[str]]
    """Headers, in lower case, that `translate_webhook` or a later look at the evidence needs; the host stores no others."""

    def verify_webhook(self, raw: RawWebhook) -> Verdict:
        """Say whose a call is, from its exact bytes; a time that is signed is told and not judged."""
        ...

    def translate_webhook(self, raw: RawWebhook) -> tuple[Any, ...]:
        """Return the events of a call that was accepted, possibly none; raise `Untranslatable`."""
        ...
