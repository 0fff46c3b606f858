"""`pitboss plugin list|check`, as a user sees them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pitboss.cli.plugin import plugin


@pytest.fixture
def cell_file(tmp_path: Path) -> Path:
    path = tmp_path / "eu-1.toml"
    allowed = "".join(f'[[plugins]]\ndistribution = "made-{slug}"\nversions = "==1.*"\n' for slug in ("made", "broken"))
    path.write_text(f'cell = "eu-1"\nlocality = "eu"\n{allowed}')
    return path


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(plugin, [str(argument) for argument in arguments])


def test_list_shows_stages_and_reasons_and_imports_nothing(install: Any, cell_file: Path) -> None:
    install("made", driver="raise SystemExit('imported')")
    install("stranger")
    shown = run("list", "--cell-file", cell_file)
    assert shown.exit_code == 0, shown.output
    assert "made       games  made-made" in shown.output
    assert "    - distribution 'made-stranger' is not allowed in cell eu-1" in shown.output
    rows = json.loads(run("list", "--cell-file", cell_file, "--json").output)
    assert {row["slug"]: row["stage"] for row in rows} == {
        "hub88": "compatible",
        "made": "allowed",
        "softswiss": "compatible",
        "stranger": "compatible",
    }
    assert not [name for name in sys.modules if name.startswith("made_")]


def test_check_exits_with_one_and_the_reason(install: Any, cell_file: Path) -> None:
    install("made")
    install("broken", driver="import no_such_module_at_all")
    good = run("check", "made", "--cell-file", cell_file)
    assert (good.exit_code, "loaded" in good.output) == (0, True)
    bad = run("check", "broken", "--cell-file", cell_file)
    assert bad.exit_code == 1
    assert "No module named 'no_such_module_at_all'" in bad.output
    assert run("check", "--cell-file", cell_file).exit_code == 1
    rows = json.loads(run("check", "broken", "--cell-file", cell_file, "--json").output)
    assert rows[0]["problems"]


def test_check_without_a_cell_is_for_authors(install: Any) -> None:
    install("fresh")
    shown = run("check", "fresh", "--any-cell")
    assert (shown.exit_code, "loaded" in shown.output) == (0, True)


def test_check_of_a_configuration(install: Any, cell_file: Path, tmp_path: Path) -> None:
    install("made")
    config = tmp_path / "made.toml"
    config.write_text('gateway_url = "https://g"\napi_secret = { secret = "a" }\n')
    good = run("check", "made", "--cell-file", cell_file, "--config", config)
    assert good.exit_code == 0, good.output
    assert "it needs the secrets: a" in good.output
    for text, fault in (
        ('gateway_url = "https://g"\napi_secret = "a"\n', "api_secret: is a secret: write { secret ="),
        ("gateway_url = ", "is not TOML"),
    ):
        config.write_text(text)
        bad = run("check", "made", "--cell-file", cell_file, "--config", config)
        assert bad.exit_code == 1
        assert f"{config}: {fault}" in bad.output
    assert run("check", "made", "--cell-file", cell_file, "--config", tmp_path / "none").exit_code == 1


def test_usage_is_told(install: Any, cell_file: Path) -> None:
    assert run("check", "--config", cell_file).exit_code == 2
    assert run("check", "--any-cell", "--cell-file", cell_file).exit_code == 2
    unknown = run("check", "nobody", "--cell-file", cell_file)
    assert "is not installed" in str(unknown.exception)
