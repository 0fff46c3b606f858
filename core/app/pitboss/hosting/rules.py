"""Signatures of calls, and whether a call may still be acted on."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pitboss.directory.contracts import PublicKey, SigningKey
from pitboss.hosting.contracts import MAX_AGE_SECONDS, Call
from pitboss.hosting.errors import CallRefused

_PURPOSE = b"pitboss call from control to a cell\n"
_DECODER = msgspec.json.Decoder(Call)


def sign_call(call: Call, key: SigningKey) -> tuple[bytes, str]:
    """Return the body and the value of the signature header; the signature is good for this purpose only."""
    body = msgspec.json.encode(call)
    signature = Ed25519PrivateKey.from_private_bytes(key.seed).sign(_PURPOSE + body)
    return body, f"{key.key_id}:{signature.hex()}"


def verify_call(body: bytes, header: str, keys: Sequence[PublicKey], *, cell: str, now_seconds: int) -> Call:
    """Return the call that control signed for `cell` a moment ago; raise `CallRefused`."""
    key_id, _, digits = header.partition(":")
    key = next((key for key in keys if key.key_id == key_id), None)
    if key is None:
        raise CallRefused("the call is not signed by a key that this cell knows")
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(bytes.fromhex(digits), _PURPOSE + body)
    except (InvalidSignature, ValueError):
        raise CallRefused("the call has a bad signature") from None
    try:
        call = _DECODER.decode(body)
    except msgspec.MsgspecError as error:
        raise CallRefused(f"the call cannot be read: {error}") from None
    if call.cell != cell:
        raise CallRefused(f"the call is for cell {call.cell}, this is {cell}")
    if abs(now_seconds - call.issued_at) > MAX_AGE_SECONDS:
        raise CallRefused(f"the call was made {now_seconds - call.issued_at} s ago by this cell's clock")
    return call
