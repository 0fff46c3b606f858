"""Jurisdiction packs through the gates: real distributions on the import path, and nothing of them imported."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.factories.packs import edit, folder_of

from pitboss.plughost.contracts import AllowedPlugin, CellFile, Stage
from pitboss.plughost.errors import FileInvalid, PluginUnavailable
from pitboss.plughost.rules import decode_cell_file
from pitboss.plughost.runtime import discover, discover_packs, load_host
from pitboss_sdk.jurisdiction import read_pack

Install = Callable[..., Path]
CELL = CellFile("eu-1", "eu", packs=(AllowedPlugin("made-zz-law", ">=1,<2"),))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution with one pack whose package cannot be imported."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def make(code: str = "zz_law", *, name: str = "made-zz-law", version: str = "1.0") -> Path:
        package = f"made_packs_{name.replace('-', '_')}"
        folder = site / package / code
        shutil.copytree(folder_of("mt_mga"), folder, ignore=shutil.ignore_patterns("__pycache__"))
        edit(folder, "manifest.toml", "mt_mga", "zz_law")
        edit(folder, "manifest.toml", '"MT"', '"ZZ"')
        (folder / "__init__.py").write_text("raise SystemExit('imported')\n")
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[pitboss.jurisdiction]\n{code} = {package}.{code}\n")
        (info / "RECORD").write_text(f"{info.name}/METADATA,,\n{package}/{code}/manifest.toml,,\n")
        return folder

    return make


def judge(cell: CellFile | None = CELL, name: str = "zz_law") -> tuple[Stage, str]:
    """Return how far the installed pack comes, and why not further."""
    host = load_host(cell)
    (found,) = {one.stage: one for one in host.pack_candidates if one.name == name}.values()
    assert not [module for module in sys.modules if module.startswith("made_packs")]
    return found.stage, "; ".join(found.problems)


def test_a_pack_passes_every_gate_and_is_never_imported(install: Install) -> None:
    install()
    assert judge() == (Stage.LOADED, "")
    loaded = load_host(CELL).get_pack("zz_law")
    assert (loaded.slug, loaded.distribution, loaded.version) == ("zz_law", "made-zz-law", "1.0")
    assert loaded.pack.manifest.time_zone == "Europe/Malta"
    assert [one.stage for one in discover_packs(CELL) if one.name == "zz_law"] == [Stage.ALLOWED]


def test_a_pack_is_no_plugin(install: Install) -> None:
    install()
    host = load_host(None)
    assert "zz_law" in host.packs
    assert "zz_law" not in {one.name for one in host.candidates} | set(host.plugins)
    assert "zz_law" not in {one.name for one in discover(CELL)}


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (CellFile("eu-1", "eu"), "distribution 'made-zz-law' is not allowed in cell eu-1"),
        (
            CellFile("eu-1", "eu", plugins=(AllowedPlugin("made-zz-law", ">=1"),)),
            "distribution 'made-zz-law' is not allowed in cell eu-1",
        ),
        (
            CellFile("eu-1", "eu", packs=(AllowedPlugin("made-zz-law", ">=2"),)),
            "version 1.0 is outside '>=2' of cell eu-1",
        ),
    ],
)
def test_the_cell_decides(install: Install, cell: CellFile, reason: str) -> None:
    install()
    assert judge(cell) == (Stage.COMPATIBLE, reason)
    with pytest.raises(PluginUnavailable, match="pack 'zz_law': "):
        load_host(cell).get_pack("zz_law")


@pytest.mark.parametrize(
    ("file", "old", "new", "stage", "reason"),
    [
        ("manifest.toml", '"zz_law"', '"zz_low"', Stage.DISCOVERED, "'zz_low' is not the entry point's name 'zz_law'"),
        ("manifest.toml", ">=0.1,<0.2", ">=9", Stage.DISCOVERED, "sdk: '>=9' excludes this host's SDK"),
        ("manifest.toml", ">=0.1,<0.2", "new", Stage.DISCOVERED, "sdk: 'new' is not a PEP 440 specifier"),
        ("manifest.toml", '"experimental"', '"retired"', Stage.DISCOVERED, "the plugin is retired"),
        ("manifest.toml", "currency", "curency", Stage.DISCOVERED, "curency: is not a key here"),
        ("limits.toml", "value = 168", "value = -1", Stage.ALLOWED, "limits.toml: exclusion_lift_wait_hours[0].value"),
        ("retention.toml", "# No", "No", Stage.ALLOWED, "retention.toml: is not TOML"),
    ],
)
def test_a_faulty_pack_is_held_back_with_the_reason(
    install: Install, file: str, old: str, new: str, stage: Stage, reason: str
) -> None:
    edit(install(), file, old, new)
    reached, told = judge()
    assert reached is stage
    assert reason in told


def test_a_pack_without_manifest_is_told(install: Install) -> None:
    (install() / "manifest.toml").unlink()
    stage, reason = judge()
    assert stage is Stage.DISCOVERED
    assert reason == "no manifest.toml in package made_packs_made_zz_law.zz_law"


def test_a_code_that_two_distributions_claim_is_given_to_neither(install: Install) -> None:
    install()
    install(name="made-other-law")
    assert judge() == (Stage.DISCOVERED, "slug 'zz_law' is claimed more than once: made-other-law, made-zz-law")


def test_a_pack_that_is_not_there_is_told() -> None:
    with pytest.raises(PluginUnavailable, match="pack 'se_sga': is not installed"):
        load_host(CELL).get_pack("se_sga")


def test_a_cells_file_lists_each_pack_once() -> None:
    text = 'cell = "eu-1"\nlocality = "eu"\n' + '[[packs]]\ndistribution = "a"\nversions = ">=1"\n' * 2
    with pytest.raises(FileInvalid, match=r"packs\[1\]\.distribution: 'a' comes twice"):
        decode_cell_file("eu-1.toml", text)
    with pytest.raises(FileInvalid, match=r"packs\[0\]\.versions: 'new' is not a PEP 440 specifier"):
        decode_cell_file("eu-1.toml", text.replace(">=1", "new"))


def test_a_wheel_of_a_pack_carries_all_of_its_data(tmp_path: Path) -> None:
    project = folder_of("mt_mga").parents[1]
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=project, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    unpacked = tmp_path / "site" / "pitboss_jurisdictions" / "mt_mga"
    assert read_pack(unpacked) == read_pack(folder_of("mt_mga"))
    points = next((tmp_path / "site").glob("*.dist-info/entry_points.txt")).read_text()
    assert "mt_mga = pitboss_jurisdictions.mt_mga" in points
