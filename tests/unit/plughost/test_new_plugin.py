"""The guide "Write a plugin", followed from its text: a plugin out of the template, its kit, the checks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "core/docs/guides/write-a-plugin.md"


def run(environment: dict[str, str], *words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words], check=False, cwd=cwd, env=environment, capture_output=True, text=True
    )


def bare_environment(**more: str) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if not name.startswith("PITBOSS_")}, **more}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the plugin of the guide, elsewhere."""
    folder = tmp_path_factory.mktemp("author") / "starwin"
    command = re.search(r"pitboss (plugin new games starwin)\n", GUIDE.read_text())
    assert command
    done = run(bare_environment(), "pitboss.bootstrap", *command.group(1).split(), "--into", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def installed(made: Path) -> dict[str, str]:
    """Build the wheel, unpack it onto an import path of its own, and return the environment that sees it."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(made.parent / "dist")]
    subprocess.run(build, cwd=made, check=True, capture_output=True)
    (wheel,) = (made.parent / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(made.parent / "site")
    return bare_environment(PYTHONPATH=str(made.parent / "site"))


def test_every_file_of_the_guide_is_there_and_no_name_of_the_template_is_left(made: Path) -> None:
    named = re.findall(r"^\| `([\w./]+)` \| ", GUIDE.read_text().partition("## 2.")[0], re.MULTILINE)
    assert len(named) == 7
    assert [name for name in named if not (made / name).is_file()] == []
    for path in made.rglob("*"):
        assert "acme" not in path.name
        assert path.is_dir() or "acme" not in path.read_text().lower()


def test_its_kit_is_green_at_once(installed: dict[str, str], made: Path) -> None:
    words = ("pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(made), "tests")
    tested = run({**installed, "PYTEST_ADDOPTS": ""}, *words, cwd=made)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    passed = re.search(r"(\d+) passed", tested.stdout)
    assert passed
    assert int(passed.group(1)) > 100


def test_it_passes_the_check_and_a_cell_may_run_it(installed: dict[str, str], tmp_path: Path) -> None:
    checked = run(installed, "pitboss.bootstrap", "plugin", "check", "starwin", "--any-cell")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "loaded" in checked.stdout
    held_back = run(installed, "pitboss.bootstrap", "plugin", "check", "starwin")
    assert held_back.returncode == 1
    assert "distribution 'pitboss-plugin-games-starwin' is not allowed in cell eu-1" in held_back.stdout

    entry = re.search(r"```toml\n(\[\[plugins\]\].*?)```", GUIDE.read_text(), re.DOTALL)
    config = re.search(r'```toml\n(gateway_url = "https://gateway.starwin.*?)```', GUIDE.read_text(), re.DOTALL)
    assert entry
    assert config
    cell = tmp_path / "eu-1.toml"
    cell.write_text((ROOT / "deploy/cells/eu-1.toml").read_text() + entry.group(1))
    (tmp_path / "starwin.toml").write_text(config.group(1))
    words = ("plugin", "check", "starwin", "--cell-file", str(cell), "--config", str(tmp_path / "starwin.toml"))
    allowed = run(installed, "pitboss.bootstrap", *words)
    assert allowed.returncode == 0, allowed.stdout + allowed.stderr
    assert "it needs the secrets: starwin-api-secret" in allowed.stderr


def change_tests(made: Path, folder: Path, *edits: tuple[str, str]) -> Path:
    """Write the plugin's tests into a folder of their own, changed as its author might have."""
    text = (made / "tests/test_conformance.py").read_text()
    for old, new in edits:
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "tests").mkdir()
    (folder / "tests/test_conformance.py").write_text(text)
    return folder


def run_kit(environment: dict[str, str], folder: Path, chosen: str) -> subprocess.CompletedProcess[str]:
    words = ("pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "-k", chosen, "tests")
    return run({**environment, "PYTEST_ADDOPTS": ""}, *words, cwd=folder)


def test_a_vendor_that_looks_at_a_clock_is_not_taken_for_the_plugin(
    installed: dict[str, str], made: Path, tmp_path: Path
) -> None:
    edits = (
        ("import json\n", "import json\nimport time\n"),
        ("    return b64encode(", "    time.time()\n    return b64encode("),
    )
    tested = run_kit(installed, change_tests(made, tmp_path, *edits), "keeps_the_rule")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_what_breaks_a_rule_is_told_whole_and_without_a_traceback(
    installed: dict[str, str], made: Path, tmp_path: Path
) -> None:
    edits = (('lacks_money=word == "NO_FUNDS"', 'lacks_money=word == "LIMIT"'),)
    tested = run_kit(installed, change_tests(made, tmp_path, *edits), "keeps_the_rule")
    assert tested.returncode == 1
    told = "insufficient_funds, balance 500: is told as 'NO_FUNDS', which the vendor does not take for lack of money"
    assert f"  bet, {told}" in tested.stdout
    assert f"  win, {told}" in tested.stdout
    assert "Traceback" not in tested.stdout
    assert "assert" not in tested.stdout


def test_a_vendor_whose_refusals_carry_no_balance_has_no_copy_that_cannot_be_found(
    installed: dict[str, str], made: Path, tmp_path: Path
) -> None:
    edits = (("            balance=told,\n        )\n\n    def serve", "        )\n\n    def serve"),)
    tested = run_kit(installed, change_tests(made, tmp_path, *edits), "broken_copy")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_check_finds_a_way_out_of_the_process(installed: dict[str, str], made: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(next((made.parent / "dist").glob("*.whl"))).extractall(site)
    driver = site / "pitboss_plugins/games/starwin/driver.py"
    driver.write_text(driver.read_text().replace("import hmac\n", "import hmac\nimport socket\n"))
    checked = run(
        {**installed, "PYTHONPATH": str(site)}, "pitboss.bootstrap", "plugin", "check", "starwin", "--any-cell"
    )
    assert checked.returncode == 1
    assert "static.code: driver.py:6: imports socket" in checked.stdout


def test_it_keeps_the_rules_of_the_house(made: Path) -> None:
    # Order of imports and namespaces are judged by the place, which is another one here.
    ruff = ("ruff", "check", "--config", str(ROOT / "pyproject.toml"), "--no-cache", "--ignore", "I001,INP001")
    checked = run(dict(os.environ), *ruff, str(made / "pitboss_plugins"))
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("vendor", ["Star", "star-win", "s", "../star", "1star", ""])
def test_a_vendor_is_named_like_a_slug(vendor: str, tmp_path: Path) -> None:
    refused = run(
        bare_environment(), "pitboss.bootstrap", "plugin", "new", "games", vendor, "--into", str(tmp_path / "made")
    )
    assert refused.returncode == 2
    assert not (tmp_path / "made").exists()


def test_nothing_is_written_over(made: Path) -> None:
    before = (made / "README.md").stat().st_mtime_ns
    refused = run(bare_environment(), "pitboss.bootstrap", "plugin", "new", "games", "other", "--into", str(made))
    assert refused.returncode == 2
    assert "exists and is not empty" in refused.stderr
    assert (made / "README.md").stat().st_mtime_ns == before
    assert not (made / "pitboss_plugins/games/other").exists()
