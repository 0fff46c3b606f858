"""Keyset pages: a list is continued from an opaque cursor, never from an offset."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Generic, TypeVar

import msgspec

from pitboss_sdk.errors import ErrorKind, PitbossError

T = TypeVar("T")

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200


class InvalidCursor(PitbossError):
    code = "paging.invalid_cursor"
    kind = ErrorKind.INVALID


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some rows and, where there are more, the cursor that continues them."""

    items: list[T]
    next_cursor: str | None = None


def encode_cursor(*key: Any) -> str:
    """Return an opaque cursor for the sort key of the last row on a page."""
    return urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def decode_cursor(cursor: str, shape: type[T]) -> T:
    """Return the sort key inside `cursor` as `shape` (a tuple type); raise `InvalidCursor`."""
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.json.decode(raw, type=shape)
    except (ValueError, msgspec.MsgspecError):
        raise InvalidCursor("the cursor is not one that this list gave out") from None
