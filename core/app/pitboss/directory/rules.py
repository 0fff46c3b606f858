"""Canonical bytes, signatures and the order of directory snapshots."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pitboss.directory.contracts import (
    SNAPSHOT_FORMAT,
    DirectoryContent,
    DirectorySnapshot,
    PublicKey,
    SignedSnapshot,
    SigningKey,
)
from pitboss.directory.errors import SnapshotRefused

_PURPOSE = b"pitboss directory snapshot\n"
_DECODER = msgspec.json.Decoder(DirectorySnapshot)


class _Header(msgspec.Struct, frozen=True):
    format: int


def sign_snapshot(cell: str, version: int, content: DirectoryContent, key: SigningKey) -> SignedSnapshot:
    """Put `content` into canonical bytes and sign them; the signature is good for this purpose only."""
    snapshot = DirectorySnapshot(format=SNAPSHOT_FORMAT, cell=cell, version=version, content=content)
    body = msgspec.json.encode(snapshot, order="deterministic")
    signature = Ed25519PrivateKey.from_private_bytes(key.seed).sign(_PURPOSE + body)
    return SignedSnapshot(version=version, key_id=key.key_id, body=body, signature=signature)


def verify_snapshot(signed: SignedSnapshot, cell: str, keys: Sequence[PublicKey]) -> DirectorySnapshot:
    """Return the snapshot that control signed for `cell`; raise `SnapshotRefused`."""
    key = next((key for key in keys if key.key_id == signed.key_id), None)
    if key is None:
        raise SnapshotRefused(f"directory snapshot {signed.version} is signed by a key that this cell does not know")
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signed.signature, _PURPOSE + signed.body)
    except InvalidSignature:
        raise SnapshotRefused(f"directory snapshot {signed.version} has a bad signature") from None
    found = msgspec.json.decode(signed.body, type=_Header).format
    if found != SNAPSHOT_FORMAT:
        raise SnapshotRefused(
            f"directory snapshot {signed.version} has format {found}, this cell reads {SNAPSHOT_FORMAT}"
        )
    snapshot = _DECODER.decode(signed.body)
    if snapshot.cell != cell:
        raise SnapshotRefused(f"directory snapshot {signed.version} is for cell {snapshot.cell}, this is {cell}")
    if snapshot.version != signed.version:
        raise SnapshotRefused(f"directory snapshot {signed.version} says that it is version {snapshot.version}")
    return snapshot


def decide_store(current: SignedSnapshot | None, offered: SignedSnapshot) -> bool:
    """Return whether `offered` is new; raise `SnapshotRefused` for an older one, or another of the same version."""
    if current is None or offered.version > current.version:
        return True
    if offered.version < current.version:
        raise SnapshotRefused(f"directory snapshot {offered.version} is older than {current.version}, which is here")
    if offered.body != current.body:
        raise SnapshotRefused(f"directory snapshot {offered.version} differs from the one of that version here")
    return False
