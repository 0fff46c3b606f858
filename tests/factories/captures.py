"""Audit events of a whole database held against what was captured at its tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from tests.factories.databases import PlaneDatabase
from tests.factories.players import open_cell

from pitboss.captures import service as captures
from pitboss.captures.contracts import Outcome
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import ControlDatabase, create_engine


@asynccontextmanager
async def open_control(database: PlaneDatabase) -> AsyncIterator[ControlDatabase]:
    """Yield the control plane's database behind the application's login."""
    engine = create_engine(database.app_url)
    try:
        yield ControlDatabase(engine)
    finally:
        await engine.dispose()


async def reconcile_cell(database: PlaneDatabase, scope: TenantScope) -> Outcome:
    """Reconcile one tenant from its first transaction on."""
    async with open_cell(database, cell=scope.cell) as cell, cell.snapshot(scope) as session:
        return await captures.reconcile(session, scope)


async def reconcile_control(database: PlaneDatabase) -> Outcome:
    """Reconcile the control plane from its first transaction on."""
    async with open_control(database) as control, control.transaction() as session:
        return await captures.reconcile(session, None)


async def list_faults(database: PlaneDatabase) -> list[str]:
    """Return every finding of every tenant of a database, or of the control plane."""
    if database.plane == "control":
        outcomes = {"control": await reconcile_control(database)}
    else:
        admin = await asyncpg.connect(database.admin_url)
        rows = await admin.fetch("select tenant_id from capture union select tenant_id from audit_event order by 1")
        await admin.close()
        scopes = [TenantScope(row["tenant_id"], f"tenant {row['tenant_id']}", "eu-1") for row in rows]
        outcomes = {scope.slug: await reconcile_cell(database, scope) for scope in scopes}
    return [
        f"{name}: {found.kind} {found.subject} ({found.detail}, transaction {found.transaction})"
        for name, outcome in outcomes.items()
        for found in outcome.findings
    ]
