"""The standing baseline: the same tables and guards, but a transaction of plain statements for every call."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter, process_time
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
from tests.bench.cases import CaseFailed, Sample, gather_counts
from tests.bench.load import Calls
from tests.bench.measure import quantile
from tests.bench.stage import Stage

from pitboss.ledger.contracts import Op
from pitboss.platform.db import SET_SESSION_CONTEXT, connect_lane
from pitboss.wallet.contracts import WalletRequest

CONNECTIONS: Final = 16
_BATCH_BLOCK: Final = 1000

_READ: Final = """
select version, real_minor, held_minor from wallet where tenant_id = $1 and wallet_id = $2
"""
_KEY: Final = """
select outcome, content_hash, version, answered_minor from call_key
where tenant_id = $1 and source_id = $2 and key = $3
"""
_REFERRED: Final = """
select j.version, j.d_real, j.d_held, j.account_id from call_key k
join journal j on j.tenant_id = k.tenant_id and j.wallet_id = k.wallet_id and j.version = k.version
where k.tenant_id = $1 and k.source_id = $2 and k.key = $3
"""
_ACTIVE: Final = """
select p.status = 1 from wallet w join player p on p.tenant_id = w.tenant_id and p.player_id = w.player_id
where w.tenant_id = $1 and w.wallet_id = $2
"""
# The journal's trigger moves the wallet, and refuses a row that does not continue it.
_BOOK: Final = """
insert into journal (tenant_id, wallet_id, version, batch_id, d_real, d_bonus, d_held, d_debt, real_after, bonus_after,
    held_after, debt_after, reverses_version, account_id, source_id, op, round_id, reference)
