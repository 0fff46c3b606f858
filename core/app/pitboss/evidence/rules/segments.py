"""A segment and what its manifest says: the range, the digests of its objects, the sums, and the manifest before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

import msgspec

from pitboss.evidence.rules.entries import write_moment
from pitboss.ledger.contracts import JournalSpan, JournalSum

FORMAT: Final = "pitboss-round-segment/1"
SCHEDULE: Final = "money_records"
"""The class of retention that packs know these records by."""
KINDS: Final = ("jsonl.gz", "parquet", "manifest")
"""The objects of a segment in the order in which they are stored: the manifest comes when the others are there."""
_encode = msgspec.json.Encoder(order="sorted").encode


class Facts(msgspec.Struct, frozen=True):
    """What is known of a segment before it is built; `left` are the peaks of the tree before it."""

    origin: str
    tenant: str
    cell: str
    number: int
    first: int
    previous: str
    left: tuple[bytes, ...]
    made_at: datetime
    supersedes: str = ""
    handover: tuple[str, str] | None = None


class Built(msgspec.Struct, frozen=True):
    """What a segment is made of, before it is signed."""

    lines: bytes
    columns: bytes
    sums: Mapping[str, JournalSum]
    opened_at: datetime
    closed_at: datetime


def origin_of(cell: str, slug: str) -> str:
    """Return the name of a tenant's sealed log, under which it signs too."""
    return f"pitboss.rounds/{cell}/{slug}"


def name_object(cell: str, slug: str, number: int, kind: str) -> str:
    """Return the key of an object of a segment in write-once storage."""
    return f"rounds/{cell}/{slug}/{number:010}.{kind}"


def compose_handover(origin: str, number: int, new_key: str) -> bytes:
    """Return the statement by which a key hands the log over to another, which signs from segment `number` on."""
    return f"pitboss-round-key/1\n{origin}\n{number}\n{new_key}\n".encode()


def build_manifest(facts: Facts, built: Built, size: int, checkpoint: str) -> str:
    """Return the text of a manifest, which is signed as a note."""
    return (
        _encode(
            {
                "cell": facts.cell,
                "checkpoint": checkpoint,
                "closed_at": write_moment(built.closed_at),
                "columns": _describe(built.columns),
                "end": size,
                "first": facts.first,
                "format": FORMAT,
                "handover": None
                if facts.handover is None
                else {"key": facts.handover[0], "statement": facts.handover[1]},
                "left": [each.hex() for each in facts.left],
                "lines": _describe(built.lines),
                "made_at": write_moment(facts.made_at),
                "number": facts.number,
                "opened_at": write_moment(built.opened_at),
                "origin": facts.origin,
                "previous": facts.previous or None,
                "schedule": SCHEDULE,
                "sums": {currency: msgspec.to_builtins(found) for currency, found in built.sums.items()},
                "supersedes": facts.supersedes or None,
                "tenant": facts.tenant,
            }
        ).decode()
        + "\n"
    )


def split_spans(spans: Iterable[JournalSpan], most: int) -> Iterator[Sequence[JournalSpan]]:
    """Yield spans in pieces of at most `most` journal rows, each wallet at most once in a piece."""
    piece: list[JournalSpan] = []
    room = most
    for span in spans:
        above = span.above
        while above < span.upto:
            upto = min(span.upto, above + room)
            piece.append(JournalSpan(span.wallet_id, above, upto, span.currency))
            room -= upto - above
            above = upto
            if not room:
                yield piece
                piece, room = [], most
    if piece:
        yield piece


def _describe(data: bytes) -> dict[str, str | int]:
    return {"bytes": len(data), "sha256": sha256(data).hexdigest()}
