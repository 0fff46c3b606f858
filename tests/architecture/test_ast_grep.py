"""Each ast-grep rule finds its planted snippets, leaves clean ones alone, and the tree as it is passes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
RULES = {path.stem for path in (HERE / "ast_grep" / "rules").glob("*.yml")}
CASES: dict[str, dict[str, Any]] = tomllib.loads((HERE / "ast_grep" / "cases.toml").read_text())
PLANTED = [
    pytest.param(rule, case["at"], snippet, verdict == "bad", id=f"{rule}-{verdict}-{number}")
    for rule, case in CASES.items()
    for verdict in ("bad", "good")
    for number, snippet in enumerate(case[verdict])
] + [
    pytest.param(rule, place, case["bad"][0], False, id=f"{rule}-exempt-{Path(place).parent.name}")
    for rule, case in CASES.items()
    for place in case["exempt"]
]


def scan(tree: Path) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code of a scan and its findings."""
    result = subprocess.run(
        [str(Path(sys.executable).parent / "ast-grep"), "scan", "--json=compact"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.stdout.startswith("["), result.stderr
    return result.returncode, json.loads(result.stdout)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Make a tree that holds the rules and nothing else."""
    shutil.copy(HERE.parents[1] / "sgconfig.yml", tmp_path)
    rules = tmp_path / "tests" / "architecture" / "ast_grep" / "rules"
    shutil.copytree(HERE / "ast_grep" / "rules", rules)
    return tmp_path


def test_every_rule_has_cases() -> None:
    assert set(CASES) == RULES
    for rule, case in CASES.items():
        assert case["bad"], rule
        assert case["good"], rule


@pytest.mark.parametrize(("rule", "place", "snippet", "found"), PLANTED)
def test_a_snippet_is_judged(bare: Path, rule: str, place: str, snippet: str, found: bool) -> None:
    file = bare / place
    file.parent.mkdir(parents=True)
    file.write_text(f"{snippet}\n")
    code, findings = scan(bare)
    ids = {finding["ruleId"] for finding in findings}
    assert (rule in ids) == found, f"{snippet!r}: {sorted(ids)}"
    if found:
        assert code == 1, "a finding of severity error ends the scan with a failure"


def test_the_tree_has_no_findings(root: Path) -> None:
    code, findings = scan(root)
    listed = [f"{f['file']}:{f['range']['start']['line'] + 1} {f['ruleId']}: {f['lines'].strip()}" for f in findings]
    assert not listed, "\n".join(listed)
    assert code == 0
