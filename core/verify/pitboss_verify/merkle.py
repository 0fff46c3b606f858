"""The checking half of RFC 9162: roots by appending, proofs of inclusion and of consistency."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

_sha256 = sha256


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry's bytes."""
    return _sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash over two subtrees."""
    return _sha256(b"\x01" + left + right).digest()


class Stack:
    """A tree that only grows, as the stack of its perfect subtrees: the i-th set bit of the size is the i-th of them."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if len(peaks) != size.bit_count():
            raise ValueError("the left edge does not fit its size")
        self.size = size
        self._peaks = list(peaks)

    @property
    def peaks(self) -> list[bytes]:
        """The roots of the perfect subtrees, the largest first."""
        return self._peaks

    def append(self, entry: bytes) -> None:
        """Add an entry at the right end."""
        found = _sha256(b"\x00" + entry).digest()
        size, peaks = self.size, self._peaks
        while size & 1:
            found = _sha256(b"\x01" + peaks.pop() + found).digest()
            size >>= 1
        peaks.append(found)
        self.size += 1

    def root(self) -> bytes:
        """Return the root over all that was added."""
        if not self._peaks:
            return _sha256(b"").digest()
        found = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            found = node_hash(peak, found)
        return found


def root_from_inclusion(entry: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """Return the root that `proof` leads to from an entry, None where the proof has another length than it must."""
    return root_from_leaf(leaf_hash(entry), index, size, proof)


def root_from_leaf(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """Return the root that `proof` leads to from the hash of an entry, None where the proof has another length."""
    return _climb(leaf, index, size, list(proof)) if 0 <= index < size and _are_hashes(leaf, *proof) else None


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == 32 for value in values)


def _climb(found: bytes, index: int, size: int, proof: list[bytes]) -> bytes | None:
    """Work from the root down: the last hash of the proof is the other half of the whole tree."""
    if size == 1:
        return None if proof else found
    if not proof:
        return None
    left = 1 << ((size - 1).bit_length() - 1)
    other = proof.pop()
    if index < left:
        below = _climb(found, index, left, proof)
        return None if below is None else node_hash(below, other)
    below = _climb(found, index - left, size - left, proof)
    return None if below is None else node_hash(other, below)


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Return whether `proof` shows that the tree of size `new` begins with the tree of size `old`."""
    if not _are_hashes(*proof):
        return False
    if not 0 < old <= new:
        empty = _sha256(b"").digest()
        begins = old == 0 and not proof and old_root == empty
        return begins and (_are_hashes(new_root) if new else new_root == empty)
    hashes = list(proof)
    found = _rebuild(old, new, old_root, hashes, whole=True)
    return found == (old_root, new_root) and not hashes


def _rebuild(old: int, new: int, old_root: bytes, proof: list[bytes], *, whole: bool) -> tuple[bytes, bytes] | None:
    """Return the roots of the first `old` and of all `new` leaves of a subtree, by SUBPROOF of section 2.1.4.1."""
    if old == new:
        if whole:
            return old_root, old_root
        if not proof:
            return None
        found = proof.pop()
        return found, found
    if not proof:
        return None
    left = 1 << ((new - 1).bit_length() - 1)
    other = proof.pop()
    if old <= left:
        below = _rebuild(old, left, old_root, proof, whole=whole)
        return None if below is None else (below[0], node_hash(below[1], other))
    below = _rebuild(old - left, new - left, old_root, proof, whole=False)
    return None if below is None else (node_hash(other, below[0]), node_hash(other, below[1]))
