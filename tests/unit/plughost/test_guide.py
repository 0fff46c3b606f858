"""The guide "Write a wallet dialect", followed from its text alone: files, wheel, tests, check."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "core/docs/guides/write-a-wallet-dialect.md"
FILE = re.compile(r"^`(plugins/games/acme/[^`]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the files that the guide shows, and nothing more."""
    root = tmp_path_factory.mktemp("reader")
    for name, text in FILE.findall(GUIDE.read_text()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture(scope="module")
def installed(written: Path) -> dict[str, str]:
    """Build the wheel, unpack it onto an import path of its own, and return the environment that sees it."""
    project = written / "plugins/games/acme"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(written / "dist")]
    subprocess.run(build, cwd=project, check=True, capture_output=True)
    (wheel,) = (written / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(written / "site")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PITBOSS_")}
    return {**environment, "PYTHONPATH": str(written / "site")}


def run(environment: dict[str, str], *words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words], check=False, cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_the_guide_shows_every_file(written: Path) -> None:
    project = written / "plugins/games/acme"
    made = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    package = "pitboss_plugins/games/acme"
    modules = {f"{package}/{name}" for name in ("__init__.py", "manifest.toml", "config.py", "mapping.py", "driver.py")}
    assert made >= {"pyproject.toml", "tests/test_acme.py", *modules}


def test_the_plugin_of_the_guide_passes_the_check(installed: dict[str, str], tmp_path: Path) -> None:
    checked = run(installed, "pitboss.bootstrap", "plugin", "check", "acme", "--any-cell")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "loaded" in checked.stdout
    held_back = run(installed, "pitboss.bootstrap", "plugin", "check", "acme")
    assert held_back.returncode == 1
    assert "distribution 'pitboss-plugin-games-acme' is not allowed in cell eu-1" in held_back.stdout

    entry = re.search(r"```toml\n(\[\[plugins\]\].*?)```", GUIDE.read_text(), re.DOTALL)
    assert entry
    cell = tmp_path / "eu-1.toml"
    cell.write_text((ROOT / "deploy/cells/eu-1.toml").read_text() + entry.group(1))
    config = re.search(r'```toml\n(gateway_url = "https://gateway.acme.*?)```', GUIDE.read_text(), re.DOTALL)
    assert config
    (tmp_path / "acme.toml").write_text(config.group(1))
    words = ("plugin", "check", "acme", "--cell-file", str(cell), "--config", str(tmp_path / "acme.toml"))
    allowed = run(installed, "pitboss.bootstrap", *words)
    assert allowed.returncode == 0, allowed.stdout + allowed.stderr
    assert "it needs the secrets: acme-api-secret" in allowed.stderr


def test_the_tests_of_the_guide_pass(installed: dict[str, str], written: Path) -> None:
    folder = written / "plugins/games/acme"
    words = ("pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "tests")
    tested = run({**installed, "PYTEST_ADDOPTS": ""}, *words, cwd=folder)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert re.search(r"\d+ passed", tested.stdout)


def test_the_code_of_the_guide_keeps_the_house_rules(written: Path) -> None:
    package = written / "plugins/games/acme/pitboss_plugins"
    # Order of imports and namespaces are judged by the place, which is another one here.
    config = ("--config", str(ROOT / "pyproject.toml"), "--no-cache")
    ruff = ("ruff", "check", *config, "--ignore", "I001,INP001,ARG003", str(package))
    checked = run(dict(os.environ), *ruff)
    assert checked.returncode == 0, checked.stdout
