"""What a process may tell of anything, in logs and in traces: fields by class, and the shape that each class has.

Nothing else passes: personal data and secrets leak through free text, unknown fields and messages of exceptions.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import Final, cast

MAX_VALUE_CHARACTERS: Final = 300
MAX_TRACE_FRAMES: Final = 12


class FieldClass(StrEnum):
    """What kind of value a field holds; its shape keeps out an @, a query and a plus before a number.

    A person's name that looks like a name or words of ours passes: that none is told is held by reading the source.
    """

    NAME = "name"
    """A name out of our code, of a tenant, a plugin or a cell: a letter, no blank, no @."""
    NUMBER = "number"
    """A count, a duration, a size, a port, a status."""
    ID = "id"
    """What we gave to a request, a job, a tenant or a trace; never to a player."""
    PLACE = "place"
    """A host, a template of a path, a line of code, a book entry: no @, no query, no quotes."""
    MOMENT = "moment"
    """A time in ISO 8601."""
    WORDS = "words"
    """A sentence out of our code: no @, no figure of more than three digits."""


FIELDS: Final[Mapping[str, FieldClass]] = {
    "action": FieldClass.NAME,
    "address": FieldClass.PLACE,
    "attempts": FieldClass.NUMBER,
    "count": FieldClass.NUMBER,
    "duration_ms": FieldClass.NUMBER,
    "error_code": FieldClass.NAME,
    "error_type": FieldClass.NAME,
    "job": FieldClass.NAME,
    "job_id": FieldClass.ID,
    "level": FieldClass.NAME,
    "library": FieldClass.NAME,
    "licence": FieldClass.NAME,
    "method": FieldClass.NAME,
    "outcome": FieldClass.NAME,
    "path_template": FieldClass.PLACE,
    "place": FieldClass.PLACE,
    "plugin": FieldClass.NAME,
    "port": FieldClass.NUMBER,
    "problem": FieldClass.WORDS,
    "process": FieldClass.NAME,
    "request_id": FieldClass.ID,
    "retry_in_seconds": FieldClass.NUMBER,
    "size_bytes": FieldClass.NUMBER,
    "status": FieldClass.NUMBER,
    "tenant": FieldClass.NAME,
    "tenant_id": FieldClass.ID,
    "timestamp": FieldClass.MOMENT,
    "trace": FieldClass.PLACE,
    "trace_id": FieldClass.ID,
    "vendor_host": FieldClass.PLACE,
}
"""Every field that a log line or a span may have."""

_SHAPES: Final[Mapping[FieldClass, re.Pattern[str]]] = {
    FieldClass.NAME: re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_][A-Za-z0-9_.:<>-]*"),
    FieldClass.ID: re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}|[0-9]{1,19}"),
    FieldClass.PLACE: re.compile(r"[A-Za-z0-9_./:<>{}\[\]*, -]+"),
    FieldClass.MOMENT: re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"),
    FieldClass.WORDS: re.compile(r"(?!.*[0-9]{4})[A-Za-z0-9_.,:;()<> '-]+"),
}
EVENT_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+\Z")

Value = bool | int | float | str | None


def keep_allowed(fields: Mapping[str, object]) -> tuple[dict[str, Value], int]:
    """Return those of `fields` that are on the list and have the shape of their class, and how many are not."""
    kept: dict[str, Value] = {}
    for name, value in fields.items():
        kind = FIELDS.get(name)
        if kind is not None and (value is None or _has_shape(kind, value)):
            kept[name] = value[:MAX_VALUE_CHARACTERS] if isinstance(value, str) else cast("Value", value)
    return kept, len(fields) - len(kept)


def _has_shape(kind: FieldClass, value: object) -> bool:
    if isinstance(value, str):
        shape = _SHAPES.get(kind)
        return value == "" or (shape is not None and shape.fullmatch(value) is not None)
    if kind is FieldClass.ID:
        return type(value) is int
    return kind is FieldClass.NUMBER and isinstance(value, bool | int | float)


def describe_exception(exc_info: object) -> dict[str, str]:
    """Return type, code and places of an exception, never its message: messages quote values."""
    if exc_info is True:
        exc_info = sys.exc_info()
    if isinstance(exc_info, Sequence) and not isinstance(exc_info, str):
        exc_info = cast("Sequence[object]", exc_info)[1]
    if not isinstance(exc_info, BaseException):
        return {}
    found = {"error_type": type(exc_info).__qualname__, "trace": " < ".join(_frames(exc_info.__traceback__))}
    code = getattr(exc_info, "code", None)
    if isinstance(code, str) and EVENT_NAME.match(code):
        found["error_code"] = code
    return found


def _frames(traceback: TracebackType | None) -> list[str]:
    places: list[str] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        places.append(
            f"{code.co_filename.rpartition('site-packages/')[2].rpartition('/app/')[2]}:{traceback.tb_lineno}"
        )
        traceback = traceback.tb_next
    return places[::-1][:MAX_TRACE_FRAMES]
