"""The Merkle tree of RFC 9162: its edge grows by appending, proofs are read from tiles, and both can be checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final

import msgspec

HASH_BYTES: Final = 32
TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
"""Hashes in a full tile, as C2SP tlog-tiles has it; each stands for a perfect subtree of 256^level entries."""

Hashes = Sequence[bytes]
ReadTile = Callable[[int, int], Hashes]
"""Gives the hashes of tile (level, number); at the edge a tile may be shorter."""


class Tile(msgspec.Struct, frozen=True):
    """A full tile: written once, never changed."""

    level: int
    number: int
    hashes: bytes


def hash_leaf(body: bytes) -> bytes:
    """Return the hash of an entry."""
    return sha256(b"\x00" + body).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def hash_tree(leaves: Hashes) -> bytes:
    """Return the root over hashes of leaves (or of perfect subtrees of one height)."""
    row = list(leaves)
    if not row:
        return sha256(b"").digest()
    while len(row) > 1:
        paired = [hash_node(row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)]
        row = paired if len(row) % 2 == 0 else [*paired, row[-1]]
    return row[0]


class TreeEdge:
    """The right edge of a tree: all that is needed to append to it, and to know its root.

    `levels[n]` holds the hashes of the unfinished tile of level n, fewer than 256.
    """

    def __init__(self, levels: Iterable[Hashes] = ()) -> None:
        self._levels = [list(row) for row in levels]
        self._numbers = [self.size >> (TILE_HEIGHT * (level + 1)) for level in range(len(self._levels))]

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return sum(len(row) << (TILE_HEIGHT * level) for level, row in enumerate(self._levels))

    @property
    def levels(self) -> list[list[bytes]]:
        """The unfinished tile of each level."""
        return self._levels

    def extend(self, leaves: Iterable[bytes]) -> list[Tile]:
        """Append hashes of leaves; return the tiles that became full."""
        return self._extend(0, leaves)

    def _extend(self, level: int, hashes: Iterable[bytes]) -> list[Tile]:
        if level == len(self._levels):
            self._levels.append([])
            self._numbers.append(0)
        row = self._levels[level]
        row.extend(hashes)
        full: list[Tile] = []
        roots: list[bytes] = []
        for at in range(0, len(row) - TILE_WIDTH + 1, TILE_WIDTH):
            piece = row[at : at + TILE_WIDTH]
            full.append(Tile(level, self._numbers[level], b"".join(piece)))
            self._numbers[level] += 1
            roots.append(hash_tree(piece))
        if roots:
            del row[: len(roots) * TILE_WIDTH]
            full += self._extend(level + 1, roots)
        return full

    def peaks(self) -> list[bytes]:
        """Return the roots of the perfect subtrees that the tree consists of now, the largest first."""
        peaks: list[bytes] = []
        for row in reversed(self._levels):
            start, left = 0, len(row)
            while left:
                width = 1 << (left.bit_length() - 1)
                peaks.append(hash_tree(row[start : start + width]))
                start, left = start + width, left - width
        return peaks

    def root(self) -> bytes:
        """Return the root of the tree as it is now."""
        return fold_peaks(self.peaks())

    def dump(self) -> bytes:
        """Return the edge as bytes: for each level how many hashes (two bytes), then the hashes."""
        return b"".join(len(row).to_bytes(2, "big") + b"".join(row) for row in self._levels)

    @classmethod
    def load(cls, data: bytes) -> TreeEdge:
        """Return the edge that `dump` wrote; raise `ValueError`."""
        levels: list[list[bytes]] = []
        at = 0
        while at < len(data):
            count = int.from_bytes(data[at : at + 2], "big")
            end = at + 2 + count * HASH_BYTES
            if count >= TILE_WIDTH or end > len(data):
                raise ValueError("this is no edge of a tree")
            levels.append(split_hashes(data[at + 2 : end]))
            at = end
        return cls(levels)


def split_hashes(joined: bytes) -> list[bytes]:
    """Return the single hashes of a tile."""
    return [joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES)]


def fold_peaks(peaks: Hashes) -> bytes:
    """Return the root over perfect subtrees of falling size, the leftmost first."""
    if not peaks:
        return sha256(b"").digest()
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = hash_node(peak, root)
    return root


Range = tuple[int, int]


def list_inclusion(index: int, size: int) -> list[Range]:
    """Return the ranges of leaves whose roots prove the leaf at `index` in a tree of `size`, the nearest first."""
    if not 0 <= index < size:
        raise ValueError("the tree has no such leaf")
    found: list[Range] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            found.append((middle, high))
            high = middle
        else:
            found.append((low, middle))
            low = middle
    return found[::-1]


def list_consistency(old: int, new: int) -> list[Range]:
    """Return the ranges of leaves whose roots prove that the tree of `new` begins with that of `old`."""
    if not 0 <= old <= new:
        raise ValueError("a tree only grows")
    if old in (0, new):
        return []
    found: list[Range] = []
    low, high, whole = 0, new, True
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            found.append((middle, high))
            high = middle
        else:
            found.append((low, middle))
            low, whole = middle, False
    return [*([] if whole else [(low, high)]), *found[::-1]]


def list_peaks(size: int) -> list[Range]:
    """Return the perfect subtrees that a tree of `size` consists of, the largest first."""
    return list(_list_perfect(0, size))


def list_tiles(ranges: Iterable[Range]) -> set[tuple[int, int]]:
    """Return level and number of every tile that is read for the roots of `ranges`."""
    return {(level, number) for low, high in ranges for level, number, _, _ in _places(low, high)}


def hash_range(read: ReadTile, low: int, high: int) -> bytes:
    """Return the root over the leaves from `low` to `high`, a range out of a list of this module."""
    return fold_peaks(
        [hash_tree(read(level, number)[start : start + width]) for level, number, start, width in _places(low, high)]
    )


def _places(low: int, high: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield for each perfect subtree of a range its tile, and where in it its hashes stand."""
    for begin, end in _list_perfect(low, high):
        level, rest = divmod((end - begin).bit_length() - 1, TILE_HEIGHT)
        first = begin >> (TILE_HEIGHT * level)
        yield level, first >> TILE_HEIGHT, first % TILE_WIDTH, 1 << rest


def _list_perfect(low: int, high: int) -> Iterator[Range]:
    while low < high:
        width = 1 << ((high - low).bit_length() - 1)
        yield low, low + width
        low += width


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Hashes, root: bytes) -> bool:
    """Return whether `proof` leads from the hash of a leaf to the root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        return False
    node, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            found = hash_node(step, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = hash_node(found, step)
        node, last = node >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Hashes) -> bool:
    """Return whether `proof` shows that the tree of `new` begins with that of `old` (section 2.1.4.2)."""
    if not 0 <= old <= new or not _are_hashes(*proof):
        return False
    if old == 0:  # where a witness begins; the standard leaves it out
        return not proof and old_root == hash_tree([]) and (_are_hashes(new_root) if new else new_root == old_root)
    if old == new:
        return not proof and old_root == new_root
    steps = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not steps:
        return False
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first, second = hash_node(step, first), hash_node(step, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = hash_node(second, step)
        node, last = node >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root
