"""The stage of the benchmark: one embedded PostgreSQL with full durability, both databases, tenants, players, money."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pitboss.cli.tenant_apply import Deployment, Workshop, apply
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import AccountKind, Finding, Op
from pitboss.migrations.provision import provision
from pitboss.migrations.schema import Plane
from pitboss.migrations.upgrade import upgrade
from pitboss.platform.db import ContextSigner, Database, LaneConnections, create_engine
from pitboss.platform.embedded import PostgresServer, RedisServer, write_private
from pitboss.platform.settings import ContextKey, NamedKey, Settings
from pitboss.policy.contracts import PlayLaw, SpendOrder
from pitboss.tenancy import service as tenancy
from pitboss.tenancy.contracts import By
from pitboss.wallet.contracts import WalletRequest
from pitboss.wallet.runtime import DatabasePoster, Lane
from pitboss.wallet.service import MANUAL_SOURCE, make_leg

ROOT: Final = Path(__file__).resolve().parents[2]
SERVER_OPTIONS: Final = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "2GB",
    "max_wal_size": "8GB",
    "min_wal_size": "2GB",
    "checkpoint_timeout": "30min",
}
"""The same for every case, pgbench included."""
CELL: Final = "eu-1"
PLUGIN: Final = "softswiss"
GAME: Final = "dice"
SECRET_NAME: Final = "bench-api-secret"
TENANTS: Final = 5
WALLETS: Final = 100_000
"""Wallets of each of the two sides that are measured, postings in process and the web; each remembers its own."""
ROW_WALLETS: Final = 20_000
"""Wallets of a smaller crowd: those of plain posting, and on each side those of players with limits."""
ALL_WALLETS: Final = 2 * WALLETS + 3 * ROW_WALLETS
AWARDED_SHARE: Final = 10
"""One of so many players with limits has bonus money to wager, and stakes it first."""
SPREAD_ACCOUNTS: Final = 64
DEPOSIT_MINOR: Final = 10**11
TPCB_SCALE: Final = 50
LOGINS: Final[dict[Plane, tuple[str, ...]]] = {
    "control": ("app", "migrate"),
    "cell": ("app", "worker", "relay", "seq", "migrate"),
}

Report = Callable[[str], None]


class Seat(NamedTuple):
    """A player's wallet with what calls for it name."""

    tenant_id: int
    wallet_id: int
    player_id: int
    account: str
    session: str


class Books(NamedTuple):
    """A tenant's numbers: where calls come from and which house accounts they move."""

    scope: TenantScope
    source_id: int
    manual_source_id: int
    revenue_id: int
    clearing_id: int
    bonus_cost_id: int
    spread_ids: tuple[int, ...]


