"""Two tenants, in one cell or in two: players, money, rounds, limits and an aggregator's secret each."""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec
from tests.factories.databases import PlaneDatabase
from tests.factories.keys import make_ring
from tests.factories.players import AURORA, JADE, PASSWORD, make_origin, make_policy
from tests.factories.players import open_cell as open_database
from tests.factories.web import CONTENT, ROOT, WebUnderTest, apply_policies, cell_settings, store_directory
from tests.isolation.catalog import Relation, read_relations
from tests.isolation.seeding import fingerprint

from pitboss.accounts import service as accounts
from pitboss.bootstrap import open_cell_web
from pitboss.cli.demo_secrets import make_demo_secrets
from pitboss.directory.contracts import DirectoryContent, ForeignTenant
from pitboss.games import service as games
from pitboss.kernel.clock import epoch_seconds
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, ActorKind, TenantScope
from pitboss.ledger import service as ledger
from pitboss.platform.telemetry import Metrics
from pitboss.plughost import service as plughost
from pitboss.plughost.runtime import load_host, read_cell_file
from pitboss_sdk.games import GameInfo
from pitboss_sdk.testing import Notice, NoticeSender

PLUGIN = "softswiss"
ACTOR = Actor(ActorKind.DEPLOYMENT, "tester")
NOTICE_SECRETS = make_demo_secrets([f"{scope.slug}-notice-secret" for scope in (AURORA, JADE)])
SUSPENDED = "games.game_suspended"


@dataclass
class Side:
    """What one tenant has, as calls name it. `marks` are texts that stand nowhere else."""

    scope: TenantScope
    secret: str
    database: PlaneDatabase
    web: WebUnderTest | None = None
    """The web of its cell."""
    ids: dict[str, str] = field(default_factory=dict[str, str])
    marks: list[str] = field(default_factory=list[str])

    @property
    def host(self) -> str:
        return f"{self.scope.slug}.localhost"

    @property
    def token(self) -> str:
        return self.ids["session_token"]

    @property
    def operator(self) -> dict[str, str]:
        """Headers of an operator of its cell."""
        assert self.web is not None
        return self.web.operator

    def client(self) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        """Return a client of its domain in its cell."""
        assert self.web is not None
        return self.web.client(self.host)

    def movement(self, kind: str, reference: str, **changes: Any) -> dict[str, Any]:
        """Return the body of a bet or win of this tenant's player."""
        return {
            "account_id": self.ids["player_id"],
            "currency": "EUR",
            "game_id": self.ids["code"],
            "session_id": self.ids["game_session"],
            "round_id": self.ids["provider_round"],
            "transactions": [{"id_provider": reference, "type": kind, "amount": "1.00"}],
            **changes,
        }

    def write_notice(
        self, event_id: str, game: str, *, signer: Side | None = None, event: str = SUSPENDED, operator: str = ""
    ) -> dict[str, Any]:
        """Return body and headers of a notice about a game, signed by this tenant's vendor or by another's."""
        secret = NOTICE_SECRETS[f"{(signer or self).scope.slug}-notice-secret"]
        sender = NoticeSender(operator or self.scope.slug, secret)
        notice = Notice(event, event_id, epoch_seconds() * 1_000_000, game)
        body = sender.write(notice)
        assert body is not None
        return {"content": body, "headers": dict(sender.sign(notice, body))}

    def sign(self, body: bytes) -> dict[str, str]:
        return {"x-request-sign": hmac.digest(self.secret.encode(), body, "sha256").hex()}


@dataclass
class World:
    """The web that A is asked of, both tenants, and an administrator's eye on B's database."""

    web: WebUnderTest
    admin: asyncpg.Connection
    relations: list[Relation]
    a: Side
    b: Side

    async def fingerprint_b(self) -> dict[str, str]:
        return await fingerprint(self.admin, self.relations, self.b.scope.tenant_id)

    async def call_wallet(
        self, client: httpx.AsyncClient, path: str, side: Side, body: dict[str, Any]
    ) -> httpx.Response:
        """Send a wallet call with the signature of `side`."""
        raw = json.dumps(body).encode()
        return await client.post(f"/wallet/{path}", content=raw, headers=side.sign(raw))


