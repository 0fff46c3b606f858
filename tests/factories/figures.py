"""Where suites that measure leave what they found, for `make figures`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "build" / "figures"


def write_figures(name: str, figures: Mapping[str, float]) -> None:
    """Write a flat file of figures, replacing the last one."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(dict(figures), indent=2) + "\n")


def merge_figures(name: str, figures: Mapping[str, float]) -> None:
    """Write figures into a flat file that several suites share, beside what the others wrote."""
    path = FOLDER / f"{name}.json"
    known: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    write_figures(name, {**known, **figures})
