"""The linter and the type checker are seen to catch planted mistakes with the settings of this project."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(sys.executable).parent
CLEAN = '"""Planted."""\n\nfrom __future__ import annotations\n\n\ndef double(value: int) -> int:\n    """Return twice `value`."""\n    return value * 2\n'
HEAD = '"""Planted."""\n\nfrom __future__ import annotations\n\n'


def run(tool: str, *arguments: str, tree: Path) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment inside the copy."""
    return subprocess.run(
        [str(TOOLS / tool), *arguments], cwd=tree, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('"""Planted."""\n\nimport os\n', "F401"),
        ("X = 1\n", "D100"),
        (f"{HEAD}def double(value: int) -> int:\n    return value * 2\n", "D103"),
        (f'{HEAD}def double(value):\n    """Return twice."""\n    return value * 2\n', "ANN001"),
        (f'{HEAD}def run(code: str) -> None:\n    """Run."""\n    eval(code)\n', "S307"),
        (f'{HEAD}import subprocess\n\nsubprocess.run("ls", shell=True)\n', "S602"),
        (f"{HEAD}import datetime\n\nX = datetime.datetime.now()\n", "DTZ005"),
        (
            f'{HEAD}def hide() -> None:\n    """Hide."""\n    try:\n        int("x")\n    except Exception:\n        pass\n',
            "BLE001",
        ),
        (f"{HEAD}from . import kernel\n", "TID252"),
        (f"{HEAD}print('x')\n", "T201"),
    ],
)
def test_ruff_finds_a_planted_mistake(tree: Path, text: str, code: str) -> None:
    planted = tree / "core/app/pitboss/kernel/planted.py"
    planted.write_text(text)
    result = run("ruff", "check", "--no-cache", "--output-format", "json", str(planted), tree=tree)
    assert result.returncode == 1, result.stderr
    assert code in {finding["code"] for finding in json.loads(result.stdout)}


def test_ruff_finds_a_missing_package(tree: Path) -> None:
    planted = tree / "core/app/pitboss/planted_room/service.py"
    planted.parent.mkdir()
    planted.write_text(CLEAN)
    result = run("ruff", "check", "--no-cache", "--output-format", "concise", str(planted), tree=tree)
    assert result.returncode == 1
    assert "INP001" in result.stdout


def test_ruff_leaves_clean_code_alone(tree: Path) -> None:
    planted = tree / "core/app/pitboss/kernel/planted.py"
    planted.write_text(CLEAN)
    assert run("ruff", "check", "--no-cache", str(planted), tree=tree).returncode == 0
    assert run("ruff", "format", "--check", "--no-cache", str(planted), tree=tree).returncode == 0


def test_the_format_is_held(tree: Path) -> None:
    planted = tree / "core/app/pitboss/kernel/planted.py"
    planted.write_text(CLEAN.replace("value * 2", "value*2"))
    assert run("ruff", "format", "--check", "--no-cache", str(planted), tree=tree).returncode == 1


def test_pyright_is_strict_for_what_ships(tree: Path) -> None:
    """One run over several planted files: the type checker takes seconds to start."""
    planted = {
        "core/app/pitboss/kernel/planted_untyped.py": "def double(value):\n    return value * 2\n",
        "core/sdk/pitboss_sdk/planted_unknown.py": "def first(values: list) -> object:\n    return values[0]\n",
        "plugins/games/softswiss/pitboss_plugins/games/softswiss/planted.py": "X: int = 'one'\n",
        "core/app/pitboss/kernel/planted_clean.py": CLEAN,
    }
    for path, text in planted.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    result = run("pyright", "--outputjson", "--pythonpath", sys.executable, *planted, tree=tree)
    findings = json.loads(result.stdout)["generalDiagnostics"]
    rules = {path: {f.get("rule") for f in findings if f["file"].endswith(path)} for path in planted}
    assert "reportMissingParameterType" in rules["core/app/pitboss/kernel/planted_untyped.py"]
    assert "reportUnknownParameterType" in rules["core/sdk/pitboss_sdk/planted_unknown.py"]
    assert rules["plugins/games/softswiss/pitboss_plugins/games/softswiss/planted.py"] == {"reportAssignmentType"}
    assert rules["core/app/pitboss/kernel/planted_clean.py"] == set()
    assert result.returncode == 1
