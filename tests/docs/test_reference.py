"""The reference pages are what the code generates now, and nothing else lies beside them."""

from __future__ import annotations

import importlib.util
import inspect
import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from openapi_spec_validator import validate

import pitboss.bootstrap

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.base_exceptions.LitestarDeprecationWarning")
"""Litestar 2 announces what version 3, which is not allowed yet, will ask of handlers."""

FOLDER = Path(__file__).resolve().parents[2] / "core" / "docs" / "reference"
PAGES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in {".md", ".json"} and path.name != "glossary.md")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """Load the script that writes the pages."""
    spec = importlib.util.spec_from_file_location("reference_generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_generated(generator: ModuleType) -> None:
    assert sorted(generator.PAGES) == PAGES


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_the_code_says(generator: ModuleType, page: str) -> None:
    assert (FOLDER / page).read_text() == generator.PAGES[page](), "run core/docs/reference/generate.py"


def test_the_api_is_described_in_openapi_3_1(generator: ModuleType) -> None:
    document = json.loads(generator.openapi())
    assert document["openapi"].startswith("3.1")
    assert document["paths"]
    validate(document)


def test_no_resource_is_taken_for_a_parameter(generator: ModuleType) -> None:
    document = json.loads(generator.openapi())
    named = {
        parameter["name"]
        for item in document["paths"].values()
        for operation in item.values()
        for parameter in operation.get("parameters", [])
    }
    resources = generator.list_resources()
    assert resources, "the composition root hands something to controllers"
    assert not named & resources


def test_every_controller_is_served(generator: ModuleType) -> None:
    root = inspect.getsource(pitboss.bootstrap)
    assert [each.__name__ for each in generator.list_controllers() if each.__name__ not in root] == []


def test_an_error_code_belongs_to_one_situation(generator: ModuleType) -> None:
    codes = Counter(error.code for error in generator.list_errors())
    assert [code for code, number in codes.items() if number > 1] == []


def test_an_error_code_begins_with_its_room(generator: ModuleType) -> None:
    strange = [
        f"{error.__module__}.{error.__name__}: {error.code}"
        for error in generator.list_errors()
        if error.__module__.startswith("pitboss.")
        and error.__module__.split(".")[1] not in {"cli", "web", "worker", "migrations"}
        and error.code.split(".")[0] not in {*error.__module__.split(".")[1:3]}
    ]
    assert strange == []
