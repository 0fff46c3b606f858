"""Rules about what a wallet call may be signed with beside the vendor's own scheme: nothing, and not long ago."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from pitboss_sdk.games import DialectRefusal, RawCall, Refusal
from pitboss_sdk.testing.bench import Bench
from pitboss_sdk.testing.call_rules import find_let_through
from pitboss_sdk.testing.double import SIGNED_AT_US

HASHES: Final = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
OTHER_HEADERS: Final = (
    *("authorization", "signature", "x-signature", "x-hub-signature", "x-hub-signature-256", "x-request-sign"),
    *("x-auth-signature", "x-hub88-signature", "x-sign", "x-hash", "x-api-key", "x-api-signature"),
)
_A_SECOND_US: Final = 1_000_000


def find_other_schemes_accepted(bench: Bench) -> Iterator[str]:
    """Nothing but the vendor's scheme is accepted: no other hash, form, header or order of the same key."""
    header = bench.subject.double.signature_header
    for name, _, _, call in bench.list_calls():
        claimed = call.headers[header]
        rest = {key: value for key, value in call.headers.items() if key != header}
        for scheme, text in _list_others(bench, call):
            if text != claimed:
                headers = {**rest, header: text}
                yield from find_let_through(
                    bench, f"{name}, signed by {scheme}", msgspec.structs.replace(call, headers=headers)
                )
        for other in OTHER_HEADERS:
            if other != header and other not in rest:
                headers = {**rest, other: claimed}
                yield from find_let_through(
                    bench, f"{name}, signed in {other}", msgspec.structs.replace(call, headers=headers)
                )
        for scheme, headers in _ask_double(bench, call).items():
            yield from find_let_through(
                bench, f"{name}, signed by {scheme}", msgspec.structs.replace(call, headers=dict(headers))
            )


def find_stale_accepted(bench: Bench) -> Iterator[str]:
    """A signed time is held against the receipt as closely as `call_skew_seconds` says; without one, no time counts."""
    skew_us = bench.subject.capability.call_skew_seconds * _A_SECOND_US
    near = (0, skew_us - _A_SECOND_US, _A_SECOND_US - skew_us) if skew_us else (0, 10**15, -(10**15), -SIGNED_AT_US)
    far = (skew_us + _A_SECOND_US, -skew_us - _A_SECOND_US, 10**15) if skew_us else ()
    for name, _, _, call in bench.list_calls():
        for offset_us in near:
            if not _is_taken(bench, call, offset_us):
                yield f"{name}, received {offset_us // _A_SECOND_US} s after it was signed: is refused"
        for offset_us in far:
            if _is_taken(bench, call, offset_us):
                yield f"{name}, received {offset_us // _A_SECOND_US} s after it was signed: is let through"


def _is_taken(bench: Bench, call: RawCall, offset_us: int) -> bool:
    try:
        bench.plugin.verify(msgspec.structs.replace(call, received_at_us=SIGNED_AT_US + offset_us))
    except DialectRefusal as refused:
        if refused.refusal is not Refusal.SIGNATURE_INVALID:
            raise
        return False
    return True


def _list_others(bench: Bench, call: RawCall) -> Iterator[tuple[str, str]]:
    """Yield signatures that somebody might take for as good: every common one that the configured secrets make."""
    texts = {"the body": call.body, "operation and body": call.operation.encode() + call.body}
    for key in sorted(set(_list_keys(bench.subject.secrets.values()))):
        yield "the secret itself", key.decode("latin-1")
        for hashed in HASHES:
            for said, text in texts.items():
                for form in _write(hmac.new(key, text, hashed).digest()):
                    yield f"HMAC-{hashed.upper()} of {said}", form
            for form in _write(hashlib.new(hashed, key + call.body).digest()):
                yield f"{hashed.upper()} of key and body", form
            for form in _write(hashlib.new(hashed, call.body + key).digest()):
                yield f"{hashed.upper()} of body and key", form
    for hashed in HASHES:
        for form in _write(hashlib.new(hashed, call.body).digest()):
            yield f"{hashed.upper()} of the body alone", form


def _list_keys(secrets: Iterable[str]) -> Iterator[bytes]:
    for secret in secrets:
        text = secret.strip()
        yield text.encode()
        try:
            yield b64decode(text, validate=True)
        except (Base64Error, ValueError):
            continue


def _write(digest: bytes) -> Iterator[str]:
    yield digest.hex()
    yield digest.hex().upper()
    yield b64encode(digest).decode()
    yield f"sha256={digest.hex()}"


def _ask_double(bench: Bench, call: RawCall) -> Mapping[str, Mapping[str, str]]:
    """Return what the double signs with the right key in a wrong way, where it has such: only it has a private key."""
    sign_otherwise = getattr(bench.subject.double, "sign_otherwise", None)
    return {} if sign_otherwise is None else sign_otherwise(call.operation, call.body)
