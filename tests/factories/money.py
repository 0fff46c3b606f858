"""Players with wallets, a chart of accounts and lanes, on a real cell database and without the web around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, open_cell

from pitboss.kernel.scope import TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import AccountKind, Op, Verification
from pitboss.platform.db import ContextSigner, LaneConnections
from pitboss.policy.contracts import LicenceKey, PlayLaw
from pitboss.wallet.contracts import WalletRequest
from pitboss.wallet.runtime import DatabasePoster, Lane
from pitboss.wallet.service import make_leg

PLUGIN = "softswiss"


@dataclass(frozen=True)
class Seat:
    """A player's wallet and what a game knows of it."""

    tenant_id: int
    wallet_id: int
    player_id: int
    currency: str
    account: str
    session: str


@dataclass
class House:
    """A tenant of a cell whose money tests move."""

    database: PlaneDatabase
    scope: TenantScope = AURORA
    source_id: int = 0
    revenue: dict[str, int] = field(default_factory=dict[str, int])
    admin: asyncpg.Connection | None = None

    async def open(self, currencies: Sequence[str] = ("EUR",)) -> None:
        """Open the chart of accounts, a source, a game and one that is switched off."""
        async with open_cell(self.database) as cell, cell.transaction(self.scope) as session:
            await ledger.open_house_accounts(session, self.scope, currencies, [PLUGIN])
            self.source_id = await ledger.ensure_source(session, self.scope, f"games.{PLUGIN}")
            accounts = await ledger.list_account_numbers(session, self.scope, AccountKind.GAME_REVENUE)
        self.revenue = {currency: number for (name, currency), number in accounts.items() if name == PLUGIN}
        await self.add_games(PLUGIN)

    async def add_games(self, plugin: str) -> None:
        """Add a game to a plugin's catalogue, and one that is switched off."""
        await self.administer(_GAMES, self.scope.tenant_id, plugin)

    async def add_players(self, count: int, currency: str = "EUR", licence: str = "") -> list[Seat]:
        """Add players of a licence, each with an empty wallet and an open game session."""
        rows = await self.administer(_PLAYERS, self.scope.tenant_id, currency, count, PLUGIN, licence)
        return [Seat(self.scope.tenant_id, *row) for row in rows]

    async def administer(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """Run one statement as the superuser, over `admin` where it is set."""
        if self.admin is not None:
            return await self.admin.fetch(statement, *values)
        admin = await asyncpg.connect(self.database.admin_url)
        try:
            return await admin.fetch(statement, *values)
        finally:
            await admin.close()

    def make_poster(
        self, number: int, name: str = "test lane", laws: Mapping[LicenceKey, PlayLaw] | None = None
    ) -> DatabasePoster:
        """Return a poster with a connection and the web's login of its own."""
        signer = ContextSigner(self.database.context_keys)
        return DatabasePoster(number, LaneConnections(self.database.app_url, f"{name} {number}", signer), laws=laws)

    def request(self, seat: Seat, op: Op, reference: str, amount: int = 0, reverses: str = "") -> WalletRequest:
        """Return a request of one leg that belongs to no round."""
        leg = make_leg(op, seat.wallet_id, reference, amount, self.revenue[seat.currency], reverses=reverses)
        return WalletRequest(seat.tenant_id, seat.wallet_id, self.source_id, (leg,))

    async def verify(self) -> Verification:
        """Prove the tenant's books in one snapshot."""
        async with open_cell(self.database) as cell, cell.snapshot(self.scope) as session:
            return await ledger.verify_tenant(session, self.scope)


@asynccontextmanager
async def running(*lanes: Lane) -> AsyncIterator[None]:
    """Let lanes serve until the block ends and all that waits is answered."""
    import asyncio

    tasks = [asyncio.create_task(lane.run()) for lane in lanes]
    try:
        yield
    finally:
        for lane in lanes:
            lane.close()
        await asyncio.gather(*tasks)


_GAMES = """
with versions as (
    insert into game_version (tenant_id, plugin, code, version_hash)
    select $1, $2, code, 'v1' from unnest(array['dice', 'switched-off']) as c(code) returning *
)
insert into game (tenant_id, plugin, code, title, provider, category, version_id, switched_on)
select tenant_id, plugin, code, code, 'test', 'table', version_id, code = 'dice' from versions
"""
_PLAYERS = """
with players as (
    insert into player (tenant_id, public_id, brand, language, currency, licence)
    select $1, uuidv7(), 'aurora', 'en', $2, $5 from generate_series(1, $3::int) returning *
), wallets as (
    insert into wallet (tenant_id, player_id, currency, licence)
    select tenant_id, player_id, currency, licence from players returning *
), sessions as (
    insert into game_session (tenant_id, session_id, player_id, wallet_id, game_id, state, expires_at)
    select w.tenant_id, uuidv7(), w.player_id, w.wallet_id, g.game_id, 2, now() + interval '12 hours'
    from wallets w join game g on g.tenant_id = w.tenant_id and g.plugin = $4 and g.code = 'dice' returning *
)
select w.wallet_id, w.player_id, w.currency, p.public_id::text, s.session_id::text
from wallets w join players p using (player_id) join sessions s using (wallet_id) order by w.wallet_id
"""
