"""Databases and files that the tests of applying tenants work on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.factories.databases import DatabaseServer, PlaneDatabase
from tests.factories.tenants import (
    State,
    copy_tenants,
    open_deployment,
    read_state,
    run_apply,
    tenant_settings,
)

from pitboss.cli.tenant_apply import Deployment
from pitboss.platform.settings import Settings


@pytest.fixture
def tenants_dir(tmp_path: Path) -> Path:
    return copy_tenants(tmp_path)


@pytest.fixture
def settings(control_database: PlaneDatabase, cell_database: PlaneDatabase, tenants_dir: Path) -> Settings:
    return tenant_settings(control_database, cell_database, tenants_dir)


@pytest.fixture
async def deployment(settings: Settings) -> AsyncGenerator[Deployment]:
    opened = open_deployment(settings)
    yield opened
    await opened.close()


@pytest.fixture
async def untroubled(database_server: DatabaseServer, tenants_dir: Path) -> State:
    """What an apply without any interruption leaves behind, on databases of its own."""

    def make() -> State:
        with database_server.clone("control") as control, database_server.clone("cell") as cell:
            return asyncio.run(applied(control, cell))

    async def applied(control: PlaneDatabase, cell: PlaneDatabase) -> State:
        opened = open_deployment(tenant_settings(control, cell, tenants_dir))
        await run_apply(opened)
        state = await read_state(opened)
        await opened.close()
        return state

    return await asyncio.to_thread(make)
