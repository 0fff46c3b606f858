"""The tree of the audit log, the verifier's own checks and an independent library say the same of random trees.

A few thousand cases by default; PITBOSS_TEST_TREES sets another number (`make probes`: 100,000).
"""

from __future__ import annotations

import os
import random
from hashlib import sha256

import pytest
from pymerkle import InmemoryTree

from pitboss.audit.rules import merkle
from pitboss_verify import merkle as apart

CASES = int(os.environ.pop("PITBOSS_TEST_TREES", "3000"))
LARGEST = 700
"""Beyond the width of a tile twice, so that tiles of the second level are read too."""


class World:
    """One random log, grown by us, by the verifier's stack and by pymerkle."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.entries = [self.draw.randbytes(self.draw.randint(0, 40)) for _ in range(LARGEST)]
        self.theirs = InmemoryTree(algorithm="sha256")
        self.leaves = [merkle.hash_leaf(entry) for entry in self.entries]
        self.roots = [sha256(b"").digest()]
        for entry in self.entries:
            self.theirs.append_entry(entry)
            self.roots.append(self.theirs.get_root())
        self.tiles = {(0, number): self.leaves[number * 256 :][:256] for number in range(LARGEST // 256 + 1)}
        edge = merkle.TreeEdge()
        for tile in edge.extend(self.leaves):
            self.tiles[tile.level, tile.number] = merkle.split_hashes(tile.hashes)
        for level, row in enumerate(edge.levels):
            if row:
                self.tiles[level, (LARGEST >> (8 * level)) >> 8] = row

    def read(self, level: int, number: int) -> list[bytes]:
        return self.tiles[level, number]


def hurt(draw: random.Random, proof: list[bytes]) -> list[bytes]:
    """Return a proof with one thing wrong."""
    ways = ["longer", *(["bit", "shorter"] if proof else []), *(["swapped"] if len(set(proof)) > 1 else [])]
    way, found = draw.choice(ways), list(proof)
    if way == "bit":
        at = draw.randrange(len(found))
        found[at] = bytes([found[at][0] ^ 1]) + found[at][1:]
    elif way == "shorter":
        found.pop(draw.randrange(len(found)))
    elif way == "longer":
        found.insert(draw.randint(0, len(found)), draw.randbytes(32))
    else:
        found = found[1:] + found[:1]
    return found if found != proof else [*found, bytes(32)]


@pytest.fixture(scope="module")
def world() -> World:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return World(seed)


def test_every_root_is_the_librarys(world: World) -> None:
    edge, stack = merkle.TreeEdge(), apart.Stack()
    for size, entry in enumerate(world.entries, start=1):
        edge.extend([merkle.hash_leaf(entry)])
        stack.append(entry)
        assert edge.root() == stack.root() == world.roots[size]
        assert merkle.TreeEdge.load(edge.dump()).root() == world.roots[size]
        peaks = [merkle.hash_range(world.read, *each) for each in merkle.list_peaks(size)]
        assert apart.Stack(size, peaks).root() == world.roots[size]
    at_once = merkle.TreeEdge()
    tiles = at_once.extend(world.leaves)
    assert at_once.root() == world.roots[-1]
    assert [(tile.level, tile.number) for tile in tiles] == [(0, 0), (0, 1)]


def test_proofs_of_inclusion_hold_and_no_other_does(world: World) -> None:
    for _ in range(CASES):
        size = world.draw.randint(1, LARGEST)
        index, root = world.draw.randrange(size), world.roots[size]
        proof = [merkle.hash_range(world.read, *each) for each in merkle.list_inclusion(index, size)]
        assert proof == world.theirs.prove_inclusion(index + 1, size).path[1:]
        entry, leaf = world.entries[index], world.leaves[index]
        assert merkle.verify_inclusion(leaf, index, size, proof, root)
        assert apart.root_from_inclusion(entry, index, size, proof) == root
        wrong = hurt(world.draw, proof)
        assert not merkle.verify_inclusion(leaf, index, size, wrong, root)
        assert apart.root_from_inclusion(entry, index, size, wrong) != root
        other = world.draw.randrange(size)
        if world.entries[other] != entry:
            assert not merkle.verify_inclusion(world.leaves[other], index, size, proof, root)
            assert apart.root_from_inclusion(world.entries[other], index, size, proof) != root


def test_proofs_of_consistency_hold_and_no_other_does(world: World) -> None:
    for _ in range(CASES):
        new = world.draw.randint(1, LARGEST)
        old = world.draw.randint(0, new)
        proof = [merkle.hash_range(world.read, *each) for each in merkle.list_consistency(old, new)]
        before, after = world.roots[old], world.roots[new]
        assert merkle.verify_consistency(old, before, new, after, proof)
        assert apart.is_consistent(old, before, new, after, proof)
        wrong = hurt(world.draw, proof)
        assert not merkle.verify_consistency(old, before, new, after, wrong)
        assert not apart.is_consistent(old, before, new, after, wrong)
        forged = world.draw.randbytes(32)
        for roots in ((forged, after), (before, forged)):
            assert not merkle.verify_consistency(old, roots[0], new, roots[1], proof) or old == 0
            assert not apart.is_consistent(old, roots[0], new, roots[1], proof) or old == 0


def test_a_tree_never_shrinks(world: World) -> None:
    assert not merkle.verify_consistency(5, world.roots[5], 4, world.roots[4], [])
    assert not apart.is_consistent(5, world.roots[5], 4, world.roots[4], [])
    with pytest.raises(ValueError):
        merkle.list_consistency(5, 4)
    with pytest.raises(ValueError):
        merkle.list_inclusion(4, 4)