values ($1, $2, $5, $6, $3, 0, $4, 0, $7, 0, $8, 0, $9, $10, $11, $12, $13, $14)
"""
_REMEMBER: Final = """
insert into call_key (tenant_id, source_id, key, wallet_id, content_hash, outcome, refusal, version, answered_minor)
values ($1, $2, $3, $4, $5, 1, 0, $6, $7)
"""
_HOUSE: Final = "insert into house_delta (tenant_id, account_id, batch_id, delta_minor) values ($1, $2, $3, $4)"
_BATCH: Final = """
insert into batch (tenant_id, batch_id, lane, bookings, counter_minor) values ($1, $2, 99, 1, $3)
"""
_OPEN_HOLD: Final = """
insert into hold (tenant_id, wallet_id, opened_version, amount_minor, expires_at) values ($1, $2, $3, $4, $5)
"""
_RESOLVE_HOLD: Final = """
update hold set captured_minor = $4, released_minor = $5, state = case when $4::bigint > 0 then 2 else 3 end, resolved_at = now()
where tenant_id = $1 and wallet_id = $2 and opened_version = $3 and state = 1
"""


class _Move(NamedTuple):
    d_real: int
    d_held: int
    account_id: int
    reverses_version: int | None
    opened_version: int


class RowPerCall:
    """Each of 16 connections asks for one call, waits for its commit, and asks for the next."""

    name = "row_per_call"
    title = f"our plain posting, one transaction a call, {CONNECTIONS} connections"

    def __init__(self, stage: Stage, calls: Sequence[Calls]) -> None:
        self._stage = stage
        self._calls = calls
        self._posters: list[_Poster] = []

    async def run(self, seconds: float) -> Sample:
        """Drive all connections at once."""
        if not self._posters:
            self._posters = [await _Poster.connect(self._stage) for _ in self._calls]
        for poster in self._posters:
            await poster.renew_context()
        latencies: list[float] = []
        began, cpu_began = perf_counter(), process_time()
        pairs = zip(self._posters, self._calls, strict=True)
        counts = await gather_counts([_drive(poster, calls, began + seconds, latencies) for poster, calls in pairs])
        took, cpu = perf_counter() - began, process_time() - cpu_began
        latencies.sort()
        return Sample(sum(counts), took, quantile(latencies, 0.5) * 1000, quantile(latencies, 0.99) * 1000, cpu)

    async def close(self) -> None:
        """Close the connections."""
        for poster in self._posters:
            await poster.connection.close()


async def _drive(poster: _Poster, calls: Calls, until: float, latencies: list[float]) -> int:
    count = 0
    while (asked := perf_counter()) < until:
        await poster.post(calls.build())
        latencies.append(perf_counter() - asked)
        count += 1
    return count


class _Poster:
    """One connection that posts requests of one leg, one by one."""

    def __init__(self, stage: Stage, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self._stage = stage
        self._next_batch_id = 0

    @classmethod
    async def connect(cls, stage: Stage) -> _Poster:
        """Open a connection with the same login and planner settings that lanes have."""
        return cls(stage, await connect_lane(stage.url("cell", "app"), "bench row per call"))

    async def renew_context(self) -> None:
        """Sign the tenant context for the next round; it would end after minutes."""
        token = self._stage.signer.sign(self._stage.books, self.connection.get_server_pid())
        await self.connection.execute(SET_SESSION_CONTEXT, token)

    async def post(self, request: WalletRequest) -> int:
        """Post a request of one leg and return the balance that its caller is told; when overtaken, again."""
        while True:
            try:
                async with self.connection.transaction():
                    return await self._post(request)
            except (asyncpg.SerializationError, asyncpg.UniqueViolationError):
                continue

    async def _post(self, request: WalletRequest) -> int:
        fetch, (leg,) = self.connection.fetchrow, request.legs
        key = (request.tenant_id, request.source_id, UUID(bytes=leg.key))
        wallet = await fetch(_READ, request.tenant_id, request.wallet_id)
        known = await fetch(_KEY, *key)
        if wallet is None:
            raise CaseFailed("a wallet is not there")
        if known is not None:
            if known["content_hash"] != leg.content_hash:
                raise CaseFailed("a key was used with other content")
            return known["answered_minor"]
        move = await self._decide(request, wallet)
        version = wallet["version"] + 1
        real, held = wallet["real_minor"] + move.d_real, wallet["held_minor"] + move.d_held
        batch_id = await self._take_batch_id()
        name = (request.tenant_id, request.wallet_id)
        execute = self.connection.execute
        booked = (version, batch_id, real, held, move.reverses_version, move.account_id, request.source_id, int(leg.op))
        await execute(_BOOK, *name, move.d_real, move.d_held, *booked, request.round_id or None, leg.reference)
        await execute(_REMEMBER, *key, request.wallet_id, leg.content_hash, version, real)
        counter = -move.d_real - move.d_held
        if counter:
            await execute(_HOUSE, request.tenant_id, move.account_id, batch_id, counter)
        await execute(_BATCH, request.tenant_id, batch_id, counter)
        if leg.op is Op.HOLD:
            await execute(_OPEN_HOLD, *name, version, leg.amount_minor, leg.expires_at)
        elif move.opened_version:
            captured, released = (leg.amount_minor, 0) if leg.op is Op.CAPTURE else (0, leg.amount_minor)
            await execute(_RESOLVE_HOLD, *name, move.opened_version, captured, released)
        return real

    async def _decide(self, request: WalletRequest, wallet: Any) -> _Move:
        (leg,) = request.legs
        amount_minor = leg.amount_minor
        if leg.op in {Op.BET, Op.HOLD}:
            active = await self.connection.fetchval(_ACTIVE, request.tenant_id, request.wallet_id)
            if not active or wallet["real_minor"] < amount_minor:
                raise CaseFailed("a call was refused")
            return _Move(-amount_minor, amount_minor if leg.op is Op.HOLD else 0, leg.account_id, None, 0)
        if leg.op is Op.WIN:
            return _Move(amount_minor, 0, leg.account_id, None, 0)
        key = (request.tenant_id, request.source_id, UUID(bytes=leg.reverses or b""))
        referred = await self.connection.fetchrow(_REFERRED, *key)
        if referred is None:
            raise CaseFailed("a call names one that is not there")
        if leg.op is Op.BET_ROLLBACK:
            return _Move(-referred["d_real"], 0, referred["account_id"], referred["version"], 0)
        return _Move(amount_minor if leg.op is Op.VOID else 0, -amount_minor, leg.account_id, None, referred["version"])

    async def _take_batch_id(self) -> int:
        if self._next_batch_id % _BATCH_BLOCK == 0:
            self._next_batch_id = _BATCH_BLOCK * await self.connection.fetchval("select nextval('batch_block_seq')")
        self._next_batch_id += 1
        return self._next_batch_id - 1
