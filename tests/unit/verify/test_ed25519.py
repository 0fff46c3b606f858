"""The verifier's own Ed25519 agrees with the vectors of RFC 8032 and with another implementation."""

from __future__ import annotations

import random
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pitboss_verify.ed25519 import ORDER, P, verify

# RFC 8032, section 7.1: public key, message, signature of TEST 1, 2, 3 and SHA(abc).
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_the_vectors_of_the_standard_hold(key: str, message: str, signature: str) -> None:
    parts = [bytes.fromhex(each) for each in (key, message, signature)]
    assert verify(*parts)
    for part, at in ((0, 5), (2, 3), (2, 40)):
        changed = list(parts)
        changed[part] = parts[part][:at] + bytes([parts[part][at] ^ 4]) + parts[part][at + 1 :]
        assert not verify(*changed)
    assert not verify(parts[0], parts[1] + b"!", parts[2])


def test_what_another_implementation_signs_is_valid_and_nothing_else() -> None:
    draw = random.Random(20261121)
    began = time.perf_counter()
    for _ in range(100):
        key = Ed25519PrivateKey.from_private_bytes(draw.randbytes(32))
        public, message = key.public_key().public_bytes_raw(), draw.randbytes(draw.randint(0, 300))
        signature = key.sign(message)
        assert verify(public, message, signature)
        at, bit = draw.randrange(64), 1 << draw.randrange(8)
        assert not verify(public, message, signature[:at] + bytes([signature[at] ^ bit]) + signature[at + 1 :])
    print(f"{(time.perf_counter() - began) / 200 * 1000:.2f} ms a verification")


def test_a_second_form_of_a_signature_is_refused() -> None:
    key = Ed25519PrivateKey.generate()
    public, signature = key.public_key().public_bytes_raw(), key.sign(b"x")
    s = int.from_bytes(signature[32:], "little") + ORDER
    assert not verify(public, b"x", signature[:32] + s.to_bytes(32, "little"))


def test_what_is_no_key_or_no_signature_is_refused() -> None:
    key = Ed25519PrivateKey.generate()
    public, signature = key.public_key().public_bytes_raw(), key.sign(b"x")
    assert not verify(public[:-1], b"x", signature)
    assert not verify(public, b"x", signature[:-1])
    assert not verify(P.to_bytes(32, "little"), b"x", signature)  # y is not below p
    assert not verify((2).to_bytes(32, "little"), b"x", signature)  # no point of the curve has this y
