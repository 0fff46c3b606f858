"""The web of a cell and of control as the composition root makes them, reached without a socket."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx
import msgspec
from tests.factories.databases import PlaneDatabase, settings_for
from tests.factories.packs import load
from tests.factories.players import AURORA, PASSWORD, make_registration, prepare_keys
from tests.factories.players import open_cell as open_database

from pitboss.bootstrap import open_cell_web, open_control_web
from pitboss.directory import service as directory
from pitboss.directory.contracts import (
    DirectoryBrand,
    DirectoryContent,
    DirectoryTenant,
    ForeignTenant,
    PublicKey,
    SigningKey,
    TenantState,
)
from pitboss.directory.rules import sign_snapshot
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.ledger import service as ledger
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.platform.settings import Settings
from pitboss.platform.telemetry import Metrics
from pitboss.policy.contracts import TenantPolicy
from pitboss.policy.service import apply_policy
from pitboss.web.app import Front

ROOT = Path(__file__).parents[2]
STRICT = TenantPolicy()
"""Nothing tightened: the platform's defaults."""
BROWSER = ("127.0.0.1", 50_000)
STRANGER = ("203.0.113.7", 50_000)


def make_tenant(number: int, slug: str, state: TenantState = TenantState.ACTIVE) -> DirectoryTenant:
    """Return a tenant with one brand under `<slug>.localhost`."""
    brand = DirectoryBrand(slug, slug.title(), (f"{slug}.localhost",), ("en", "es", "pt-BR"), "en")
    return DirectoryTenant(
        number,
        slug,
        UUID(int=number),
        slug.title(),
        state,
        (brand,),
        ("EUR", "BTC"),
        (),
        ("softswiss",),
    )


CONTENT = DirectoryContent(
    tenants=(make_tenant(1, "aurora"), make_tenant(2, "jade"), make_tenant(3, "paused", TenantState.SUSPENDED)),
    elsewhere=(ForeignTenant("onyx", ("onyx.localhost",), "br-1", "https://br-1.example"),),
)


def with_packs(*packs: str, content: DirectoryContent = CONTENT) -> DirectoryContent:
    """Return a directory whose first tenant has these licences: the first for its brand, a brand for each other.

    The brand of a further licence is served under `<pack with hyphens>.localhost`.
    """
    tenant, *others = content.tenants
    brands = [msgspec.structs.replace(tenant.brands[0], pack=packs[0])]
    for pack in packs[1:]:
        slug = pack.replace("_", "-")
        brand = msgspec.structs.replace(
            tenant.brands[0], slug=slug, name=pack, domains=(f"{slug}.localhost",), pack=pack
        )
        brands.append(brand)
    licensed = msgspec.structs.replace(tenant, brands=tuple(brands), packs=tuple(sorted(packs)))
    return msgspec.structs.replace(content, tenants=(licensed, *others))


def cell_settings(cell: PlaneDatabase, redis_url: str, name: str = "eu-1") -> Settings:
    """Return the settings of the processes of a cell."""
    settings = settings_for(cell=cell, redis_url=redis_url)
    cell_file = ROOT / f"deploy/cells/{name}.toml"
    return msgspec.structs.replace(settings, cell=name, locality=name.partition("-")[0], cell_file=cell_file)


async def store_directory(settings: Settings, content: DirectoryContent = CONTENT, version: int = 1) -> None:
    """Give the cell a signed snapshot, as `pitboss tenant apply` does at its end."""
    assert settings.directory_signing_key is not None
    assert settings.cell_database_url is not None
    key = SigningKey(settings.directory_signing_key.key_id, settings.directory_signing_key.raw)
    public = [PublicKey(found.key_id, found.raw) for found in settings.directory_public_keys]
    database = Database(create_engine(settings.cell_database_url), settings.cell, ContextSigner(settings.context_keys))
    async with database.cell_transaction() as session:
        signed = sign_snapshot(settings.cell, version, content, key)
        await directory.store_snapshot(session, signed, cell=settings.cell, keys=public)
    await database.engine.dispose()


