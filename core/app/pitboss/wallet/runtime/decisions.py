"""A batch between its decision and its commit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from pitboss.kernel.statements import WritePart
from pitboss.wallet.contracts import WalletRequest, WalletResult
from pitboss.wallet.rules import BatchFacts

Pair = tuple[int, int]
"""Tenant and wallet."""


class Overtaken(Exception):
    """What a decision was to be made on does not fit together, or did not come about."""


class Decision:
    """A batch that is decided: what to write, what to answer then, and the wallets that it moves."""

    __slots__ = ("facts", "landed", "moves", "parts", "requests", "results", "tenant_ids")

    def __init__(
        self,
        tenant_ids: frozenset[int],
        requests: Sequence[WalletRequest],
        facts: BatchFacts,
        results: list[WalletResult],
        parts: list[WritePart],
        moves: AbstractSet[Pair],
    ) -> None:
        self.tenant_ids = tenant_ids
        self.requests = requests
        self.facts = facts
        self.results = results
        self.parts = parts
        self.moves = moves
        self.landed = asyncio.Event()
