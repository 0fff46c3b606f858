"""Keys for tests that sign as control does."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pitboss.directory.contracts import PublicKey, SigningKey


def derive_public_key(key: SigningKey) -> PublicKey:
    """Return the public half of `key`, for a cell's list."""
    return PublicKey(key.key_id, Ed25519PrivateKey.from_private_bytes(key.seed).public_key().public_bytes_raw())
