"""`pitboss pack` and `pitboss policy` as they are run, on the shipped packs, copies of them and new ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.factories.packs import copy, edit

from pitboss.cli.pack import pack
from pitboss.cli.policy import policy

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as a reader does: in the project's folder, without settings."""
    monkeypatch.chdir(ROOT)
    for name in [name for name in os.environ if name.startswith("PITBOSS_")]:
        monkeypatch.delenv(name)


def run_pack(*words: object) -> Result:
    return CliRunner().invoke(pack, [str(word) for word in words])


def explain(*words: object) -> Result:
    return CliRunner().invoke(policy, ["explain", *map(str, words)])


def test_installed_packs_are_listed_with_what_keeps_them_out() -> None:
    shown = run_pack("list", "--cell-file", "deploy/cells/eu-1.toml")
    assert shown.exit_code == 0, shown.output
    assert "mt_mga  pitboss-pack-mt-mga 0.1.0  allowed" in shown.output
    assert "    - distribution 'pitboss-pack-br-spa' is not allowed in cell eu-1" in shown.output
    rows = {row["code"]: row for row in json.loads(run_pack("list", "--json").output)}
    assert rows["mt_mga"]["stage"] == "allowed"
    assert rows["br_spa"]["problems"]


@pytest.mark.parametrize("named", ["mt_mga", "jurisdictions/mt_mga", None])
def test_a_pack_is_checked_by_code_and_by_folder(named: str | None) -> None:
    shown = run_pack("check", *([named] if named else []))
    assert shown.exit_code == 0, shown.output
    assert "14 statements, 7 verified, 7 unverified; 0 faults" in shown.output


def test_a_fault_names_file_key_and_reason_and_exits_with_one(tmp_path: Path) -> None:
    folder = copy("br_spa", tmp_path)
    edit(folder, "limits.toml", "value = 18", "value = 'x'")
    shown = run_pack("check", folder)
    assert shown.exit_code == 1
    assert f"{folder}/limits.toml: minimum_age_years[0].value: Expected `int`, got `str`" in shown.output
    (row,) = json.loads(run_pack("check", folder, "--json").output)
    assert row["faults"] == [
        {"file": "limits.toml", "key": "minimum_age_years[0].value", "reason": "Expected `int`, got `str`"}
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"br_spa"', '"br_spo"', "manifest.toml: slug: 'br_spo' is not the name of the folder, 'br_spa'"),
        (">=0.1,<0.2", ">=9", "manifest.toml: sdk: '>=9' excludes this host's SDK"),
        (">=0.1,<0.2", "new", "manifest.toml: sdk: 'new' is not a PEP 440 specifier"),
    ],
)
def test_what_the_folder_alone_cannot_know_is_checked(tmp_path: Path, old: str, new: str, fault: str) -> None:
    folder = copy("br_spa", tmp_path)
    edit(folder, "manifest.toml", old, new)
    shown = run_pack("check", folder)
    assert (shown.exit_code, fault in shown.output) == (1, True), shown.output


def test_the_entry_point_of_the_project_is_checked(tmp_path: Path) -> None:
    target = tmp_path / "made"
    assert run_pack("new", "se_sga", "--into", target).exit_code == 0
    edit(target, "pyproject.toml", 'se_sga = "pitboss_jurisdictions.se_sga"', 'se_sga = "pitboss_jurisdictions.se"')
    shown = run_pack("check", target)
    assert shown.exit_code == 1
    assert "pyproject.toml: project.entry-points.pitboss.jurisdiction.se_sga: must be" in shown.output


def test_nothing_that_is_no_pack_passes(tmp_path: Path) -> None:
    assert run_pack("check", tmp_path).exit_code == 2
    assert "is neither a folder nor installed" in str(run_pack("check", "xx_none").exception)


