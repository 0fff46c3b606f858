"""Which calls a cell believes."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import msgspec
import pytest
from tests.factories.keys import derive_public_key

from pitboss.directory.contracts import DirectoryContent, SigningKey
from pitboss.directory.rules import sign_snapshot
from pitboss.hosting.contracts import MAX_AGE_SECONDS, Call, CallKind
from pitboss.hosting.errors import CallRefused
from pitboss.hosting.rules import sign_call, verify_call

NOW = 1_800_000_000
KEY = SigningKey("k1", b"\1" * 32)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NEXT = SigningKey("k2", b"\2" * 32)
CALL = Call("br-1", UUID(int=7), NOW, CallKind.PLAN_TENANT, msgspec.Raw(b'{"a":1}'))


def verify(body: bytes, header: str, keys: tuple[SigningKey, ...] = (KEY,)) -> Call:
    return verify_call(body, header, [derive_public_key(key) for key in keys], cell="br-1", now_seconds=NOW)


def test_a_signed_call_is_read_as_it_was_made() -> None:
    call = verify(*sign_call(CALL, KEY))
    assert (call.cell, call.call_id, call.kind, bytes(call.content)) == ("br-1", UUID(int=7), "tenant.plan", b'{"a":1}')


def test_a_trace_goes_with_the_signed_body_and_is_left_out_where_there_is_none() -> None:
    body, header = sign_call(msgspec.structs.replace(CALL, trace=TRACE), KEY)
    assert verify(body, header).trace == TRACE
    assert b"trace" not in sign_call(CALL, KEY)[0]


def test_keys_are_exchanged_without_a_gap() -> None:
    for key in (KEY, NEXT):
        assert verify(*sign_call(CALL, key), (KEY, NEXT)).call_id == CALL.call_id
    with pytest.raises(CallRefused, match="not signed by a key"):
        verify(*sign_call(CALL, KEY), (NEXT,))


FORGERIES: dict[str, Callable[[bytes, str], tuple[bytes, str]]] = {
    "no signature": lambda body, _: (body, ""),
    "no digits": lambda body, _: (body, "k1:"),
    "no hexadecimal": lambda body, _: (body, "k1:zz"),
    "half a signature": lambda body, header: (body, header[:-64]),
    "one bit": lambda body, header: (body, header[:-1] + ("0" if header[-1] != "0" else "1")),
    "another body": lambda body, header: (body.replace(b'{"a":1}', b'{"a":2}'), header),
    "trailing bytes": lambda body, header: (body + b" ", header),
    "a trace put in": lambda body, header: (body[:-1] + f',"trace":"{TRACE}"}}'.encode(), header),
    "another key under the same id": lambda *_: sign_call(CALL, SigningKey("k1", b"\3" * 32)),
    "the directory's purpose": lambda *_: _signed_for_the_directory(),
    "for another cell": lambda *_: sign_call(msgspec.structs.replace(CALL, cell="eu-1"), KEY),
    "too old": lambda *_: sign_call(msgspec.structs.replace(CALL, issued_at=NOW - MAX_AGE_SECONDS - 1), KEY),
    "from the future": lambda *_: sign_call(msgspec.structs.replace(CALL, issued_at=NOW + MAX_AGE_SECONDS + 1), KEY),
}


def _signed_for_the_directory() -> tuple[bytes, str]:
    signed = sign_snapshot("br-1", 1, DirectoryContent(), KEY)
    return signed.body, f"k1:{signed.signature.hex()}"


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forgery_is_refused(forgery: str) -> None:
    with pytest.raises(CallRefused):
        verify(*FORGERIES[forgery](*sign_call(CALL, KEY)))


@pytest.mark.parametrize("age", [-MAX_AGE_SECONDS, 0, MAX_AGE_SECONDS])
def test_clocks_may_differ_a_little(age: int) -> None:
    assert verify(*sign_call(msgspec.structs.replace(CALL, issued_at=NOW - age), KEY))


def test_a_well_signed_riddle_is_refused() -> None:
    for body in (b"", b"[]", b'{"cell":"br-1"}', b"\xff"):
        key = KEY
        signed = _sign_bytes(body, key)
        with pytest.raises(CallRefused, match="cannot be read"):
            verify(body, signed)


def _sign_bytes(body: bytes, key: SigningKey) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    purpose = b"pitboss call from control to a cell\n"
    return f"{key.key_id}:{Ed25519PrivateKey.from_private_bytes(key.seed).sign(purpose + body).hex()}"
