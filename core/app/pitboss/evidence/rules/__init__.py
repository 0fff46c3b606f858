"""What an entry and a segment are: their bytes, their tree, and what their manifest says. The tree is the audit log's."""

from pitboss.audit.rules.merkle import (
    HASH_BYTES,
    Tile,
    TreeEdge,
    hash_leaf,
    hash_range,
    list_inclusion,
    list_peaks,
    list_tiles,
    split_hashes,
)
from pitboss.audit.rules.note import Checkpoint, NoteKey, compose_note, is_signed, split_note, write_signature
from pitboss.evidence.rules.entries import Booked, Columns, compose_entries
from pitboss.evidence.rules.segments import (
    Built,
    Facts,
    build_manifest,
    compose_handover,
    name_object,
    origin_of,
    split_spans,
)

__all__ = [
    "HASH_BYTES",
    "Booked",
    "Built",
    "Checkpoint",
    "Columns",
    "Facts",
    "NoteKey",
    "Tile",
    "TreeEdge",
    "build_manifest",
    "compose_entries",
    "compose_handover",
    "compose_note",
    "hash_leaf",
    "hash_range",
    "is_signed",
    "list_inclusion",
    "list_peaks",
    "list_tiles",
    "name_object",
    "origin_of",
    "split_hashes",
    "split_note",
    "split_spans",
    "write_signature",
]
