"""Signatures and order of directory snapshots."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest
from tests.factories.keys import derive_public_key

from pitboss.directory.contracts import DirectoryContent, ForeignTenant, PublicKey, SignedSnapshot, SigningKey
from pitboss.directory.errors import SnapshotRefused
from pitboss.directory.rules import decide_store, sign_snapshot, verify_snapshot

KEY = SigningKey("k1", b"\1" * 32)
OTHER_KEY = SigningKey("k2", b"\2" * 32)
CONTENT = DirectoryContent(elsewhere=(ForeignTenant("jade", ("jade.example",), "br-1", "https://br-1.example"),))
SIGNED = sign_snapshot("eu-1", 7, CONTENT, KEY)


def keys(*signing: SigningKey) -> list[PublicKey]:
    return [derive_public_key(key) for key in signing]


def test_what_control_signed_is_believed() -> None:
    snapshot = verify_snapshot(SIGNED, "eu-1", keys(OTHER_KEY, KEY))
    assert (snapshot.cell, snapshot.version, snapshot.content) == ("eu-1", 7, CONTENT)


def test_equal_content_has_equal_bytes() -> None:
    assert sign_snapshot("eu-1", 7, CONTENT, KEY) == SIGNED


@dataclass
class Forgery:
    why: str
    signed: SignedSnapshot
    cell: str = "eu-1"


def _changed_byte(position: int) -> SignedSnapshot:
    body = bytearray(SIGNED.body)
    body[position] ^= 1
    return msgspec.structs.replace(SIGNED, body=bytes(body))


_UNKNOWN_FORMAT = SIGNED.body.replace(b'"format":1', b'"format":9')
FORGERIES = [
    *[Forgery("bad signature", _changed_byte(position)) for position in range(len(SIGNED.body))],
    Forgery("bad signature", msgspec.structs.replace(SIGNED, signature=bytes(64))),
    Forgery("bad signature", msgspec.structs.replace(SIGNED, signature=b"")),
    Forgery("bad signature", msgspec.structs.replace(sign_snapshot("eu-1", 7, CONTENT, OTHER_KEY), key_id="k1")),
    Forgery("does not know", sign_snapshot("eu-1", 7, CONTENT, OTHER_KEY)),
    Forgery("is for cell br-1", sign_snapshot("br-1", 7, CONTENT, KEY)),
    Forgery("says that it is version 7", msgspec.structs.replace(SIGNED, version=8)),
]


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forgery_is_refused(forgery: Forgery) -> None:
    with pytest.raises(SnapshotRefused, match=forgery.why):
        verify_snapshot(forgery.signed, forgery.cell, keys(KEY))


def test_a_signature_for_another_purpose_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    bare = Ed25519PrivateKey.from_private_bytes(KEY.seed).sign(SIGNED.body)
    with pytest.raises(SnapshotRefused, match="bad signature"):
        verify_snapshot(msgspec.structs.replace(SIGNED, signature=bare), "eu-1", keys(KEY))


def test_an_unknown_format_is_refused_although_signed() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from pitboss.directory import rules

    signature = Ed25519PrivateKey.from_private_bytes(KEY.seed).sign(rules._PURPOSE + _UNKNOWN_FORMAT)
    signed = msgspec.structs.replace(SIGNED, body=_UNKNOWN_FORMAT, signature=signature)
    with pytest.raises(SnapshotRefused, match="has format 9"):
        verify_snapshot(signed, "eu-1", keys(KEY))


def test_only_what_is_newer_is_stored() -> None:
    assert decide_store(None, SIGNED)
    assert decide_store(SIGNED, sign_snapshot("eu-1", 8, CONTENT, KEY))
    assert not decide_store(SIGNED, SIGNED)


def test_an_older_version_is_refused() -> None:
    with pytest.raises(SnapshotRefused, match="older than 7"):
        decide_store(SIGNED, sign_snapshot("eu-1", 6, CONTENT, KEY))


def test_two_contents_under_one_version_are_refused() -> None:
    with pytest.raises(SnapshotRefused, match="differs"):
        decide_store(SIGNED, sign_snapshot("eu-1", 7, DirectoryContent(), KEY))


def test_the_secret_half_is_not_printed() -> None:
    assert "\\x01" not in repr(KEY)
