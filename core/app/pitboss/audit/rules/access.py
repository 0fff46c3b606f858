"""What an event of a read says: how much of what was shown, never what it said."""

from __future__ import annotations

import json
from hashlib import sha256

from pitboss.audit.contracts import Access, Change
from pitboss.kernel.classes import find_data_class

_IN_FULL = frozenset({"restricted", "secret"})
"""Classes of which a list names every id; below them a digest and a count are enough."""


def describe_access(access: Access) -> tuple[Change, ...]:
    """Return what stands in the event, under the paths `access.*`.

    Digests are over canonical JSON, ids in their order: who has the answer that was given can make them again.
    """
    sensitivity = find_data_class(access.sorts)
    facts: dict[str, str | int | list[str]] = {
        "mode": access.mode,
        "sensitivity": sensitivity,
        "rows": len(access.ids),
        "fields": sorted(access.fields),
        "ids_digest": _digest(list(access.ids)),
    }
    if access.query:
        facts["query_digest"] = _digest(dict(access.query))
    if sensitivity in _IN_FULL or len(access.ids) == 1:
        facts["ids"] = list(access.ids)
    return tuple(Change(f"access.{name}", None, value) for name, value in facts.items())


def _digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
