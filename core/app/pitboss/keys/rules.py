"""How fields are sealed, keys are wrapped and values are made searchable; chance and time are arguments."""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from pitboss.keys.contracts import FieldPlace, IndexedField
from pitboss.keys.errors import FieldUnreadable

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
EPOCH_DAYS: Final = 30
"""How long an epoch lasts, and so how long a copy made before an erasure can still open what was erased."""
_FORMAT: Final = 1
_HEAD_BYTES: Final = 3
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_NOT_A_DIGIT: Final = re.compile(r"[\s().\-/]")
_MAX_VERSION: Final = 0xFFFF
_MAX_FOLDS: Final = 16


def seal(key: bytes, tenant_id: int, place: FieldPlace, key_version: int, nonce: bytes, plain: bytes) -> bytes:
    """Return `plain` under AES-256-GCM, bound to its place: format, key version, nonce, ciphertext and tag."""
    head = bytes([_FORMAT]) + key_version.to_bytes(2, "big")
    return head + nonce + AESGCM(key).encrypt(nonce, plain, bind(tenant_id, place, key_version))


def open_sealed(key: bytes, tenant_id: int, place: FieldPlace, sealed: bytes) -> bytes:
    """Return what `seal` sealed for this place under this key; raise `FieldUnreadable`."""
    version = read_version(sealed)
    nonce, body = sealed[_HEAD_BYTES : _HEAD_BYTES + NONCE_BYTES], sealed[_HEAD_BYTES + NONCE_BYTES :]
    try:
        return AESGCM(key).decrypt(nonce, body, bind(tenant_id, place, version))
    except InvalidTag:
        raise FieldUnreadable(f"{place.table}.{place.column}: the sealed bytes do not fit this place") from None


def read_version(sealed: bytes) -> int:
    """Return the version of the subject's key that a field says it is sealed under; raise `FieldUnreadable`."""
    if len(sealed) < _HEAD_BYTES + NONCE_BYTES + TAG_BYTES or sealed[0] != _FORMAT:
        raise FieldUnreadable("these bytes are no sealed field")
    return int.from_bytes(sealed[1:_HEAD_BYTES], "big")


def bind(tenant_id: int, place: FieldPlace, key_version: int) -> bytes:
    """Return what is authenticated beside the field. Only the row may hold any character, and stands between others."""
    for name in (place.table, place.column):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a table or column")
    if not 1 <= key_version <= _MAX_VERSION:
        raise ValueError(f"{key_version} is no version of a key")
    return f"field.{_FORMAT}|{tenant_id}|{place.table}|{place.column}|{place.row}|{key_version}".encode()


def wrap_key(wrapping: bytes, key: bytes) -> bytes:
    """Return a key wrapped by AES key wrap (RFC 3394)."""
    return aes_key_wrap(wrapping, key)


def unwrap_key(wrapping: bytes, wrapped: bytes) -> bytes:
    """Return the key that was wrapped; raise `FieldUnreadable` if it was not wrapped under `wrapping`."""
    try:
        return aes_key_unwrap(wrapping, wrapped)
    except InvalidUnwrap:
        raise FieldUnreadable("a wrapped key does not fit the key of its epoch") from None


def epoch_context(cell: str, tenant_id: int, epoch: int) -> str:
    """Return the context that an epoch's key is wrapped in."""
    return f"epoch.1|{cell}|{tenant_id}|{epoch}"


def tenant_key_name(cell: str, tenant_id: int) -> str:
    """Return the name of a tenant's key in the key service."""
    return f"{cell}.tenant.{tenant_id}"


def is_epoch_over(started_at: datetime, now: datetime) -> bool:
    """Return whether the next epoch is due."""
    return now - started_at >= timedelta(days=EPOCH_DAYS)


def index_name(field: IndexedField) -> str:
    """Return the name under which the key of an index is kept: a changed form or length is another index."""
    return f"{field.table}.{field.column}.{field.form}.{field.bits}"


def index_value(key: bytes, tenant_id: int, field: IndexedField, value: str) -> bytes:
    """Return the blind index of a value: a keyed digest of its comparable form, cut to the field's bits."""
    if not 8 <= field.bits <= 256 or field.bits % 8:
        raise ValueError("an index has 8 to 256 bits, in whole bytes")
    message = f"index.1|{tenant_id}|{index_name(field)}|{normalise(field.form, value)}"
    return hmac.digest(key, message.encode(), "sha256")[: field.bits // 8]


def normalise(form: str, value: str) -> str:
    """Return the comparable form of a value."""
    if form not in FORMS:
        raise ValueError(f"there is no form {form!r}: {', '.join(sorted(FORMS))}")
    # Folding one character may lay another bare that folds again: the form is what folding leaves as it is.
    for _ in range(_MAX_FOLDS):
        folded = FORMS[form](value)
        if folded == value:
            break
        value = folded
    return value


def _fold(value: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value.strip()).casefold())


def _email(value: str) -> str:
    local, separator, domain = _fold(value).rpartition("@")
    try:
        return f"{local}{separator}{domain.encode('idna').decode() if domain else ''}"
    except UnicodeError:
        return f"{local}{separator}{domain}"


def _phone(value: str) -> str:
    return _NOT_A_DIGIT.sub("", _fold(value))


FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "exact.1": str,
    "text.1": _fold,
    "email.1": _email,
    "phone.1": _phone,
}
"""Forms never change: another rule is another form, with the next number."""