def test_a_new_pack_passes_its_check_and_its_tests(tmp_path: Path) -> None:
    target = tmp_path / "de_by_ggl"
    made = run_pack("new", "de_by_ggl", "--into", target)
    assert made.exit_code == 0, made.output
    checked = run_pack("check", target)
    assert (checked.exit_code, "0 faults" in checked.output) == (0, True), checked.output
    left = [path for path in target.rglob("*") if path.is_file() and "zz" in (path.name + path.read_text()).lower()]
    assert left == []
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(target), "tests")
    environment = {**os.environ, "PYTEST_ADDOPTS": ""}
    tested = subprocess.run(
        [sys.executable, *words], cwd=target, env=environment, capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "2 passed" in tested.stdout
    assert run_pack("new", "de_by_ggl", "--into", target).exit_code == 2, "an existing folder is left alone"


@pytest.mark.parametrize("code", ["DE_GGL", "de", "de-ggl", "deu_ggl", "de_g", "../de_ggl"])
def test_a_code_has_its_form(tmp_path: Path, code: str) -> None:
    assert run_pack("new", code, "--into", tmp_path / "x").exit_code == 2
    assert not (tmp_path / "x").exists()


@pytest.fixture
def tenants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a tenant of cell br-1 with a policy of its own."""
    folder = tmp_path / "tenants" / "mata"
    folder.mkdir(parents=True)
    (folder / "tenant.toml").write_text(
        'slug = "mata"\nname = "Mata"\npublic_id = "01a1fbe4-4666-757a-bf99-969a96f72aaa"\nlocality = "br"\n'
        'cell = "br-1"\nenvironment = "demo"\ncurrencies = ["BRL"]\npacks = ["br_spa"]\n[[brands]]\nslug = "mata"\n'
        'name = "Mata"\ndomains = ["mata.localhost"]\nlanguages = ["pt-BR"]\ndefault_language = "pt-BR"\n'
    )
    (folder / "policy.toml").write_text('minimum_age_years = 21\nmandatory_limits = ["deposit"]\n')
    monkeypatch.setenv("PITBOSS_TENANTS_DIR", str(tmp_path / "tenants"))
    return folder


def test_explain_names_value_source_mark_and_what_was_beaten(tenants: Path) -> None:
    shown = explain("mata", "--date", "2026-12-01")
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert lines[0] == (
        "mata, licence br_spa (pitboss-pack-br-spa 0.1.0), on 2026-12-01; days, weeks and months are those of "
        "America/Sao_Paulo"
    )
    at = lines.index("minimum_age_years = 21")
    assert lines[at + 1 : at + 4] == [
        "    from mata/policy.toml [tenant]: the tenant's choice",
        "    beats 18 of br_spa [verified, from 2026-11-20, checked 2026-11-20]: Law 14.790/2023, art. 26 [BR1]",
        "    in place of 18 of platform [platform default]: the platform's own default",
    ]
    at = lines.index("mandatory_limits = deposit, loss, session_time")
    assert lines[at + 1].startswith("    from loss, session_time br_spa [verified,")
    assert lines[at + 2] == "    from deposit mata/policy.toml [tenant]: the tenant's choice"
    at = lines.index("register_block_hours = 0")
    assert lines[at + 1] == "    from platform [platform default]: the platform's own default"
    assert lines[at + 2].startswith("    beats 72 of br_spa [unverified, from 2025-12-10, checked 2026-11-20]: ")
    assert "reports.coaf_nil = yearly, next due 2027-01-29, to Secretaria" in shown.output


@pytest.mark.parametrize(("day", "rate"), [("2026-12-31", 1300), ("2027-01-01", 1400), ("2028-01-01", 1500)])
def test_explain_takes_the_day(tenants: Path, day: str, rate: int) -> None:
    assert f"tax_rates_basis_points.operator_revenue = {rate} of" in explain("mata", "--date", day).output


def test_explain_as_data_has_every_figure(tenants: Path) -> None:
    (told,) = json.loads(explain("mata", "--date", "2026-12-01", "--json").output)
    figures = {figure["name"]: figure for figure in told["figures"]}
    assert figures["bonus_allowed"]["value"] == "no"
    assert figures["bonus_allowed"]["mark"] == "verified"
    assert figures["bonus_allowed"]["deciding"][0]["source"] == "Law 14.790/2023, art. 29, item I [BR1]"
    assert all(figure["deciding"] for figure in figures.values())
    assert {row["name"] for row in told["statements"]} >= {
        "reports.sigap_daily",
        "tax_rates_basis_points.player_income",
    }


def test_explain_refuses_what_it_cannot_answer(tenants: Path) -> None:
    assert "name one of the tenant's licences: br_spa" in str(explain("mata", "--licence", "mt_mga").exception)
    assert explain("nobody").exit_code == 1
    assert explain("mata", "--date", "tomorrow").exit_code == 2
    (tenants / "policy.toml").write_text("minimum_age_years = 17\n")
    assert "17 is looser than 18 of br_spa (verified; Law 14.790/2023, art. 26 [BR1])" in str(explain("mata").exception)
    (tenants / "tenant.toml").write_text((tenants / "tenant.toml").read_text().replace('"br_spa"', '"mt_mga"'))
    refused = str(explain("mata").exception)
    assert "pack 'mt_mga': distribution 'pitboss-pack-mt-mga' is not allowed in cell br-1" in refused


def test_explain_without_a_licence_tells_the_platforms_defaults(tenants: Path) -> None:
    (tenants / "tenant.toml").write_text((tenants / "tenant.toml").read_text().replace('["br_spa"]', "[]"))
    shown = explain("mata", "--date", "2026-12-01").output
    assert shown.startswith("mata, no licence, on 2026-12-01; days, weeks and months are those of UTC\n")
    assert "minimum_age_years = 21" in shown
    assert "limit_increase_wait_hours = 24\n    from platform [platform default]" in shown
