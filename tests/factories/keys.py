"""Keys for tests: those that sign as control does, and the folder of keys that seal personal data."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pitboss.directory.contracts import PublicKey, SigningKey
from pitboss.keys.runtime import KeyRing
from pitboss.platform.keys.local import LocalKeyService


def derive_public_key(key: SigningKey) -> PublicKey:
    """Return the public half of `key`, for a cell's list."""
    return PublicKey(key.key_id, Ed25519PrivateKey.from_private_bytes(key.seed).public_key().public_bytes_raw())


@cache
def key_folder() -> Path:
    """Return the folder of keys that every cell of this run of the tests shares; it goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix="pitboss-test-keys-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder / "keys"


def make_ring(cell: str = "eu-1") -> KeyRing:
    """Return the keys of a cell as a process opens them."""
    return KeyRing(LocalKeyService(key_folder()), cell)