@asynccontextmanager
async def open_world(
    database: PlaneDatabase, redis_url: str, folder: Path, other: PlaneDatabase | None = None
) -> AsyncIterator[World]:
    """Open the web of a cell in which both tenants have one of everything; with `other`, B lives in a cell of its own."""
    a = Side(AURORA, "secret of aurora", database)
    scope = JADE if other is None else msgspec.structs.replace(JADE, cell="br-1")
    b = Side(scope, "secret of jade", other or database)
    secrets_file = folder / "secrets.toml"
    secrets_file.touch(mode=0o600)
    kept = {side.scope.slug: side.secret for side in (a, b)} | NOTICE_SECRETS
    secrets_file.write_text("".join(f'{name} = "{value}"\n' for name, value in kept.items()))
    admin = await asyncpg.connect(b.database.admin_url)
    try:
        async with AsyncExitStack() as stack:
            for cell in dict.fromkeys((a.scope.cell, b.scope.cell)):
                its = [side for side in (a, b) if side.scope.cell == cell]
                web = await stack.enter_async_context(_open_web(cell, its, redis_url, secrets_file))
                for side in its:
                    side.web = web
            assert a.web is not None
            world = World(a.web, admin, await read_relations(admin), a, b)
            for side in (a, b):
                await _live(world, side)
            yield world
    finally:
        await admin.close()


@asynccontextmanager
async def _open_web(cell: str, its: list[Side], redis_url: str, secrets_file: Path) -> AsyncIterator[WebUnderTest]:
    """Open the web of one cell, which knows where the tenants of the other are."""
    settings = cell_settings(its[0].database, redis_url, cell)
    settings = msgspec.structs.replace(settings, secrets_file=secrets_file)
    for side in its:
        await _open_books(side)
    numbers = {side.scope.tenant_id for side in its}
    tenants = tuple(tenant for tenant in CONTENT.tenants if tenant.tenant_id in numbers)
    elsewhere = tuple(
        ForeignTenant(tenant.slug, (f"{tenant.slug}.localhost",), "another", "https://another.example")
        for tenant in CONTENT.tenants
        if tenant.tenant_id not in numbers
    )
    content = DirectoryContent(tenants, elsewhere)
    await store_directory(settings, content)
    await apply_policies(settings, content=content)
    metrics = Metrics()
    async with open_cell_web(settings, metrics) as front:
        yield WebUnderTest(front, settings, metrics)


async def _open_books(side: Side) -> None:
    """Enable the plugin, open accounts and list games as an apply and a sync do."""
    scope = side.scope
    host = load_host(read_cell_file(ROOT / f"deploy/cells/{scope.cell}.toml"))
    table = {"casino_id": scope.slug, "gateway_url": "http://127.0.0.1:9", "api_secret": {"secret": scope.slug}}
    table["notice_secret"] = {"secret": f"{scope.slug}-notice-secret"}
    side.ids["code"] = f"game-of-{scope.slug}"
    async with open_database(side.database, cell=scope.cell) as cell, cell.transaction(scope) as session:
        locality = scope.cell.partition("-")[0]
        await plughost.enable_plugin(
            session, scope, host.get_plugin(PLUGIN), table, locality=locality, actor=ACTOR, origin=make_origin()
        )
        await ledger.open_house_accounts(session, scope, ("EUR", "BTC"), (PLUGIN,))
        await ledger.ensure_source(session, scope, f"games.{PLUGIN}")
        listed = (GameInfo(side.ids["code"], f"Title of {scope.slug}"), GameInfo(f"second-{scope.slug}", "Second"))
        await games.sync_catalogue(session, scope, PLUGIN, listed, ACTOR, make_origin())


