"""Log calls and spans of the source, read: each field is on the list of its class, and none is made from free text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical", "fatal", "log"})
EVENT = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
SPAN_CALLS = frozenset({"span", "record_past"})
SPAN_ARGUMENTS = frozenset({"parent"})
FREE_TEXT = frozenset({"detail", "args", "message", "reason", "doc", "text", "body", "content"})
"""Attributes that hold sentences with values in them."""
SETS_UP_LOGGERS = "core/app/pitboss/platform/telemetry.py"
PASSES_FIELDS_ON = "core/app/pitboss/platform/traces.py"
"""It gives what its callers say to the guard; they are read instead."""


def find_faults(tree: Path, allowed: AbstractSet[str]) -> Iterator[str]:
    """Yield every call that tells more than may be told, or in a way that cannot be judged by reading."""
    for path in sorted((tree / "core/app/pitboss").rglob("*.py")):
        place = path.relative_to(tree).as_posix()
        if place != PASSES_FIELDS_ON:
            for line, fault in _judge_file(ast.parse(path.read_text()), allowed, place == SETS_UP_LOGGERS):
                yield f"{place}:{line}: {fault}"


def _judge_file(module: ast.Module, allowed: AbstractSet[str], sets_up_loggers: bool) -> Iterator[tuple[int, str]]:
    loggers = {"log", "_log", "_LOG", "logger"} | _list_loggers(module)
    for node in ast.walk(module):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if not sets_up_loggers and called in {"logging.getLogger", "getLogger", "warnings.warn"}:
            yield node.lineno, f"{called} goes around the allow-list"
        elif isinstance(node.func, ast.Attribute) and _is_logger(node.func.value, loggers):
            if node.func.attr in {"bind", "new", "try_unbind", "unbind"}:
                yield node.lineno, "fields are given where the line is written"
            elif node.func.attr in LEVELS:
                yield from _judge_log(node, allowed)
        elif called in SPAN_CALLS:
            if not node.args or not ast.unparse(node.args[0]).startswith("SpanName."):
                yield node.lineno, "a span is named by SpanName"
            yield from _judge_fields(node, allowed | SPAN_ARGUMENTS)
        elif isinstance(node.func, ast.Attribute) and node.func.attr == "note" and node.keywords:
            yield from _judge_fields(node, allowed)


def _list_loggers(module: ast.Module) -> set[str]:
    """Return the names that a module gives to loggers."""
    return {
        ast.unparse(target)
        for node in ast.walk(module)
        if isinstance(node, ast.Assign) and "structlog.get_logger" in ast.unparse(node.value)
        for target in node.targets
    }


def _is_logger(node: ast.expr, loggers: AbstractSet[str]) -> bool:
    text = ast.unparse(node)
    return text in loggers or text.rpartition(".")[2] in loggers or "get_logger(" in text


def _judge_log(call: ast.Call, allowed: AbstractSet[str]) -> Iterator[tuple[int, str]]:
    event = call.args[0] if call.args else None
    if not (isinstance(event, ast.Constant) and isinstance(event.value, str) and EVENT.fullmatch(event.value)):
        told = ast.unparse(event) if event else "nothing"
        yield call.lineno, f"{told} is no event name (room.what_happened)"
    if len(call.args) > 1:
        yield call.lineno, "a value is told as a field, not by its place"
    yield from _judge_fields(call, allowed | {"exc_info"})


def _judge_fields(call: ast.Call, allowed: AbstractSet[str]) -> Iterator[tuple[int, str]]:
    for keyword in call.keywords:
        if keyword.arg is None:
            yield from _judge_splat(call, keyword.value, allowed)
        elif keyword.arg not in allowed:
            yield call.lineno, f"field {keyword.arg} is not on the allow-list"
        elif keyword.arg not in {"exc_info", "parent"}:
            yield from _judge_value(call.lineno, keyword.arg, keyword.value)


def _judge_splat(call: ast.Call, value: ast.expr, allowed: AbstractSet[str]) -> Iterator[tuple[int, str]]:
    if not isinstance(value, ast.Dict):
        yield call.lineno, "fields that are not written out cannot be judged"
        return
    for key, item in zip(value.keys, value.values, strict=True):
        name = key.value if isinstance(key, ast.Constant) else None
        if name not in allowed:
            yield call.lineno, f"field {name} is not on the allow-list"
        yield from _judge_value(call.lineno, str(name), item)


def _judge_value(line: int, field: str, value: ast.expr) -> Iterator[tuple[int, str]]:
    """A value is a name, a number or a constant; one that is put together may hold anything."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "len":
        return
    for node in ast.walk(value):
        if isinstance(node, ast.JoinedStr):
            yield line, f"field {field} is put together"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in {"repr", "format", "vars", "traceback.format_exc"} or called.endswith((".format", ".join")):
                yield line, f"field {field} is put together"
            elif called == "str":
                yield line, f"field {field} is somebody's text"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            yield line, f"field {field} is put together"
        elif isinstance(node, ast.Attribute) and node.attr in FREE_TEXT:
            yield line, f"field {field} is free text ({node.attr})"
