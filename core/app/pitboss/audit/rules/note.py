"""Signed notes, checkpoints and cosignatures in the forms of C2SP (signed-note, tlog-checkpoint, tlog-cosignature)."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ED25519: Final = 1
COSIGNATURE: Final = 4
KEY_HASH_BYTES: Final = 4
_TIME_BYTES: Final = 8
_SIGNATURE_BYTES: Final = 64
_DASH: Final = "— "


class NoteInvalid(ValueError):
    """The text is no note, no checkpoint or no key in the form of C2SP."""


class NoteKey(msgspec.Struct, frozen=True):
    """A public key under a name; the same key under another name has another hash."""

    name: str
    raw: bytes
    algorithm: int = ED25519

    @property
    def key_hash(self) -> bytes:
        """Return the four bytes by which a signature names its key."""
        return sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.raw).digest()[:KEY_HASH_BYTES]

    @property
    def text(self) -> str:
        """Return the key as it is handed to auditors: name, hash, and the key with its algorithm."""
        return f"{self.name}+{self.key_hash.hex()}+{b64encode(bytes([self.algorithm]) + self.raw).decode()}"


class Checkpoint(msgspec.Struct, frozen=True):
    """What a log says of itself: how many entries, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


def compose_note(text: str, lines: Sequence[str]) -> str:
    """Return a note: its text, an empty line, and lines of signatures."""
    return "\n".join([text, *lines, ""])


def write_signature(key: NoteKey, signature: bytes) -> str:
    """Return the line of a signature, without its end."""
    return f"{_DASH}{key.name} {b64encode(key.key_hash + signature).decode()}"


def cosigned_message(text: str, epoch_seconds: int) -> bytes:
    """Return what a witness signs: that it has seen this checkpoint at that time."""
    return f"cosignature/v1\ntime {epoch_seconds}\n{text}".encode()


def write_cosignature(key: NoteKey, epoch_seconds: int, signature: bytes) -> str:
    """Return the line of a witness's cosignature, without its end."""
    return write_signature(key, epoch_seconds.to_bytes(_TIME_BYTES, "big") + signature)


def split_note(note: str) -> tuple[str, list[str]]:
    """Return the text of a note and its lines of signatures; raise `NoteInvalid`."""
    text, gap, rest = note.rpartition("\n\n")
    lines = rest.split("\n")
    if not gap or lines[-1] != "" or len(lines) < 2 or not all(line.startswith(_DASH) for line in lines[:-1]):
        raise NoteInvalid("the note has no text, or does not end in signatures")
    return f"{text}\n", lines[:-1]


def read_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint that a note's text is; raise `NoteInvalid`."""
    lines = text.split("\n")
    if len(lines) < 4 or not lines[0] or not lines[1].isascii() or not lines[1].isdigit():
        raise NoteInvalid("a checkpoint has an origin, a size and a root")
    size = int(lines[1])
    try:
        root = b64decode(lines[2], validate=True)
    except ValueError:
        raise NoteInvalid("the root is not base64") from None
    if str(size) != lines[1] or len(root) != 32 or text != Checkpoint(lines[0], size, root).text:
        raise NoteInvalid("the checkpoint is not written as it must be")
    return Checkpoint(lines[0], size, root)


def read_key(text: str) -> NoteKey:
    """Return the key that `NoteKey.text` wrote; raise `NoteInvalid`."""
    name, _, rest = text.strip().partition("+")
    digest, _, encoded = rest.partition("+")
    try:
        blob = b64decode(encoded, validate=True)
    except ValueError:
        raise NoteInvalid("the key is not base64") from None
    if not name or " " in name or len(blob) != 33 or blob[0] not in (ED25519, COSIGNATURE):
        raise NoteInvalid("a key has a name, a hash, and an Ed25519 key with its algorithm")
    key = NoteKey(name, blob[1:], blob[0])
    if key.key_hash.hex() != digest:
        raise NoteInvalid(f"the hash of {name} does not belong to its key")
    return key


def verify_line(text: str, line: str, key: NoteKey) -> int | None:
    """Return when a line of `key` was signed (0 for a key that states no time), None if it is not of it or not valid."""
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        blob = b64decode(encoded, validate=True)
    except ValueError:
        return None
    if name != key.name or blob[:KEY_HASH_BYTES] != key.key_hash:
        return None
    body = blob[KEY_HASH_BYTES:]
    moment, message = 0, text.encode()
    if key.algorithm == COSIGNATURE:
        moment, body = int.from_bytes(body[:_TIME_BYTES], "big"), body[_TIME_BYTES:]
        message = cosigned_message(text, moment)
    if len(body) != _SIGNATURE_BYTES:
        return None
    try:
        Ed25519PublicKey.from_public_bytes(key.raw).verify(body, message)
    except InvalidSignature:
        return None
    return moment


def is_signed(note: str, key: NoteKey) -> bool:
    """Return whether `key` has signed the note; raise `NoteInvalid`."""
    text, lines = split_note(note)
    return any(verify_line(text, line, key) is not None for line in lines)
