"""What columns hold, sort by sort: how secret it is, of what kind, and whether it may leave its cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

import msgspec

DataClass = Literal["public", "internal", "confidential", "restricted", "secret"]
"""How much harm it does in the wrong hands; each includes what stands before it."""
DataKind = Literal[
    "key",
    "configuration",
    "evidence",
    "technical",
    "catalogue",
    "pseudonym",
    "account",
    "gaming",
    "financial",
    "protection",
    "personal",
    "opaque",
    "staff",
    "credential",
]
Residency = Literal["global", "cell"]
"""Known to control and to every cell, or never told outside of the cell (the plane) that wrote it."""

Sort = Literal[
    "tenant",
    "register",
    "evidence",
    "technical",
    "catalogue",
    "configuration",
    "house_money",
    "subject_key",
    "account",
    "play",
    "money",
    "protection",
    "identity",
    "opaque",
    "staff",
    "credential",
]


class ColumnClass(msgspec.Struct, frozen=True):
    """What follows from the sort of a column."""

    data: DataClass
    kind: DataKind
    residency: Residency
    meaning: str


SORTS: Final[Mapping[Sort, ColumnClass]] = {
    "tenant": ColumnClass("internal", "key", "global", "which tenant, brand or cell it is: its number or slug"),
    "register": ColumnClass(
        "internal", "configuration", "global", "what control decides of tenants, and its calls: names, domains, states"
    ),
    "evidence": ColumnClass(
        "public", "evidence", "global", "signatures, digests and names of keys: proofs, no content"
    ),
    "technical": ColumnClass("internal", "technical", "cell", "numbers, states and moments of our own machinery"),
    "catalogue": ColumnClass("internal", "catalogue", "cell", "games, providers, plugins, names of accounts"),
    "configuration": ColumnClass(
        "confidential", "configuration", "global", "how a tenant set up its business: what its files say; no secret"
    ),
    "house_money": ColumnClass("confidential", "financial", "cell", "sums of a tenant's own accounts"),
    "subject_key": ColumnClass("confidential", "pseudonym", "cell", "ids that stand for one player, wallet or session"),
    "account": ColumnClass("confidential", "account", "cell", "codes and moments of one player's account"),
    "play": ColumnClass("confidential", "gaming", "cell", "what one player played, and when"),
    "money": ColumnClass("confidential", "financial", "cell", "what one player has, staked, won or was given"),
    "protection": ColumnClass("restricted", "protection", "cell", "one player's limits, time-outs and exclusions"),
    "identity": ColumnClass("restricted", "personal", "cell", "who a player is and how to reach them"),
    "opaque": ColumnClass(
        "restricted", "opaque", "cell", "free words, messages and documents: as secret as the worst they may hold"
    ),
    "staff": ColumnClass(
        "restricted",
        "staff",
        "cell",
        "who of the staff did something, from where and why; on the plane where it was done",
    ),
    "credential": ColumnClass("secret", "credential", "cell", "digests of passwords and tokens, wrapped keys"),
}
"""Every sort of column. A column is of one of them; there is no sort for what nobody has thought about."""

Retention = Literal[
    "player_data",
    "kyc_documents",
    "money_records",
    "game_records",
    "exclusion_records",
    "audit_records",
    "communication",
    "session",
    "configuration",
    "technical",
]
"""The schedule by which rows go. Those of the law's records bear the packs' names and last as the packs say."""
OWN_SCHEDULES: Final[Mapping[str, str]] = {
    "session": "until the session or token has ended and was swept",
    "configuration": "as long as the tenant exists",
    "technical": "until the work is done and was swept",
}
"""Schedules that no pack sets."""
AuditMode = Literal["events", "record", "none"]
"""Each change has an audit event; rows never change, or follow from rows that never do; neither."""

PERSONAL_KINDS: Final[frozenset[DataKind]] = frozenset({"personal", "credential"})
"""Kinds whose names are masked wherever an audit event would carry them."""
UNTOLD_KINDS: Final[frozenset[DataKind]] = frozenset(
    {"pseudonym", "gaming", "financial", "protection", "personal", "opaque", "staff", "credential"}
)
"""Kinds of which no log line and no span may have a field."""


def spread_columns(columns: Mapping[Sort, str]) -> dict[str, list[Sort]]:
    """Return the sorts of each column that a declaration names; more than one is a fault of it."""
    spread: dict[str, list[Sort]] = {}
    for sort, names in columns.items():
        for name in names.split():
            spread.setdefault(name, []).append(sort)
    return spread


def find_data_class(sorts: Iterable[Sort]) -> DataClass:
    """Return the most secret class among sorts; public for none."""
    order: tuple[DataClass, ...] = get_args(DataClass)
    held = {SORTS[sort].data for sort in sorts}
    for found in reversed(order):
        if found in held:
            return found
    return "public"


def may_cross(found: ColumnClass) -> bool:
    """Return whether what is of a class may be told to another plane: what is global, and who of the staff did it."""
    return found.residency == "global" or found.kind == "staff"