async def _live(world: World, side: Side) -> None:
    """Register, sign in, deposit, play, be limited, forget the password."""
    slug, ids = side.scope.slug, side.ids
    ids["email"] = f"canary.{slug}@example.com"
    person = {"first_name": f"First{slug}", "last_name": f"Last{slug}", "birth_date": "1990-02-28", "country": "MT"}
    async with side.client() as client:
        registration = {"email": ids["email"], "password": PASSWORD, **person}
        player = _taken(await client.post("/api/v1/players", json=registration), 201)
        ids["player_id"] = player["player_id"]
        ids["target"] = ids["actor"] = f"player:{ids['player_id']}"
        signed_in = await client.post("/api/v1/sessions", json={"email": ids["email"], "password": PASSWORD})
        ids["session_token"] = _taken(signed_in, 201)["token"]
        operate = f"/api/v1/operator/players/{ids['player_id']}"
        ids["reference"] = f"credit-of-{slug}"
        credit = {"amount_minor": 100_00, "currency": "EUR", "reference": ids["reference"], "reason": "test"}
        _taken(await client.post(f"{operate}/credits", json=credit, headers=side.operator), 201)
        award = {**credit, "reference": f"award-of-{slug}", "wagering_times": 10, "expires_at": "2030-01-01T00:00:00Z"}
        awarded = await client.post(f"{operate}/awards", json=award, headers=side.operator)
        ids["award_id"] = _taken(awarded, 201)["award_id"]
        limit = {"kind": "deposit", "period": "month", "amount_minor": 900_00}
        _taken(await client.put(f"{operate}/limits", json=limit, headers=side.operator), 200)
        ids["game_session"] = ids["session_id"] = await _open_session(side)
        for number in (1, 2):
            ids["provider_round"], ids["bet"] = f"round-of-{slug}-{number}", f"bet-of-{slug}-{number}"
            path = f"{slug}/{PLUGIN}/betwin"
            played = _taken(await world.call_wallet(client, path, side, side.movement("bet", ids["bet"])), 200)
            ids["round_id"] = played["round_id"]
        pause = {"days": 1, "reason": f"pause_of_{slug}"}
        excluded = await client.post(f"{operate}/exclusions", json=pause, headers=side.operator)
        ids["exclusion_id"] = _taken(excluded, 201)["exclusion_id"]
        ids["event_id"] = f"event-of-{slug}"
        notice = side.write_notice(ids["event_id"], f"second-{slug}", event="games.game_resumed")
        _taken(await client.post(f"/webhooks/{slug}/{PLUGIN}", **notice), 202)
        rounds = await client.get("/api/v1/operator/rounds?page_size=1", headers=side.operator)
        ids["cursor"] = _taken(rounds, 200)["next_cursor"]
    ids["token"] = await _forget_password(side)
    kept = {name for name in ids if name != "cursor"}
    side.marks = [ids[name] for name in sorted(kept)] + [
        f"First{slug}",
        f"Last{slug}",
        f"Title of {slug}",
        f"second-{slug}",
    ]


def _taken(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json() if answer.content else {}
    return found


async def _open_session(side: Side) -> str:
    async with open_database(side.database, cell=side.scope.cell) as cell, cell.transaction(side.scope) as session:
        player = await accounts.get_player(session, side.scope, _uuid(side.ids["player_id"]))
        wallet = await ledger.get_wallet(session, side.scope, player.player_id, "EUR")
        opened = await games.open_session(
            session,
            side.scope,
            player_id=player.player_id,
            wallet_id=wallet.wallet_id,
            game=await games.get_game(session, side.scope, side.ids["code"]),
            policy=make_policy(),
            actor=ACTOR,
            origin=make_origin(),
        )
        await games.finish_launch(session, side.scope, opened, opened=True)
    return str(opened)


async def _forget_password(side: Side) -> str:
    """Return a reset token as it stands in the mail."""
    opened = open_database(side.database, side.database.worker_url, cell=side.scope.cell)
    async with opened as cell, cell.transaction(side.scope) as session:
        player = await accounts.get_player(session, side.scope, _uuid(side.ids["player_id"]))
        ring, causation_id = make_ring(side.scope.cell), str(new_uuid())
        letter = await accounts.make_password_reset(
            session, side.scope, ring, player_id=player.player_id, domain=side.host, causation_id=causation_id
        )
    assert letter is not None
    return letter.body.partition("#token=")[2].split()[0]


def _uuid(text: str) -> UUID:
    return UUID(text)
