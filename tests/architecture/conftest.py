"""A copy of the tree in which a test may plant a violation, and the tools that must find it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = (path for pattern in ("plugins/*/*", "jurisdictions/*") for path in sorted(ROOT.glob(pattern)))
SOURCES = ("core/app", "core/sdk", "core/verify", *(path.relative_to(ROOT).as_posix() for path in MEMBERS))
LINT_IMPORTS = """
import sys
count = int(sys.argv[1])
installed, planted = sys.argv[2 : 2 + count], sys.argv[2 + count :]
sys.path[:] = planted + [entry for entry in sys.path if entry not in installed]
from importlinter.cli import lint_imports_command
lint_imports_command(["--no-cache", "--no-logo"])
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Copy what the linters read; planted files stay in the copy."""
    leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info", "node_modules", "tests")
    for source in ("core", "plugins", "jurisdictions"):
        shutil.copytree(ROOT / source, tmp_path / source, ignore=leave_out)
    architecture = tmp_path / "tests" / "architecture"
    shutil.copytree(ROOT / "tests" / "architecture", architecture, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "sgconfig.yml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """Make the smallest tree that keeps every import contract, so that a finding can only be what was planted."""
    for path in (
        "core/app/pitboss",
        "core/app/pitboss/platform",
        "core/app/pitboss/kernel",
        "core/sdk/pitboss_sdk",
        "core/verify/pitboss_verify",
    ):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "__init__.py").touch()
    for path in (
        "plugins/games/softswiss/pitboss_plugins/games/softswiss",
        "jurisdictions/mt_mga/pitboss_jurisdictions/mt_mga",
    ):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "__init__.py").touch()
    architecture = tmp_path / "tests" / "architecture"
    architecture.mkdir(parents=True)
    shutil.copy(ROOT / "tests/architecture/import_contracts.py", architecture)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def lint_imports() -> Run:
    """Run import-linter over the sources of a tree and nothing of the tree that is installed."""

    def run(tree: Path) -> subprocess.CompletedProcess[str]:
        installed = [str(ROOT / source) for source in SOURCES]
        planted = [str(tree / source) for source in SOURCES]
        return subprocess.run(
            [sys.executable, "-c", LINT_IMPORTS, str(len(installed)), *installed, *planted],
            cwd=tree,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run
