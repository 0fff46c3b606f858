"""The sender of notices about games (`pitboss_sdk.notices`) for the kit, written from the public documents."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

from pitboss_sdk.testing.double import Notice

_STRANGERS: Final = "whsec_" + b64encode(b"a key that nobody has configured").decode()


class NoticeSender:
    """An operator's tooling that posts notices with Standard Webhooks: `WebhookDouble` for plugins that take them."""

    signature_header = "webhook-signature"
    signed_headers = frozenset({"webhook-id", "webhook-timestamp"})
    counts = True

    def __init__(self, operator: str, secret: str) -> None:
        self._operator = operator
        self._secret = secret

    def write(self, notice: Notice) -> bytes | None:
        """Return the body of a notice."""
        operator = self._operator if notice.is_ours else f"not-{self._operator}"
        data: dict[str, Any] = {"operator": operator}
        if notice.event != "games.catalogue_changed":
            data |= {"game": notice.game, "sequence": notice.sequence}
        return json.dumps({"type": notice.event, "timestamp": "2026-09-21T14:13:20Z", "data": data}).encode()

    def sign(self, notice: Notice, body: bytes, *, stranger: bool = False) -> Mapping[str, str]:
        """Return the headers of a notice, under the scheme `v1`."""
        key = b64decode((_STRANGERS if stranger else self._secret).removeprefix("whsec_"))
        timestamp = str(notice.sent_at_us // 1_000_000)
        signed = b".".join((notice.event_id.encode(), timestamp.encode(), body))
        return {
            "content-type": "application/json",
            "webhook-id": notice.event_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": "v1," + b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode(),
        }
