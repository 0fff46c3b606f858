"""Every table of a plane, found where rooms keep them: for who needs them all, whichever rooms there are."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Final, Literal

from sqlalchemy import MetaData

import pitboss
from pitboss.platform.db import CellBase, ControlBase

Plane = Literal["control", "cell"]

_PACKAGE: Final = Path(pitboss.__path__[0])


def load_metadata(plane: Plane) -> MetaData:
    """Import every room's tables and return the metadata of `plane`."""
    for module in iter_modules([str(_PACKAGE)]):
        if (_PACKAGE / module.name / "tables.py").exists() or (_PACKAGE / module.name / "tables").is_dir():
            import_module(f"pitboss.{module.name}.tables")
    import_module("pitboss.platform.outbox")
    return (ControlBase if plane == "control" else CellBase).metadata
