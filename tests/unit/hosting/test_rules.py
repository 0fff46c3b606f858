"""Which calls a cell believes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest
from tests.factories.keys import derive_public_key

from pitboss.directory.contracts import DirectoryContent, SigningKey
from pitboss.directory.rules import sign_snapshot
from pitboss.hosting.contracts import MAX_AGE_SECONDS, Call, CallKind, HeldTenant, TenantOrder
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


def held(plugin: str = "softswiss", brand: str = "aurora", **theme: object) -> bytes:
    """Return what a cell says that it holds of a tenant."""
    return msgspec.json.encode(
        {
            "plugins": [{"slug": plugin, "config": {}, "config_version": 1}],
            "policy": {},
            "themes": {brand: {"colour": "#0b6e4f", **theme}},
            "touches": [],
        }
    )


def ordered(plugin: str = "softswiss", brand: str = "aurora", **theme: object) -> bytes:
    """Return what a cell is asked to hold."""
    place = {"tenant_id": 1, "slug": "aurora", "cell": "eu-1", "locality": "eu", "currencies": ["EUR"]}
    themes = {brand: {"colour": "#0b6e4f", **theme}}
    return msgspec.json.encode({**place, "plugins": {plugin: {}}, "themes": themes})


@pytest.mark.parametrize(("write", "shape"), [(held, HeldTenant), (ordered, TenantOrder)])
@pytest.mark.parametrize(
    "wrong",
    [
        {"plugin": "../../aurora/tenant"},
        {"plugin": "Soft"},
        {"brand": "../aurora"},
        {"brand": "a\n"},
        {"colour": "#1f53b8; } @import url(/x); body { display: none"},
        {"colour": "red"},
        {"names": {"es": ""}},
        {"names": {"es": "x" * 81}},
        {"names": {"e" * 40: "x"}},
        {"names": {f"l{number}": "x" for number in range(17)}},
    ],
)
def test_what_is_no_name_or_colour_is_not_read(write: Callable[..., bytes], shape: type, wrong: dict[str, Any]) -> None:
    msgspec.json.decode(write(names={"es": "Aurora Sur"}), type=shape)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(write(**wrong), type=shape)
