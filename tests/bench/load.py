"""Wallet requests in process, built as the edge builds them: an endless series of the mix for one lane."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

from tests.bench.draws import DRAWN, LEDGER_MIX, Ask, draw_asks, draw_ranks
from tests.bench.stage import GAME, PLUGIN, Books, Seat

from pitboss.games.contracts import Endpoint, Holder
from pitboss.games.service import build_request
from pitboss.kernel.clock import utc_now
from pitboss.ledger.contracts import Op
from pitboss.wallet.contracts import WalletRequest
from pitboss.wallet.service import make_leg
from pitboss_sdk.games import CallKind, Leg, LegKind, WalletCall

REMEMBERED: Final = 512
"""Open bets, open holds and recent calls that later ones may refer to; the oldest is taken first."""


class Calls:
    """An endless series of wallet requests for one lane; wins, rollbacks and captures name what came before.

    Bets of a tenant move its one revenue account, or in turn each of the spread ones. Without rounds the games
    room has no part in the batch: what is measured is the ledger alone.
    """

    def __init__(
        self,
        seats: Sequence[Seat],
        books: Mapping[int, Books],
        seed: int,
        *,
        spread_accounts: bool = False,
        with_rounds: bool = False,
    ) -> None:
        rng = random.Random(seed)
        self._seats = list(seats)
        random.Random(1).shuffle(self._seats)
        self._books = books
        self._asks = draw_asks(LEDGER_MIX, rng)
        self._ranks = draw_ranks(len(self._seats), rng)
        self._amounts = [rng.randrange(10, 500) for _ in range(DRAWN)]
        self._with_rounds = with_rounds
        self._endpoints = {
            tenant_id: [
                _endpoint(its, account_id) for account_id in (its.spread_ids if spread_accounts else [its.revenue_id])
            ]
            for tenant_id, its in books.items()
        }
        self._prefix = f"{rng.getrandbits(80):020x}"
        self._number = 0
        self._bets: deque[tuple[Seat, str, str]] = deque(maxlen=REMEMBERED)
        self._holds: deque[tuple[Seat, str, int]] = deque(maxlen=REMEMBERED)
        self._recent: deque[WalletRequest] = deque(maxlen=REMEMBERED)
        self._expires_at: datetime = utc_now() + timedelta(days=1)

    def build(self) -> WalletRequest:
        """Return the next request, made as the edge makes it: keys, content hash and round id are computed here."""
        self._number += 1
        drawn = self._number % DRAWN
        ask = self._asks[drawn]
        if ask == Ask.BET:
            return self._bet(self._seats[self._ranks[drawn]], self._amounts[drawn])
        if ask == Ask.WIN and self._bets:
            seat, round_text, _ = self._bets.popleft()
            return self._play(seat, LegKind.WIN, self._amounts[drawn], round_text)
        if ask == Ask.ROLLBACK and self._bets:
            seat, round_text, reference = self._bets.popleft()
            return self._play(seat, LegKind.ROLLBACK, 0, round_text, reverses=reference)
        if ask == Ask.HOLD:
            return self._hold(self._seats[self._ranks[drawn]], self._amounts[drawn])
        if ask == Ask.RESOLVE and self._holds:
            seat, reference, amount_minor = self._holds.popleft()
            op = Op.CAPTURE if drawn % 2 else Op.VOID
            return self._cash(seat, op, self._reference(), amount_minor, reverses=reference)
        if ask == Ask.DUPLICATE and self._recent:
            return self._recent.popleft()
        return self._bet(self._seats[self._ranks[drawn]], self._amounts[drawn])

    def _reference(self) -> str:
        return f"{self._prefix}-{self._number:015x}"

    def _bet(self, seat: Seat, amount_minor: int) -> WalletRequest:
        reference = self._reference()
        round_text = f"r{reference}"
        self._bets.append((seat, round_text, reference))
        return self._play(seat, LegKind.BET, amount_minor, round_text)

    def _play(self, seat: Seat, kind: LegKind, amount_minor: int, round_text: str, reverses: str = "") -> WalletRequest:
        endpoints = self._endpoints[seat.tenant_id]
        call = WalletCall(
            CallKind.ROLLBACK if kind is LegKind.ROLLBACK else CallKind.PLAY,
            seat.account,
            "EUR",
            GAME,
            seat.session,
            round_text,
            legs=(Leg(kind, self._reference(), amount_minor, reverses),),
        )
        holder = Holder(seat.player_id, seat.wallet_id)
        request = build_request(endpoints[self._number % len(endpoints)], call, holder)
        if not self._with_rounds:
            request.companion = request.subject = None
        return self._remember(request)

    def _hold(self, seat: Seat, amount_minor: int) -> WalletRequest:
        reference = self._reference()
        self._holds.append((seat, reference, amount_minor))
        return self._cash(seat, Op.HOLD, reference, amount_minor)

    def _cash(self, seat: Seat, op: Op, reference: str, amount_minor: int, reverses: str = "") -> WalletRequest:
        books = self._books[seat.tenant_id]
        expires_at = self._expires_at if op is Op.HOLD else None
        leg = make_leg(
            op, seat.wallet_id, reference, amount_minor, books.clearing_id, reverses=reverses, expires_at=expires_at
        )
        return self._remember(WalletRequest(seat.tenant_id, seat.wallet_id, books.manual_source_id, (leg,)))

    def _remember(self, request: WalletRequest) -> WalletRequest:
        self._recent.append(request)
        return request


def _endpoint(books: Books, account_id: int) -> Endpoint:
    return Endpoint(
        scope=books.scope,
        plugin=PLUGIN,
        dialect=cast("Any", None),  # nothing is parsed here: the calls are made
        source_id=books.source_id,
        source_name=f"games.{PLUGIN}",
        revenue_accounts={"EUR": account_id},
        patience_ms=1000,
        sessionless=frozenset(),
    )
