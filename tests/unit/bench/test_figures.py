"""The table of figures tells met from missed and from never measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.bench import figures

GOALS = """
[[goal]]
name = "speed"
file = "bench"
key = "speed"
must = ">= 1.2"
goal = ">= 2"
unit = "×"
source = "x"

[[goal]]
name = "size"
file = "bench"
key = "size"
goal = "<= 400"
unit = "bytes"
source = "x"

[[goal]]
name = "losses"
file = "crash"
key = "losses"
must = "== 0"
unit = ""
source = "x"
"""


def table(tmp_path: Path, capsys: pytest.CaptureFixture[str], **files: object) -> dict[str, str]:
    """Return the printed line of each goal, and the closing line as `total`."""
    (tmp_path / "goals.toml").write_text(GOALS)
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert figures.main(tmp_path / "goals.toml", tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line.split("  ")[0]: line for line in lines[2:-2]} | {"total": lines[-1]}


def test_nothing_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = table(tmp_path, capsys)
    assert all(printed[name].endswith("not measured") for name in ("speed", "size", "losses"))
    assert printed["total"] == "3 figures: 3 not measured"


@pytest.mark.parametrize(
    ("speed", "verdict"), [(1.1, "  missed"), (1.2, "met, goal open"), (1.99, "met, goal open"), (2, "  met")]
)
def test_must_and_goal(tmp_path: Path, capsys: pytest.CaptureFixture[str], speed: float, verdict: str) -> None:
    assert table(tmp_path, capsys, bench={"speed": speed})["speed"].endswith(verdict)


def test_goal_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table(tmp_path, capsys, bench={"size": 401})["size"].endswith("goal missed")
    assert table(tmp_path, capsys, bench={"size": 400})["size"].endswith("  met")


def test_zero_means_zero_and_comes_from_its_own_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table(tmp_path, capsys, bench={"losses": 0})["losses"].endswith("not measured")
    assert table(tmp_path, capsys, crash={"losses": 1})["losses"].endswith("  missed")
    printed = table(tmp_path, capsys, crash={"losses": 0, "text": "x", "flag": True})
    assert printed["losses"].endswith("  met")
    assert printed["total"] == "3 figures: 1 met, 2 not measured"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('must = ">= 1.2"', 'must = "about 2"', "about 2"),
        ('unit = "×"', 'units = "×"', "goal 1 (speed)"),
        ('goal = "<= 400"', "", "neither must nor goal"),
    ],
)
def test_a_bad_file_of_goals_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    path = tmp_path / "goals.toml"
    path.write_text(GOALS.replace(old, new))
    with pytest.raises(figures.BadFigures, match=named.replace("(", r"\(").replace(")", r"\)")):
        figures.load_goals(path)


def test_a_broken_figure_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bench.json").write_text("{")
    assert figures.main(figures.GOALS, tmp_path) == 0
    assert "bench.json" in capsys.readouterr().err


def test_the_goals_of_the_project_are_well_formed() -> None:
    goals = figures.load_goals(figures.GOALS)
    assert len({(goal.file, goal.key) for goal in goals}) == len(goals) >= 24
