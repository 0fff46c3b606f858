"""Sealed fields open at their place alone, wrapped keys under their key alone, and indexes agree with their forms."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pitboss.keys.contracts import FieldPlace, IndexedField
from pitboss.keys.errors import FieldUnreadable
from pitboss.keys.rules import (
    EPOCH_DAYS,
    FORMS,
    KEY_BYTES,
    NONCE_BYTES,
    bind,
    index_value,
    is_epoch_over,
    normalise,
    open_sealed,
    read_version,
    seal,
    tenant_key_name,
    unwrap_key,
    wrap_key,
)
from pitboss.platform.keys.service import check_name

KEY = bytes(range(32))
NONCE = bytes(12)
ANN = UUID(int=1)
PLACE = FieldPlace(ANN, "player_identity", "first_name", "7")

keys = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
nonces = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)
names = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
places = st.builds(FieldPlace, st.uuids(), names, names, st.text(max_size=30))
tenants = st.integers(1, 2**63 - 1)
versions = st.integers(1, 0xFFFF)


@given(keys, tenants, places, versions, nonces, st.binary(max_size=500))
def test_what_is_sealed_opens_at_its_place(
    key: bytes, tenant_id: int, place: FieldPlace, version: int, nonce: bytes, plain: bytes
) -> None:
    sealed = seal(key, tenant_id, place, version, nonce, plain)
    assert read_version(sealed) == version
    assert len(sealed) == 3 + NONCE_BYTES + len(plain) + 16
    assert open_sealed(key, tenant_id, place, sealed) == plain


@given(keys, tenants, tenants, places, places, versions, nonces, st.binary(max_size=50))
def test_what_is_sealed_opens_nowhere_else(
    key: bytes,
    tenant_id: int,
    other: int,
    place: FieldPlace,
    elsewhere: FieldPlace,
    version: int,
    nonce: bytes,
    plain: bytes,
) -> None:
    sealed = seal(key, tenant_id, place, version, nonce, plain)
    moved = [
        (other, place),
        (tenant_id, msgspec.structs.replace(place, table=elsewhere.table)),
        (tenant_id, msgspec.structs.replace(place, column=elsewhere.column)),
        (tenant_id, msgspec.structs.replace(place, row=elsewhere.row)),
    ]
    for tenant, there in moved:
        if (tenant, there) != (tenant_id, place):
            with pytest.raises(FieldUnreadable):
                open_sealed(key, tenant, there, sealed)


@given(keys, keys, nonces, st.binary(min_size=1, max_size=50))
def test_another_key_opens_nothing(key: bytes, other: bytes, nonce: bytes, plain: bytes) -> None:
    if key != other:
        with pytest.raises(FieldUnreadable):
            open_sealed(other, 1, PLACE, seal(key, 1, PLACE, 1, nonce, plain))


@given(st.data())
def test_any_flipped_bit_is_seen(data: st.DataObject) -> None:
    sealed = bytearray(seal(KEY, 7, PLACE, 3, NONCE, b"Anna"))
    place = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[place // 8] ^= 1 << (place % 8)
    with pytest.raises(FieldUnreadable):
        open_sealed(KEY, 7, PLACE, bytes(sealed))


@given(st.binary(max_size=80))
@example(b"")
@example(bytes([1]) + bytes(30))
def test_what_was_never_sealed_is_refused(noise: bytes) -> None:
    with pytest.raises((FieldUnreadable, ValueError)):
        open_sealed(KEY, 7, PLACE, noise)


def test_an_older_version_of_the_key_is_not_taken_for_the_newer() -> None:
    sealed = seal(KEY, 7, PLACE, 2, NONCE, b"Anna")
    back = sealed[:1] + (1).to_bytes(2, "big") + sealed[3:]
    with pytest.raises(FieldUnreadable):
        open_sealed(KEY, 7, PLACE, back)  # even where both versions were one key


@given(tenants, tenants, places, places, versions, versions)
def test_no_two_places_are_bound_alike(
    one: int, two: int, here: FieldPlace, there: FieldPlace, first: int, second: int
) -> None:
    named_alike = (one, here.table, here.column, here.row, first) == (two, there.table, there.column, there.row, second)
    assert (bind(one, here, first) == bind(two, there, second)) == named_alike


def test_a_row_cannot_pretend_to_be_other_parts() -> None:
    # With a separator inside, a row of one column could read as another's with a different version.
    tricks = [FieldPlace(ANN, "a", "b", "c|1"), FieldPlace(ANN, "a", "b", "c"), FieldPlace(ANN, "a", "b", "|c|1|1")]
    bound = {bind(7, place, version) for place in tricks for version in (1, 11)}
    assert len(bound) == 6


@pytest.mark.parametrize("name", ["", "A", "a|b", "a b", "1a", "a.b"])
def test_a_name_that_could_hold_a_separator_is_refused(name: str) -> None:
    for place in (FieldPlace(ANN, name, "b", "1"), FieldPlace(ANN, "a", name, "1")):
        with pytest.raises(ValueError, match="no name"):
            bind(7, place, 1)


@pytest.mark.parametrize("version", [0, -1, 0x10000])
def test_a_version_out_of_range_is_refused(version: int) -> None:
    with pytest.raises(ValueError, match="version"):
        bind(7, PLACE, version)


@given(keys, keys)
def test_a_key_is_unwrapped_under_its_own_key_alone(wrapping: bytes, key: bytes) -> None:
    wrapped = wrap_key(wrapping, key)
    assert unwrap_key(wrapping, wrapped) == key
    assert len(wrapped) == 40
    with pytest.raises(FieldUnreadable):
        unwrap_key(bytes(b ^ 1 for b in wrapping), wrapped)


def test_key_wrap_is_that_of_the_standard() -> None:
    # RFC 3394, section 4.6: 256 bits of key data under a key of 256 bits.
    wrapping = bytes.fromhex("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F")
    key = bytes.fromhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")
    wrapped = bytes.fromhex("28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21")
    assert wrap_key(wrapping, key) == wrapped


EMAIL = IndexedField("player_identity", "email", "email.1")


@pytest.mark.parametrize(
    ("form", "one", "two"),
    [
        ("email.1", "Ann@Example.com", " ann@example.COM "),
        ("email.1", "ann@bücher.example", "ANN@xn--bcher-kva.example"),
        ("email.1", "ａnn@example.com", "ann@example.com"),
        ("phone.1", "+49 (30) 123-456", "+4930123456"),
        ("phone.1", "+49/30.123456", "+49 30 123456"),
        ("text.1", "  Straße ", "STRASSE"),
    ],
)
def test_spellings_of_one_value_have_one_index(form: str, one: str, two: str) -> None:
    field = IndexedField("t", "c", form)
    assert normalise(form, one) == normalise(form, two)
    assert index_value(KEY, 7, field, one) == index_value(KEY, 7, field, two)


@given(st.sampled_from(sorted(FORMS)), st.text(max_size=60))
def test_a_form_of_a_form_is_itself(form: str, value: str) -> None:
    assert normalise(form, normalise(form, value)) == normalise(form, value)


def test_an_index_tells_tenants_columns_forms_lengths_and_keys_apart() -> None:
    value = "ann@example.com"
    found = {
        index_value(KEY, 7, EMAIL, value),
        index_value(KEY, 8, EMAIL, value),
        index_value(bytes(32), 7, EMAIL, value),
        index_value(KEY, 7, IndexedField("player_identity", "phone", "email.1"), value),
        index_value(KEY, 7, IndexedField("other", "email", "email.1"), value),
        index_value(KEY, 7, IndexedField("player_identity", "email", "exact.1"), value),
        index_value(KEY, 7, IndexedField("player_identity", "email", "email.1", 128), value),
    }
    assert len(found) == 7
    # A shorter one is no beginning of the longer: nothing is learnt from one about the other.
    assert len({each[:16] for each in found}) == 7


def test_short_indexes_collide_on_purpose() -> None:
    short = IndexedField("t", "c", "text.1", 8)
    values = {index_value(KEY, 7, short, f"value {number}") for number in range(2000)}
    assert {len(value) for value in values} == {1}
    assert len(values) == 256
    for bits in (0, 7, 9, 264):
        with pytest.raises(ValueError, match="bits"):
            index_value(KEY, 7, IndexedField("t", "c", "text.1", bits), "x")
    with pytest.raises(ValueError, match="form"):
        normalise("email.2", "x")


def test_an_epoch_is_over_after_its_days() -> None:
    began = datetime(2026, 11, 21, tzinfo=UTC)
    assert EPOCH_DAYS == 30
    assert not is_epoch_over(began, began + timedelta(days=30) - timedelta(microseconds=1))
    assert is_epoch_over(began, began + timedelta(days=30))


@given(st.from_regex(r"[a-z]{2}-[0-9]{1,3}", fullmatch=True), tenants)
def test_every_service_takes_the_name_of_a_tenants_key(cell: str, tenant_id: int) -> None:
    assert check_name(tenant_key_name(cell, tenant_id))


def test_nonces_are_as_long_as_the_cipher_wants() -> None:
    with pytest.raises(ValueError, match=r"[Nn]once"):
        seal(KEY, 7, PLACE, 1, os.urandom(4), b"x")
