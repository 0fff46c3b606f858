"""The public RFC 9162 vectors of transparency-dev/merkle, fetched where Go is present; both implementations judge them."""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.factories.figures import merge_figures

from pitboss.audit.rules.merkle import verify_consistency, verify_inclusion
from pitboss_verify import merkle as alone

MODULE = "github.com/transparency-dev/merkle@v0.0.3-0.20260727102338-4491f478b7dc"
"""The last released version carries no vectors; Go's checksum database vouches for what is fetched."""

Judge = Callable[[dict[str, Any], list[bytes]], bool]


@pytest.fixture(scope="module")
def vectors() -> Path:
    """Fetch the module into Go's own cache; the report of the run tells where it could not."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("there is no Go here to fetch the public vectors of RFC 9162 with")
    try:
        done = subprocess.run(
            [go, "mod", "download", "-json", MODULE], capture_output=True, text=True, check=False, timeout=60, cwd="/"
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the public vectors of RFC 9162 could not be fetched within a minute")
    found: dict[str, str] = json.loads(done.stdout or "{}")
    if "Dir" not in found:
        pytest.skip(f"the public vectors of RFC 9162 could not be fetched: {found.get('Error', done.stderr)[:200]}")
    return Path(found["Dir"]) / "testdata"


def _bytes(text: str | None) -> bytes:
    return b64decode(text or "")


def _include(case: dict[str, Any], proof: list[bytes]) -> bool:
    place = (case["leafIdx"], case["treeSize"])
    return verify_inclusion(_bytes(case["leafHash"]), *place, proof, _bytes(case["root"]))


def _include_alone(case: dict[str, Any], proof: list[bytes]) -> bool:
    place = (case["leafIdx"], case["treeSize"])
    return alone.root_from_leaf(_bytes(case["leafHash"]), *place, proof) == _bytes(case["root"])


def _grow(case: dict[str, Any], proof: list[bytes]) -> bool:
    before, after = (case["size1"], _bytes(case["root1"])), (case["size2"], _bytes(case["root2"]))
    return verify_consistency(*before, *after, proof)


def _grow_alone(case: dict[str, Any], proof: list[bytes]) -> bool:
    before, after = (case["size1"], _bytes(case["root1"])), (case["size2"], _bytes(case["root2"]))
    return alone.is_consistent(*before, *after, proof)


@pytest.mark.parametrize("judges", [(_include, _grow), (_include_alone, _grow_alone)], ids=["application", "alone"])
def test_every_public_vector_is_judged_as_it_says(vectors: Path, judges: tuple[Judge, Judge]) -> None:
    wrong: list[str] = []
    count = 0
    for folder, judge in zip(("inclusion", "consistency"), judges, strict=True):
        for path in sorted((vectors / folder).rglob("*.json")):
            case = json.loads(path.read_text())
            proof = [_bytes(each) for each in case["proof"] or ()]
            count += 1
            if judge(case, proof) == case["wantErr"]:
                wrong.append(f"{folder}: {case['desc']}")
    assert wrong == []
    assert count == 196
    merge_figures("probes", {"public_vectors": count})
