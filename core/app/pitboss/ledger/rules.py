"""Keys and content hashes: how the ledger tells one external id from another, and the same from something else."""

from __future__ import annotations

from hashlib import sha256


def compute_key(reference: str) -> bytes:
    """Return 16 bytes of SHA-256 over an external id."""
    return sha256(reference.encode()).digest()[:16]


def compute_content_hash(op: int, wallet_id: int, amount_minor: int, context: str, reverses: str) -> int:
    """Return 64 bits, signed, over everything that makes a leg what it is apart from its id."""
    content = f"{op}|{wallet_id}|{amount_minor}|{len(context)}|{context}|{reverses}"
    return int.from_bytes(sha256(content.encode()).digest()[:8], signed=True)
