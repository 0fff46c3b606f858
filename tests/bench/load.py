"""Wallet requests in process, built as the edge builds them: an endless series of the mix for one lane."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from tests.bench.draws import DRAWN, LEDGER_MIX, Ask, draw_asks, draw_ranks
from tests.bench.stage import GAME, PLUGIN, Books, Seat

from pitboss.games.contracts import RoundSubject
from pitboss.games.rules import compute_round_id
from pitboss.games.runtime import Rounds
from pitboss.kernel.clock import utc_now
from pitboss.ledger.contracts import Op
from pitboss.wallet.contracts import LegRequest, WalletRequest
from pitboss.wallet.service import make_leg

REMEMBERED: Final = 512
"""Open bets, open holds and recent calls that later ones may refer to; the oldest is taken first."""


class Calls:
    """An endless series of wallet requests for one lane; wins, rollbacks and captures name what came before.

    `accounts` gives the house account of a bet by the wallet's tenant and the number of the call.
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
        self._spread = spread_accounts
        self._companion = Rounds() if with_rounds else None
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
            return self._play(seat, Op.WIN, self._amounts[drawn], round_text)
        if ask == Ask.ROLLBACK and self._bets:
            seat, round_text, reference = self._bets.popleft()
            return self._play(seat, Op.BET_ROLLBACK, 0, round_text, reverses=reference)
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
        return self._play(seat, Op.BET, amount_minor, round_text)

    def _play(self, seat: Seat, op: Op, amount_minor: int, round_text: str, reverses: str = "") -> WalletRequest:
        books = self._books[seat.tenant_id]
        account_id = books.spread_ids[self._number % len(books.spread_ids)] if self._spread else books.revenue_id
        leg = make_leg(
            op, seat.wallet_id, self._reference(), amount_minor, account_id, context=round_text, reverses=reverses
        )
        return self._remember(self._request(seat, books, books.source_id, leg, round_text))

    def _request(self, seat: Seat, books: Books, source_id: int, leg: LegRequest, round_text: str) -> WalletRequest:
        round_id = compute_round_id(source_id, round_text) if round_text else None
        if self._companion is None or round_id is None:
            return WalletRequest(seat.tenant_id, seat.wallet_id, source_id, (leg,), round_id)
        subject = RoundSubject(
            player_id=seat.player_id,
            currency="EUR",
            plugin=PLUGIN,
            game=GAME,
            session=UUID(seat.session),
            session_malformed=False,
            round_id=round_id,
            round_reference=round_text,
            finished=False,
            free_spin=False,
            jackpot_minor=0,
            jackpot_pool="",
        )
        return WalletRequest(seat.tenant_id, seat.wallet_id, source_id, (leg,), round_id, self._companion, subject)

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
        return self._remember(self._request(seat, books, books.manual_source_id, leg, ""))

    def _remember(self, request: WalletRequest) -> WalletRequest:
        self._recent.append(request)
        return request