@dataclass
class WebUnderTest:
    """A running web and ways to reach it."""

    front: Front
    settings: Settings
    metrics: Metrics

    @property
    def operator(self) -> dict[str, str]:
        """Headers of the operator."""
        return {"authorization": f"Bearer {self.settings.operator_token}"}

    @asynccontextmanager
    async def client(
        self, host: str = "aurora.localhost", address: tuple[str, int] = STRANGER
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Yield a client that asks for `host` from `address`."""
        transport = httpx.ASGITransport(cast("Any", self.front), client=address, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            yield client


async def apply_policies(
    settings: Settings, policy: TenantPolicy = STRICT, content: DirectoryContent = CONTENT
) -> None:
    """Give the cell one policy for all of its tenants, and the packs of each, as `pitboss tenant apply` does."""
    assert settings.cell_database_url is not None
    database = Database(create_engine(settings.cell_database_url), settings.cell, ContextSigner(settings.context_keys))
    actor, origin = Actor(ActorKind.DEPLOYMENT, "tests"), Origin(request_id=str(new_uuid()))
    for tenant in content.tenants:
        scope = TenantScope(tenant.tenant_id, tenant.slug, settings.cell)
        await prepare_keys(database, scope)
        async with database.transaction(scope) as session:
            packs = {code: load(code) for code in tenant.packs}
            await apply_policy(session, scope, policy, packs, actor=actor, origin=origin)
    await database.engine.dispose()


@asynccontextmanager
async def open_new_cell(cell: PlaneDatabase, redis_url: str) -> AsyncIterator[WebUnderTest]:
    """Open the web of a cell that control has told nothing yet."""
    settings, metrics = cell_settings(cell, redis_url), Metrics()
    async with open_cell_web(settings, metrics) as front:
        yield WebUnderTest(front, settings, metrics)


@asynccontextmanager
async def open_cell(cell: PlaneDatabase, redis_url: str, policy: TenantPolicy = STRICT) -> AsyncIterator[WebUnderTest]:
    """Open the web of a cell that has three tenants and knows of a fourth elsewhere."""
    settings = cell_settings(cell, redis_url)
    await store_directory(settings)
    await apply_policies(settings, policy)
    metrics = Metrics()
    async with open_cell_web(settings, metrics) as front:
        yield WebUnderTest(front, settings, metrics)


@asynccontextmanager
async def open_bank(
    cell_database: PlaneDatabase, redis_url: str, policy: TenantPolicy = STRICT
) -> AsyncIterator[WebUnderTest]:
    """Open the web of a cell whose first tenant takes money; its books are proven at the end."""
    async with open_database(cell_database) as database, database.transaction(AURORA) as session:
        await ledger.open_house_accounts(session, AURORA, ["EUR"], ["softswiss"])
    async with open_cell(cell_database, redis_url, policy) as web:
        yield web
    async with open_database(cell_database) as database, database.snapshot(AURORA) as session:
        assert (await ledger.verify_tenant(session, AURORA)).findings == ()


def registration_body(**changes: Any) -> dict[str, Any]:
    """Return what a new player sends, with an address that no other has; what is given is so instead."""
    return {**msgspec.to_builtins(make_registration()), "password": PASSWORD, **changes}


async def register(client: httpx.AsyncClient, **changes: Any) -> tuple[str, dict[str, str]]:
    """Register and sign in; return the player's id and the headers of the session."""
    sent = registration_body(**changes)
    player = await client.post("/api/v1/players", json=sent)
    assert player.status_code == 201, player.text
    session = await client.post("/api/v1/sessions", json={"email": sent["email"], "password": sent["password"]})
    assert session.status_code == 201, session.text
    assert session.json()["player_id"] == player.json()["player_id"]
    return player.json()["player_id"], {"authorization": f"Bearer {session.json()['token']}"}


@asynccontextmanager
async def open_control(control: PlaneDatabase) -> AsyncIterator[WebUnderTest]:
    """Open the web of the control plane."""
    settings = settings_for(control=control)
    metrics = Metrics()
    async with open_control_web(settings, metrics) as front:
        yield WebUnderTest(front, settings, metrics)


def run_command(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `pitboss` with the settings of a cell that a test has open."""
    keys = ",".join(f"{key.key_id}:{key.secret.hex()}" for key in settings.context_keys)
    public = ",".join(f"{key.key_id}:{key.raw.hex()}" for key in settings.directory_public_keys)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PITBOSS_")}
    environ |= {
        "PITBOSS_CELL_DATABASE_URL": str(settings.cell_database_url),
        "PITBOSS_CONTEXT_KEYS": keys,
        "PITBOSS_DIRECTORY_PUBLIC_KEYS": public,
    }
    command = [sys.executable, "-m", "pitboss.bootstrap", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
