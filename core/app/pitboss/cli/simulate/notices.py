"""The operators' tooling of the demo: it tells the platform by a signed notice that an aggregator's list has changed."""

from __future__ import annotations

import hmac
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from pitboss.cli.simulate.tally import Tally
from pitboss.cli.simulate.vendors import Game, Vendor
from pitboss.kernel.clock import epoch_seconds

EVERY_SECONDS: Final = 20
_GUESTS: Final = 6
"""Games that an aggregator shows as guests, one after the other; later they come again under another title."""


class Poster(Protocol):
    """The way to the platform's address of webhooks."""

    async def post_webhook(self, plugin: str, body: bytes, headers: Mapping[str, str]) -> int | None:
        """Post a webhook and return the status; None where nothing came back."""
        ...


class Notices:
    """Now and then another guest game in an aggregator's list, and a notice (Standard Webhooks) that says so."""

    def __init__(self, poster: Poster, tally: Tally, senders: Mapping[str, tuple[str, str]]) -> None:
        self._poster = poster
        self._tally = tally
        self._senders = senders
        self._sent = 0

    async def change(self, vendor: Vendor) -> None:
        """Change the list of an aggregator and tell the platform, twice in a while as senders do."""
        if vendor.plugin not in self._senders:
            return
        operator, secret = self._senders[vendor.plugin]
        self._sent += 1
        title = f"Guest {self._sent}"
        vendor.games[f"{vendor.plugin}-guest-{self._sent % _GUESTS}"] = Game(title, "slots", 95.0)
        body = msgspec.json.encode({"type": "games.catalogue_changed", "data": {"operator": operator}})
        headers = sign(secret, f"msg_{secrets.token_hex(12)}", epoch_seconds(), body)
        for _ in range(2 if self._sent % 3 == 0 else 1):
            status = await self._poster.post_webhook(vendor.plugin, body, headers)
            self._tally.counts["notices"] += 1
            if status is not None and status != 202 and status < 500:
                self._tally.add_difference(f"a notice about the games of {vendor.plugin} was answered with {status}")


def sign(secret: str, event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers of a notice."""
    key = b64decode(secret.removeprefix("whsec_"))
    signed = f"{event_id}.{timestamp}.".encode() + body
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": "v1," + b64encode(hmac.digest(key, signed, "sha256")).decode(),
    }


def find_senders(configs: Mapping[str, Mapping[str, Any]], known: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return, by plugin, the operator's name and the secret of those whose configuration names one for notices."""
    senders: dict[str, tuple[str, str]] = {}
    for plugin, config in configs.items():
        reference = config.get("notice_secret")
        if reference is not None:
            operator = config.get("casino_id") or config["operator_id"]
            senders[plugin] = (str(operator), str(known[reference["secret"]]))
    return senders
