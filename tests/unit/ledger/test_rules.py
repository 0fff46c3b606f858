"""Keys and content hashes tell ids and contents apart."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from pitboss.ledger.rules import compute_content_hash, compute_key

CONTENTS = st.tuples(
    st.integers(1, 11),
    st.integers(1, 10**6),
    st.integers(-(10**17), 10**17),
    st.text(max_size=20),
    st.text(max_size=20),
)


@given(st.text(max_size=128))
def test_a_key_is_half_of_a_sha_256_so_that_the_proof_can_make_it_again(reference: str) -> None:
    assert compute_key(reference) == sha256(reference.encode()).digest()[:16]


@given(st.text(), st.text())
def test_other_references_have_other_keys(one: str, other: str) -> None:
    assert (compute_key(one) == compute_key(other)) == (one == other)


@given(CONTENTS, CONTENTS)
def test_only_the_same_content_has_the_same_hash(
    one: tuple[int, int, int, str, str], other: tuple[int, int, int, str, str]
) -> None:
    assert (compute_content_hash(*one) == compute_content_hash(*other)) == (one == other)
    assert -(2**63) <= compute_content_hash(*one) < 2**63


def test_parts_of_a_content_do_not_run_into_each_other() -> None:
    assert compute_content_hash(1, 1, 1, "a|b", "c") != compute_content_hash(1, 1, 1, "a", "b|c")
    assert compute_content_hash(1, 11, 1, "", "") != compute_content_hash(11, 1, 1, "", "")
