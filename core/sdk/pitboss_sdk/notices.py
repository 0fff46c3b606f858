"""Notices about an aggregator's games, for plugins whose vendor documents none: Standard Webhooks with a body of ours.

The operator's own tooling sends them, or a relay of the aggregator's status page:
``{"type": "games.game_suspended", "data": {"operator": "aurora", "game": "nine-lanterns", "sequence": 12}}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pitboss_sdk.events import CatalogueChanged, GameResumed, GamesEvent, GameSuspended
from pitboss_sdk.games import MAX_REFERENCE_LENGTH
from pitboss_sdk.plugin import InvalidConfiguration
from pitboss_sdk.secrets import SecretRef
from pitboss_sdk.standard_webhooks import HEADERS, decode_key, verify
from pitboss_sdk.webhooks import Accepted, Forged, NotForUs, RawWebhook, Untranslatable, Verdict

NOTICE_HEADERS: Final = HEADERS
"""What a plugin that takes notices has stored of their headers."""


class _Data(msgspec.Struct, frozen=True):
    operator: Annotated[str, Meta(min_length=1)]
    game: Annotated[str, Meta(max_length=MAX_REFERENCE_LENGTH)] = ""
    sequence: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class _Notice(msgspec.Struct, frozen=True):
    type: str
    data: _Data


_ABOUT_A_GAME: Final = {"games.game_suspended": GameSuspended, "games.game_resumed": GameResumed}
_read: Final = msgspec.json.Decoder(_Notice)


class GameNotices:
    """The receiver of one tenant's notices: `operator` is who the tenant is at the aggregator."""

    def __init__(self, operator: str, keys: Sequence[bytes]) -> None:
        self._operator = operator
        self._keys = tuple(keys)

    def verify(self, raw: RawWebhook) -> Verdict:
        """Say whose a notice is. What is signed and cannot be read is the sender's all the same, and told at translation."""
        if raw.path or raw.method != "POST":
            return Forged("notices are posted to the address itself")
        verdict = verify(self._keys, raw)
        if isinstance(verdict, Forged):
            return verdict
        try:
            data = _read_notice(raw.body).data
        except Untranslatable:
            return verdict
        if data.operator != self._operator:
            return NotForUs("the notice names another operator")
        # A game's own count: without one, nothing is said of the order.
        counted = bool(data.game and data.game.isprintable() and data.sequence)
        return Accepted(
            verdict.event_id,
            verdict.sent_at_us,
            f"game:{data.game}" if counted else "",
            data.sequence if counted else 0,
        )

    def translate(self, raw: RawWebhook) -> tuple[GamesEvent, ...]:
        """Return the event of a notice; raise `Untranslatable`."""
        notice = _read_notice(raw.body)
        if notice.type == "games.catalogue_changed":
            return (CatalogueChanged(),)
        kind = _ABOUT_A_GAME.get(notice.type)
        if kind is None:
            raise Untranslatable("type is none that a notice can have")
        if not notice.data.game or not notice.data.game.isprintable():
            raise Untranslatable("data.game is missing or cannot be stored")
        return (kind(notice.data.game),)


def list_notice_keys(secrets: Mapping[str, str], references: Sequence[SecretRef | None]) -> tuple[bytes, ...]:
    """Return the keys behind the references that are set: several while one is replaced; raise `InvalidConfiguration`."""
    keys: list[bytes] = []
    for reference in references:
        if reference is None:
            continue
        if not secrets.get(reference.secret, "").strip():
            raise InvalidConfiguration(f"secret {reference.secret!r} is missing or empty")
        keys.append(decode_key(reference.secret, secrets[reference.secret]))
    return tuple(keys)


def _read_notice(body: bytes) -> _Notice:
    try:
        body.decode()  # the decoder skips unknown fields without looking at their bytes
        return _read.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Untranslatable("the body is no notice") from None
