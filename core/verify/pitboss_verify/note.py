"""Signed notes, keys, checkpoints and cosignatures as C2SP writes them; read strictly, never written."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256

from pitboss_verify import ed25519

LOG_KEY, WITNESS_KEY = 1, 4


class Malformed(ValueError):
    """Something is not written in the form that it must have."""


@dataclass(frozen=True)
class Key:
    """A public key and the name under which it signs."""

    name: str
    digest: bytes
    algorithm: int
    raw: bytes

    @property
    def text(self) -> str:
        """The key as one line."""
        return f"{self.name}+{self.digest.hex()}+{b64encode(bytes([self.algorithm]) + self.raw).decode()}"


@dataclass(frozen=True)
class Signature:
    """A line under a note: whose it says it is, and its bytes."""

    name: str
    digest: bytes
    value: bytes


@dataclass(frozen=True)
class Checkpoint:
    """The size and the root of a log, with the text that was signed and the signatures under it."""

    origin: str
    size: int
    root: bytes
    text: str
    signatures: tuple[Signature, ...]


def parse_key(line: str) -> Key:
    """Return the key of a line `name+hash+base64`."""
    parts = line.strip().split("+", 2)
    if len(parts) != 3 or not parts[0]:
        raise Malformed("a key is name+hash+base64")
    blob = _base64(parts[2])
    if len(blob) != 33 or blob[0] not in (LOG_KEY, WITNESS_KEY):
        raise Malformed(f"{parts[0]}: not an Ed25519 key of a log or of a witness")
    digest = sha256(parts[0].encode() + b"\n" + blob).digest()[:4]
    if digest.hex() != parts[1]:
        raise Malformed(f"{parts[0]}: the hash does not belong to the key")
    return Key(parts[0], digest, blob[0], blob[1:])


def parse_note(note: str) -> tuple[str, tuple[Signature, ...]]:
    """Return text and signatures of a note."""
    cut = note.rfind("\n\n")
    if cut < 0 or not note.endswith("\n"):
        raise Malformed("no signatures stand under the text")
    found: list[Signature] = []
    for line in note[cut + 2 : -1].split("\n"):
        words = line.split(" ")
        if len(words) != 3 or words[0] != "—" or not words[1]:
            raise Malformed("a line under the text is no signature")
        blob = _base64(words[2])
        if len(blob) < 5:
            raise Malformed("a signature is too short")
        found.append(Signature(words[1], blob[:4], blob[4:]))
    return note[: cut + 1], tuple(found)


def parse_checkpoint(note: str) -> Checkpoint:
    """Return the checkpoint that a note is."""
    text, signatures = parse_note(note)
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise Malformed("a checkpoint has three lines")
    origin, size, root = lines[0], lines[1], _base64(lines[2])
    if not origin or not (size.isascii() and size.isdigit()) or str(int(size)) != size or len(root) != 32:
        raise Malformed("a checkpoint has an origin, a size and a root of 32 bytes")
    return Checkpoint(origin, int(size), root, text, signatures)


def is_signed_by(text: str, signature: Signature, key: Key) -> int | None:
    """Return the time that a valid signature of `key` states (0 for the key of a log), None for any other."""
    if (signature.name, signature.digest) != (key.name, key.digest):
        return None
    moment, message, value = 0, text.encode(), signature.value
    if key.algorithm == WITNESS_KEY:
        moment, value = int.from_bytes(value[:8], "big"), value[8:]
        message = f"cosignature/v1\ntime {moment}\n{text}".encode()
    return moment if ed25519.verify(key.raw, message, value) else None


def _base64(text: str) -> bytes:
    try:
        found = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("not base64") from None
    if b64encode(found).decode() != text:
        raise Malformed("not base64 in its only form")
    return found
