"""A mapping of bounded size for what a process may forget at any time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Memory(Generic[Key, Value]):
    """Keeps what was put or read lately, at least the last `size` entries and at most twice as many.

    Two generations instead of a list of uses: reading costs one look-up, and forgetting costs nothing.
    """

    __slots__ = ("_old", "_size", "_young")

    def __init__(self, size: int) -> None:
        self._size = size
        self._young: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}

    def get(self, key: Key) -> Value | None:
        """Return what is remembered, or None."""
        value = self._young.get(key)
        if value is None:
            value = self._old.pop(key, None)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: Key, value: Value) -> None:
        """Remember `value`."""
        self._young[key] = value
        if len(self._young) > self._size:
            self._old, self._young = self._young, {}

    def put_all(self, values: Mapping[Key, Value]) -> None:
        """Remember several values."""
        self._young.update(values)
        if len(self._young) > self._size:
            self._old, self._young = self._young, {}

    def forget(self, key: Key) -> None:
        """Forget one entry."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._young, self._old = {}, {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
