"""The guide "Write a jurisdiction pack", followed from its text alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from pitboss.cli.pack import pack
from pitboss.plughost.contracts import LoadedPack
from pitboss.plughost.rules import decode_cell_file
from pitboss.policy.service import check_policy
from pitboss_sdk.jurisdiction import list_filings, read_pack
from pitboss_sdk.jurisdiction.reading import STATEMENTS

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "core/docs/guides/write-a-pack.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def block(language: str, beginning: str) -> str:
    """Return the one block of the guide that begins so."""
    (found,) = [text for kind, text in BLOCKS if kind == language and text.startswith(beginning)]
    return found


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Begin a pack, and write into it what the guide shows."""
    monkeypatch.chdir(ROOT)
    project = tmp_path / "se_sga"
    made = CliRunner().invoke(pack, ["new", "se_sga", "--into", str(project)])
    assert made.exit_code == 0, made.output
    data = project / "pitboss_jurisdictions" / "se_sga"
    limits = (block("toml", "[[limit_increase_wait_hours]]"), block("toml", "[[limit_ceilings_minor]]"))
    (data / "limits.toml").write_text("\n".join(limits))
    (data / "reports/calendar.toml").write_text(block("toml", "[[reports]]"))
    (data / "reports/revenue.toml").write_text(block("toml", 'title = "Monthly revenue"'))
    (data / "sources.md").write_text("# Sources\n\n## SE1\n\nA text.\n\n## SE2\n\nAnother.\n")
    tests = project / "tests/test_se_sga.py"
    golden = block("python", "GOLDEN").replace("GOLDEN = {", "GOLDEN: dict[str, list[tuple[date, Any]]] = {")
    text, replaced = re.subn(r"^GOLDEN: .*?^}\n", golden, tests.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert replaced == 1
    tests.write_text(text)
    return project


def test_the_pack_of_the_guide_passes_check_and_tests(written: Path) -> None:
    checked = CliRunner().invoke(pack, ["check", str(written)])
    assert checked.exit_code == 0, checked.output
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(written), "tests")
    tested = subprocess.run(
        [sys.executable, *words],
        cwd=written,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "5 passed" in tested.stdout
    law = read_pack(written / "pitboss_jurisdictions/se_sga")
    (filing,) = list_filings(law.calendar.reports, date(2027, 2, 1), date(2027, 2, 28))
    assert filing.due_on == date(2027, 2, 20)


def test_a_boundary_that_is_not_golden_fails_the_tests_of_the_template(written: Path) -> None:
    limits = written / "pitboss_jurisdictions/se_sga/limits.toml"
    limits.write_text(limits.read_text().replace("value = 72", "value = 72\nuntil = 2027-01-01"))
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(written), "tests")
    tested = subprocess.run(
        [sys.executable, *words],
        cwd=written,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 1
    assert "test_every_boundary_of_the_pack_is_golden" in tested.stdout


def test_the_tenants_policy_and_the_refusal_are_as_shown(written: Path) -> None:
    packs = {"se_sga": LoadedPack(read_pack(written / "pitboss_jurisdictions/se_sga"), "pitboss-pack-se-sga", "0.1.0")}
    moment = datetime(2026, 12, 1, tzinfo=UTC)
    shown = tomllib.loads(block("toml", "minimum_age_years = 21"))
    assert check_policy(shown, packs, moment=moment, file="aurora/policy.toml")[1] == []
    (problem,) = check_policy({"minimum_age_years": 17}, packs, moment=moment, file="aurora/policy.toml")[1]
    assert f"{problem}\n" == block("text", "aurora/policy.toml")


def test_the_cells_entry_is_as_shown() -> None:
    cell = decode_cell_file("eu-1.toml", 'cell = "eu-1"\nlocality = "eu"\n' + block("toml", "[[packs]]"))
    assert [allowed.distribution for allowed in cell.packs] == ["pitboss-pack-se-sga"]


def test_every_name_is_explained() -> None:
    names = {name for shape in STATEMENTS.values() for name in shape.__struct_fields__}
    assert [name for name in sorted(names) if f"`{name}`" not in GUIDE and f"[[{name}]]" not in GUIDE] == []
