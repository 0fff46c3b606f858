"""Standard Webhooks 1.0.0 (standardwebhooks.com): the symmetric signature `v1`, checked over the raw bytes.

A library that checks it reads the clock by itself; here the signed time is told, and the host judges it.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Sequence
from typing import Final

from pitboss_sdk.plugin import InvalidConfiguration
from pitboss_sdk.webhooks import Accepted, Forged, RawWebhook

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
HEADERS: Final = frozenset({ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER})
MAX_SIGNATURES: Final = 8
"""Signatures of one call that are looked at: while a key is replaced there are two."""

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1,"
_KEY_BYTES: Final = range(24, 65)
# No full stop: it separates what is signed, and an id that had one could be read in two ways.
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_TIMESTAMP: Final = re.compile(r"[1-9][0-9]{0,10}", re.ASCII)


def decode_key(name: str, text: str) -> bytes:
    """Return the key in a secret, `whsec_` and base64 of 24 to 64 bytes; raise `InvalidConfiguration`."""
    try:
        key = b64decode(text.strip().removeprefix(_PREFIX).encode("ascii"), validate=True)
    except (Base64Error, UnicodeEncodeError, ValueError):
        key = b""
    if not text.strip().startswith(_PREFIX) or len(key) not in _KEY_BYTES:
        raise InvalidConfiguration(f"secret {name!r} is not {_PREFIX} and base64 of 24 to 64 bytes")
    return key


def sign(key: bytes, event_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a call as its header has it."""
    return _VERSION + _compute(key, event_id, str(timestamp), body)


def verify(keys: Sequence[bytes], raw: RawWebhook) -> Accepted | Forged:
    """Say whether one of `keys` signed the call, whichever it was."""
    event_id = raw.headers.get(ID_HEADER, "")
    timestamp = raw.headers.get(TIMESTAMP_HEADER, "")
    if not _ID.fullmatch(event_id) or not _TIMESTAMP.fullmatch(timestamp):
        return Forged("webhook-id or webhook-timestamp is missing or malformed")
    expected = [_compute(key, event_id, timestamp, raw.body).encode() for key in keys]
    if any(_is_one_of(claimed, expected) for claimed in _list_claimed(raw.headers.get(SIGNATURE_HEADER, ""))):
        return Accepted(event_id, int(timestamp) * 1_000_000)
    return Forged("no signature fits")


def _compute(key: bytes, event_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{event_id}.{timestamp}.".encode("ascii") + body
    return b64encode(hmac.digest(key, signed, "sha256")).decode("ascii")


def _list_claimed(header: str) -> Iterable[bytes]:
    parts = header.split(" ", MAX_SIGNATURES)[:MAX_SIGNATURES]
    return [part.removeprefix(_VERSION).encode("utf-8", "replace") for part in parts if part.startswith(_VERSION)]


def _is_one_of(claimed: bytes, expected: Iterable[bytes]) -> bool:
    return any(hmac.compare_digest(claimed, each) for each in expected)
