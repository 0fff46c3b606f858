"""Print every promised figure beside the value that was measured last."""

from __future__ import annotations

import json
import operator
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
GOALS = Path(__file__).with_name("goals.toml")
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}


class Wanted(NamedTuple):
    """A comparison and the number on its right side."""

    comparison: str
    number: float
    text: str

    def holds(self, value: float) -> bool:
        """Say whether `value` is good enough."""
        return COMPARISONS[self.comparison](value, self.number)


class Goal(NamedTuple):
    """One promised figure; at least one of `must` and `goal` is given."""

    name: str
    file: str
    key: str
    must: Wanted | None
    goal: Wanted | None
    unit: str
    source: str


class Measured(NamedTuple):
    """A value and the moment when its file was written."""

    value: float
    at: datetime


class BadFigures(Exception):
    """A file of goals or figures is not what it should be; the message names file and key."""


def load_goals(path: Path) -> list[Goal]:
    """Read the goals; raise `BadFigures` naming the entry that is wrong."""
    known = {"name", "file", "key", "must", "goal", "unit", "source"}
    goals: list[Goal] = []
    for number, entry in enumerate(tomllib.loads(path.read_text())["goal"], 1):
        where = f"{path.name}, goal {number} ({entry.get('name', 'without a name')})"
        if set(entry) - known or not {"name", "file", "key", "unit", "source"} <= set(entry):
            raise BadFigures(f"{where}: wants {', '.join(sorted(known))}")
        must, goal = (read_wanted(entry[each], where) if each in entry else None for each in ("must", "goal"))
        if must is None and goal is None:
            raise BadFigures(f"{where}: neither must nor goal")
        goals.append(Goal(entry["name"], entry["file"], entry["key"], must, goal, entry["unit"], entry["source"]))
    return goals


def read_wanted(text: str, where: str) -> Wanted:
    """Read a comparison such as ``>= 1.2``."""
    comparison, _, number = text.partition(" ")
    try:
        if comparison not in COMPARISONS:
            raise ValueError(comparison)
        return Wanted(comparison, float(number), text)
    except ValueError:
        raise BadFigures(f"{where}: {text!r} is not a comparison and a number") from None


def load_measured(folder: Path) -> dict[tuple[str, str], Measured]:
    """Read every file of figures in `folder`; values that are no numbers are left out."""
    measured: dict[tuple[str, str], Measured] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            figures = json.loads(path.read_text())
        except ValueError as error:
            raise BadFigures(f"{path.name}: {error}") from None
        if not isinstance(figures, dict):
            raise BadFigures(f"{path.name}: not a flat object")
        at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        for key, value in figures.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                measured[path.stem, str(key)] = Measured(float(value), at)
    return measured


def judge(goal: Goal, measured: Measured | None) -> str:
    """Return the verdict on one goal."""
    if measured is None:
        return "not measured"
    if goal.must is not None and not goal.must.holds(measured.value):
        return "missed"
    if goal.goal is not None and not goal.goal.holds(measured.value):
        return "goal missed" if goal.must is None else "met, goal open"
    return "met"


def render(goals: list[Goal], measured: dict[tuple[str, str], Measured]) -> str:
    """Return the table and, below it, the counts."""
    rows = [("figure", "wanted", "measured", "when (UTC)", "verdict")]
    counts: Counter[str] = Counter()
    for goal in goals:
        found = measured.get((goal.file, goal.key))
        verdict = judge(goal, found)
        counts[verdict] += 1
        wanted = " / ".join(each.text for each in (goal.must, goal.goal) if each is not None)
        value, at = (f"{found.value:,.10g}", f"{found.at:%Y-%m-%d %H:%M}") if found else ("–", "–")
        rows.append((goal.name, f"{wanted} {goal.unit}".strip(), value, at, verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("─" * width for width in widths))
    total = ", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items()))
    return "\n".join([*lines, "", f"{len(goals)} figures: {total}"])


def main(goals_file: Path = GOALS, folder: Path = ROOT / "build" / "figures") -> int:
    """Print the table; a missed figure is told, not punished."""
    try:
        print(render(load_goals(goals_file), load_measured(folder)))
    except BadFigures as error:
        print(f"figures: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
