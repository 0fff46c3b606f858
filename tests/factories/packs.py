"""Packs for tests: the shipped ones, and copies in which a piece is another."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from pitboss.plughost.contracts import LoadedPack
from pitboss_sdk.jurisdiction import Evidence, Mark, Pack, read_pack

ROOT = Path(__file__).parents[2]
FIRST_DAY = date(2026, 1, 1)


def folder_of(code: str) -> Path:
    """Return the data folder of a shipped pack."""
    return ROOT / "jurisdictions" / code / "pitboss_jurisdictions" / code


def load(code: str) -> LoadedPack:
    """Return a shipped pack as the plugin host loads it."""
    return LoadedPack(read_pack(folder_of(code)), f"pitboss-pack-{code.replace('_', '-')}", "0.1.0")


def copy(code: str, into: Path) -> Path:
    """Return a copy of a shipped pack's data folder that a test may break."""
    target = into / code
    shutil.copytree(folder_of(code), target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def edit(folder: Path, name: str, old: str, new: str) -> None:
    """Replace the first occurrence of a piece of a file; the piece must be there."""
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))


def state(shape: type[Evidence], *, mark: Mark = Mark.VERIFIED, since: date = FIRST_DAY, **values: Any) -> Any:
    """Return a statement of a pack; what it says is given, its evidence is made up."""
    evidence: dict[str, Any] = {"source": "an article", "see": ("X1",), "checked_on": FIRST_DAY}
    return shape(since=since, mark=mark, **evidence, **values)


def with_statements(pack: Pack, file: str, **statements: Iterable[Evidence]) -> Pack:
    """Return a pack whose file states something else, by name."""
    content = msgspec.structs.replace(getattr(pack, file), **{name: tuple(each) for name, each in statements.items()})
    return msgspec.structs.replace(pack, **{file: content})
