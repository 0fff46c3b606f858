"""Players for tests: registrations that are valid, and tenants to hold them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from itertools import count
from typing import Any

import msgspec
from tests.factories.databases import PlaneDatabase
from tests.factories.keys import make_ring

from pitboss.accounts import service as accounts
from pitboss.accounts.contracts import BrandTerms, Player, Registration, SignIn, SignInFailure
from pitboss.accounts.runtime import Passwords
from pitboss.kernel.clock import utc_now
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Origin, TenantScope
from pitboss.keys import service as keys
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.policy.contracts import EffectivePolicy, TenantPolicy
from pitboss.policy.service import resolve_policy

AURORA = TenantScope(1, "aurora", "eu-1")
JADE = TenantScope(2, "jade", "eu-1")
TERMS = BrandTerms("aurora", ("en", "es", "pt-BR"), "en", ("EUR", "BTC"))
PASSWORD = "correct horse battery"

_numbers = count(1)


def make_registration(**changes: Any) -> Registration:
    """Return a valid registration with an address that no other has."""
    registration = Registration(
        email=f"player.{next(_numbers)}.{new_uuid().hex[-8:]}@example.com",
        password=PASSWORD,
        first_name="Ana",
        last_name="López",
        birth_date=date(1990, 2, 28),
        country="MT",
    )
    return msgspec.structs.replace(registration, **changes)


def make_policy(**changes: Any) -> EffectivePolicy:
    """Return what applies today to players of a tenant without a licence; what is given is so instead."""
    policy = resolve_policy(TenantPolicy(), None, utc_now().date())
    return msgspec.structs.replace(policy, **changes)


def make_origin(ip: str = "") -> Origin:
    """Return an origin with a request id of its own; without an address nobody is counted by it."""
    return Origin(request_id=str(new_uuid()), ip=ip)


@asynccontextmanager
async def open_cell(database: PlaneDatabase, url: str = "", *, cell: str = "eu-1") -> AsyncIterator[Database]:
    """Yield the cell's database behind the application's login, or another one's."""
    opened = Database(create_engine(url or database.app_url), cell, ContextSigner(database.context_keys))
    try:
        yield opened
    finally:
        await opened.engine.dispose()


async def register(
    cell: Database,
    passwords: Passwords,
    registration: Registration,
    scope: TenantScope = AURORA,
    terms: BrandTerms = TERMS,
) -> Player:
    """Register as the web edge does."""
    prepared = accounts.prepare_registration(registration, terms, utc_now().date(), minimum_age_years=18)
    password_hash = await passwords.hash(registration.password)
    await prepare_keys(cell, scope)
    async with cell.transaction(scope) as session:
        return await accounts.register(session, scope, make_ring(cell.cell), prepared, password_hash, make_origin())


async def prepare_keys(cell: Database, *scopes: TenantScope) -> None:
    """Give tenants their keys, as `pitboss tenant apply` does."""
    for scope in scopes:
        async with cell.transaction(scope) as session:
            await keys.prepare_tenant(session, scope, make_ring(scope.cell))


async def sign_in(
    cell: Database,
    passwords: Passwords,
    email: str,
    password: str = PASSWORD,
    *,
    scope: TenantScope = AURORA,
    brand: str = "aurora",
    ip: str = "",
) -> SignIn | SignInFailure:
    """Sign in as the web edge does."""
    origin = make_origin(ip)
    await prepare_keys(cell, scope)
    async with cell.transaction(scope) as session:
        attempt = await accounts.begin_sign_in(
            session, scope, make_ring(cell.cell), brand=brand, email=email, origin=origin
        )
    fits = await passwords.verify(attempt.password_hash, password)
    async with cell.transaction(scope) as session:
        return await accounts.finish_sign_in(session, scope, attempt, fits=fits, origin=origin)
