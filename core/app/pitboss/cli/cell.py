"""What commands that work in one cell begin with: its database, and the directory that it holds."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pitboss.directory.contracts import PublicKey
from pitboss.directory.errors import TenantUnknown
from pitboss.directory.runtime import Directory
from pitboss.kernel.scope import TenantScope
from pitboss.platform.context_check import demand_context
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.platform.settings import Settings, require, require_all


@asynccontextmanager
async def open_cell(settings: Settings) -> AsyncGenerator[tuple[Database, Directory]]:
    """Yield the cell's database behind the application's login, with its directory.

    Raise `TenantUnknown` without a directory, and `ContextRefused` where the database would show no row: a command that
    proves or lists something must not take that for nothing to be there.
    """
    require_all(settings, "cell_database_url", "context_keys", "directory_public_keys")
    signer = ContextSigner(require(settings, "context_keys"))
    engine = create_engine(require(settings, "cell_database_url"), pool_size=1)
    keys = [PublicKey(key.key_id, key.raw) for key in require(settings, "directory_public_keys")]
    try:
        database = Database(engine, settings.cell, signer)
        await demand_context(database)
        directory = Directory(settings.cell, keys)
        refresh = await directory.refresh(database)
        if not directory.is_loaded:
            raise TenantUnknown(refresh.problem)
        yield database, directory
    finally:
        await engine.dispose()


def get_scope(directory: Directory, slug: str) -> TenantScope:
    """Return the scope of one of the cell's tenants, whatever its state; raise `TenantUnknown`."""
    found = directory.find_tenant_by_slug(slug)
    if found is None:
        raise TenantUnknown(f"tenant {slug} is not in cell {directory.cell}")
    return directory.scope_of(found)
