"""The signing keys of a cell's logs out of a file, and the names under which logs sign."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pitboss.audit.contracts import Signer
from pitboss.audit.errors import KeyMissing
from pitboss.audit.rules.note import NoteKey, compose_note, write_signature


def origin_of(cell: str, slug: str) -> str:
    """Return the name of a tenant's log, under which it signs too."""
    return f"pitboss.audit/{cell}/{slug}"


def describe_keys(origin: str, public_keys: Iterable[bytes]) -> list[str]:
    """Return the public keys of a log as auditors are given them."""
    return [NoteKey(origin, key).text for key in public_keys]


def read_private_toml(path: Path) -> dict[str, Any]:
    """Return a file that only its owner may read; raise `KeyMissing`."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyMissing(f"{path} may be read by others than its owner")
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise KeyMissing(f"{path} cannot be read ({type(error).__name__})") from None


def read_seed(text: object, what: str) -> Ed25519PrivateKey:
    """Return the key of 32 bytes in hexadecimal; raise `KeyMissing`."""
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(str(text)))
    except ValueError:
        raise KeyMissing(f"{what} is no Ed25519 key of 32 bytes in hexadecimal") from None


def read_key_file(path: Path) -> tuple[Ed25519PrivateKey, ...]:
    """Return the keys of a file: `current` signs, `previous` (if it is there) may still hand its logs over."""
    found = read_private_toml(path)
    if not set(found) <= {"current", "previous"} or "current" not in found:
        raise KeyMissing(f"{path} holds `current`, and beside it at most `previous`")
    return tuple(read_seed(found[name], f"{name} in {path}") for name in ("current", "previous") if name in found)


async def sign_note(signer: Signer, origin: str, text: str) -> str:
    """Return a text as a note that the current key of a log has signed."""
    key = NoteKey(origin, signer.current)
    return compose_note(text, [write_signature(key, await signer.sign(key.raw, text.encode()))])


class FileSigner:
    """Signs with keys of a file, which is read again for each question: a replaced key is seen without a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def current(self) -> bytes:
        """The public key that signs now; raise `KeyMissing`."""
        return read_key_file(self._path)[0].public_key().public_bytes_raw()

    async def sign(self, public_key: bytes, message: bytes) -> bytes:
        """Return a signature; raise `KeyMissing` for a key that the file does not hold."""
        for key in read_key_file(self._path):
            if key.public_key().public_bytes_raw() == public_key:
                return key.sign(message)
        raise KeyMissing(f"{self._path} does not hold the key {public_key.hex()[:8]}… that has to sign")
