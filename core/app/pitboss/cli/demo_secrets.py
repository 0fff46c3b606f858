"""Values for the secrets that the plugins of the demo name: random text, and key pairs where the name says so."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Iterable

_PUBLIC, _PRIVATE, _NOTICE = "-public-key", "-private-key", "-notice-secret"
_KEY_BITS = 2048


def make_demo_secrets(names: Iterable[str]) -> dict[str, str]:
    """Return a value for each name; a name that ends in `-public-key` gets its `-private-key` beside it.

    The other side of the demo is played on this machine too, with the private half of its own keys.
    """
    made: dict[str, str] = {}
    for name in sorted(names):
        if name.endswith(_PUBLIC):
            made[name.removesuffix(_PUBLIC) + _PRIVATE], made[name] = _make_key_pair()
        elif name.endswith(_PRIVATE):
            made.setdefault(name, _make_key_pair()[0])
        elif name.endswith(_NOTICE):  # in the form of Standard Webhooks
            made[name] = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
        else:
            made[name] = "demo-" + secrets.token_hex(32)
    return made


def _make_key_pair() -> tuple[str, str]:
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b64encode(private).decode(), b64encode(public).decode()
