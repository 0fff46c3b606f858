"""The tree has the shape that the architecture gives it, and each check is seen to catch a planted mistake."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.architecture import shape

Check = Callable[[Path], Iterator[str]]

ROOM = "core/app/pitboss/ledger"
TABLE = "class A(CellBase):\n    __tablename__ = 'roulette_wheel'\n"
FUNCTION = "def spin() -> None:\n" + "    x = 1\n" * 70
TWO_OF_A_NAME = (
    "class Wheel:\n" + textwrap.indent(FUNCTION, "    ") + "class Ball:\n    def spin(self) -> None:\n        x = 1\n"
)
TWICE_DEFINED = "if x:\n" + textwrap.indent(FUNCTION, "    ") + "else:\n    def spin() -> None:\n        x = 1\n"
USE_CASE = "async def list_spins(session: AsyncSession) -> None:\n    pass\n"

CHECKS = [
    shape.find_top_level,
    shape.find_strange_room_files,
    shape.find_shapeless_names,
    shape.find_missing_packages,
    shape.find_long_files,
    shape.find_long_functions,
    shape.find_foreign_tables,
    shape.find_traces_of_a_machine,
    shape.find_use_cases_without_scope,
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_tree_has_its_shape(root: Path, check: Check) -> None:
    findings = list(check(root))
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize(
    ("check", "planted", "named"),
    [
        (shape.find_top_level, {"scripts/x.sh": "echo"}, "scripts"),
        (shape.find_strange_room_files, {f"{ROOM}/queries.py": ""}, "queries.py"),
        (shape.find_strange_room_files, {f"{ROOM}/views/a.py": ""}, "views"),
        (shape.find_strange_room_files, {f"{ROOM}/notes.md": ""}, "notes.md"),
        (shape.find_shapeless_names, {f"{ROOM}/store/utils.py": ""}, "utils.py"),
        (shape.find_missing_packages, {"core/app/pitboss/web/pages/a.py": ""}, "pages"),
        (shape.find_missing_packages, {"plugins/games/acme/pitboss_plugins/games/__init__.py": ""}, "namespace"),
        (shape.find_missing_packages, {"jurisdictions/mt_x/pitboss_jurisdictions/__init__.py": ""}, "namespace"),
        (shape.find_long_files, {f"{ROOM}/store/journal.py": "x = 1\n" * 501}, "501 lines"),
        (shape.find_long_functions, {f"{ROOM}/store/journal.py": FUNCTION}, "spin: 71 lines"),
        (shape.find_long_functions, {f"{ROOM}/store/journal.py": TWO_OF_A_NAME}, "Wheel.spin: 71 lines"),
        (shape.find_long_functions, {f"{ROOM}/store/journal.py": TWICE_DEFINED}, "spin: 71 lines"),
        (
            shape.find_foreign_tables,
            {"core/app/pitboss/limits/tables.py": TABLE, f"{ROOM}/store/x.py": "Q = 'select 1 from roulette_wheel'"},
            "a table of room limits",
        ),
        (
            shape.find_foreign_tables,
            {"core/app/pitboss/limits/tables.py": TABLE, f"{ROOM}/sql/x.sql": "update roulette_wheel set a = 1;"},
            "a table of room limits",
        ),
        (
            shape.find_foreign_tables,
            {"core/app/pitboss/limits/tables.py": TABLE, "core/app/pitboss/wallet/tables.py": TABLE},
            "is declared by limits",
        ),
        (shape.find_traces_of_a_machine, {"core/README.md": "see /wo" + "rk/x"}, "core/README.md:1"),
        (shape.find_use_cases_without_scope, {f"{ROOM}/service/spins.py": USE_CASE}, "list_spins"),
    ],
)
def test_a_planted_mistake_is_found(tmp_path: Path, check: Check, planted: dict[str, str], named: str) -> None:
    (tmp_path / "core/app/pitboss").mkdir(parents=True)
    (tmp_path / "tests/architecture").mkdir(parents=True)
    (tmp_path / "tests/architecture/exceptions.toml").write_text("[files]\n[functions]\n")
    assert not list(check(tmp_path)), "a clean tree has no findings"
    for path, text in planted.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert any(named in finding for finding in check(tmp_path))


def test_an_exception_without_need_is_found() -> None:
    assert list(shape.judge_lengths({"a.py": 400}, {"a.py": 600}, 500)) == [
        "a.py: on the list of exceptions (600) without need"
    ]
    assert list(shape.judge_lengths({"a.py": 601}, {"a.py": 600}, 500)) == ["a.py: 601 lines, 600 are allowed"]
    assert not list(shape.judge_lengths({"a.py": 600}, {"a.py": 600}, 500))
