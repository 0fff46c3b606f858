"""The games room's part in wallet batches: sessions, games and rounds beside the postings."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from pitboss.games.contracts import RoundSubject
from pitboss.games.rules import RoundFacts, apply_call, decide_admission, decide_basis
from pitboss.games.store.rounds import RoundName, read_rounds, save_rounds
from pitboss.ledger.contracts import WalletState
from pitboss.wallet.contracts import LegResult, WalletRequest
from pitboss_sdk.games import Refusal


class RoundBook:
    """The rounds of one batch; calls of one round share its row."""

    def __init__(self, requests: Sequence[WalletRequest], facts: Sequence[RoundFacts]) -> None:
        self._facts: dict[int, RoundFacts] = {}
        self._rounds: dict[RoundName, RoundFacts] = {}
        self._changed: dict[RoundName, tuple[RoundName, int, RoundSubject, RoundFacts]] = {}
        for request, its in zip(requests, facts, strict=True):
            if request.round_id is not None:
                self._rounds.setdefault((request.tenant_id, request.round_id, request.wallet_id), its)
            self._facts[id(request)] = its

    def _round(self, request: WalletRequest) -> RoundFacts:
        """Return the shared round with this call's own session and game."""
        own = self._facts[id(request)]
        if request.round_id is None:
            return own
        shared = self._rounds[(request.tenant_id, request.round_id, request.wallet_id)]
        shared.session_ok, shared.game_ok, shared.game_version_id = own.session_ok, own.game_ok, own.game_version_id
        return shared

    def admit(self, request: WalletRequest) -> Refusal | None:
        """Return why a bet of `request` may not be booked, or None."""
        return decide_admission(self._round(request), request.subject)

    def basis(self, request: WalletRequest) -> tuple[int, int] | Refusal:
        """Return the stakes that a win of `request` returns to, or why it cannot be booked."""
        return decide_basis(self._round(request), request.subject)

    def applied(
        self, request: WalletRequest, results: Sequence[LegResult], before: int, wallet: WalletState
    ) -> None:
        """Take an accepted request into its round."""
        if request.round_id is None:
            return
        facts = self._round(request)
        apply_call(facts, request.subject, results, before, wallet.playable)
        if facts.dirty:
            name = (request.tenant_id, request.round_id, request.wallet_id)
            self._changed[name] = (name, request.source_id, request.subject, facts)

    async def save(self, connection: asyncpg.Connection) -> None:
        """Write the rounds that changed."""
        if self._changed:
            await save_rounds(connection, list(self._changed.values()))


class Rounds:
    """The companion that wallet requests of the games room name."""

    async def load(self, connection: asyncpg.Connection, requests: Sequence[WalletRequest]) -> RoundBook:
        """Read sessions, games and rounds of a batch in one statement."""
        return RoundBook(requests, await read_rounds(connection, requests))
