"""Discovery without import, the gates in their order, and loading."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pitboss.plughost.contracts import AllowedPlugin, Candidate, CellFile, Stage
from pitboss.plughost.errors import FileInvalid, PluginUnavailable
from pitboss.plughost.runtime import discover, load_host, read_cell_file


def cell(*allowed: str, versions: str = ">=1,<2") -> CellFile:
    return CellFile("eu-1", "eu", plugins=tuple(AllowedPlugin(name, versions) for name in allowed))


def found(name: str, allowed: CellFile | None = None) -> Candidate:
    matches = [candidate for candidate in discover(allowed) if candidate.name == name]
    assert len(matches) == 1
    return matches[0]


def loaded(name: str, allowed: CellFile | None = None) -> Candidate:
    host = load_host(allowed)
    (candidate,) = [candidate for candidate in host.candidates if candidate.name == name]
    assert (name in host.plugins) is (candidate.stage is Stage.LOADED)
    return candidate


@pytest.mark.parametrize("layout", ["wheel", "pth", "direct"])
def test_a_plugin_is_found_and_allowed_without_running_any_of_its_code(install: Any, layout: str) -> None:
    folder = install("quiet", driver="raise SystemExit('imported')", layout=layout)
    candidate = found("quiet", cell("made-quiet"))
    assert candidate.stage is Stage.ALLOWED
    assert candidate.problems == ()
    assert (candidate.distribution, candidate.version) == ("made-quiet", "1.0")
    assert Path(candidate.manifest_file) == folder / "manifest.toml"
    assert not [name for name in sys.modules if name.startswith("made_quiet")]


@pytest.mark.parametrize("layout", ["wheel", "pth", "direct"])
def test_an_allowed_plugin_is_loaded(install: Any, layout: str) -> None:
    install("fine", layout=layout)
    host = load_host(cell("made-fine"))
    plugin = host.get_plugin("fine")
    assert plugin.driver.__name__ == "Plugin"
    assert plugin.manifest.title == "A plugin of the tests"
    assert [one.stage for one in host.candidates if one.name == "fine"] == [Stage.LOADED]


def test_a_plugin_that_the_cell_does_not_name_is_never_imported(install: Any) -> None:
    install("stranger", driver="raise SystemExit('imported')")
    host = load_host(cell("made-other"))
    with pytest.raises(PluginUnavailable, match="'made-stranger' is not allowed in cell eu-1"):
        host.get_plugin("stranger")
    assert not [name for name in sys.modules if name.startswith("made_stranger")]


def test_a_vendor_that_may_not_process_in_the_cells_locality_is_never_imported(
    install: Any, manifest_text: str
) -> None:
    abroad = manifest_text.replace('["eu", "br"]', '["br", "gb"]')
    install("made", manifest=abroad, driver="raise SystemExit('imported')")
    candidate = loaded("made", cell("made-made"))
    assert candidate.stage is Stage.COMPATIBLE
    assert candidate.problems == ("plugin made processes in br, gb, not in eu",)
    assert not [name for name in sys.modules if name.startswith("made_made")]


def test_distribution_names_are_compared_like_package_indexes_do(install: Any) -> None:
    install("named", name="Made.Plugin_Named")
    assert found("named", cell("made-plugin-named")).stage is Stage.ALLOWED


@pytest.mark.parametrize(("version", "stage"), [("1.0", 3), ("1.9rc1", 3), ("2.0", 2), ("0.9", 2), ("not-pep440", 2)])
def test_the_cell_allows_versions(install: Any, version: str, stage: int) -> None:
    install("aged", version=version)
    candidate = found("aged", cell("made-aged"))
    assert candidate.stage == stage
    assert ("outside '>=1,<2'" in "".join(candidate.problems)) is (stage == Stage.COMPATIBLE)


def test_without_a_manifest_it_stays_discovered(install: Any) -> None:
    install("bare", manifest=None)
    candidate = loaded("bare", cell("made-bare"))
    assert candidate.stage is Stage.DISCOVERED
    assert candidate.problems == ("no manifest.toml beside module made_bare.driver",)


def test_slug_must_be_the_name_of_the_entry_point(install: Any) -> None:
    install("one", entry="two")
    candidate = found("two")
    assert candidate.stage is Stage.DISCOVERED
    assert "slug: 'one' is not the entry point's name 'two'" in candidate.problems[0]


def test_a_slug_claimed_twice_is_given_to_nobody(install: Any) -> None:
    install("twin", name="made-first")
    install("twin", name="made-second")
    host = load_host(cell("made-first", "made-second"))
    claims = [candidate for candidate in host.candidates if candidate.name == "twin"]
    assert [candidate.stage for candidate in claims] == [Stage.DISCOVERED] * 2
    assert all("made-first, made-second" in "".join(candidate.problems) for candidate in claims)


def test_an_unknown_kind_is_held_back(install: Any) -> None:
    install("odd", group="pitboss.weather")
    problems = found("odd").problems
    assert "entry point group 'pitboss.weather': this host knows no such kind" in problems
    assert "kind: 'games' is not that of the entry point group" in "".join(problems)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('sdk = ">=0.1,<0.2"', 'sdk = ">=9"', "sdk: '>=9' excludes this host's SDK"),
        ('lifecycle = "experimental"', 'lifecycle = "retired"', "lifecycle: the plugin is retired"),
        ('title = "A', 'titel = "x"\ntitle = "A', "titel: is not a key here"),
        ('owner = "tests"', "", "owner: is missing"),
        ("config_version = 1", 'config_version = "1"', "config_version: Expected `int`, got `str`"),
        ("[webhooks]", "[webhooks", "is not TOML"),
    ],
)
def test_an_incompatible_manifest_names_file_key_and_reason(
    install: Any, manifest_text: str, old: str, new: str, problem: str
) -> None:
    folder = install("made", manifest=manifest_text.replace(old, new))
    candidate = loaded("made", cell("made-made"))
    assert candidate.stage is Stage.DISCOVERED
    assert candidate.problems[0].startswith(str(folder / "manifest.toml"))
    assert problem in candidate.problems[0]


@pytest.mark.parametrize(
    ("driver", "problem"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError"),
        ("assert False, 'no'", "AssertionError: no"),
        ("1 / 0", "ZeroDivisionError"),
        ("Plugin = 1", "does not name a class"),
        ("x = 1", "AttributeError"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_told_and_stops_nobody(install: Any, driver: str, problem: str) -> None:
    install("broken", driver=driver)
    install("sound")
    allowed = cell("made-broken", "made-sound")
    assert problem in "".join(loaded("broken", allowed).problems)
    assert loaded("sound", allowed).stage is Stage.LOADED


def test_loading_leaves_no_cache_behind(install: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    install("clean")
    assert loaded("clean", cell("made-clean")).stage is Stage.LOADED
    assert not (tmp_path / "cache").exists()


def test_the_shipped_plugin_passes_every_gate_of_the_shipped_cell() -> None:
    host = load_host(read_cell_file(Path(__file__).parents[3] / "deploy/cells/eu-1.toml"))
    assert host.get_plugin("softswiss").manifest.kind == "games"
    assert [candidate.problems for candidate in host.candidates if candidate.name == "softswiss"] == [()]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('cell = "eu-1"', "locality: is missing"),
        ('cell = "EU"\nlocality = "eu"', "cell: Expected `str` matching regex"),
        ('cell = "br-1"\nlocality = "br"', "cell: 'br-1' is not the name of the file"),
        ('cell = "eu-1"\nlocality = "eu"\ncolour = 1', "colour: is not a key here"),
        (
            'cell = "eu-1"\nlocality = "eu"\n[[plugins]]\ndistribution = "a"\nversions = "1"',
            "plugins[0].versions: '1' is not a PEP 440 specifier",
        ),
        (
            'cell = "eu-1"\nlocality = "eu"\n' + '[[plugins]]\ndistribution = "A_b"\nversions = ">1"\n' * 2,
            "plugins[1].distribution: 'a-b' comes twice",
        ),
        ("cell = ", "is not TOML"),
    ],
)
def test_a_faulty_cell_file_names_file_key_and_reason(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "eu-1.toml"
    path.write_text(text)
    with pytest.raises(FileInvalid) as caught:
        read_cell_file(path)
    assert caught.value.detail.startswith(f"{path}: ")
    assert fault in caught.value.detail


def test_a_cell_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileInvalid, match="cannot be read: No such file"):
        read_cell_file(tmp_path / "eu-1.toml")
    (tmp_path / "eu-1.toml").write_bytes(b"cell = '\xff'")
    with pytest.raises(FileInvalid, match="is not UTF-8 text"):
        read_cell_file(tmp_path / "eu-1.toml")
    (tmp_path / "eu-1.toml").write_text("#" * (256 * 1024 + 1))
    with pytest.raises(FileInvalid, match="is larger than"):
        read_cell_file(tmp_path / "eu-1.toml")
