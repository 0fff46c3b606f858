"""What the pages name exists: paths, links, commands with their options, make targets."""

from __future__ import annotations

import tomllib
from pathlib import Path

import click
import pytest
from tests.docs import pages

from pitboss.bootstrap import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [path.relative_to(ROOT).as_posix() for path in pages.list_pages(ROOT)]


@pytest.mark.parametrize("page", PAGES)
def test_paths_exist(page: str) -> None:
    assert not list(pages.find_missing_paths(ROOT, (ROOT / page).read_text()))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    assert not list(pages.find_broken_links(ROOT / page, (ROOT / page).read_text()))


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page: str) -> None:
    assert not list(pages.find_unknown_commands(cli, (ROOT / page).read_text()))


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    assert not list(pages.find_unknown_targets((ROOT / "Makefile").read_text(), (ROOT / page).read_text()))


def test_the_pages_of_the_project_are_read() -> None:
    assert {"README.md", "core/README.md", "core/docs/reference/glossary.md"} <= set(PAGES)


def test_a_missing_path_is_found() -> None:
    text = "See `core/README.md`, core/nowhere.py and `plugins/games/<vendor>/driver.py`."
    assert list(pages.find_missing_paths(ROOT, text)) == ["core/nowhere.py"]


def test_what_the_reader_makes_is_declared() -> None:
    text = "Write `plugins/games/acme/pyproject.toml`."
    assert list(pages.find_missing_paths(ROOT, text)) == ["plugins/games/acme/pyproject.toml"]
    assert not list(pages.find_missing_paths(ROOT, f"{text}\n<!-- made by the reader: plugins/games/acme -->"))


def test_a_broken_link_is_found() -> None:
    text = "[a](core/README.md#map) [b](nowhere.md) [c](https://example.org)"
    assert list(pages.find_broken_links(ROOT / "README.md", text)) == ["nowhere.md"]


@pytest.fixture
def tree() -> click.Group:
    """Make a small command tree."""

    @click.group()
    def pitboss() -> None: ...

    @pitboss.group()
    def tenant() -> None: ...

    @tenant.command()
    @click.argument("slug")
    @click.option("--dry-run", is_flag=True)
    def apply(slug: str, dry_run: bool) -> None: ...

    return pitboss


@pytest.mark.parametrize(
    "line", ["pitboss tenant apply demo --dry-run", "pitboss", "pitboss tenant", "pitboss tenant apply --help"]
)
def test_a_known_command_passes(tree: click.Group, line: str) -> None:
    assert not list(pages.find_unknown_commands(tree, f"```sh\n$ {line}  # why\n```\nand `{line}`"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("pitboss tenants apply", "no command tenants"),
        ("pitboss tenant drop", "no command drop"),
        ("pitboss tenant apply demo --force", "no option --force"),
        ("pitboss tenant apply|drop", "no command drop"),
        ("PITBOSS_PORT=1 .venv/bin/pitboss start", "no command start"),
    ],
)
@pytest.mark.parametrize("shape", ["```sh\n{}\n```", "Run `{}` now."])
def test_an_unknown_command_is_found(tree: click.Group, line: str, reason: str, shape: str) -> None:
    (finding,) = pages.find_unknown_commands(tree, shape.format(line))
    assert reason in finding


def test_an_unknown_target_is_found() -> None:
    makefile = ".PHONY: run\nrun: .venv\n\ttrue\n"
    assert list(pages.find_unknown_targets(makefile, "`make run`\n```\nmake walk\n```")) == ["make walk"]


def test_the_map_of_the_core_has_the_layers_that_imports_obey() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["id"] == "layers"]
    page = (ROOT / "core/README.md").read_text()
    (drawn,) = [block for _, block in pages.FENCE.findall(page) if block.startswith("bootstrap\n")]
    lines = [line.split("→")[0].strip() for line in drawn.splitlines()]
    assert lines == [layer.replace("(", "").replace(")", "") for layer in layers]
