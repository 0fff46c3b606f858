"""What a caught error was raised over: the error itself, its contexts, its causes, the members of its groups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import hypothesis

_HYPOTHESIS = Path(hypothesis.__file__).parent


def find_assertion(caught: BaseException) -> AssertionError | None:
    """Return an assertion that failed in a test's own code and led to `caught`, or None.

    Where hypothesis plays a failure again and a race goes another way, its own error hides what had failed. An
    assertion inside hypothesis is no finding of ours.
    """
    found = (error for error in _walk(caught) if isinstance(error, AssertionError) and not _is_theirs(error))
    return next(found, None)


def _walk(caught: BaseException) -> Iterator[BaseException]:
    waiting, seen = [caught], set[int]()
    while waiting:
        error = waiting.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        waiting += [more for more in (error.__cause__, error.__context__) if more is not None]
        if isinstance(error, BaseExceptionGroup):
            waiting += cast("BaseExceptionGroup[Any]", error).exceptions


def _is_theirs(error: BaseException) -> bool:
    last: TracebackType | None = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and _HYPOTHESIS in Path(last.tb_frame.f_code.co_filename).parents
