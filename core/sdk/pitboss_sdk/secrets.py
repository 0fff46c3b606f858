"""References to secrets: configuration files name a secret, the host resolves it late."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import msgspec


class SecretRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name in the cell's secret store, written in TOML as ``api_secret = { secret = "name" }``."""

    secret: str


def list_secrets(config: object) -> tuple[str, ...]:
    """Return the names of the secrets that a configuration refers to, wherever they stand in it."""
    return tuple(sorted(set(_walk(config))))


def _walk(value: object) -> Iterator[str]:
    if isinstance(value, SecretRef):
        yield value.secret
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from _walk(getattr(value, field))
    elif isinstance(value, Mapping):
        for part in cast("Mapping[object, object]", value).values():
            yield from _walk(part)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for part in cast("Sequence[object]", value):
            yield from _walk(part)