class Stage:
    """Servers, databases and money; `close` takes everything away again."""

    def __init__(self, folder: Path, report: Report) -> None:
        self.folder = folder
        self._report = report
        self.postgres = PostgresServer(folder / "postgres", options=SERVER_OPTIONS, report=report)
        self.redis = RedisServer(folder / "redis")
        self.secret = secrets.token_hex(24)
        self.context_key = ContextKey("bench1", secrets.token_bytes(32))
        self._signing = Ed25519PrivateKey.generate()
        self._passwords = {role: secrets.token_hex(16) for role in LOGINS["cell"]}
        self.books: dict[int, Books] = {}
        self.seats: list[Seat] = []
        self.web_seats: list[Seat] = []
        self.row_seats: list[Seat] = []
        self.limited_seats: list[Seat] = []
        self.limited_web_seats: list[Seat] = []
        self._awards: dict[int, str] = {}

    @property
    def signer(self) -> ContextSigner:
        """What signs contexts that the cell's database believes."""
        return ContextSigner([self.context_key])

    def url(self, plane: Plane, role: str) -> str:
        """Return the URL of a login of one plane's database."""
        address = f"127.0.0.1:{self.postgres.port}/pitboss_bench_{plane}"
        return f"postgresql://pitboss_{role}_bench_{plane}:{self._passwords[role]}@{address}"

    @property
    def _key_service(self) -> str:
        """Keys of the run alone: those of a platform that runs in this folder are none of its business."""
        return f"file:{self.folder / 'keys'}"

    def settings(self) -> Settings:
        """Return the settings of a deployment on these servers."""
        return Settings(
            control_database_url=self.url("control", "app"),
            cell_database_url=self.url("cell", "app"),
            redis_url=self.redis.url(),
            context_keys=(self.context_key,),
            directory_signing_key=NamedKey("bench1", self._signing.private_bytes_raw()),
            directory_public_keys=(NamedKey("bench1", self._signing.public_key().public_bytes_raw()),),
            key_service=self._key_service,
            secrets_file=self.folder / "secrets.toml",
            cell_file=ROOT / "deploy" / "cells" / f"{CELL}.toml",
            tenants_dir=self.folder / "tenants",
        )

    def web_environ(self, port: int, wallet_port: int) -> dict[str, str]:
        """Return the settings of a cell's web process as environment variables."""
        public = self._signing.public_key().public_bytes_raw()
        return {
            "PITBOSS_PLANE": "cell",
            "PITBOSS_CELL": CELL,
            "PITBOSS_PORT": str(port),
            "PITBOSS_WALLET_PORT": str(wallet_port),
            "PITBOSS_CELL_DATABASE_URL": self.url("cell", "app"),
            "PITBOSS_REDIS_URL": self.redis.url(),
            "PITBOSS_CONTEXT_KEYS": f"{self.context_key.key_id}:{self.context_key.secret.hex()}",
            "PITBOSS_DIRECTORY_PUBLIC_KEYS": f"bench1:{public.hex()}",
            "PITBOSS_OPERATOR_TOKEN": secrets.token_hex(24),
            "PITBOSS_KEY_SERVICE": self._key_service,
            "PITBOSS_SECRETS_FILE": str(self.folder / "secrets.toml"),
            "PITBOSS_CELL_FILE": str(ROOT / "deploy" / "cells" / f"{CELL}.toml"),
            "PITBOSS_LOG_LEVEL": "warning",
        }

    def open(self) -> None:
        """Start the servers; call it from the main thread."""
        self._report("starting PostgreSQL and Redis")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.postgres.start()
        self.redis.start()

    def close(self) -> None:
        """Stop the servers and delete all that the run has written."""
        self.redis.stop()
        self.postgres.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def furnish(self) -> None:
        """Migrate, apply the tenants, add players with a session each, and deposit through lanes."""
        self._report("migrating the databases of control and cell")
        for plane, roles in LOGINS.items():
            urls = {f"pitboss_{role}": self.url(plane, role) for role in roles}
            await provision(self.postgres.admin_url(), urls)
            await upgrade(urls["pitboss_migrate"], plane, (self.context_key,) if plane == "cell" else ())
        self._report(f"applying {TENANTS} tenants")
        await self._apply_tenants()
        self._report(f"adding {ALL_WALLETS:,} players")
        await self._add_players()
        self._report(f"depositing into {ALL_WALLETS:,} wallets")
        await self._deposit()

    async def _apply_tenants(self) -> None:
        settings = self.settings()
        write_private(self.folder / "secrets.toml", f'{SECRET_NAME} = "{self.secret}"\n')
        for number in range(1, TENANTS + 1):
            _write_tenant(settings.tenants_dir / f"bench{number}", f"bench{number}")
        workshop = Workshop(settings)
        deployment = Deployment(workshop, By(Actor(ActorKind.DEPLOYMENT, "bench"), Origin(request_id=str(new_uuid()))))
        try:
            for slug in workshop.list_tenants():
                await apply(deployment, workshop.check(slug))
            async with deployment.control.transaction() as session:
                records = await tenancy.list_tenants(session)
            for record in records:
                scope = TenantScope(record.tenant_id, record.slug, CELL)
                self.books[scope.tenant_id] = await _read_books(deployment.cell, scope)
        finally:
            await deployment.close()

    async def _add_players(self) -> None:
        admin = await asyncpg.connect(self.postgres.admin_url("pitboss_bench_cell"))
        try:
            await admin.execute(_VERSIONS, PLUGIN, GAME, list(self.books))
            await admin.execute(_GAMES)
            await admin.execute(_PLAYERS, list(self.books), ALL_WALLETS // TENANTS)
            await admin.execute(_WALLETS)
            await admin.execute(_SESSIONS)
            await admin.execute("analyze")
            rows = await admin.fetch(_SEATS)
        finally:
            await admin.close()
        seats = [Seat(*row) for row in rows]
        half = WALLETS // ROW_WALLETS
        shares = 2 * half + 3
        self.seats = [seat for number, seat in enumerate(seats) if number % shares < half]
        self.web_seats = [seat for number, seat in enumerate(seats) if half <= number % shares < 2 * half]
        self.row_seats, self.limited_seats, self.limited_web_seats = (seats[2 * half + n :: shares] for n in range(3))
        await self._limit()

    async def _limit(self) -> None:
        """Give players limits that are never reached, and some of them terms of an award."""
        seats = [*self.limited_seats, *self.limited_web_seats]
        awarded = [seat.wallet_id for seat in seats[::AWARDED_SHARE]]
        admin = await asyncpg.connect(self.postgres.admin_url("pitboss_bench_cell"))
        try:
            async with admin.transaction():
                # A mark of a wallet moves no money, and nothing has been booked yet.
                await admin.execute("set local session_replication_role = replica")
                await admin.execute(_MARK_LIMITED, [seat.wallet_id for seat in seats])
            await admin.execute(_LIMITS, DEPOSIT_MINOR)
            rows = await admin.fetch(_TERMS, awarded, DEPOSIT_MINOR)
        finally:
            await admin.close()
        self._awards = {row[0]: row[1] for row in rows}

    async def _deposit(self) -> None:
        seats = [*self.seats, *self.web_seats, *self.row_seats, *self.limited_seats, *self.limited_web_seats]
        lanes = [self.make_lane(number) for number in (91, 92)]
        tasks = [asyncio.create_task(lane.run()) for lane in lanes]
        try:
            await asyncio.gather(
                *[self._deposit_part(lane, seats[part :: len(lanes)]) for part, lane in enumerate(lanes)]
            )
        finally:
            for lane in lanes:
                lane.close()
            await asyncio.gather(*tasks)

    async def _deposit_part(self, lane: Lane, seats: list[Seat]) -> None:
        for start in range(0, len(seats), 128):
            some = seats[start : start + 128]
            futures = [lane.submit(self._deposit_request(seat)) for seat in some]
            futures += [lane.submit(self._award_request(seat)) for seat in some if seat.wallet_id in self._awards]
            for result in await asyncio.gather(*futures):
                if result.refusal is not None:
                    raise RuntimeError(f"a deposit was refused: {result.refusal}")

    def _deposit_request(self, seat: Seat) -> WalletRequest:
        books = self.books[seat.tenant_id]
        leg = make_leg(Op.DEPOSIT, seat.wallet_id, f"deposit-{seat.wallet_id}", DEPOSIT_MINOR, books.clearing_id)
        return WalletRequest(seat.tenant_id, seat.wallet_id, books.manual_source_id, (leg,))

    def _award_request(self, seat: Seat) -> WalletRequest:
        books = self.books[seat.tenant_id]
        reference = self._awards[seat.wallet_id]
        leg = make_leg(Op.AWARD, seat.wallet_id, reference, DEPOSIT_MINOR, books.bonus_cost_id)
        return WalletRequest(seat.tenant_id, seat.wallet_id, books.manual_source_id, (leg,))

    def make_lane(self, number: int) -> Lane:
        """Return a lane on the cell's database, with the login that the web has."""
        connection = LaneConnections(self.url("cell", "app"), f"bench lane {number}", self.signer)
        laws = {(tenant_id, ""): PlayLaw("UTC", SpendOrder.BONUS_FIRST) for tenant_id in self.books}
        return Lane(DatabasePoster(number, connection, laws=laws))

    async def verify(self) -> list[Finding]:
        """Prove every tenant's books, each in one snapshot."""
        cell = Database(create_engine(self.url("cell", "app")), CELL, self.signer)
        findings: list[Finding] = []
        try:
            for books in self.books.values():
                async with cell.snapshot(books.scope) as session:
                    proof = await ledger.verify_tenant(session, books.scope)
                self._report(f"verified {books.scope.slug}: {proof.wallets:,} wallets, {proof.bookings:,} bookings")
                findings += proof.findings
        finally:
            await cell.engine.dispose()
        return findings

    async def measure_sizes(self) -> dict[str, int]:
        """Return the bytes of each hot table, and of its indexes under the name with ``_indexes``."""
        admin = await asyncpg.connect(self.postgres.admin_url("pitboss_bench_cell"))
        try:
            rows = await admin.fetch(
                "select relname, pg_total_relation_size(oid) - pg_indexes_size(oid), pg_indexes_size(oid)"
                " from pg_class where relname = any($1::text[]) and relkind = 'r'",
                ["journal", "call_key", "round", "house_delta", "batch"],
            )
        finally:
            await admin.close()
        sizes: dict[str, int] = {}
        for name, heap_bytes, index_bytes in rows:
            sizes[name], sizes[f"{name}_indexes"] = heap_bytes, index_bytes
        return sizes

    async def administer(self, statement: str, database: str = "pitboss_bench_cell") -> None:
        """Run one statement as the superuser."""
        admin = await asyncpg.connect(self.postgres.admin_url(database))
        try:
            await admin.execute(statement)
        finally:
            await admin.close()


async def _read_books(cell: Database, scope: TenantScope) -> Books:
    spread = [f"spread{number}" for number in range(SPREAD_ACCOUNTS)]
    async with cell.transaction(scope) as session:
        await ledger.open_house_accounts(session, scope, ["EUR"], spread)
        chart = {
            (account.kind, account.provider): account.account_id
            for account in await ledger.list_house_accounts(session, scope)
        }
        return Books(
            scope,
            await ledger.ensure_source(session, scope, f"games.{PLUGIN}"),
            await ledger.ensure_source(session, scope, MANUAL_SOURCE),
            chart[AccountKind.GAME_REVENUE, PLUGIN],
            chart[AccountKind.CLEARING, MANUAL_SOURCE],
            chart[AccountKind.BONUS_COST, ""],
            tuple(chart[AccountKind.GAME_REVENUE, name] for name in spread),
        )


def _write_tenant(folder: Path, slug: str) -> None:
    (folder / "plugins").mkdir(parents=True)
    (folder / "tenant.toml").write_text(
        f'slug = "{slug}"\nname = "{slug.title()}"\npublic_id = "{new_uuid()}"\nlocality = "eu"\ncell = "{CELL}"\n'
        f'environment = "demo"\ncurrencies = ["EUR"]\npacks = []\nplugins = ["{PLUGIN}"]\n\n'
        f'[[brands]]\nslug = "{slug}"\nname = "{slug.title()}"\ndomains = ["{slug}.localhost"]\n'
        'languages = ["en"]\ndefault_language = "en"\n'
    )
    (folder / "policy.toml").write_text("real_money_spent_first = false\n")
    (folder / "plugins" / f"{PLUGIN}.toml").write_text(
        f'casino_id = "{slug}"\ngateway_url = "http://127.0.0.1:9"\napi_secret = {{ secret = "{SECRET_NAME}" }}\n'
    )


def clear(folder: Path) -> None:
    """Take away what a killed run left behind."""
    if (folder / "postgres").exists():
        leftover = PostgresServer(folder / "postgres")
        leftover.stop_leftover()
        leftover.remove()
    shutil.rmtree(folder, ignore_errors=True)


_VERSIONS = """
insert into game_version (tenant_id, plugin, code, version_hash)
select tenant_id, $1, $2, 'bench' from unnest($3::bigint[]) as t(tenant_id)
"""
_GAMES = """
insert into game (tenant_id, plugin, code, title, provider, category, version_id)
select tenant_id, plugin, code, 'Dice', 'bench', 'table', version_id from game_version
"""
_PLAYERS = """
insert into player (tenant_id, public_id, brand, language, currency)
select tenant_id, uuidv7(), 'bench', 'en', 'EUR' from unnest($1::bigint[]) as t(tenant_id), generate_series(1, $2::int)
"""
_WALLETS = "insert into wallet (tenant_id, player_id, currency) select tenant_id, player_id, 'EUR' from player"
_SESSIONS = """
insert into game_session (tenant_id, session_id, player_id, wallet_id, game_id, state, expires_at)
select w.tenant_id, uuidv7(), w.player_id, w.wallet_id, g.game_id, 2, now() + interval '12 hours'
from wallet w join game g using (tenant_id)
"""
_MARK_LIMITED = "update wallet set has_limits = true where wallet_id = any($1::bigint[])"
_LIMITS = """
insert into player_limit (tenant_id, wallet_id, kind, period, amount_minor)
select w.tenant_id, w.wallet_id, kind, 1, $1 from wallet w, unnest(array[2, 3]) as k(kind) where w.has_limits
"""
_TERMS = """
insert into award_terms (tenant_id, award_id, wallet_id, amount_minor, required_minor, expires_at, reference, reason)
select tenant_id, uuidv7(), wallet_id, $2::bigint, 100 * $2::bigint, now() + interval '30 days',
    'bench-' || wallet_id, 'bench'
from wallet where wallet_id = any($1::bigint[]) returning wallet_id, award_id::text
"""
_SEATS = """
select w.tenant_id, w.wallet_id, w.player_id, p.public_id::text, s.session_id::text
from wallet w join player p using (tenant_id, player_id) join game_session s using (tenant_id, wallet_id)
order by w.wallet_id
"""
